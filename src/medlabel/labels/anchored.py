"""StatA: Gaussians anchored to the words (Zanella et al., CVPR 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medlabel.labels import transduction
from medlabel.labels.evidence import Evidence, Floats
from medlabel.labels.transduction import FLOOR, Shapes, Transduced

if TYPE_CHECKING:
    from medlabel.params import Anchored


def fit(evidence: Evidence, settings: Anchored) -> Transduced:
    """Fit one Gaussian a class, pulled to its words as if they were `strength` images.

    The anchor of a class is a Gaussian at its words, with the spread around them of images as the
    words label them. Its divergence from the class's Gaussian is part of what is minimised, so that
    classes without images stay where their words are.
    """
    images, strength = evidence.images, settings.strength
    words = evidence.words.astype(np.float64)
    anchor = Shapes(words, transduction.spread(images, evidence.chances, words))

    def fitting(chances: Floats) -> Shapes:
        totals, sums, squares = transduction.moments(images, chances)
        weights = (totals + strength)[:, None]
        means = (sums + strength * words) / weights
        apart = squares - 2 * means * sums + totals[:, None] * means**2
        apart += strength * (anchor.variances + (words - means) ** 2)
        return Shapes(means, np.maximum(apart / weights, FLOOR))

    return transduction.fit(evidence, settings.neighbours, anchor, fitting)
