"""Whether images of one kind come from two sources, such as two scanners, that clusters follow.

Clusters name what lies together, and images of one scanner do. Classes differ in brightness or
sharpness too, so that a difference alone says nothing: it has to divide images of one kind into two
groups with little between them, and images that look alike to the encoder have to share it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels import neighbours, space
from medlabel.labels.evidence import Floats

COMPONENTS = 32
NEAR = 5  # neighbours that a property is averaged over
FEWEST = 24  # images of a kind, below which nothing is said
MOST = 2000  # images of a kind that are looked at
LEAST_PART, LEAST_COUNT = 0.03, 4  # of the smaller source
TAKEN = 0.1  # mean probability of another class from which words take one for the other
APART = 4.3  # standard deviations between two sources, and of what their neighbours have
BETWEEN = 0.3  # images in the middle, as a part of the smaller source
MIDDLE = 0.35, 0.65  # of the way between the means of both


@dataclass(frozen=True)
class Property:
    """What n images are, whatever they show.

    Attributes
    ----------
    what
        Its name.
    values
        Of each image, (n,).
    chosen
        Whether a person gave it, as folders are, and may have gone by class.
    """

    what: str
    values: Floats
    chosen: bool = False


@dataclass(frozen=True)
class Split:
    """Two sources in images of one kind.

    Attributes
    ----------
    what
        The property that they differ in.
    share
        Part of the images in the smaller one.
    apart
        Distance of their means in standard deviations, of images or of what their neighbours have,
        whichever is less (Ashman, Bird & Zepf, *Astronomical Journal*
        108:2348, 1994).
    """

    what: str
    share: float
    apart: float

    def told(self) -> str:
        """Say it in a line."""
        return (
            f"images of one label differ in {self.what} ({self.share:.0%} of them stand apart), "
            f"and clusters follow it: another scanner?"
        )


def measured(names: Sequence[str], rows: Sequence[Sequence[float]]) -> list[Property]:
    """Return what was measured of each image, by name."""
    found = np.array(rows, np.float64).reshape(len(rows), len(names))
    return [Property(name, found[:, place]) for place, name in enumerate(names)]


def folders(names: Sequence[str]) -> list[Property]:
    """Return which images are in a folder, for each that is large enough to be a source."""
    least = LEAST_PART * len(names)
    return [
        Property("folder", np.array([one == name for one in names], np.float64), chosen=True)
        for name, count in Counter(names).items()
        if least <= count < len(names)
    ]


def find(
    properties: Sequence[Property],
    images: Vectors,
    labels: npt.NDArray[np.intp],
    by_words: Vectors,
    kept: npt.NDArray[np.bool_],
) -> Split | None:
    """Find the clearest split.

    Looked at are images of one label, and of two labels that words do not keep apart: there, labels
    may be what follows the source.

    Parameters
    ----------
    properties
        What images are, whatever they show.
    images
        float32 (n, dimension), rows of length 1.
    labels
        Of each image, (n,).
    by_words
        Probabilities by words alone, (n, classes).
    kept
        Images that fit a class, (n,).

    Returns
    -------
    Split or None
        None where no such images come from two sources.
    """
    unchosen = [one for one in properties if not one.chosen]
    found = [
        split
        for one in _together(labels, by_words, kept)
        for split in _splits(
            properties if len(one) == 1 else unchosen,
            images,
            np.flatnonzero(np.isin(labels, one) & kept)[:MOST],
        )
    ]
    return max(found, key=lambda one: one.apart, default=None)


def _together(
    labels: npt.NDArray[np.intp], by_words: Vectors, kept: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, ...]]:
    """Yield each class by itself, and every two of which words take one for the other."""
    classes = range(by_words.shape[1])
    members = [kept & (labels == one) for one in classes]
    yield from ((one,) for one in classes)
    for one, other in itertools.combinations(classes, 2):
        for own, else_ in ((one, other), (other, one)):
            if members[own].any() and by_words[members[own], else_].mean() > TAKEN:
                yield one, other
                break


def _splits(
    properties: Sequence[Property], images: Vectors, rows: npt.NDArray[np.intp]
) -> Iterator[Split]:
    if len(rows) < FEWEST:
        return
    points = space.fit(images[rows], COMPONENTS).project(images[rows])
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    near, _ = neighbours.nearest(points, points, NEAR)
    for one in properties:
        own = one.values[rows]
        spread = float(own.std())
        if np.ptp(own) == 0:
            continue
        share, alone = _divided(own / spread)
        apart = min(alone, _divided(own[near].mean(axis=1) / spread)[1])
        if apart > APART:
            yield Split(one.what, share, apart)


def _divided(values: Floats) -> tuple[float, float]:
    """Return the smaller part and the distance of the two groups that lie farthest apart.

    0 and 0 where groups have images between them.
    """
    ordered = np.sort(values)
    count = len(ordered)
    least = max(LEAST_COUNT, int(np.ceil(LEAST_PART * count)))
    sizes = np.arange(least, count - least + 1)
    sums, squares = np.cumsum(ordered), np.cumsum(ordered**2)
    low = sums[sizes - 1] / sizes
    high = (sums[-1] - sums[sizes - 1]) / (count - sizes)
    within = (squares[sizes - 1] / sizes - low**2) / 2
    within += ((squares[-1] - squares[sizes - 1]) / (count - sizes) - high**2) / 2
    apart = (high - low) / np.sqrt(np.maximum(within, 0) + 1e-4)
    best = int(apart.argmax())
    begin, end = (low[best] + part * (high[best] - low[best]) for part in MIDDLE)
    smaller = min(sizes[best], count - sizes[best])
    between = int(((ordered > begin) & (ordered < end)).sum())
    if between > BETWEEN * smaller:
        return 0.0, 0.0
    return float(smaller / count), float(apart[best])
