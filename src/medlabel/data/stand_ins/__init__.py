"""STAND-INS for official 2-D sets: drawn files with their names, shapes, labels and channels.

They let what takes many sets be tried where the official files are not at hand. An official set
that a phantom kind was made after is drawn as that kind; cells of the kidney (`cells`), organs
(`organs`) and chests with fourteen findings (`chests`) are simpler drawings, which differ where
their classes differ and are like the real ones in little else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from medlabel import files, progress
from medlabel.data import catalogue, phantoms
from medlabel.data.phantoms import scanner
from medlabel.data.phantoms.canvas import Array, Plane, average_down, oversampling, plane
from medlabel.data.pixels import Pixels
from medlabel.data.stand_ins import cells, chests, organs
from medlabel.randomness import stream

Labels = NDArray[np.uint8]
Artist = Callable[[np.random.Generator, int, Plane], Array]

# Official sets whose classes, in the order of their labels, are those of a phantom kind.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "pathmnist": "phantom_colon",
        "dermamnist": "phantom_skin",
        "octmnist": "phantom_oct",
        "pneumoniamnist": "phantom_chest",
        "retinamnist": "phantom_retina",
        "breastmnist": "phantom_breast",
        "bloodmnist": "phantom_blood",
    }
)
DRAWN: Mapping[str, Artist] = MappingProxyType(
    {
        "tissuemnist": cells.cell,
        "organamnist": organs.axial,
        "organcmnist": organs.coronal,
        "organsmnist": organs.sagittal,
    }
)
CHESTS = "chestmnist"
STAND_INS = (*KINDS, *DRAWN, CHESTS)


def write(flag: str, target: Path, counts: Mapping[str, int], size: int, seed: int) -> None:
    """Draw the three splits of a stand-in and write them in MedMNIST's layout.

    Parameters
    ----------
    flag
        One of `STAND_INS`.
    target
        The .npz: {train,val,test}_images, uint8 (n, size, size) or (n, size, size, 3) as the
        official file has it, and {train,val,test}_labels, uint8 (n, 1), or (n, 14) of ChestMNIST.
    counts
        Images of each split at most; a split has no more than the official one.
    size
        Edge in pixels.
    seed
        Root of the random streams.
    """
    arrays: dict[str, Pixels | Labels] = {}
    official = catalogue.INFO[flag]["n_samples"]
    for split, count in progress.track(counts.items(), f"draw stand-in {flag}", len(counts)):
        images, labels = draw(flag, min(count, official[split]), size, seed, split)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images, labels
    files.write_npz(target, arrays)


def draw(flag: str, count: int, size: int, seed: int, split: str) -> tuple[Pixels, Labels]:
    """Draw images of a stand-in with their labels; shapes as in `write`.

    They are other drawings than the phantoms that encoders learn from. Classes take turns, or are
    drawn at random where a phantom kind has it so; each finding of a chest has its own chance.

    Raises
    ------
    KeyError
        When there is no stand-in for this set.
    """
    if flag in KINDS:
        drawing = phantoms.draw(KINDS[flag], count, size, seed, f"stand-in {split}", artefacts=True)
        return drawing.images, drawing.labels
    randoms = [stream(seed, "stand-in", flag, split, number) for number in range(count)]
    if flag == CHESTS:
        labels = np.stack([chests.findings(rng) for rng in randoms])
        images = [
            _seen(rng, chests.chest, row, size) for rng, row in zip(randoms, labels, strict=True)
        ]
        return np.stack(images), labels
    classes = np.arange(count) % len(catalogue.class_names(flag))
    images = [
        _seen(rng, DRAWN[flag], int(one), size) for rng, one in zip(randoms, classes, strict=True)
    ]
    return np.stack(images), classes.astype(np.uint8)[:, np.newaxis]


def _seen(
    rng: np.random.Generator, artist: Callable[..., Array], shown: int | Labels, size: int
) -> Pixels:
    """Let an artist draw finely, average down, and add what scanners add; uint8 (size, size)."""
    factor = oversampling(size)
    fine = average_down(artist(rng, shown, plane(size * factor)), factor)
    image = scanner.degrade(fine[np.newaxis], scanner.artefacts(size), rng)
    seen: Pixels = np.round(255 * image[0]).astype(np.uint8)
    return seen
