"""TransCLIP, zero-shot (Zanella, Gérin & Ben Ayed, NeurIPS 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medlabel.labels import transduction
from medlabel.labels.evidence import Evidence, Floats
from medlabel.labels.transduction import FLOOR, Shapes, Transduced

if TYPE_CHECKING:
    from medlabel.params import TransClip

SUREST = 8  # images a class, whose mean its Gaussian begins at


def fit(evidence: Evidence, settings: TransClip) -> Transduced:
    """Fit one Gaussian a class, of common variances, with images and labels turn by turn."""
    images = evidence.images
    surest = np.argsort(-evidence.chances, axis=0, kind="stable")[:SUREST]
    means = images[surest].mean(axis=0, dtype=np.float64)
    begun = Shapes(means, np.full((1, images.shape[1]), 1 / images.shape[1]))

    def fitting(chances: Floats) -> Shapes:
        totals, sums, _ = transduction.moments(images, chances)
        found = sums / np.maximum(totals, FLOOR)[:, None]
        return Shapes(found, transduction.spread(images, chances, found))

    return transduction.fit(evidence, settings.neighbours, begun, fitting)
