"""Confident learning (Northcutt, Jiang & Chuang, *JAIR* 70:1373, 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medlabel.labels import heads
from medlabel.labels.evidence import Evidence

if TYPE_CHECKING:
    from medlabel.params import Confident


def fit(evidence: Evidence, settings: Confident) -> heads.Head:
    """Learn from the words' labels but for those that probabilities speak against.

    The probabilities are out of fold. An image is left out if a class other than its label is its
    most probable one, and as probable as it is on average for images labelled so: an entry off the
    diagonal of the confident joint (section 3.1).
    """
    images, classes = evidence.images, len(evidence.words)
    labels = evidence.chances.argmax(axis=1)
    if len(images) <= settings.folds:
        return heads.fit(images, labels, classes)
    chances = heads.out_of_fold(images, labels, classes, settings.folds)
    own = chances[np.arange(len(images)), labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=own, minlength=classes)
    thresholds = np.where(counts, sums / np.maximum(counts, 1), np.inf)
    sure = np.where(chances >= thresholds, chances, -1)
    doubted = (sure.max(axis=1) > 0) & (sure.argmax(axis=1) != labels)
    return heads.fit(images[~doubted], labels[~doubted], classes)
