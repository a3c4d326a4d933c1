"""Whether images of one kind come from two sources, such as two scanners, that clusters follow.

Clusters name what lies together, and images of one scanner do. Classes differ in brightness or
sharpness too, so that a difference alone says nothing: it has to divide images of one kind into two
groups with little between them, and images that look alike to the encoder have to share it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels import neighbours, space
from medlabel.labels.evidence import Floats

COMPONENTS = 32
NEAR = 5  # neighbours that foretell an image's source
FEWEST = 32  # images of a label, below which nothing is said
MOST = 2000  # images of a label that are looked at
LEAST_PART, LEAST_COUNT = 0.03, 4  # of the smaller source
LEAST_RANGE = 1e-9  # of values that are not all the same
WITHIN = 1e-4  # least variance within a source, as a part of all variance
TAKEN = 0.1  # mean probability of another class from which words take one for the other
APART = 4.3  # standard deviations between two sources
# The same of properties that fall into no two groups in many images of two labels of one source.
APART_STEADY, STEADY, MANY = 3.4, ("contrast", "grey range"), 150
FOLLOWED = 0.75  # area under the ROC, of images' sources by those of their neighbours
BETWEEN = 0.3  # images in the middle, as a part of the smaller source
MIDDLE = 0.35, 0.65  # of the way between the means of both
GIVEN = 5  # columns that foretell as they are
FIRST = 4  # principal components of more columns
ROUNDS = 10  # of groups and what foretells within them, in turn; most end after three


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
    given
        What foretells it in images of one source, but is the same in all sources, (n, m): the
        property less what is foretold within a source is looked at. Of more than `GIVEN` columns
        their first principal components foretell.
    """

    what: str
    values: Floats
    chosen: bool = False
    given: Floats | None = None

    def take(self, rows: npt.NDArray[np.intp]) -> Property:
        """Return the property of some images, which may be named twice."""
        given = None if self.given is None else self.given[rows]
        return replace(self, values=self.values[rows], given=given)

    def divided(self, rows: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.bool_], float]:
        """Return which of some images are of the upper group, and how far apart both are.

        With what is given, groups and the regression within them are found in turn, as a mixture of
        regressions that differ in their constant alone is fitted by classifying (Celeux & Govaert,
        *Computational Statistics & Data Analysis* 14:315, 1992).
        """
        own = self.values[rows]
        if self.given is None:
            return _divided(own)
        known = np.column_stack([np.ones(len(rows)), _first(self.given[rows])])
        above, apart = _divided(own - known @ np.linalg.lstsq(known, own, rcond=None)[0])
        for _ in range(ROUNDS):
            if not apart:
                break
            before, both = above, np.column_stack([known, above])
            factors = np.linalg.lstsq(both, own, rcond=None)[0]
            above, apart = _divided(own - known @ factors[:-1])
            if np.array_equal(above, before):
                break
        return above, apart


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
        Distance of their means in standard deviations (Ashman, Bird & Zepf, *Astronomical Journal*
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


def measured(
    rows: npt.ArrayLike,
    names: Sequence[str],
    alone: Sequence[str],
    given: Mapping[str, Sequence[str]],
) -> list[Property]:
    """Return what was measured of each image.

    Parameters
    ----------
    rows, names
        Of shape (n, columns), and the columns' names.
    alone
        Columns that may tell a source as they are.
    given
        By columns that may tell a source less what is foretold of them, those that foretell them.
    """
    table = np.asarray(rows, np.float64).reshape(-1, len(names))
    of = {name: table[:, place] for place, name in enumerate(names)}
    plain = [Property(name, of[name]) for name in alone]
    return plain + [
        Property(name, of[name], given=np.column_stack([of[one] for one in known]))
        for name, known in given.items()
    ]


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
            len(one) > 1,
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
    properties: Sequence[Property],
    images: Vectors,
    rows: npt.NDArray[np.intp],
    together: bool,
) -> Iterator[Split]:
    from sklearn.metrics import roc_auc_score

    if len(rows) < FEWEST:
        return
    divided = [(one.what, *one.divided(rows)) for one in properties]
    many = together and len(rows) >= MANY
    steady = [many and what in STEADY for what, _, _ in divided]
    bounds = [APART_STEADY if one else APART for one in steady]
    far = [one for one, bound in zip(divided, bounds, strict=True) if one[2] > bound]
    if not far:  # as in most folders: neighbours are what takes time
        return
    near = _neighbours(images[rows])
    for what, above, apart in far:
        if roc_auc_score(above, above[near].mean(axis=1)) > FOLLOWED:
            share = float(min(above.mean(), 1 - above.mean()))
            yield Split(what, share, apart)


def _first(given: Floats) -> Floats:
    """Return what foretells: columns, or the first principal components of many."""
    if given.shape[1] <= GIVEN:
        return given
    left, sizes, _ = np.linalg.svd(given - given.mean(axis=0), full_matrices=False)
    found: Floats = (left * sizes)[:, :FIRST]
    return found


def _neighbours(images: Vectors) -> npt.NDArray[np.intp]:
    """Return the places of those images that lie nearest to each, (n, neighbours)."""
    points = space.fit(images, COMPONENTS).project(images)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return neighbours.nearest(points, points, NEAR)[0]


def _divided(values: Floats) -> tuple[npt.NDArray[np.bool_], float]:
    """Return which values are of the upper of the two groups farthest apart, and their distance.

    The distance is 0 where there are images between the groups.
    """
    if np.ptp(values) < LEAST_RANGE:
        return np.zeros(len(values), bool), 0.0
    ordered = np.sort(values) / values.std()
    count = len(ordered)
    least = max(LEAST_COUNT, int(np.ceil(LEAST_PART * count)))
    sizes = np.arange(least, count - least + 1)
    sums, squares = np.cumsum(ordered), np.cumsum(ordered**2)
    low = sums[sizes - 1] / sizes
    high = (sums[-1] - sums[sizes - 1]) / (count - sizes)
    within = (squares[sizes - 1] / sizes - low**2) / 2
    within += ((squares[-1] - squares[sizes - 1]) / (count - sizes) - high**2) / 2
    apart = (high - low) / np.sqrt(np.maximum(within, 0) + WITHIN)
    begin, end = (low + part * (high - low) for part in MIDDLE)
    between = np.searchsorted(ordered, end) - np.searchsorted(ordered, begin, "right")
    empty = between <= BETWEEN * np.minimum(sizes, count - sizes)
    best = int(np.where(empty, apart, 0).argmax())
    bound = (begin[best] + end[best]) / 2 * values.std()
    return values > bound, float(apart[best] * empty[best])
