"""How well maps of probability and masks agree: Dice, intersection over union, AUC of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Mask = npt.NDArray[np.bool_]
Map = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

THRESHOLDS = np.linspace(0.05, 0.95, 19)


def dice(found: Mask, truth: Mask) -> Scores:
    """Return Dice's coefficient of each pair of masks (n, height, width).

    Dice, Measures of the amount of ecologic association between species, Ecology 26 (1945)
    297-302. Twice the common pixels among those of both; 1 where both masks are empty.
    """
    common, both = _common(found, truth)
    return np.where(both == 0, 1.0, 2 * common / np.maximum(both, 1))


def jaccard(found: Mask, truth: Mask) -> Scores:
    """Return the intersection over the union of each pair of masks; 1 where both are empty."""
    common, both = _common(found, truth)
    return np.where(both == 0, 1.0, common / np.maximum(both - common, 1))


def _common(found: Mask, truth: Mask) -> tuple[Scores, Scores]:
    common = (found & truth).sum((1, 2)).astype(np.float64)
    return common, found.sum((1, 2)) + truth.sum((1, 2)).astype(np.float64)


def area_under_curve(maps: Map, truth: Mask) -> Scores:
    """Return the AUC of the pixels of each map (n, height, width).

    It is the part of the pairs of a pixel inside and one outside of which the one inside has the
    higher value, ties half (Mann and Whitney); NaN where a mask holds all pixels or none.
    """
    flat = truth.reshape(len(truth), -1)
    inside = flat.sum(1).astype(np.float64)
    outside = flat.shape[1] - inside
    ranks = rankdata(maps.reshape(len(maps), -1), axis=1)
    above = (ranks * flat).sum(1) - inside * (inside + 1) / 2
    pairs = inside * outside
    return np.where(pairs == 0, np.nan, above / np.maximum(pairs, 1))


def best_threshold(found: Sequence[tuple[Map, Mask]]) -> float:
    """Return the threshold of `THRESHOLDS` of the highest mean Dice, the lowest of equal ones.

    Parameters
    ----------
    found
        Maps and masks (n, height, width), those of each size of images together.
    """
    means = [np.mean(np.concatenate([dice(one > at, truth) for one, truth in found]))
             for at in THRESHOLDS]  # fmt: skip
    return float(THRESHOLDS[int(np.argmax(means))])
