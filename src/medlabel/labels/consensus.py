"""Prompts and clusters agree (VLM-CPL: Zhong et al., *IEEE Trans. Med. Imaging*, 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medlabel.labels import heads, kmeans, space
from medlabel.labels.evidence import Evidence

if TYPE_CHECKING:
    from medlabel.params import Consensus


def fit(evidence: Evidence, settings: Consensus) -> heads.Head:
    """Learn from images whose cluster and words say the same.

    There are as many clusters as classes, each matched to another class so that most images agree
    (Kuhn 1955): a class without an image takes a cluster all the same. The network that learns from
    them is a linear head here.
    """
    from scipy.optimize import linear_sum_assignment

    images, classes = evidence.images, len(evidence.words)
    labels = evidence.chances.argmax(axis=1)
    points = space.fit(images, settings.components).project(images)
    centres = kmeans.centres(points, classes, "consensus")
    clusters = kmeans.nearest(points, centres)
    agreed = np.zeros((len(centres), classes))
    np.add.at(agreed, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(-agreed)
    matched = np.full(len(centres), -1)
    matched[rows] = columns
    kept = matched[clusters] == labels
    kept = kept if kept.any() else ~kept
    return heads.fit(images[kept], labels[kept], classes)
