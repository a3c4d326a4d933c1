"""Encoders: a folder each, in open_clip's own layout, with a record of where the weights come from.

A folder holds `open_clip_config.json`, `open_clip_model.safetensors` and `provenance.json`, and
open_clip loads it as ``local-dir:<folder>``.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import logging
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.teacher import locked, wordvectors
from medlabel.teacher.tower import Preprocessing

if TYPE_CHECKING:
    import torch

    from medlabel.params import Published

logger = logging.getLogger("medlabel")

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
PROVENANCE = "provenance.json"
MADE_BY = "pretrain` or `medlabel adopt"

HUB = "hf-hub:"
FOLDER = "local-dir:"
SECONDS_TO_ANSWER = 10.0
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
        entry = self.config["preprocess_cfg"]
        height, width = _pair(entry["size"])
        return Preprocessing(
            size=(height, width),
            mean=tuple(entry["mean"]),
            std=tuple(entry["std"]),
            interpolation=entry["interpolation"],
            resize_mode=entry["resize_mode"],
            fill=entry["fill_color"],
        )


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
    model: Any = _build(name, None, str(folder)).to(device).eval()
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
        Where the weights come from; their checksum and open_clip's version are added.
    """
    from safetensors.torch import save_file

    (folder / CONFIG).unlink(missing_ok=True)
    tensors = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    with files.replacing(folder / WEIGHTS) as partial:
        save_file(tensors, partial)
    record = {
        **provenance,
        "weights_sha256": files.digest(folder / WEIGHTS),
        "open_clip": open_clip_version(),
    }
    files.write_json(folder / PROVENANCE, record)
    files.write_json(folder / CONFIG, config)


def open_clip_version() -> str:
    """Version of open_clip, found without importing it (which takes seconds)."""
    return importlib.metadata.version("open_clip_torch")


def adopt(settings: Published, folder: Path) -> None:
    """Bring a published open_clip model into an encoder's folder.

    Parameters
    ----------
    settings
        `model` is a model's name, ``hf-hub:<org>/<repository>`` or ``local-dir:<folder>``;
        `pretrained` is a tag or a file of weights for a name, and null otherwise.
    folder
        Where to write.

    Raises
    ------
    MedlabelError
        When the model or the tag is unknown, the activation is not the one that the weights were
        trained with, the hub does not answer, or the weights do not fit.

    Notes
    -----
    OpenAI's weights were trained with QuickGELU, x * sigmoid(1.702 x). In a network with the exact
    GELU they load without complaint and label worse, so the combination is refused.
    """
    model, config, source = published(settings)
    _save_tokenizer(settings.model, folder)
    save(model, config, folder, {"model": source.model, "pretrained": source.label})


def published(settings: Published) -> tuple[torch.nn.Module, dict[str, Any], Source]:
    """Return a published model, its configuration and its source; raises as `adopt` does."""
    source = _source_of(settings)
    if not source.model.startswith(HUB):
        _require_transformers(settings.model)
    if source.hub:
        _download(settings, source.tag)
    model = _build(settings.model, source.pretrained, source.label)
    config = {"model_cfg": _model_config(settings.model), "preprocess_cfg": _plain(model)}
    return model, config, source


@dataclass(frozen=True)
class Source:
    """Where a published model's weights come from; labels hold no path of this machine."""

    model: str
    pretrained: str | None
    label: str | None
    tag: Mapping[str, Any] | None
    hub: bool


def _source_of(settings: Published) -> Source:
    if settings.model.startswith((HUB, FOLDER)):
        if settings.pretrained is not None:
            raise MedlabelError(
                f"pretrained: {settings.pretrained!r} given; {settings.model} holds its own "
                f"weights: set it to null."
            )
        remote = settings.model.startswith(HUB)
        model = settings.model if remote else FOLDER + Path(settings.model[len(FOLDER) :]).name
        return Source(model, None, None, None, hub=remote)
    _check_model(settings.model)
    tag = _tag(settings)
    label = settings.pretrained if tag else Path(str(settings.pretrained)).name
    return Source(settings.model, settings.pretrained, label, tag, hub=tag is not None)


def _check_model(name: str) -> None:
    import open_clip

    known = open_clip.list_models()
    if name in known:
        return
    folded = {entry.lower(): entry for entry in known}
    nearest = difflib.get_close_matches(name.lower(), folded, n=4, cutoff=0.3)
    raise MedlabelError(
        f"model: {name!r} given, which open_clip {open_clip_version()} does not know; "
        f"nearest names: {', '.join(folded[entry] for entry in nearest) or 'none'}. "
        f"Allowed too: {HUB}<org>/<repository> and {FOLDER}<folder>."
    )


def _tag(settings: Published) -> Mapping[str, Any] | None:
    """Return what open_clip knows of the tag, or None where `pretrained` is a file."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(settings.model)
    if settings.pretrained in tags:
        entry: dict[str, Any] = open_clip.get_pretrained_cfg(settings.model, settings.pretrained)
        _check_activation(settings, bool(entry.get("quick_gelu", False)))
        return entry
    if settings.pretrained and Path(settings.pretrained).is_file():
        return None
    raise MedlabelError(
        f"pretrained: {settings.pretrained!r} given, which is no file and no tag of "
        f"{settings.model}; its tags: {', '.join(tags) or 'none'}."
    )


def _check_activation(settings: Published, trained_with_quick_gelu: bool) -> None:
    import open_clip

    quick = bool(open_clip.get_model_config(settings.model).get("quick_gelu", False))
    if quick == trained_with_quick_gelu:
        return
    plain = settings.model.removesuffix("-quickgelu")
    right = f"{plain}-quickgelu" if trained_with_quick_gelu else plain
    raise MedlabelError(
        f"model: {settings.model!r} given, but the weights {settings.pretrained!r} were "
        f"trained {'with' if trained_with_quick_gelu else 'without'} QuickGELU; use {right!r}."
    )


def _download(settings: Published, tag: Mapping[str, Any] | None) -> None:
    """Fill the hub's cache, so that whatever fails later has nothing to do with the network."""
    import open_clip
    from open_clip.pretrained import download_pretrained_from_hf

    _heed_missing_network()
    address = tag.get("hf_hub") or tag.get("url") if tag else settings.model[len(HUB) :]
    try:
        if tag:
            open_clip.download_pretrained(dict(tag))
        else:
            download_pretrained_from_hf(str(address), filename=CONFIG)
            _require_transformers(settings.model)
            download_pretrained_from_hf(str(address))
    except (OSError, RuntimeError) as error:
        raise MedlabelError(
            f"model: the weights of {settings.model} could not be downloaded: tried "
            f"{_endpoint()} for {address} ({_one_line(error)}). Check the network and the name, or "
            f"set pretrained to a local file of weights, or model to "
            f"{FOLDER}<folder>; `make demo` needs no download."
        ) from error


def _require_transformers(name: str) -> None:
    """Ask for the package that some text towers need before their weights are downloaded."""
    try:
        text = _model_config(name).get("text_cfg", {})
    except OSError:  # a folder that is not there, which `_build` tells
        return
    needed = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    if needed and importlib.util.find_spec("transformers") is None:
        raise MedlabelError(
            f"model: {name} reads words with {needed} of the package transformers, which is not "
            f"installed: run `pip install 'medlabel[hub]'`, or use a model whose text tower is "
            f"open_clip's own."
        )


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _heed_missing_network() -> None:
    """Let the hub's client use its cache at once where no network answers.

    It would retry each file for half a minute before it looks into the cache. Its own switch,
    HF_HUB_OFFLINE, is read only while it is imported.
    """
    import requests
    from huggingface_hub import constants

    try:
        requests.head(_endpoint(), timeout=SECONDS_TO_ANSWER)
    except requests.RequestException:
        logger.warning("%s does not answer: looking for the files in its cache", _endpoint())
        constants.HF_HUB_OFFLINE = True


def _build(name: str, pretrained: str | None, label: str | None) -> torch.nn.Module:
    import open_clip
    from safetensors import SafetensorError

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
        return _one_line(error)
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _model_config(name: str) -> Any:
    import open_clip

    return open_clip.get_model_config(name)


def _plain(model: torch.nn.Module) -> dict[str, Any]:
    """Return the complete preprocessing that open_clip attached to a network, as JSON has it."""
    import open_clip

    found: dict[str, Any] = open_clip.get_model_preprocess_cfg(model)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def _save_tokenizer(name: str, folder: Path) -> None:
    """Keep the files of a tokenizer that does not come with open_clip itself."""
    import open_clip

    tokenizer = open_clip.get_tokenizer(name)
    if hasattr(tokenizer, "save_pretrained"):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(folder)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)
