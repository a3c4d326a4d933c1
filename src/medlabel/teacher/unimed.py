"""UniMed-CLIP (Khattak et al. 2024), whose weights a changed open_clip wrote, brought into our own.

Its image tower is one of open_clip's; its text tower is BERT, whose first token passes two linear
maps. The present open_clip builds both, and calls them otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel.errors import MedlabelError
from medlabel.teacher import clip_folders, encoder, hub, published

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
    import torch

    weights = Path(str(settings.pretrained))
    if not weights.is_file():
        raise MedlabelError(
            f"pretrained: {settings.pretrained} given, which is no file; download UniMed-CLIP's "
            f"weights from the links of its repository, mbzuai-oryx/UniMed-CLIP."
        )
    model_cfg = model_config(settings)
    edge = model_cfg["vision_cfg"]["image_size"]
    config = {
        "model_cfg": model_cfg,
        "preprocess_cfg": published.preprocessing({"size": (edge, edge)}),  # OpenAI's, kept
    }
    network, tokenizer = hub.with_words(model_cfg)
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except encoder.UNREADABLE as error:
        raise MedlabelError(
            f"{weights.name}: cannot be read ({encoder.one_line(error)[:200]})."
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
