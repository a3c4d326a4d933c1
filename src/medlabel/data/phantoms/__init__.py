"""Phantoms: medical images drawn by procedures, with captions, in MedMNIST's layout.

They show no patient and stand for no measurement: they let a vision-language model be trained,
and every step of the pipeline be tried, where no data can be downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medlabel import files, progress
from medlabel.data.phantoms import (
    abdomen,
    brain,
    chest,
    fundus,
    microscopy,
    photography,
    radiography,
    scanner,
    tomography,
    ultrasound,
    vessels,
)
from medlabel.data.phantoms.canvas import Array, Plane, average_down, oversampling, plane
from medlabel.data.phantoms.captions import caption
from medlabel.randomness import stream

if TYPE_CHECKING:
    from medlabel.params import Counts, Phantoms

__all__ = ["FINDINGS", "Drawing", "draw", "write", "write_all"]

Renderer: TypeAlias = Callable[[np.random.Generator, str, int], Array]


@dataclass(frozen=True)
class Drawing:
    """Images of one kind with what they show.

    Attributes
    ----------
    images
        uint8 (n, size, size), (n, size, size, 3) in colour, (n, size, size, size) in 3-D.
    labels
        uint8 (n, 1): index into `FINDINGS` of the kind.
    findings
        What each image shows, in words; finer than its label where a real set merges findings.
    captions
        A sentence for each image.
    styles
        The style of each caption, a key of `captions.STYLES`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    findings: list[str]
    captions: list[str]
    styles: list[str]


@dataclass(frozen=True)
class _Kind:
    """How a kind is drawn.

    Attributes
    ----------
    render
        Draws one image of a finding at a size: (1, size, size), (3, size, size) or
        (1, size, size, size).
    labels
        Meaning of each label.
    findings
        What may be drawn, and the label it has.
    paired
        Whether each subject is drawn with every finding in turn. What tells findings apart is then
        not blurred by how the subjects differ that happened to have them.
    """

    render: Callable[[np.random.Generator, str, int], Array]
    labels: tuple[str, ...]
    findings: Mapping[str, int]
    paired: bool = False


def _flat(artist: Callable[[np.random.Generator, str, Plane], Array]) -> Renderer:
    """Let an artist draw finely, then average down to the size asked for."""

    def render(rng: np.random.Generator, finding: str, size: int) -> Array:
        factor = oversampling(size)
        image = average_down(artist(rng, finding, plane(size * factor)), factor)
        return image if image.ndim == 3 else image[np.newaxis]

    return render


def _one_label_each(findings: Iterable[str]) -> dict[str, int]:
    return {finding: label for label, finding in enumerate(findings)}


def _kind(render: Renderer, *findings: str, paired: bool = False) -> _Kind:
    return _Kind(render, findings, _one_label_each(findings), paired)


_VESSELS = "phantom_vessel3d"
# Labels have the order of the real set's labels, where there is a real set.
_KINDS = {
    "phantom_chest": _kind(_flat(chest.chest), "normal", "pneumonia", paired=True),
    "phantom_breast": _Kind(
        _flat(ultrasound.breast),
        ("malignant", "normal, benign"),
        {"malignant mass": 0, "benign mass": 1, "normal": 1},
        paired=True,
    ),
    "phantom_brain": _kind(_flat(brain.brain), "normal", "tumour"),
    "phantom_abdomen": _kind(_flat(abdomen.abdomen), "normal", "liver lesion"),
    "phantom_hand": _kind(_flat(radiography.hand), "normal", "fracture"),
    "phantom_retina": _kind(_flat(fundus.retina), *fundus.GRADES),
    "phantom_blood": _kind(_flat(microscopy.blood), *microscopy.BLOOD_CELLS),
    "phantom_skin": _kind(_flat(photography.skin), *photography.LESIONS),
    "phantom_colon": _kind(_flat(microscopy.colon), *microscopy.TISSUES),
    "phantom_oct": _kind(_flat(tomography.macula), *tomography.MACULAR_FINDINGS),
    _VESSELS: _kind(vessels.vessel, "vessel", "aneurysm"),
}

FINDINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: kind.labels for name, kind in _KINDS.items()}
)


def draw(kind: str, count: int, size: int, seed: int, purpose: str, artefacts: bool) -> Drawing:
    """Draw phantoms of one kind.

    Image `i` depends on `seed`, `kind`, `purpose` and `i` alone, so a longer series begins with
    the shorter one; its anatomy and its caption do not depend on `size`.

    Parameters
    ----------
    kind
        One of `catalogue.PHANTOMS`.
    count
        Number of images.
    size
        Edge in pixels or voxels.
    seed
        Root of the random streams.
    purpose
        Names an independent series, such as a split.
    artefacts
        Add scanner artefacts, by MONAI. Volumes of vessels are segmented after that.

    Raises
    ------
    KeyError
        When there is no such kind.
    """
    recipe = _KINDS[kind]
    transforms = scanner.artefacts(size) if artefacts else []
    choices = list(recipe.findings)
    images, findings, captions, styles = [], [], [], []
    for index in range(count):
        rng = stream(seed, "phantom", kind, purpose, index)
        if recipe.paired:
            subject, which = divmod(index, len(choices))
            finding, drawn_by = choices[which], stream(seed, "subject", kind, purpose, subject)
        else:
            finding, drawn_by = choices[rng.integers(len(choices))], rng
        style, sentence = caption(rng, kind, finding)
        image = scanner.degrade(recipe.render(drawn_by, finding, size), transforms, drawn_by)
        if kind == _VESSELS:
            image = vessels.segment(image)
        images.append(np.round(255 * image).astype(np.uint8))
        findings.append(finding)
        captions.append(sentence)
        styles.append(style)
    labels = np.array([[recipe.findings[finding]] for finding in findings], np.uint8)
    return Drawing(_channels_last(np.stack(images)), labels, findings, captions, styles)


def write(
    kind: str, target: Path, captions: Path, counts: Counts, settings: Phantoms, seed: int
) -> None:
    """Draw the three splits of one kind and write them in MedMNIST's layout.

    Parameters
    ----------
    kind
        One of `catalogue.PHANTOMS`.
    target
        The .npz: {train,val,test}_images and {train,val,test}_labels.
    captions
        A parquet table: split, row, kind, finding, style, caption.
    counts
        Images of each split.
    settings
        Size and artefacts.
    seed
        Root of the random streams.
    """
    import pandas as pd

    arrays: dict[str, NDArray[np.uint8]] = {}
    tables = []
    splits = counts.model_dump()
    for split, count in splits.items():
        drawing = draw(kind, count, settings.size, seed, split, settings.artefacts)
        arrays[f"{split}_images"] = drawing.images
        arrays[f"{split}_labels"] = drawing.labels
        columns = {
            "split": split,
            "row": np.arange(count, dtype=np.int32),
            "kind": kind,
            "finding": drawing.findings,
            "style": drawing.styles,
            "caption": drawing.captions,
        }
        tables.append(pd.DataFrame(columns))
    files.write_npz(target, arrays)
    files.write_parquet(captions, pd.concat(tables, ignore_index=True))


def write_all(
    wanted: Sequence[tuple[str, Path, Path, Counts, Phantoms]], seed: int, threads: int
) -> None:
    """Write several kinds, so many side by side.

    Parameters
    ----------
    wanted
        What `write` takes for each, but the seed: kind, archive, captions, counts, settings.
    seed
        Root of the random streams.
    threads
        Kinds drawn at a time.
    """
    from joblib import Parallel, delayed, parallel_config

    # A kind takes one thread, whatever OMP_NUM_THREADS says: images are too small to share.
    with parallel_config(backend="loky", inner_max_num_threads=1):
        drawn = Parallel(n_jobs=threads, return_as="generator_unordered")(
            delayed(write)(*one, seed) for one in wanted
        )
        for _ in progress.track(drawn, "draw phantoms", len(wanted)):
            pass


def _channels_last(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn (n, 1, ...) into (n, ...) and (n, 3, H, W) into (n, H, W, 3), contiguous."""
    if images.shape[1] == 1:
        return images[:, 0]
    return np.ascontiguousarray(np.moveaxis(images, 1, -1))
