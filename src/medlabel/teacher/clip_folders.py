"""Published CLIPs in the layout of transformers (`CLIPModel`), brought into open_clip's.

The two libraries compute the same function of weights under other names, so that an encoder's
folder is written once, and everything else is as for open_clip's own models.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, hub

if TYPE_CHECKING:
    import torch

    from medlabel.params import Published

CONFIG = "config.json"
PREPROCESSING = "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
VOCABULARY = ("vocab.json", "merges.txt")
TOKENIZER = (*VOCABULARY, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
EXPECTED = "a folder that CLIPModel.save_pretrained wrote, or a hub id org/name of one"

# How the vocabulary's own words for begin and end are spelt: by open_clip, by transformers.
SPECIAL = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}

RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
QUICK_GELU = {"quick_gelu": True, "gelu": False}
# Older configurations say so of every vocabulary, and mean its highest token.
LEGACY_END = 2

# What transformers takes where a configuration is silent: its `CLIPConfig`, that of ViT-B/32.
_COMMON = {
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "num_hidden_layers": 12,
}
_VISION = {
    **_COMMON,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
}
_TEXT = {
    **_COMMON,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "eos_token_id": 49407,
}

LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
WHOLE = {
    "logit_scale": "logit_scale",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    **{
        f"{theirs}.{kind}": f"{ours}.{kind}"
        for theirs, ours in (
            ("vision_model.pre_layrnorm", "visual.ln_pre"),
            ("vision_model.post_layernorm", "visual.ln_post"),
            ("text_model.final_layer_norm", "ln_final"),
        )
        for kind in ("weight", "bias")
    },
}
TRANSPOSED = {
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
}
IN_LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
TOWERS = {"vision": "visual.transformer", "text": "transformer"}


def is_one(folder: Path) -> bool:
    """Say whether a folder holds a CLIP in the layout of transformers."""
    path = folder / CONFIG
    return path.is_file() and files.read_json(path, "adopt").get("model_type") == "clip"


def adopt(settings: Published, folder: Path) -> None:
    """Bring a CLIP of transformers into an encoder's folder.

    Parameters
    ----------
    settings
        `model` is a folder with ``config.json``, ``preprocessor_config.json``, the weights and the
        tokenizer's files, or a hub id such as ``flaviagiammarino/pubmed-clip-vit-base-patch32``.
    folder
        Where to write.

    Raises
    ------
    MedlabelError
        When there is no such folder or hub id, it holds another kind of model, or its weights do
        not fit its configuration.
    """
    import open_clip
    import torch

    model = settings.model
    source = Path(model) if Path(model).is_dir() else _fetched(model)
    given = files.read_json(source / CONFIG, "adopt")
    if given.get("model_type") != "clip":
        raise MedlabelError(
            f"{source / CONFIG}: model_type: expected clip, found {given.get('model_type')!r}; "
            f"give {EXPECTED}."
        )
    try:
        config = {
            "model_cfg": model_config(_complete(given)),
            "preprocess_cfg": preprocessing(files.read_json(source / PREPROCESSING, "adopt")),
        }
    except (KeyError, TypeError) as error:
        raise MedlabelError(
            f"{source}: expected {CONFIG} and {PREPROCESSING} of a CLIP, found an incomplete one "
            f"({encoder.one_line(error)}); give {EXPECTED}."
        ) from error
    if not _is_open_clips_vocabulary(source):
        hub.require_transformers(f"{source}: has a vocabulary of its own, which is read")
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = source.name
    network = open_clip.CLIP(**config["model_cfg"])
    fill(network, renamed(_weights(source)), source)
    if "hf_tokenizer_name" in config["model_cfg"]["text_cfg"]:
        _copy_tokenizer(source, folder)
    with torch.no_grad():
        encoder.save(
            network,
            config,
            folder,
            {"model": f"transformers:{Path(model).name}", "pretrained": None},
        )


def model_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return open_clip's ``model_cfg`` of a complete configuration of transformers.

    Raises
    ------
    KeyError
        When a key is missing.
    MedlabelError
        When the two towers have unlike activations, or one that open_clip does not have.
    """
    seen, said = given["vision_config"], given["text_config"]
    activations = {one["hidden_act"] for one in (seen, said)}
    if len(activations) > 1 or not activations <= set(QUICK_GELU):
        raise MedlabelError(
            f"{CONFIG}: hidden_act: expected {' or '.join(QUICK_GELU)} in both towers, found "
            f"{', '.join(sorted(activations))}; such a model cannot be adopted."
        )
    end = int(said["eos_token_id"])
    pooling = {"pool_type": "argmax"} if end == LEGACY_END else {"pool_type": "eos", "eos_id": end}
    return {
        "embed_dim": given["projection_dim"],
        "quick_gelu": QUICK_GELU[activations.pop()],
        "vision_cfg": {
            "image_size": seen["image_size"],
            "layers": seen["num_hidden_layers"],
            "width": seen["hidden_size"],
            "head_width": seen["hidden_size"] // seen["num_attention_heads"],
            "mlp_ratio": seen["intermediate_size"] / seen["hidden_size"],
            "patch_size": seen["patch_size"],
            "norm_kwargs": {"eps": seen["layer_norm_eps"]},
        },
        "text_cfg": {
            "context_length": said["max_position_embeddings"],
            "vocab_size": said["vocab_size"],
            "width": said["hidden_size"],
            "heads": said["num_attention_heads"],
            "layers": said["num_hidden_layers"],
            "mlp_ratio": said["intermediate_size"] / said["hidden_size"],
            "norm_kwargs": {"eps": said["layer_norm_eps"]},
            **pooling,
        },
    }


def _complete(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "projection_dim": given.get("projection_dim", 512),
        "vision_config": _VISION | _given(given, "vision_config"),
        "text_config": _TEXT | _given(given, "text_config"),
    }


def _given(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a tower's configuration; older files have a second one, which counts more."""
    return {**(given.get(key) or {}), **(given.get(f"{key}_dict") or {})}


def preprocessing(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return open_clip's ``preprocess_cfg`` of a ``preprocessor_config.json``.

    Raises
    ------
    KeyError
        When a key is missing.
    MedlabelError
        When images are resampled as open_clip does not.
    """
    resample = given.get("resample", 3)
    if resample not in RESAMPLING:
        raise MedlabelError(
            f"{PREPROCESSING}: resample: expected 2 (bilinear) or 3 (bicubic), found {resample!r}; "
            f"such a model cannot be adopted."
        )
    size, crop = given["size"], given.get("crop_size", given["size"])
    squashed = isinstance(size, Mapping) and "height" in size
    return {
        "size": _edges(size if squashed else crop),
        "mode": "RGB",
        "mean": list(given["image_mean"]),
        "std": list(given["image_std"]),
        "interpolation": RESAMPLING[resample],
        "resize_mode": "squash" if squashed else "shortest",
        "fill_color": 0,
    }


def _edges(size: int | Mapping[str, int]) -> list[int]:
    if isinstance(size, Mapping):
        edge = size.get("shortest_edge")
        return [edge, edge] if edge else [size["height"], size["width"]]
    return [size, size]


def renamed(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a `CLIPModel` under the names, and in the form, of open_clip.

    Names that are none of a CLIP stay as they are; counters of positions are left out.
    """
    import torch

    found: dict[str, torch.Tensor] = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in given.items():
        if name.endswith("position_ids"):
            continue
        if name in TRANSPOSED:
            found[TRANSPOSED[name]] = value.T.contiguous()
        elif layer := IN_LAYER.fullmatch(name):
            tower, number, part, kind = layer.groups()
            block = f"{TOWERS[tower]}.resblocks.{number}"
            if part in LAYER:
                found[f"{block}.{LAYER[part]}.{kind}"] = value
            else:
                joined.setdefault(f"{block}.attn.in_proj_{kind}", {})[part] = value
        else:
            found[WHOLE.get(name, name)] = value
    for name, parts in joined.items():
        ordered = [
            parts[f"self_attn.{one}_proj"] for one in "qkv" if f"self_attn.{one}_proj" in parts
        ]
        found[name] = torch.cat(ordered)
    return found


def fill(network: torch.nn.Module, weights: Mapping[str, torch.Tensor], source: Path) -> None:
    """Give a network its weights, in float32.

    Raises
    ------
    MedlabelError
        When a tensor is missing, left over or of another shape.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in weights.items()}
    misfits = sorted(
        name for name in expected.keys() | given.keys() if expected.get(name) != given.get(name)
    )
    if misfits:
        first = misfits[0]
        raise MedlabelError(
            f"{source}: the weights are of another architecture: {len(misfits)} of "
            f"{len(expected.keys() | given.keys())} tensors do not fit, such as {first}: expected "
            f"{expected.get(first, 'none')}, found {given.get(first, 'none')}."
        )
    network.load_state_dict({name: value.float() for name, value in weights.items()})


def _weights(source: Path) -> dict[str, torch.Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = next((source / name for name in WEIGHTS if (source / name).is_file()), None)
    if path is None:
        raise MedlabelError(f"{source}: expected {' or '.join(WEIGHTS)}, found neither.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (*encoder.UNREADABLE, SafetensorError) as error:
        raise MedlabelError(f"{path}: cannot be read ({encoder.one_line(error)}).") from error


def _is_open_clips_vocabulary(source: Path) -> bool:
    """Say whether words are split as open_clip's own tokenizer does, which needs no files."""
    import open_clip

    path = source / VOCABULARY[0]
    if not path.is_file():
        return False
    own: dict[str, int] = open_clip.SimpleTokenizer().encoder
    return bool(files.read_json(path, "adopt") == {SPECIAL.get(one, one): own[one] for one in own})


def _copy_tokenizer(source: Path, folder: Path) -> None:
    present = [name for name in TOKENIZER if (source / name).is_file()]
    if not present:
        raise MedlabelError(f"{source}: expected a tokenizer ({', '.join(TOKENIZER)}), found none.")
    for name in present:
        with files.replacing(folder / name) as partial:
            shutil.copyfile(source / name, partial)


def _fetched(model: str) -> Path:
    """Fetch a model from the hub, or find it in the hub's cache where no network answers."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    hub.heed_missing_network()
    try:
        for weights in WEIGHTS:
            names = [CONFIG, PREPROCESSING, weights, *TOKENIZER]
            found = Path(snapshot_download(model, allow_patterns=names))
            if (found / weights).is_file():
                break
    except (OSError, RuntimeError, HFValidationError) as error:
        raise MedlabelError(
            f"model: {model!r} given, which is no folder and could not be downloaded from "
            f"{hub.endpoint()} ({encoder.one_line(error)[:200]}); give {EXPECTED}."
        ) from error
    return found
