"""Rival estimates of accuracy without labels: mean confidence, nuclear norm, thresholds (ATC)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors


@dataclass(frozen=True)
class Thresholds:
    """Confidence of each class above which a label counts as right, (classes,)."""

    of_class: npt.NDArray[np.float64]


def rivals(chances: Vectors, learnt: Thresholds | None) -> dict[str, float]:
    """Foretell the accuracy of labels in the ways of others.

    Parameters
    ----------
    chances
        Probabilities of the images by the labelling, (n, classes).
    learnt
        What labelled images taught, if there are any.

    Returns
    -------
    dict
        ``mean_confidence``: mean of the highest probability (Hendrycks & Gimpel, ICLR 2017).
        ``nuclear_norm``: that of the probabilities over its upper bound (Deng et al., ICML 2023).
        ``atc``: average thresholded confidence (Garg et al., ICLR 2022), a threshold a class (Li
        et al., MICCAI 2022): the share of images above that of their class; NaN without.
    """
    wide = chances.astype(np.float64)
    bound = np.sqrt(min(wide.shape) * len(wide))
    above = np.nan
    if learnt is not None:
        above = float((wide.max(axis=1) >= learnt.of_class[wide.argmax(axis=1)]).mean())
    return {
        "mean_confidence": float(wide.max(axis=1).mean()),
        "nuclear_norm": float(np.linalg.norm(wide, "nuc") / bound),
        "atc": above,
    }


def thresholds(chances: Vectors, truth: npt.NDArray[np.intp]) -> Thresholds:
    """Learn from labelled images, a threshold a class.

    As many of the images that are given a class lie below as have another one. A class that is
    given to none of them takes the threshold of all.
    """
    sure, given = chances.max(axis=1).astype(np.float64), chances.argmax(axis=1)
    right = given == truth
    return Thresholds(
        np.array(
            [
                _threshold(sure[mine], right[mine])
                for mine in (
                    given == one if (given == one).any() else np.ones(len(given), np.bool_)
                    for one in range(chances.shape[1])
                )
            ]
        )
    )


def _threshold(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    wrong = int((~right).sum())
    ordered = np.sort(sure)
    return float(ordered[wrong]) if wrong < len(ordered) else np.inf
