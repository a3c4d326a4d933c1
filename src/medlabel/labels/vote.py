"""Clusters named by a vote over words (CPP: Chu et al., ICLR 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medlabel.labels import kmeans, space
from medlabel.labels.evidence import Evidence

if TYPE_CHECKING:
    from medlabel.params import Vote

HEARD = 5  # classes that an image has a say on


def fit(evidence: Evidence, settings: Vote) -> kmeans.Named:
    """Sum each image's five highest probabilities over its cluster; the shares name the cluster."""
    found = space.fit(evidence.images, settings.components)
    points = found.project(evidence.images)
    centres = kmeans.centres(points, settings.count, "vote")
    heard = evidence.chances.copy()
    if heard.shape[1] > HEARD:
        np.put_along_axis(heard, np.argsort(-heard, axis=1, kind="stable")[:, HEARD:], 0, axis=1)
    votes = np.zeros((len(centres), heard.shape[1]))
    np.add.at(votes, kmeans.nearest(points, centres), heard)
    names = votes / votes.sum(axis=1, keepdims=True)
    return kmeans.Named(found, [(centres, names)])
