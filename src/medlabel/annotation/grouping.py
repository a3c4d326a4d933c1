"""Clusters for a person: few enough to look at all of them, each named or checked as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medlabel.annotation import tables
from medlabel.data.vectors import Vectors
from medlabel.labels import kmeans, space
from medlabel.labels.evidence import Floats

if TYPE_CHECKING:
    import pandas as pd

A_CLASS = 3.5  # clusters: few hide small classes, many are work
MOST = 40
IMAGES_EACH = 5  # at least, on average: fewer are looked at one by one as quickly
WITHOUT_WORDS = 12  # clusters where no class is named
COMPONENTS = 32
DOUBTFUL = 0.1  # doubt from which an image is counted as doubtful
DIGITS = 6  # of priorities, so that sums in another order change no number
# No digits: spreadsheets take 12345e67 for a number.
LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
LETTERS_OF_ID = 8


@dataclass(frozen=True)
class Groups:
    """To which cluster each of n images belongs.

    Attributes
    ----------
    numbers
        int32 of shape (n,), from 1 on: those to look at first come first.
    distances
        float64 of shape (n,), squared, to the centre of the own cluster.
    margins
        float64 of shape (n,): how much farther, squared, the second centre is than the first.
    halves
        int8 of shape (n,): 0 or 1, to split a cluster by.
    said
        intp of shape (n,): the class that words alone say; -1 without words.
    """

    numbers: npt.NDArray[np.int32]
    distances: Floats
    margins: Floats
    halves: npt.NDArray[np.int8]
    said: npt.NDArray[np.intp]


def find(images: Vectors, digests: Sequence[str], by_words: Vectors) -> Groups:
    """Group distinct images, the same way in whatever order they come.

    Parameters
    ----------
    images
        float32 of shape (n, dimension), rows of length 1.
    digests
        Of their pixels, all different.
    by_words
        Probabilities by words alone, float32 of shape (n, classes); no classes are fine.
    """
    order = np.argsort(np.array(digests))
    back = np.argsort(order)
    points = _points(images[order])
    wanted = _count(len(points), by_words.shape[1])
    different = len(np.unique(points[: space.LEARNT_FROM], axis=0))
    centres = kmeans.centres(points, min(wanted, different), "page")
    apart = np.concatenate(list(kmeans.distances(points, centres)))
    apart = apart.astype(np.float64) + np.square(points, dtype=np.float64).sum(axis=1)[:, None]
    members = apart.argmin(axis=1)
    said = by_words.argmax(axis=1) if by_words.shape[1] else np.full(len(points), -1)
    return Groups(
        _numbered(members, by_words[order])[back],
        apart.min(axis=1).clip(min=0)[back],
        _margins(apart)[back],
        _halves(points, members)[back],
        said,
    )


def _points(images: Vectors) -> Vectors:
    return space.fit(images, COMPONENTS).project(images)


def _count(images: int, classes: int) -> int:
    wanted = round(A_CLASS * classes) if classes else WITHOUT_WORDS
    return max(1, min(wanted, MOST, images // IMAGES_EACH))


def _margins(apart: Floats) -> Floats:
    if apart.shape[1] < 2:
        return np.zeros(len(apart))
    nearest = np.partition(apart, 1, axis=1)
    found: Floats = nearest[:, 1] - nearest[:, 0]
    return found


def _numbered(members: npt.NDArray[np.intp], by_words: Vectors) -> npt.NDArray[np.int32]:
    """Return numbers from 1 on, by how many images of a cluster words may have wrong.

    Images are sorted by content, which decides between equal clusters.
    """
    _, first, own, sizes = np.unique(
        members, return_index=True, return_inverse=True, return_counts=True
    )
    unsure = np.ones(len(sizes))
    if by_words.shape[1]:
        sums = np.zeros((len(sizes), by_words.shape[1]))
        np.add.at(sums, own, by_words)
        unsure = 1 - (sums / sizes[:, None]).max(axis=1)
    order = np.lexsort((first, -sizes, -np.round(sizes * unsure, DIGITS)))
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[own]


def _halves(points: Vectors, members: npt.NDArray[np.intp]) -> npt.NDArray[np.int8]:
    halves = np.zeros(len(points), np.int8)
    for number in np.unique(members):
        own = np.flatnonzero(members == number)
        if (points[own] != points[own[0]]).any():
            centres = kmeans.centres(points[own], 2, "half")
            halves[own] = kmeans.nearest(points[own], centres)
    return halves


def identity(digests: Iterable[str]) -> str:
    """Return a short name of a cluster that says which images are in it, in any order."""
    content = "\n".join(sorted(set(digests)))
    return hashlib.sha256(content.encode()).hexdigest()[:LETTERS_OF_ID].translate(LETTERS)


def identities(table: pd.DataFrame) -> dict[int, str]:
    """Return the short names of all clusters by their numbers, in order."""
    return {number: identity(own["digest"]) for number, own in _each(table)}


def _each(table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the numbers of clusters, in order, and their rows."""
    for number in sorted(set(table["cluster"].dropna().tolist())):
        yield number, table[table["cluster"] == number]


def summary(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return a row a cluster.

    Returns
    -------
    DataFrame
        cluster, id (of its images), images (distinct ones), label (that of most of them; the
        teacher's where it was not sure enough), words (share of them whose own words say this
        label), probability (its mean), doubtful (images with another label, not sure enough, or
        with doubt and not checked), stray (yes where most fit no class), checked (images), typical
        (the image nearest to the centre), and an empty column correction.
    """
    import pandas as pd

    distinct = table[table["review_rank"].notna()]
    known = identities(table)
    rows = [
        {"cluster": number, "id": known[number], **_facts(own, classes)}
        for number, own in _each(distinct)
    ]
    return pd.DataFrame(rows).assign(correction="")


def _facts(own: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    import pandas as pd

    own = own.sort_values("distance", kind="stable")
    unsure = own["status"] == tables.UNSURE
    # A person confirms what was thought of them.
    labels = tables.named(own).mask(unsure, own["teacher"])
    # Of equals the one of the most typical image.
    label = str(labels.groupby(labels, sort=False).size().idxmax())
    typical = next(tables.each(own))
    page = "" if pd.isna(typical.page) else f" page {typical.page}"
    checked = own["status"].isin(tables.BY_PERSON)
    doubtful = (labels != label) | unsure | ((own["doubt"] > DOUBTFUL) & ~checked)
    is_class = label in classes
    return {
        "images": len(own),
        "label": label,
        "words": float((own["said"] == label).mean()) if is_class else None,
        "probability": float(own[f"p_{label}"].mean()) if is_class else None,
        "doubtful": int(doubtful.sum()),
        "stray": "yes" if label == tables.STRAY else "",
        "checked": int(checked.sum()),
        "typical": f"{typical.file}{page}",
    }
