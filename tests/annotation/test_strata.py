"""Checks within clusters: the interval covers the truth, and is not wider than it must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from medlabel.annotation import strata
from medlabel.randomness import stream

RUNS = 1000


def drawn(
    rng: np.random.Generator, sizes: np.ndarray, errors: np.ndarray
) -> tuple[float, float, float]:
    """Check three images of each cluster; return the truth and the interval."""
    checked = np.minimum(3, sizes)
    wrong = rng.hypergeometric(errors, sizes - errors, checked)
    found = strata.weighted(checked - wrong, checked, sizes)
    return 1 - errors.sum() / sizes.sum(), found.low, found.high


@pytest.mark.parametrize("kind", ["even", "one bad cluster", "one large cluster", "half wrong"])
def test_the_interval_covers_the_truth(kind: str) -> None:
    covered = 0
    for run in range(RUNS):
        rng = stream(run, "strata", kind)
        sizes = rng.integers(20, 200, 12)
        if kind == "one large cluster":
            sizes[0] = sizes.sum()
        shares = {
            "even": np.full(12, 0.05),
            "one bad cluster": np.eye(12)[0],
            "one large cluster": 0.2 * np.eye(12)[0],
            "half wrong": rng.random(12),
        }[kind]
        truth, low, high = drawn(rng, sizes, np.round(shares * sizes).astype(int))
        covered += low <= truth <= high
    assert covered / RUNS >= 0.93


def test_without_errors_in_even_clusters_it_is_clopper_and_pearsons() -> None:
    found = strata.weighted(np.full(10, 3), np.full(10, 3), np.full(10, 1000))
    assert found.share == found.high == 1
    assert found.low == pytest.approx(beta.ppf(0.025, 30, 1), abs=1e-3)


def test_it_is_little_wider_than_an_even_sample() -> None:
    wrong = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    found = strata.weighted(3 - wrong, np.full(10, 3), np.full(10, 1000))
    low, high = beta.ppf(0.025, 28, 3), beta.ppf(0.975, 29, 2)
    assert low - 0.06 < found.low < low
    assert high < found.high < high + 0.03


def test_what_was_checked_whole_is_known() -> None:
    sizes = np.array([4, 6])
    found = strata.weighted(np.array([3, 6]), sizes, sizes)
    assert (found.share, found.low, found.high) == pytest.approx((0.9, 0.9, 0.9))
    half = strata.weighted(np.array([4, 1]), np.array([4, 1]), sizes)
    assert half.low >= 0.4
    assert "weighted by the sizes of 2 clusters (5 images checked; 95% interval" in half.told()


def test_a_large_cluster_weighs_more() -> None:
    found = strata.weighted(np.array([0, 3]), np.array([3, 3]), np.array([100, 900]))
    assert found.share == pytest.approx(0.9)
    assert found.low < 0.9 < found.high
