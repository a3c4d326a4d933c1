"""Labels with given class totals, by optimal transport (OTTER: Shin et al., NeurIPS 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.labels.evidence import Evidence, Floats, logits
from medlabel.labels.zeroshot import softmax

if TYPE_CHECKING:
    from medlabel.params import Balanced

SMOOTHNESS = (1.0, 0.3, 0.1, 0.03, 0.01)  # of the transport, in standard deviations of the logits
STEPS = 100  # at each
OFF = 1e-3  # largest error of the totals' sum


@dataclass(frozen=True)
class Shifted:
    """Words, and what each class has to be given so that totals come out, float64 (classes,)."""

    words: Vectors
    logit_scale: float
    shifts: Floats

    def predict(self, images: Vectors) -> Vectors:
        """Return probabilities (n, classes)."""
        shifted = logits(images, self.words, self.logit_scale) + self.shifts
        return softmax(shifted).astype(np.float32)


def fit(evidence: Evidence, settings: Balanced) -> Shifted:
    """Find the labels of least cost, -log p by words, with given totals.

    Of the transport's linear programme the dual is solved: a number for each class, which is added
    to its logits, and serves new images too. Smoothing by entropy (Cuturi, NIPS 2013) falls
    to a hundredth of the logits' spread.

    Raises
    ------
    MedlabelError
        When totals sum neither to 1 nor to the number of images, or are not one for each class.
    """
    shares = _shares(settings.totals, evidence)
    spread = float(evidence.logits.std()) or 1.0
    with np.errstate(divide="ignore"):
        wanted, shifts = np.log(shares), np.zeros(len(shares))
    for smoothness in spread * np.array(SMOOTHNESS):
        for _ in range(STEPS):
            given = softmax((evidence.logits + shifts) / smoothness).mean(axis=0)
            shifts += smoothness * (wanted - np.log(np.maximum(given, np.finfo(float).tiny)))
            shifts -= shifts.max()
    return Shifted(evidence.words, evidence.logit_scale, shifts)


def _shares(totals: dict[str, float] | None, evidence: Evidence) -> Floats:
    classes = evidence.classes
    if totals is None:
        return np.full(len(classes), 1 / len(classes))
    if set(totals) != set(classes):
        raise MedlabelError(
            f"totals: {', '.join(totals)} given, one for each of {', '.join(classes)} expected."
        )
    given = np.array([totals[name] for name in classes], np.float64)
    total = given.sum()
    if all(abs(total - one) > OFF * one for one in (1, evidence.count)):
        raise MedlabelError(
            f"totals: {total:g} given in all; shares that sum to 1, or numbers of images that sum "
            f"to {evidence.count}, expected."
        )
    shares: Floats = given / total
    return shares
