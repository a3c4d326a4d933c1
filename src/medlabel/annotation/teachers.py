"""The encoder that `medlabel label` uses: the default one, or any that is named."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medlabel import files, fingerprint, layout, params
from medlabel.annotation import places
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.teacher import clip_folders, encoder, openai_archive, published

logger = logging.getLogger("medlabel")

DEFAULT = "locked"  # of params.yaml
TRANSFORMERS = "transformers:"


def find(given: str | None, device: str, threads: int) -> Path:
    """Return the folder of an encoder, which is made or fetched if it is not there yet.

    Parameters
    ----------
    given
        A folder, a file in one, ``MODEL:TAG`` or ``MODEL:FILE`` of open_clip, ``hf-hub:ORG/NAME``
        or ``ORG/NAME``; a folder in the layout of transformers, or ``transformers:ORG/NAME``;
        None is the default teacher.
    device, threads
        As for `medlabel.compute.prepare`, for the default teacher.

    Raises
    ------
    MedlabelError
        When there is no such encoder.
    """
    if given is None:
        return default(device, threads)
    path = Path(given)
    if given.startswith(TRANSFORMERS):
        return _converted(given.removeprefix(TRANSFORMERS), given)
    if path.is_dir():
        return _converted(given, _weights_in(path)) if clip_folders.is_one(path) else path
    if path.is_file():
        if not (path.parent / encoder.CONFIG).is_file():
            raise MedlabelError(
                f"{path}: expected a file in an encoder's folder, with {encoder.CONFIG} beside it; "
                f"of weights alone give MODEL:FILE, such as ViT-B-32:{path.name}."
            )
        return path.parent
    if path.is_absolute() or given.startswith("."):
        raise MedlabelError(
            f"{given}: no such folder or file; leave --encoder out for the default teacher."
        )
    return _adopted(given)


def _adopted(given: str) -> Path:
    model, _, pretrained = given.partition(":")
    if given.startswith(published.HUB) or ("/" in given and not pretrained):
        model, pretrained = published.HUB + given.removeprefix(published.HUB), ""
    of_openai = openai_archive.is_one(Path(pretrained))
    settings = _settings("openai" if of_openai else "open_clip", model, pretrained or None)
    folder = places.cache() / "encoders" / _name(model, settings.model_dump(mode="json"))
    if not (folder / encoder.CONFIG).is_file():
        importlib.import_module(f"medlabel.{settings.module}").adopt(settings, folder)
    return folder


def _converted(model: str, known_by: Any) -> Path:
    """Return the encoder that a CLIP in the layout of transformers becomes, made once."""
    folder = places.cache() / "encoders" / _name(Path(model).resolve().name, known_by)
    if not (folder / encoder.CONFIG).is_file():
        clip_folders.adopt(_settings("transformers", model, None), folder)
    return folder


def _settings(kind: str, model: str, pretrained: str | None) -> params.Published:
    return params.Published.model_validate(
        {
            "kind": kind,
            "batch_size": 64,
            "threads": 1,
            "precision": "auto",
            "runtime": "openvino",
            "model": model,
            "pretrained": pretrained,
        }
    )


def _weights_in(folder: Path) -> dict[str, str]:
    """Return the checksums of what decides on a CLIP, so that an altered one is made again."""
    names = (clip_folders.CONFIG, clip_folders.PREPROCESSING, *clip_folders.WEIGHTS)
    return {name: files.digest(folder / name) for name in names if (folder / name).is_file()}


def _name(stem: str, content: Any) -> str:
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return "".join(one if one.isalnum() or one in "-_" else "-" for one in stem) + f"-{key}"


def default(device: str, threads: int) -> Path:
    """Return the folder of the default teacher; on first use it is made, in minutes.

    Its name tells all that decides on it: the parameters, the code and the tower's weights.
    """
    from medlabel.teacher import towers

    found = params.read([places.parameters()])
    part = found.encoders[DEFAULT]
    if not isinstance(part, params.Locked) or part.tower.source != "package":
        raise MedlabelError(
            f"encoders.{DEFAULT}: kind {part.kind} given; locked, its tower from a package, "
            f"expected."
        )
    settings = part.model_copy(update={"pretrainings": 1})
    content = {
        "settings": settings.model_dump(mode="json"),
        "phantoms": found.phantoms.model_dump(mode="json"),
        "seed": found.seed,
        "tower": asdict(towers.PACKAGES[settings.tower.model]),
        "code": fingerprint.of("teacher.heads", "data.phantoms"),
    }
    folder = places.cache() / "encoders" / _name("default", content)
    if not (folder / encoder.CONFIG).is_file():
        logger.info("first use: the default teacher is made once, in %s", folder)
        _make(found, settings, folder, device, threads)
    return folder


def _make(
    found: params.Params, settings: params.Locked, folder: Path, device: str, threads: int
) -> None:
    from medlabel.data import phantoms
    from medlabel.teacher import heads, sources

    with _drawings(folder) as place:
        names = layout.Layout(str(place), str(place))
        drawn = found.phantoms_of(settings)
        phantoms.write_all(
            [
                (
                    kind,
                    Path(names.phantoms(kind, size)),
                    Path(names.captions(kind, size)),
                    _needed(found.phantoms, settings, kind),
                    found.phantoms.model_copy(update={"size": size}),
                )
                for kind, size in drawn
            ],
            found.seed,
            threads,
        )
        heads.train(
            sources=[
                sources.Source(*one, Path(names.phantoms(*one)), Path(names.captions(*one)))
                for one in drawn
            ],
            folders={0: folder},
            settings=settings,
            seed=found.seed,
            device=device,
            threads=threads,
            cache=place / "features",
        )


def _needed(drawn: params.Phantoms, settings: params.Locked, kind: str) -> params.Counts:
    """Return how many images of a kind the heads look at: none of the test split."""
    counts = drawn.volumes if catalogue.is_volumetric(kind) else drawn.counts
    return counts.model_copy(update={"train": min(counts.train, settings.phantoms), "test": 1})


@contextmanager
def _drawings(folder: Path) -> Iterator[Path]:
    """Give a folder for what is needed only until the teacher is made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".drawings-", dir=folder.parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
