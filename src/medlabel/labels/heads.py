"""A linear head on embeddings, which learns from labels that a labelling trusts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels.evidence import Floats

STRENGTH = 10.0  # inverse of the ridge, for embeddings of length 1
STEPS = 300


@dataclass(frozen=True)
class Head:
    """A logistic regression of some of the classes, or the one class that it met."""

    regression: Any
    present: npt.NDArray[np.intp]
    classes: int

    def predict(self, images: Vectors) -> Vectors:
        """Return probabilities (n, classes); of classes that it did not meet they are 0."""
        found = np.zeros((len(images), self.classes), np.float32)
        one = self.regression is None
        found[:, self.present] = 1 if one else self.regression.predict_proba(images)
        return found


def fit(
    images: Vectors, labels: npt.NDArray[np.intp], classes: int, balanced: bool = False
) -> Head:
    """Learn labels (n,) of images (n, dimension), which must be at least one.

    Balanced, images of a class weigh as much together as those of any other.
    """
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    if len(present) == 1:
        return Head(None, present, classes)
    weights = "balanced" if balanced else None
    regression = LogisticRegression(C=STRENGTH, max_iter=STEPS, class_weight=weights)
    return Head(regression.fit(images, labels), present, classes)


def out_of_fold(images: Vectors, labels: npt.NDArray[np.intp], classes: int, folds: int) -> Floats:
    """Return probabilities (n, classes) by heads that did not see the image.

    There are more images (n, dimension) than folds.
    """
    found = np.empty((len(images), classes))
    for fold in range(folds):
        held_out = np.arange(len(images)) % folds == fold
        head = fit(images[~held_out], labels[~held_out], classes)
        found[held_out] = head.predict(images[held_out])
    return found
