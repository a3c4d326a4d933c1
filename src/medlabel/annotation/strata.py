"""Accuracy from images that chance chose within clusters, weighted by the clusters' sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medlabel.labels.evidence import Floats

CONFIDENCE = 0.95
SHARPEST = 30.0  # of exponents: exp(-30) is nothing beside any share of images
EXPONENTS = 32
HALVINGS = 36  # of the interval that a multiplier is sought in

Counts = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Weighted:
    """The share of images that the teacher has right, and an interval of at least `CONFIDENCE`.

    Attributes
    ----------
    share
        Mean of the clusters' shares, weighted by their sizes.
    low, high
        Ends of the interval.
    checked, clusters
        Numbers of checked images, and of clusters.
    """

    share: float
    low: float
    high: float
    checked: int
    clusters: int

    def told(self) -> str:
        """Say it in words."""
        return (
            f"{self.share:.1%} right, weighted by the sizes of {self.clusters} clusters "
            f"({self.checked} images checked; {CONFIDENCE:.0%} interval {self.low:.1%} to "
            f"{self.high:.1%})"
        )


def weighted(right: Counts, checked: Counts, sizes: Counts) -> Weighted:
    """Estimate a share from random samples of strata.

    Parameters
    ----------
    right, checked, sizes
        Integers of shape (clusters,): images that were right, checked (at least one) and in all.

    Notes
    -----
    Each end is the largest share of errors (or of right images) whose observed weighted sum, or a
    smaller one, has by Chernoff's bound a probability of half the error that is allowed, wherever
    among the clusters these errors are. It holds for samples without replacement (Hoeffding,
    *J. Am. Stat. Assoc.* 58:13, 1963). Where no error was found in clusters of one size, it is the
    bound of Clopper and Pearson.
    """
    share = float((sizes * right / checked).sum() / sizes.sum())
    low = 1 - _most(checked - right, checked, sizes)
    high = _most(right, checked, sizes)
    return Weighted(share, low, high, int(checked.sum()), len(sizes))


def _most(found: Counts, checked: Counts, sizes: Counts) -> float:
    """Return the largest share in all strata that would rarely show so few in the samples."""
    weights = sizes / sizes.sum()
    # A stratum that was checked whole is known.
    known = checked == sizes
    certain = float((weights * found / checked)[known].sum())
    if known.all():
        return certain
    weights, found, checked = weights[~known], found[~known], checked[~known]
    step = weights / checked  # what one image found adds to the weighted sum
    exponents = np.geomspace(0.1 / step.max(), SHARPEST / step.min(), EXPONENTS)
    falls = -np.expm1(-np.minimum(exponents[:, None] * step, SHARPEST))
    bounds = np.log((1 - CONFIDENCE) / 2) - exponents * (found * step).sum()
    shares = _shares(falls, step, checked, bounds)
    return certain + float(np.minimum((weights * shares).sum(axis=1).min(), weights.sum()))


def _shares(falls: Floats, step: Floats, checked: Counts, bounds: Floats) -> Floats:
    """Spread errors over strata where they would be seen least, until they would rarely be missed.

    The logarithm of the sum's generating function, meant over samples, is concave in the shares, so
    that its largest value for a given share in all is where its slopes by weight are equal: shares
    of 1 / falls - height / step within 0 and 1 for one height, which is sought for each exponent.

    Returns
    -------
    ndarray
        Shares of strata by exponent, (exponents, strata).
    """
    low, high = np.zeros((2, len(falls), 1))
    high[:] = (step / falls).max(axis=1, keepdims=True)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        shares = (1 / falls - middle / step).clip(0, 1)
        rare = (checked * np.log1p(-falls * shares)).sum(axis=1) < bounds
        low, high = np.where(rare[:, None], middle, low), np.where(rare[:, None], high, middle)
    found: Floats = (1 / falls - low / step).clip(0, 1)
    return found
