"""CLIP in the file that OpenAI itself publishes, a TorchScript archive, made an encoder.

The archive holds a whole network in half precision, its weights under the names that open_clip has
for them. They alone are read: no code of the network is run, and nothing is unpickled but tensors.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel.errors import MedlabelError
from medlabel.teacher import clip_folders, encoder, published

if TYPE_CHECKING:
    import torch

    from medlabel.params import Published

TAG = "openai"
MARK = "constants.pkl"  # a file that every TorchScript archive has, and no other file of weights
FACTS = ("input_resolution", "context_length", "vocab_size")  # numbers among the weights


def is_one(path: Path) -> bool:
    """Say whether a file is a TorchScript archive."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(Path(name).name == MARK for name in archive.namelist())


def adopt(settings: Published, folder: Path) -> None:
    """Bring OpenAI's own file into an encoder's folder.

    Parameters
    ----------
    settings
        `model` is open_clip's name of the network, `pretrained` the file, such as ``ViT-L-14.pt``.
    folder
        Where to write.

    Raises
    ------
    MedlabelError
        When the network is none of OpenAI's, the file is missing or no TorchScript archive, or its
        weights are of another network.
    """
    import open_clip

    config = _config(settings.model)
    path = Path(str(settings.pretrained))
    weights = _weights(path)
    network = open_clip.CLIP(**config["model_cfg"])
    clip_folders.fill(network, weights, path)
    encoder.save(network, config, folder, {"model": settings.model, "pretrained": path.name})


def _config(name: str) -> dict[str, Any]:
    """Return open_clip's configuration of a network with QuickGELU, which OpenAI's have."""
    import open_clip

    names = open_clip.list_pretrained_models_by_tag(TAG)
    known = {one: open_clip.get_model_config(one) for one in names}
    allowed = [one for one, config in known.items() if config.get("quick_gelu")]
    if name not in allowed:
        raise MedlabelError(
            f"model: {name!r} given, one of OpenAI's networks expected: {', '.join(allowed)}."
        )
    model_cfg = known[name]
    edge = model_cfg["vision_cfg"]["image_size"]
    return {
        "model_cfg": model_cfg,
        "preprocess_cfg": published.preprocessing({"size": (edge, edge)}),  # OpenAI's, kept
    }


def _weights(path: Path) -> dict[str, torch.Tensor]:
    import torch

    if not is_one(path):
        raise MedlabelError(
            f"pretrained: {path} given, which is not OpenAI's own file, a TorchScript archive such "
            f"as ViT-L-14.pt; kind: open_clip takes other files of weights."
        )
    try:
        content = torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    except encoder.UNREADABLE as error:
        raise MedlabelError(
            f"{path}: cannot be read ({encoder.one_line(error)[:200]}); download it again."
        ) from error
    return {name: value for name, value in content.items() if name not in FACTS}
