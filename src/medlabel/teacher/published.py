"""Published open_clip models, and encoders made elsewhere, brought into the project."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, hub, verify

if TYPE_CHECKING:
    import torch

    from medlabel.params import Published

HUB = "hf-hub:"


def adopt(settings: Published, folder: Path) -> None:
    """Bring a published open_clip model, or an encoder made elsewhere, into an encoder's folder.

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
        When a folder holds an encoder of kind locked that `verify` refuses; when the model or the
        tag is unknown, the activation is not the one that the weights were
        trained with, the hub does not answer, or the weights do not fit.

    Notes
    -----
    OpenAI's weights were trained with QuickGELU, x * sigmoid(1.702 x). In a network with the exact
    GELU they load without complaint and label worse, so the combination is refused.
    """
    given = Path(settings.model.removeprefix(encoder.FOLDER))
    if settings.model.startswith(encoder.FOLDER) and encoder.is_locked(given):
        verify.verify(given)
        encoder.copy(given, folder)
        return
    model, config, source = load(settings)
    _save_tokenizer(settings.model, folder)
    encoder.save(model, config, folder, {"model": source.model, "pretrained": source.label})


def load(settings: Published) -> tuple[torch.nn.Module, dict[str, Any], Source]:
    """Return a published model, its configuration and its source; raises as `adopt` does."""
    import open_clip

    source = _source_of(settings)
    if not source.model.startswith(HUB):
        _require_transformers(settings.model)
    if source.hub:
        _download(settings, source.tag)
    model = encoder.build(settings.model, source.pretrained, source.label)
    config = {
        "model_cfg": _model_config(settings.model),
        "preprocess_cfg": preprocessing(open_clip.get_model_preprocess_cfg(model)),
    }
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
    if settings.model.startswith((HUB, encoder.FOLDER)):
        if settings.pretrained is not None:
            raise MedlabelError(
                f"pretrained: {settings.pretrained!r} given; {settings.model} holds its own "
                f"weights: set it to null."
            )
        remote = settings.model.startswith(HUB)
        model = (
            settings.model
            if remote
            else encoder.FOLDER + Path(settings.model[len(encoder.FOLDER) :]).name
        )
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
        f"model: {name!r} given, which open_clip {encoder.open_clip_version()} does not know; "
        f"nearest names: {', '.join(folded[entry] for entry in nearest) or 'none'}. "
        f"Allowed too: {HUB}<org>/<repository> and {encoder.FOLDER}<folder>."
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

    hub.heed_missing_network()
    address = tag.get("hf_hub") or tag.get("url") if tag else settings.model[len(HUB) :]
    try:
        if tag:
            open_clip.download_pretrained(dict(tag))
        else:
            download_pretrained_from_hf(str(address), filename=encoder.CONFIG)
            _require_transformers(settings.model)
            download_pretrained_from_hf(str(address))
    except (OSError, RuntimeError) as error:
        raise MedlabelError(
            f"model: the weights of {settings.model} could not be downloaded: tried "
            f"{hub.endpoint()} for {address} ({encoder.one_line(error)}). Check the network and "
            f"the name, or set pretrained to a local file of weights, or model to "
            f"{encoder.FOLDER}<folder>; `make demo` needs no download."
        ) from error


def _require_transformers(name: str) -> None:
    """Ask for the package that some text towers need before their weights are downloaded."""
    try:
        text = _model_config(name).get("text_cfg", {})
    except OSError:  # a folder that is not there, which `encoder.build` tells
        return
    if needed := text.get("hf_tokenizer_name") or text.get("hf_model_name"):
        hub.require_transformers(f"model: {name}: {needed} is read")


def _model_config(name: str) -> Any:
    import open_clip

    return open_clip.get_model_config(name)


def preprocessing(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a complete ``preprocess_cfg`` as JSON has it; what is not given is open_clip's own."""
    from open_clip.transform import PreprocessCfg

    found = asdict(PreprocessCfg(**given))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def _save_tokenizer(name: str, folder: Path) -> None:
    """Keep the files of a tokenizer that does not come with open_clip itself."""
    import open_clip

    tokenizer = open_clip.get_tokenizer(name)
    if hasattr(tokenizer, "save_pretrained"):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(folder)
