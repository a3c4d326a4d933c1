"""Intervals and tests for repeats over seeds, and for pairs of them.

The repeats vary every source of chance at once (images drawn, split, order, initial weights), as
Bouthillier et al. advise: Accounting for variance in machine learning benchmarks, MLSys 2021.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ROUNDING = 1e-12  # two scores closer than this differ by floating-point rounding alone
CHUNK = 1000  # resamples at a time: bounds memory only


def interval(
    values: Floats, confidence: float, resamples: int, random: np.random.Generator
) -> tuple[float, float]:
    """Confidence interval of a mean, by the bias-corrected and accelerated bootstrap.

    Efron, Better bootstrap confidence intervals, JASA 82 (1987) 171-185.

    Parameters
    ----------
    values
        One a seed, shape (n,).
    confidence
        Coverage, such as 0.95.
    resamples
        Bootstrap samples.
    random
        Draws them.

    Returns
    -------
    (float, float)
        Both ends. Values without any spread, a single one among them, give the mean twice: the
        bootstrap knows no spread that the values do not show.
    """
    mean = float(np.mean(values))
    if np.ptp(values) <= ROUNDING:
        return mean, mean
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=CHUNK,
        confidence_level=confidence,
        method="BCa",
        rng=random,
    ).confidence_interval
    return float(found.low), float(found.high)


def crossed_interval(
    replicates: Floats, confidence: float, random: np.random.Generator
) -> tuple[float, float]:
    """Confidence interval of a mean over seeds that resamples seeds and images alike.

    Seeds share their test images, so that the images' chance does not average out over seeds.
    Each replicate therefore weights an image alike in all seeds, and draws the seeds with
    replacement besides: the pigeonhole bootstrap for crossed factors, which is slightly
    conservative. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007) 386-411.

    Parameters
    ----------
    replicates
        Value of each seed under each resampling of the images, shape (resamples, seeds); NaN
        where it is undefined (a resampling without a class has no AUC), which is passed over.
    confidence
        Coverage, such as 0.95.
    random
        Draws the seeds.

    Returns
    -------
    (float, float)
        Percentile interval.
    """
    resamples, seeds = replicates.shape
    drawn = random.integers(seeds, size=(resamples, seeds))
    resampled = np.take_along_axis(replicates, drawn, axis=1)
    defined = ~np.isnan(resampled)
    sums = np.where(defined, resampled, 0).sum(axis=1)
    means = sums[defined.any(axis=1)] / defined.sum(axis=1)[defined.any(axis=1)]
    return percentiles(means, confidence)


def percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    """Return the two quantiles that enclose `confidence` of the values."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def wilcoxon(differences: Floats) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that differences are symmetric about zero.

    Zero differences are dropped, as Wilcoxon proposed (``zero_method="wilcox"``). Differences are
    rounded to twelve decimals first, so that equal numbers of images tie. All zero gives 1.
    """
    rounded = np.round(differences, 12)
    if not rounded.any():
        return 1.0
    from scipy.stats import wilcoxon as signed_rank

    return float(signed_rank(rounded, zero_method="wilcox").pvalue)


def sign_flip(differences: Floats, resamples: int, random: np.random.Generator) -> float:
    """Two-sided p of the permutation test that paired differences have mean zero.

    If the arms of a pair are exchangeable, each difference may as well have the other sign. With
    up to log2(`resamples`) pairs all sign patterns are tried and p is exact; else b of m random
    ones reach the observed mean and p = (b + 1) / (m + 1), which is never zero. Phipson and
    Smyth, Permutation p-values should never be zero, SAGMB 9 (2010) article 39.

    Parameters
    ----------
    differences
        One a pair, shape (n,).
    resamples
        Random sign patterns, m; also the most patterns to try exhaustively.
    random
        Draws them.
    """
    pairs = len(differences)
    observed = abs(differences.sum()) - ROUNDING
    if 2**pairs <= resamples:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=pairs)))
        return float(np.mean(np.abs(signs @ differences) >= observed))
    extreme = 0
    for start in range(0, resamples, CHUNK):
        shape = (min(CHUNK, resamples - start), pairs)
        signs = random.integers(2, size=shape) * 2.0 - 1.0
        extreme += int(np.count_nonzero(np.abs(signs @ differences) >= observed))
    return (extreme + 1) / (resamples + 1)


def wins_ties_losses(differences: Floats) -> tuple[int, int, int]:
    """Count differences above, at and below zero, rounding errors taken as zero."""
    wins = int(np.count_nonzero(differences > ROUNDING))
    losses = int(np.count_nonzero(differences < -ROUNDING))
    return wins, len(differences) - wins - losses, losses


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p values of a family of tests so that its error rate holds, step by step.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979) 65-70.

    Returns
    -------
    list of float
        In the given order: the i-th smallest of n times n + 1 - i, never less than a smaller
        one's and at most 1.
    """
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p_values, method="holm")[1]]
