"""Encoders: a folder each, in open_clip's own layout, with a record of where the weights come from.

A folder holds `open_clip_config.json`, `open_clip_model.safetensors` and `provenance.json`, and
open_clip loads it as ``local-dir:<folder>``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import pickle
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.teacher import locked, probe, wordvectors
from medlabel.teacher.tower import Preprocessing

if TYPE_CHECKING:
    import torch


logger = logging.getLogger("medlabel")

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
PROVENANCE = "provenance.json"
MADE_BY = "pretrain` or `medlabel adopt"

FOLDER = "local-dir:"
LAYERS_NAMED = 3
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError)


@dataclass(frozen=True)
class Manifest:
    """What is known of an encoder before its network is built.

    Attributes
    ----------
    config
        open_clip's configuration: ``model_cfg`` and ``preprocess_cfg``.
    trained_on
        What its own record says, such as ``"phantoms"``; None where it says nothing.
    vocabulary
        The words of the captions that it learnt from, in small letters; None where its record has
        none.
    """

    folder: Path
    config: dict[str, Any]
    weights_sha256: str
    trained_on: str | None
    vocabulary: frozenset[str] | None

    @property
    def dimension(self) -> int:
        """Length of the embeddings."""
        return int(self.config["model_cfg"]["embed_dim"])

    @property
    def preprocessing(self) -> Preprocessing:
        """What the image tower expects."""
        return Preprocessing.of(self.config["preprocess_cfg"])


@dataclass(frozen=True)
class Encoder:
    """An image tower and a text tower that share one space of embeddings.

    Attributes
    ----------
    manifest
        Folder, configuration and checksum.
    model
        open_clip's network in evaluation mode, in float32, on `device`.
    tokenizer
        Turns n sentences into an int64 tensor of shape (n, context length).
    context_length
        Tokens of a sentence that the text tower reads, start and end included.
    logit_scale
        Factor on cosines before softmax that the network was trained with.
    device
        Where the network lies.
    """

    manifest: Manifest
    model: Any
    tokenizer: Callable[..., torch.Tensor]
    context_length: int
    logit_scale: float
    device: torch.device


def inspect(folder: Path) -> Manifest:
    """Read an encoder's configuration and check that its weights are those that were saved.

    Raises
    ------
    MedlabelError
        When the folder or a file is missing, or the weights differ from the recorded checksum.
    """
    config = files.read_json(folder / CONFIG, MADE_BY)
    provenance = files.read_json(folder / PROVENANCE, MADE_BY)
    weights = files.require(folder / WEIGHTS, MADE_BY)
    found = files.digest(weights)
    if found != provenance["weights_sha256"]:
        raise MedlabelError(
            f"{weights}: expected sha256 {provenance['weights_sha256']} as in {PROVENANCE}, found "
            f"{found}; the file was altered: delete {folder} and run `medlabel {MADE_BY}` again."
        )
    learnt = provenance.get("vocabulary")
    return Manifest(
        folder,
        config,
        found,
        provenance.get("trained_on"),
        None if learnt is None else frozenset(learnt),
    )


def load(folder: Path, device: torch.device) -> Encoder:
    """Load an encoder onto a device, in float32.

    Raises
    ------
    MedlabelError
        When the folder is incomplete or altered, or its weights do not fit its configuration.
    """
    manifest = inspect(folder)
    if locked.CONFIG_KEY in manifest.config:
        return _load_locked(manifest, device)
    import open_clip

    name = f"{FOLDER}{folder}"
    model: Any = build(name, None, str(folder)).to(device).eval()
    tokenizer = open_clip.get_tokenizer(name)
    return Encoder(
        manifest=manifest,
        model=model,
        tokenizer=tokenizer,
        context_length=int(tokenizer.context_length),
        logit_scale=float(model.logit_scale.detach().exp().squeeze()),
        device=device,
    )


def _load_locked(manifest: Manifest, device: torch.device) -> Encoder:
    from safetensors.torch import load_file

    try:
        model = locked.build(manifest.config, load_file(manifest.folder / WEIGHTS))
    except (RuntimeError, KeyError, ValueError) as error:
        raise MedlabelError(f"{manifest.folder}: cannot be loaded: {_misfit(error)}.") from error
    return Encoder(
        manifest=manifest,
        model=model.to(device).eval(),
        tokenizer=wordvectors.Tokenizer(bytes(model.tokenizer.numpy()), locked.CONTEXT_LENGTH),
        context_length=locked.CONTEXT_LENGTH,
        logit_scale=float(model.logit_scale.detach().exp()),
        device=device,
    )


def save(
    model: torch.nn.Module, config: dict[str, Any], folder: Path, provenance: Mapping[str, Any]
) -> None:
    """Write an encoder's folder; the configuration, without which nothing loads, comes last.

    Parameters
    ----------
    model
        An open_clip network.
    config
        ``model_cfg`` and the complete ``preprocess_cfg``.
    folder
        Where to write; an encoder that is there already is replaced.
    provenance
        Where the weights come from; their checksum, open_clip's version and a probe are added.
    """
    from safetensors.torch import save_file

    (folder / CONFIG).unlink(missing_ok=True)
    tensors = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    with files.replacing(folder / WEIGHTS) as partial:
        save_file(tensors, partial)
    record = {
        **provenance,
        "probe": probe.of(model, config),
        "weights_sha256": files.digest(folder / WEIGHTS),
        "open_clip": open_clip_version(),
    }
    files.write_json(folder / PROVENANCE, record)
    files.write_json(folder / CONFIG, config)


def is_locked(folder: Path) -> bool:
    """Say whether a folder holds an encoder of kind locked."""
    config = folder / CONFIG
    return config.is_file() and locked.CONFIG_KEY in files.read_json(config, MADE_BY)


def copy(source: Path, folder: Path) -> None:
    """Copy an encoder with its record; the configuration, without which nothing loads, is last."""
    (folder / CONFIG).unlink(missing_ok=True)
    for name in (WEIGHTS, PROVENANCE, CONFIG):
        with files.replacing(folder / name) as partial:
            shutil.copyfile(source / name, partial)


def move(source: Path, folder: Path) -> None:
    """Move an encoder with its record; the configuration, without which nothing loads, is last."""
    (folder / CONFIG).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, PROVENANCE, CONFIG):
        shutil.move(source / name, folder / name)


def open_clip_version() -> str:
    """Version of open_clip, found without importing it (which takes seconds)."""
    return importlib.metadata.version("open_clip_torch")


def build(name: str, pretrained: str | None, label: str | None) -> torch.nn.Module:
    """Build one of open_clip's models with its weights.

    Parameters
    ----------
    name, pretrained
        As open_clip has them.
    label
        What messages call the weights.

    Raises
    ------
    MedlabelError
        When it cannot be loaded; misfits name the layers.
    """
    import open_clip
    from safetensors import SafetensorError

    import medlabel.teacher.five_blocks  # an image tower that folders may name
    import medlabel.teacher.three_layers  # noqa: F401  # and what a text tower ends with

    where = f"{name} ({label})" if label and label not in name else name
    try:
        model: torch.nn.Module = open_clip.create_model_from_pretrained(
            name, pretrained, return_transform=False
        )
    except (*UNREADABLE, SafetensorError) as error:
        raise MedlabelError(f"{where}: open_clip cannot load it: {_misfit(error)}.") from error
    return model


def _misfit(error: Exception) -> str:
    """Say in one line which layers do not fit, or else what open_clip said."""
    text = str(error)
    if "loading state_dict" not in text:
        return one_line(error)
    kinds = {
        "of another shape": re.findall(r"size mismatch for ([\w.]+)", text),
        "missing": _quoted(text, "Missing"),
        "unexpected": _quoted(text, "Unexpected"),
    }
    parts = [f"{len(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
    return f"the weights are of another architecture: layers {', '.join(parts)}"


def _quoted(text: str, kind: str) -> list[str]:
    line = re.search(rf"{kind} key\(s\) in state_dict: (.*)", text)
    return re.findall(r'"([^"]+)"', line.group(1)) if line else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:LAYERS_NAMED]) + (", …" if len(names) > LAYERS_NAMED else "")


def one_line(error: Exception) -> str:
    """Return what an error says in one line, without its full stop."""
    return " ".join(str(error).split()).rstrip(".")
