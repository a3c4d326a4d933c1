"""TURTLE: the labelling that a linear classifier fits best (Gadetsky, Jiang & Brbić, ICML 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medlabel.data.vectors import Vectors
from medlabel.labels import space
from medlabel.labels.evidence import Evidence, Floats
from medlabel.labels.zeroshot import softmax
from medlabel.randomness import stream

if TYPE_CHECKING:
    from medlabel.params import Turtle

BATCH = 2000  # images a step
INNER = 10  # steps of the classifier a step of the labelling
RATE, INNER_RATE = 0.01, 0.1
DECAYS = (0.9, 0.999)  # of Adam's averages
EPSILON = 1e-8


@dataclass(frozen=True)
class Searched:
    """A space, its scale, and weights (components + 1, classes) of the labelling."""

    space: space.Space
    scale: float
    weights: Floats

    def predict(self, images: Vectors) -> Vectors:
        """Return probabilities (n, classes)."""
        points = _with_one(self.space.project(images) / self.scale)
        return softmax(points @ self.weights).astype(np.float32)


def fit(evidence: Evidence, settings: Turtle) -> Searched:
    """Search for labels, a softmax of linear scores, from which a classifier errs least.

    The classifier goes on from where it was; the entropy of the mean label keeps classes of like
    size. Classes found so have no names: they are matched to words, each to another, so that the
    sum of the words' mean logits is largest.
    """
    from scipy.optimize import linear_sum_assignment

    found = space.fit(evidence.images, settings.components)
    points = found.project(evidence.images)
    scale = float(points.std()) or 1.0
    weights = _searched(_with_one(points / scale), len(evidence.words), settings)
    labels = Searched(found, scale, weights).predict(evidence.images)
    means = labels.T @ evidence.logits / np.maximum(labels.sum(axis=0), EPSILON)[:, None]
    _, names = linear_sum_assignment(-means)
    return Searched(found, scale, weights[:, np.argsort(names)])


def _searched(points: Floats, classes: int, settings: Turtle) -> Floats:
    random = stream(0, "labels", "turtle")
    shape = points.shape[1], classes
    weights: Floats = random.standard_normal(shape) / np.sqrt(points.shape[1])
    classifier = np.zeros_like(weights)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, settings.steps + 1):
        some = points[random.integers(len(points), size=BATCH)] if len(points) > BATCH else points
        labels = softmax(some @ weights)
        for _ in range(INNER):
            errors = softmax(some @ classifier) - labels
            classifier -= INNER_RATE * some.T @ errors / len(some)
        mean = np.log(labels.mean(axis=0) + EPSILON)
        cost = settings.entropy * mean - np.log(softmax(some @ classifier) + EPSILON)
        slope = labels * (cost - (labels * cost).sum(axis=1, keepdims=True))
        gradient = some.T @ slope / len(some)
        first = DECAYS[0] * first + (1 - DECAYS[0]) * gradient
        second = DECAYS[1] * second + (1 - DECAYS[1]) * gradient**2
        unbiased = [
            one / (1 - decay**step) for one, decay in zip((first, second), DECAYS, strict=True)
        ]
        weights -= RATE * unbiased[0] / (np.sqrt(unbiased[1]) + EPSILON)
    return weights


def _with_one(points: Vectors) -> Floats:
    found: Floats = np.ones((len(points), points.shape[1] + 1))
    found[:, :-1] = points
    return found
