"""K-means clusters, and names for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels.evidence import Floats
from medlabel.labels.space import LEARNT_FROM, Space
from medlabel.randomness import stream

ROUNDS = 50  # of Lloyd's algorithm, at most
BLOCK = 1 << 22  # distances at a time: bounds memory only


def centres(points: Vectors, count: int, *purpose: str | int) -> Vectors:
    """Return centres, float32 (clusters, components), of points (n, components).

    There are `count` of them, or as many as points. The random stream is of the purpose alone; one
    thread sums, since sums of several depend on their number. The first `LEARNT_FROM` points serve.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    some = points[:LEARNT_FROM]
    seed = int(stream(0, "labels", *purpose, count).integers(2**31))
    how = KMeans(min(count, len(some)), n_init=1, max_iter=ROUNDS, random_state=seed)
    with threadpool_limits(1):
        found: Vectors = how.fit(some).cluster_centers_.astype(np.float32)
    return found


def nearest(points: Vectors, centres: Vectors) -> npt.NDArray[np.intp]:
    """Return the nearest centre of each point (n, components)."""
    parts = [found.argmin(axis=1) for found in distances(points, centres)]
    return np.concatenate(parts)


def distances(points: Vectors, centres: Vectors) -> Iterator[Vectors]:
    """Give squared distances, float32 (n, clusters), less what is the same for all clusters."""
    size = max(1, BLOCK // len(centres))
    lengths = np.square(centres).sum(axis=1)
    for start in range(0, len(points), size):
        yield lengths - 2 * points[start : start + size] @ centres.T


@dataclass(frozen=True)
class Named:
    """Clusterings of a space: centres (clusters, components) with names (clusters, classes) each.

    Names are probabilities.
    """

    space: Space
    clusterings: Sequence[tuple[Vectors, Floats]]

    def predict(self, images: Vectors) -> Vectors:
        """Return the mean name of the clusters that an image is nearest to, (n, classes)."""
        points = self.space.project(images)
        total = sum(names[nearest(points, found)] for found, names in self.clusterings)
        return (np.asarray(total) / len(self.clusterings)).astype(np.float32)
