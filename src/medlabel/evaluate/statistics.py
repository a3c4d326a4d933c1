"""Intervals and tests for repeats over seeds, pretrainings and images, and for pairs of them.

The repeats vary every source of chance at once (images drawn, split, order, initial weights), as
Bouthillier et al. advise: Accounting for variance in machine learning benchmarks, MLSys 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from medlabel.evaluate.scores import Floats

ROUNDING = 1e-12  # two scores closer than this differ by floating-point rounding alone
CHUNK = 1000  # resamples at a time: bounds memory only


def interval(
    values: Floats, confidence: float, resamples: int, random: np.random.Generator
) -> tuple[float, float]:
    """Confidence interval of a mean, by the bias-corrected and accelerated bootstrap.

    Efron, Better bootstrap confidence intervals, JASA 82 (1987) 171-185. With few values it covers
    less than its `confidence`, such as 0.95 (`tests/evaluate` measures that). Values without any
    spread, a single one among them, give the mean twice: the bootstrap knows no spread that the
    values do not show.
    """
    mean = float(np.mean(values))
    if np.ptp(values) <= ROUNDING:
        return mean, mean
    found = stats.bootstrap(
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
    """Confidence interval of a mean that resamples every crossed source of chance.

    Seeds share their test images, and pretrainings their seeds, so that the chance of one factor
    does not average out over the others. Each replicate therefore weights an image alike in all
    repeats, and draws seeds and pretrainings with replacement besides: the pigeonhole bootstrap for
    crossed factors, which is slightly conservative. Owen, The pigeonhole bootstrap, Annals of
    Applied Statistics 1 (2007) 386-411.

    `replicates` are values under each resampling of the images, shape (resamples, pretrainings,
    seeds); the first axis may repeat one value where images are not resampled. NaN where a value is
    undefined (a resampling without a class has no AUC) is passed over. The ends are percentiles.
    """
    return percentiles(crossed_means(replicates, random), confidence)


def crossed_means(replicates: Floats, random: np.random.Generator) -> Floats:
    """Return the mean of each crossed resampling that is defined; see `crossed_interval`."""
    resamples, pretrainings, seeds = replicates.shape
    runs = random.integers(pretrainings, size=(resamples, pretrainings))
    drawn = random.integers(seeds, size=(resamples, seeds))
    chosen = replicates[np.arange(resamples)[:, None, None], runs[:, :, None], drawn[:, None, :]]
    flat = chosen.reshape(resamples, -1)
    defined = ~np.isnan(flat)
    kept = defined.any(axis=1)
    means: Floats = np.where(defined, flat, 0).sum(axis=1)[kept] / defined.sum(axis=1)[kept]
    return means


def percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    """Return the two quantiles that enclose `confidence` of the values."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def beyond_zero(means: Floats) -> float:
    """Two-sided p of bootstrapped differences: twice the part of them beyond zero.

    Each count is raised by one so that p is never 0 (Davison and Hinkley, Bootstrap Methods and
    their Application, 1997, section 4.2).
    """
    beyond = min(np.count_nonzero(means <= ROUNDING), np.count_nonzero(means >= -ROUNDING))
    return min(1.0, 2 * (int(beyond) + 1) / (len(means) + 1))


def wilcoxon(differences: Floats) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that differences are symmetric about zero.

    Zero differences are dropped, as Wilcoxon proposed (``zero_method="wilcox"``). Differences are
    rounded to twelve decimals first, so that equal numbers of images tie. All zero gives 1.
    """
    rounded = np.round(differences, 12)
    if not rounded.any():
        return 1.0
    return float(stats.wilcoxon(rounded, zero_method="wilcox").pvalue)


def sign_flip(differences: Floats, resamples: int, random: np.random.Generator) -> float:
    """Two-sided p of the permutation test that paired differences have mean zero.

    If the arms of a pair are exchangeable, each difference may as well have the other sign. With
    up to log2(`resamples`) pairs all sign patterns are tried and p is exact; else b of m random
    ones reach the observed mean and p = (b + 1) / (m + 1), which is never zero. Phipson and
    Smyth, Permutation p-values should never be zero, SAGMB 9 (2010) article 39.
    """
    rounded = np.round(differences, 12)
    if not rounded.any() or len(rounded) == 1:  # scipy refuses a single pair
        return 1.0
    found = stats.permutation_test(
        (rounded,),
        _distance_of_sum,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=resamples,
        batch=CHUNK,
        rng=random,
    )
    return float(found.pvalue)


def _distance_of_sum(values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    # Rounded, so that patterns of equal sums tie with the observed one.
    distance: npt.NDArray[Any] = np.round(np.abs(values.sum(axis=axis)), 10)
    return distance


def wins_ties_losses(differences: Floats) -> tuple[int, int, int]:
    """Count differences above, at and below zero, rounding errors taken as zero."""
    wins = int(np.count_nonzero(differences > ROUNDING))
    losses = int(np.count_nonzero(differences < -ROUNDING))
    return wins, differences.size - wins - losses, losses


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p values of a family of tests so that its error rate holds, in the given order.

    The i-th smallest of n times n + 1 - i, never less than a smaller one's and at most 1: Holm, A
    simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6
    (1979) 65-70.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def crossing(teacher: Floats, gain: Floats) -> float | None:
    """Find the accuracy of a teacher at which its student stops helping.

    Of n teachers and their students' mean gains, shape (n,), in any order: going from the teacher
    whose student gains most to better ones, where the gain first falls to zero, linearly between
    neighbours. None when it never does, or when no student gains anything.
    """
    order = np.argsort(teacher, kind="stable")
    teacher, gain = teacher[order], gain[order]
    top = int(np.argmax(gain))
    fallen = np.flatnonzero(gain[top:] <= 0)
    if not len(fallen) or fallen[0] == 0:
        return None
    after = top + int(fallen[0])
    part = gain[after - 1] / (gain[after - 1] - gain[after])
    return float(teacher[after - 1] + part * (teacher[after] - teacher[after - 1]))


def crossing_replicates(
    teachers: Floats, gains: Floats, resamples: int, random: np.random.Generator
) -> list[float | None]:
    """Find the crossing of resampled pretrainings and seeds, drawn alike for all teachers.

    `teachers` and `gains` are of shape (points of the curve, pretrainings, seeds).
    """
    _, pretrainings, seeds = teachers.shape
    counts = [
        random.multinomial(size, np.full(size, 1 / size), size=resamples) / size
        for size in (pretrainings, seeds)
    ]
    means = [np.einsum("kps,rp,rs->rk", values, *counts) for values in (teachers, gains)]
    return [crossing(teacher, gain) for teacher, gain in zip(*means, strict=True)]
