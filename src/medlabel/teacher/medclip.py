"""MedCLIP (Wang et al. 2022), as its authors' package saved it, brought into open_clip's layout.

Its image tower, a Swin transformer or a ResNet, is one of timm's under other names. Its text tower
is BERT, of which `three_layers` reads three layers.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel.errors import MedlabelError
from medlabel.teacher import clip_folders, encoder, hub, published, three_layers

if TYPE_CHECKING:
    import torch

    from medlabel.params import Published

RELEASED = "pytorch_model.bin"
EXPECTED = f"the zip that MedCLIP's authors publish, or {RELEASED} or its folder unpacked"
BROKEN = (*encoder.UNREADABLE, zipfile.BadZipFile, EOFError)

EMBED_DIM = 512
CONTEXT_LENGTH = 77  # tokens
EDGE = 224  # pixels
MEAN, STD = 0.5862785803043838, 0.27950088968644304
LARGEST_SCALE = 4.6052  # to which each forward pass of theirs brings the scale's logarithm
GREY_OF_COLOUR = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow has it

SWIN, RESNET = "swin_tiny_patch4_window7_224", "resnet50"
# What ends an image tower, in their names, and what begins it, in ours.
LAST = {SWIN: "vision_model.projection_head.weight", RESNET: "vision_model.model.fc.weight"}
FIRST = {SWIN: "visual.trunk.patch_embed.proj.weight", RESNET: "visual.trunk.conv1.weight"}

SEEN, SAID, OURS = "vision_model.model.", "text_model.model.", "visual.trunk."
# Of older versions of transformers, which counted aloud, and BERT's end, which MedCLIP passes over.
UNUSED = re.compile(r".*(position_ids|relative_position_index)|text_model\.model\.pooler\..*")
WHOLE = {
    **dict.fromkeys(LAST.values(), "visual.head.proj.weight"),
    "text_model.projection_head.weight": "text.proj.weight",
    **{
        f"{SEEN}{theirs}.{kind}": f"{OURS}{ours}.{kind}"
        for theirs, ours in (
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.norm", "patch_embed.norm"),
            ("layernorm", "norm"),
        )
        for kind in ("weight", "bias")
    },
}
LAYER = re.compile(re.escape(SEEN) + r"encoder\.layers\.(\d+)\.(blocks\.\d+|downsample)\.(.+)")
IN_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "attention.self": "attn",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
SEPARATE = re.compile(r"(.+)\.attention\.self\.(query|key|value)\.(weight|bias)")


def adopt(settings: Published, folder: Path) -> None:
    """Bring MedCLIP into an encoder's folder.

    Parameters
    ----------
    settings
        Image tower (timm's name: `SWIN` or `RESNET`), text tower and file of weights.
    folder
        Where to write.

    Raises
    ------
    MedlabelError
        When the image tower is none of MedCLIP's or not that of the weights, the package
        transformers, the file or the text tower's configuration is missing, or the weights do not
        fit.

    Notes
    -----
    Images are padded to squares and become grey, as theirs do: the first convolution takes the grey
    of colours, which leaves grey images as they are. Small images are enlarged, where theirs would
    stand in a black frame of 224 pixels.
    """
    import torch

    if settings.model not in LAST:
        raise MedlabelError(
            f"model: {settings.model!r} given, {' or '.join(LAST)} allowed: timm's names of "
            f"MedCLIP's image towers."
        )
    weights = Path(str(settings.pretrained))
    if not weights.exists():
        raise MedlabelError(
            f"pretrained: {settings.pretrained} given, which does not exist; give {EXPECTED}: the "
            f"package medclip, of RyanWangZf/MedCLIP, names their addresses."
        )
    config = {"model_cfg": model_config(settings), "preprocess_cfg": _preprocessing()}
    network, tokenizer = hub.with_words(config["model_cfg"])
    given = _read(weights)
    _check_tower(given, settings.model, weights)
    clip_folders.fill(network, renamed(given), weights)
    with torch.no_grad():
        network.logit_scale.clamp_(0, LARGEST_SCALE)
        _see_grey(network.get_parameter(FIRST[settings.model]))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    encoder.save(network, config, folder, {"model": settings.model, "pretrained": weights.name})


def model_config(settings: Published) -> dict[str, Any]:
    """Return open_clip's ``model_cfg``."""
    return {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "image_size": EDGE,
            "timm_model_name": settings.model,
            "timm_pool": "avg",
            "timm_proj": "linear",
        },
        "text_cfg": {
            "hf_model_name": settings.words,
            "hf_tokenizer_name": settings.words,
            "hf_pooler_type": three_layers.NAME,
            "hf_proj_type": "linear",
            "context_length": CONTEXT_LENGTH,
        },
    }


def renamed(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return MedCLIP's weights under the names, and in the form, of open_clip and timm.

    Names that are none of MedCLIP stay as they are.
    """
    import torch

    found: dict[str, torch.Tensor] = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in given.items():
        if UNUSED.fullmatch(name):
            continue
        if separate := SEPARATE.fullmatch(name):
            block, part, kind = separate.groups()
            if block.startswith(SEEN):
                joined.setdefault(_in_layer(f"{block}.attention.self.qkv.{kind}"), {})[part] = value
                continue
        found[_name(name)] = value
    for name, parts in joined.items():
        found[name] = torch.cat([parts[one] for one in ("query", "key", "value") if one in parts])
    return found


def _name(theirs: str) -> str:
    if theirs in WHOLE:
        return WHOLE[theirs]
    if theirs.startswith(SAID):
        return "text.transformer." + theirs.removeprefix(SAID)
    return _in_layer(theirs) if LAYER.fullmatch(theirs) else theirs.replace(SEEN, OURS, 1)


def _in_layer(theirs: str) -> str:
    """Return the name of a part of a layer; timm halves the grid before a layer, not after it."""
    found = LAYER.fullmatch(theirs)
    if found is None:
        return theirs
    number, place, part = int(found[1]), found[2], found[3]
    if place == "downsample":
        return f"{OURS}layers.{number + 1}.{place}.{part}"
    part = next(
        (ours + part.removeprefix(one) for one, ours in IN_BLOCK.items() if part.startswith(one)),
        part,
    )
    return f"{OURS}layers.{number}.{place}.{part}"


def _see_grey(kernels: torch.Tensor) -> None:
    """Let a first convolution take of colours their grey, in place; all channels have one mean."""
    shares = kernels.new_tensor(GREY_OF_COLOUR).view(1, 3, 1, 1)
    kernels.copy_(kernels.sum(1, keepdim=True) * shares)


def _check_tower(given: Mapping[str, Any], model: str, weights: Path) -> None:
    others = [one for one, last in LAST.items() if last in given and one != model]
    if others and LAST[model] not in given:
        raise MedlabelError(
            f"{weights}: holds MedCLIP with the image tower {others[0]}, model: {model!r} given; "
            f"set model to {others[0]!r}."
        )


def _read(weights: Path) -> Mapping[str, torch.Tensor]:
    import torch

    path = weights / RELEASED if weights.is_dir() else weights
    try:
        source: Path | io.BytesIO = path
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read(RELEASED))
        found = torch.load(source, map_location="cpu", weights_only=True)
    except BROKEN as error:
        raise MedlabelError(
            f"{path}: cannot be read ({encoder.one_line(error)[:200]}); give {EXPECTED}."
        ) from error
    if not isinstance(found, Mapping):
        raise MedlabelError(f"{path}: expected tensors by name, found none; give {EXPECTED}.")
    return found


def _preprocessing() -> dict[str, Any]:
    return published.preprocessing(
        {
            "size": (EDGE, EDGE),
            "mean": (MEAN,) * 3,
            "std": (STD,) * 3,
            "resize_mode": "longest",
        }
    )
