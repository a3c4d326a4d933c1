"""Label a folder of one's own images from text alone."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from medlabel import compute, files
from medlabel.annotation.images import Found, UnreadableError, find_images, read_pages
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.labels import zeroshot
from medlabel.params import Runtime
from medlabel.progress import track
from medlabel.teacher import encoder, runtime, tower, words

logger = logging.getLogger("medlabel")

DIGITS = 6
NAMED = 10  # unreadable files that are told one by one; the table has all of them
PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")


@dataclass
class _Row:
    """One image of the table; without a label it has no chances, and a note that says why."""

    file: str
    page: int | None
    note: str
    chances: list[float] | None = None


def label(
    images: Path,
    folder: Path,
    target: Path,
    classes: Mapping[str, Sequence[str]],
    batch_size: int,
    precision: str,
    device: str,
    threads: int,
    force: bool,
) -> None:
    """Label every image in a folder and its subfolders.

    Parameters
    ----------
    images
        Folder of images of any size; files that are none are counted and left out.
    folder
        Of the encoder.
    target
        CSV to write, in the order of the files' names: file (relative to `images`; bytes that are
        no text are escaped), page (in stacks), label, ``p_<class>`` (the probability of each
        class) and note: why an image has no label. With `force` one that exists is replaced.
    classes
        What to say of each class.
    batch_size, precision, device, threads
        Images a forward pass, its arithmetic (auto, fp32 or bf16), and as `compute.prepare`.

    Raises
    ------
    MedlabelError
        Before the first image is read: when the target may not be written or exists, when the
        folder holds no image, when a sentence is too long, or when classes cannot be told apart.
        After it: when not one image can be read. Nothing is written then.
    """
    _check(target, classes, precision, device, force)
    found = find_images(images)
    loaded = encoder.load(folder, compute.prepare(device, threads))
    described = words.class_embeddings(loaded, list(classes.values()))
    zeroshot.require_distinct(described, list(classes))
    unknown = words.check(loaded, classes)
    if loaded.manifest.trained_on == "phantoms":
        logger.warning(
            "%s was trained on drawn phantoms alone: of real images its labels say little", folder
        )
    rows = _labelled(images, found, loaded, described, batch_size, precision, threads)
    _tell_unreadable(images, rows)
    _write(target, rows, list(classes))
    _tell(target, rows, found, list(classes), unknown)


def _check(
    target: Path, classes: Mapping[str, Sequence[str]], precision: str, device: str, force: bool
) -> None:
    for name, given, allowed in (
        ("precision", precision, PRECISIONS),
        ("device", device, DEVICES),
    ):
        if given not in allowed:
            raise MedlabelError(f"{name}: {given!r} given, one of {', '.join(allowed)} expected.")
    if len(classes) < 2:
        raise MedlabelError(
            f"classes: {', '.join(classes) or 'none'} given, at least two different ones expected."
        )
    files.require_writable(target)
    if target.exists() and not force:
        raise MedlabelError(
            f"{target}: exists already; name another file, or give --force to replace it."
        )


def _labelled(
    folder: Path,
    found: Found,
    loaded: encoder.Encoder,
    described: Vectors,
    batch_size: int,
    precision: str,
    threads: int,
) -> list[_Row]:
    """Read and label all images; those that cannot be read get a row without a label."""
    arithmetic = compute.choose_precision(precision, loaded.device)  # type: ignore[arg-type]
    engine: Runtime = "openvino" if loaded.device.type == "cpu" else "torch"
    runners: list[runtime.Runner] = []
    rows: list[_Row] = []
    waiting: list[tuple[_Row, torch.Tensor]] = []

    def encode() -> None:
        batch = torch.cat([one for _, one in waiting])
        if not runners:
            runners.append(
                runtime.compiled(
                    runtime.ImageSide(loaded.model), batch, engine, arithmetic, threads
                )
            )
        embeddings = runners[0].embed(batch)
        chances = zeroshot.probabilities(embeddings, described, loaded.logit_scale)
        for (row, _), one in zip(waiting, chances, strict=True):
            row.chances = one.tolist()
        waiting.clear()

    for path in track(found.paths, f"label {len(found.paths)} files", len(found.paths)):
        name = path.relative_to(folder).as_posix()
        try:
            for page in read_pages(path):
                rows.append(_Row(name, page.number, page.note))
                one = tower.preprocess(page.pixels[None], loaded.manifest.preprocessing)
                waiting.append((rows[-1], one))
                if len(waiting) == batch_size:
                    encode()
        except UnreadableError as error:
            rows.append(_Row(name, None, str(error)))
    if waiting:
        encode()
    return rows


def _tell_unreadable(folder: Path, rows: Sequence[_Row]) -> None:
    bad = [row for row in rows if row.chances is None]
    if len(bad) == len(rows):
        raise MedlabelError(
            f"{folder}: not one of {len(bad)} images could be read; {bad[0].file}: {bad[0].note}."
        )
    for row in bad[:NAMED]:
        logger.warning("%s: %s", row.file, row.note)
    if len(bad) > NAMED:
        logger.warning("%d more files could not be read: see the column note", len(bad) - NAMED)


def _write(target: Path, rows: Sequence[_Row], classes: Sequence[str]) -> None:
    # File names need not be text: what is none of it is written as \udcXX.
    with (
        files.replacing(target) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["file", "page", "label", *(f"p_{name}" for name in classes), "note"])
        for row in rows:
            chances = row.chances or []
            shown = [f"{chance:.{DIGITS}f}" for chance in chances] or [""] * len(classes)
            table.writerow([row.file, row.page, _name(row, classes), *shown, row.note])


def _name(row: _Row, classes: Sequence[str]) -> str:
    """Return the most probable class, of equal ones the first."""
    return classes[row.chances.index(max(row.chances))] if row.chances else ""


def _tell(
    target: Path,
    rows: Sequence[_Row],
    found: Found,
    classes: Sequence[str],
    unknown: Mapping[str, str],
) -> None:
    counts = Counter(_name(row, classes) for row in rows)
    parts = [f"{len(rows) - counts['']} images labelled"]
    parts += [", ".join(f"{counts[name]} {name}" for name in classes)]
    if counts[""]:
        parts.append(f"{counts['']} unreadable, told in the column note")
    if found.left_out:
        parts.append(f"left out: {found.told()}")
    if unknown:
        parts.append(
            f"guessed, because the teacher learnt none of their words: {', '.join(unknown)}"
        )
    logger.info("%s; table: %s", "; ".join(parts), target)
