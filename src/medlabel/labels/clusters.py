"""Clusters named by words: words need only be right on average over a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.labels import kmeans, space
from medlabel.labels.evidence import Evidence, Floats, softmax

if TYPE_CHECKING:
    from medlabel.params import Clusters

Places = npt.NDArray[np.intp]


def fit(evidence: Evidence, settings: Clusters) -> kmeans.Named:
    """Cluster images many times, and name every cluster."""
    found = space.fit(evidence.images, settings.components)
    points = found.project(evidence.images)
    opinions = evidence.logits - evidence.logits.mean(axis=1, keepdims=True)
    opinions /= np.sqrt(np.square(opinions).mean()) or 1
    clusterings = []
    for count in settings.counts:
        for start in range(settings.starts):
            centres = kmeans.centres(points, count, "clusters", start)
            names = named(kmeans.nearest(points, centres), len(centres), opinions, settings.doubt)
            clusterings.append((centres, names))
    return kmeans.Named(found, clusterings)


def named(members: Places, count: int, opinions: Floats, doubt: float) -> Floats:
    """Return the probabilities (count, classes) that each cluster's images are of a class."""
    sizes = np.maximum(np.bincount(members, minlength=count), 1)[:, None]
    means, squares = np.zeros((2, count, opinions.shape[1]))
    np.add.at(means, members, opinions)
    np.add.at(squares, members, opinions**2)
    means /= sizes
    variances = (squares / sizes - means**2).clip(min=0).mean(axis=1, keepdims=True)
    return softmax(means / np.sqrt(variances / sizes + doubt**2))
