"""UniMed-CLIP (Khattak et al. 2024), whose weights a changed open_clip wrote, brought into our own.

Its image tower is one of open_clip's; its text tower is BERT, whose first token passes two linear
maps. The present open_clip builds both, and calls them otherwise.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel.errors import MedlabelError
from medlabel.teacher import clip_folders, encoder

if TYPE_CHECKING:
    import torch

    from medlabel.params import Published

CONTEXT_LENGTH = 256  # tokens
TEXT_TOWER, OURS = "text_encoder.", "text."
PARALLEL = "module."  # before every name, where several cards trained it
COUNTER = "position_ids"  # of older versions of BERT: no weights


def adopt(settings: Published, folder: Path) -> None:
    """Bring UniMed-CLIP into an encoder's folder.

    Parameters
    ----------
    settings
        Image tower, text tower and file of weights.
    folder
        Where to write.

    Raises
    ------
    MedlabelError
        When the package transformers or the file is missing, open_clip does not know the image
        tower, the text tower's configuration cannot be had, or the weights do not fit.
    """
    import open_clip
    import torch

    weights = Path(str(settings.pretrained))
    _require(settings, weights)
    config = {"model_cfg": model_config(settings), "preprocess_cfg": _preprocessing(settings)}
    untrained = {**config["model_cfg"]["text_cfg"], "hf_model_pretrained": False}
    try:
        network = open_clip.CustomTextCLIP(**{**config["model_cfg"], "text_cfg": untrained})
        tokenizer = open_clip.tokenizer.HFTokenizer(str(settings.words), CONTEXT_LENGTH)
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except encoder.UNREADABLE as error:
        raise MedlabelError(
            f"{weights.name} with {settings.words}: cannot be loaded "
            f"({encoder.one_line(error)[:200]})."
        ) from error
    clip_folders.fill(network, renamed(content.get("state_dict", content)), weights)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    encoder.save(network, config, folder, {"model": settings.model, "pretrained": weights.name})


def model_config(settings: Published) -> dict[str, Any]:
    """Return open_clip's ``model_cfg``.

    Raises
    ------
    MedlabelError
        When open_clip does not know the image tower.
    """
    import open_clip

    known = open_clip.get_model_config(settings.model)
    if known is None:
        raise MedlabelError(
            f"model: {settings.model!r} given, which open_clip {encoder.open_clip_version()} does "
            f"not know; UniMed-CLIP has ViT-B-16-quickgelu and ViT-L-14-336-quickgelu."
        )
    return {
        **known,
        "text_cfg": {
            "hf_model_name": settings.words,
            "hf_tokenizer_name": settings.words,
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "hf_proj_type": "mlp",
            "context_length": CONTEXT_LENGTH,
        },
    }


def renamed(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return UniMed-CLIP's weights under open_clip's names."""
    plain = {name.removeprefix(PARALLEL): value for name, value in given.items()}
    return {
        OURS + name.removeprefix(TEXT_TOWER) if name.startswith(TEXT_TOWER) else name: value
        for name, value in plain.items()
        if not name.endswith(COUNTER)
    }


def _require(settings: Published, weights: Path) -> None:
    if not weights.is_file():
        raise MedlabelError(
            f"pretrained: {settings.pretrained} given, which is no file; download UniMed-CLIP's "
            f"weights from the links of its repository, mbzuai-oryx/UniMed-CLIP."
        )
    if importlib.util.find_spec("transformers") is None:
        raise MedlabelError(
            f"words: {settings.words} is read by the package transformers, which is not installed: "
            f"run `pip install 'medlabel[hub]'`."
        )


def _preprocessing(settings: Published) -> dict[str, Any]:
    """Return open_clip's own preprocessing: that of OpenAI's models, which UniMed-CLIP has kept."""
    import open_clip
    from open_clip.transform import PreprocessCfg

    edge = open_clip.get_model_config(settings.model)["vision_cfg"]["image_size"]
    found = asdict(PreprocessCfg(size=(edge, edge)))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
