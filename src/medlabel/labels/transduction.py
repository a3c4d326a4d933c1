"""What methods share that give each class a Gaussian and let neighbours agree.

The label of an image weighs three things: the words, its density under the Gaussian of each class,
and the labels of its nearest neighbours (Zanella, Gérin & Ben Ayed, NeurIPS 2024, equation 7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels import neighbours
from medlabel.labels.evidence import Evidence, Floats, logits
from medlabel.labels.zeroshot import softmax

ROUNDS = 10
AGREEING = 5  # updates of the labels a round
FLOOR = 1e-8  # least variance


@dataclass(frozen=True)
class Shapes:
    """Means (classes, dimension), and variances of the same shape or of one row for all."""

    means: Floats
    variances: Floats

    def log_densities(self, images: Vectors) -> Floats:
        """Return log densities (n, classes), up to one number for all."""
        weights = 1 / np.broadcast_to(self.variances, self.means.shape)
        squares = np.square(images, dtype=np.float64) @ weights.T
        crossed = images.astype(np.float64) @ (weights * self.means).T
        constant = (weights * self.means**2 - np.log(weights)).sum(axis=1)
        found: Floats = -0.5 * (squares - 2 * crossed + constant)
        return found


Fitting = Callable[[Floats], Shapes]  # from probabilities (n, classes) of the images learnt from


@dataclass(frozen=True)
class Transduced:
    """Words, Gaussians, and the images that were learnt from with their probabilities."""

    words: Vectors
    logit_scale: float
    shapes: Shapes
    known: Vectors
    chances: Floats
    near: int

    def predict(self, images: Vectors) -> Vectors:
        """Return probabilities (n, classes); neighbours are images that were learnt from."""
        rows, cosines = neighbours.nearest(images, self.known, self.near)
        scores = logits(images, self.words, self.logit_scale) + self.shapes.log_densities(images)
        return softmax(scores + _agreed(self.chances, rows, cosines)).astype(np.float32)


def fit(evidence: Evidence, near: int, begun: Shapes, fitting: Fitting) -> Transduced:
    """Turn by turn, relabel images and fit the Gaussians, which begin as given."""
    rows, cosines = neighbours.nearest(evidence.images, evidence.images, near)
    chances, shapes = evidence.chances, begun
    for _ in range(ROUNDS):
        alone = evidence.logits + shapes.log_densities(evidence.images)
        for _ in range(AGREEING):
            chances = softmax(alone + _agreed(chances, rows, cosines))
        shapes = fitting(chances)
    return Transduced(evidence.words, evidence.logit_scale, shapes, evidence.images, chances, near)


def _agreed(chances: Floats, rows: npt.NDArray[np.intp], cosines: Vectors) -> Floats:
    weights = np.maximum(cosines, 0)
    return sum(
        (weights[:, [one]] * chances[rows[:, one]] for one in range(rows.shape[1])),
        np.zeros((len(rows), chances.shape[1])),
    )


def moments(images: Vectors, chances: Floats) -> tuple[Floats, Floats, Floats]:
    """Return totals (classes,), sums and sums of squares (classes, dimension) of each class."""
    wide = images.astype(np.float64)
    return chances.sum(axis=0), chances.T @ wide, chances.T @ wide**2


def spread(images: Vectors, chances: Floats, means: Floats) -> Floats:
    """Return the variances around the classes' means, one row (1, dimension) for all of them."""
    totals, sums, squares = moments(images, chances)
    apart = squares - 2 * means * sums + totals[:, None] * means**2
    found: Floats = np.maximum(apart.sum(axis=0, keepdims=True) / len(images), FLOOR)
    return found
