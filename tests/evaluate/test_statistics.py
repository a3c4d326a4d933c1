"""Intervals and tests against scipy's and closed forms."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medlabel.evaluate import statistics


def generator() -> np.random.Generator:
    return np.random.default_rng(4)


def test_interval_of_normal_values_is_near_students() -> None:
    values = generator().normal(5, 2, size=200)
    low, high = statistics.interval(values, 0.9, 5000, generator())
    expected = stats.t.interval(0.9, 199, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.03)


def test_interval_leans_with_the_skew() -> None:
    values = generator().exponential(size=30) ** 2
    low, high = statistics.interval(values, 0.95, 5000, generator())
    assert high - values.mean() > 1.2 * (values.mean() - low)


@pytest.mark.parametrize("values", [[0.3], [0.1 + 0.2, 0.3, 0.3], [0.0, 0.0]])
def test_interval_of_values_without_spread_is_the_point(values: list[float]) -> None:
    low, high = statistics.interval(np.array(values), 0.95, 200, generator())
    assert low == high == pytest.approx(values[-1])


def test_interval_of_nearly_constant_values_is_finite() -> None:
    low, high = statistics.interval(np.array([1.0] * 29 + [0.5]), 0.95, 2000, generator())
    assert 0.8 < low < high <= 1.0


def test_crossed_interval_keeps_the_chance_that_all_seeds_share() -> None:
    # One shift of all seeds in each resampling: more seeds must not average it out.
    shift = generator().normal(size=(4000, 1))
    for seeds in (2, 200):
        low, high = statistics.crossed_interval(
            shift.repeat(seeds, axis=1)[:, None], 0.95, generator()
        )
        assert (low, high) == pytest.approx((-1.96, 1.96), abs=0.15)


def test_crossed_interval_also_resamples_seeds() -> None:
    values = generator().normal(size=50)
    low, high = statistics.crossed_interval(np.tile(values, (4000, 1, 1)), 0.95, generator())
    half = 1.96 * values.std() / np.sqrt(50)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_crossed_interval_passes_over_undefined_values() -> None:
    replicates = np.ones((100, 1, 3))
    replicates[::2, :, 1] = np.nan
    replicates[5] = np.nan
    assert statistics.crossed_interval(replicates, 0.95, generator()) == (1.0, 1.0)


def test_wilcoxon_is_scipys_without_zeros() -> None:
    differences = generator().normal(0.3, 1, size=25)
    assert statistics.wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_wilcoxon_drops_zeros_and_ties_equal_counts() -> None:
    # (0.3 - 0.2) and (0.2 - 0.1) differ in their last bit, yet mean the same number of images.
    differences = np.array([0.3 - 0.2, 0.2 - 0.1, -(0.4 - 0.3), 0.0, 0.5, 0.2])
    exact = np.array([0.1, 0.1, -0.1, 0.5, 0.2])
    assert statistics.wilcoxon(differences) == stats.wilcoxon(exact).pvalue


def test_no_difference_at_all_gives_one() -> None:
    assert statistics.wilcoxon(np.array([0.0, 1e-17, 0.0])) == 1.0
    assert statistics.sign_flip(np.zeros(5), 1000, generator()) == 1.0
    assert statistics.sign_flip(np.zeros(30), 1000, generator()) == 1.0


def test_sign_flip_of_few_pairs_is_exact() -> None:
    # Of the eight sign patterns only +++ and --- reach the observed mean.
    assert statistics.sign_flip(np.array([1.0, 2.0, 3.0]), 1000, generator()) == 2 / 8
    differences = generator().normal(0.5, 1, size=9)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert statistics.sign_flip(differences, 1000, generator()) == pytest.approx(expected)


def test_sign_flip_of_many_pairs_is_near_exact_and_never_zero() -> None:
    differences = generator().normal(0.4, 1, size=14)
    exact = statistics.sign_flip(differences, 2**14, generator())
    assert statistics.sign_flip(differences, 9999, generator()) == pytest.approx(exact, abs=0.01)
    assert statistics.sign_flip(np.ones(60), 999, generator()) == 1 / 1000


def test_sign_flip_holds_its_level() -> None:
    random = generator()
    p_values = [statistics.sign_flip(random.normal(size=8), 256, random) for _ in range(400)]
    assert np.mean(np.array(p_values) <= 0.05) < 0.08


def test_wins_ties_and_losses() -> None:
    assert statistics.wins_ties_losses(np.array([0.1, 0.0, 1e-16, -0.2, 0.3])) == (2, 2, 1)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    # A hypothesis falls when every intersection that it is part of falls by Bonferroni.
    for index, adjusted in enumerate(statistics.holm(p_values)):
        others = [value for place, value in enumerate(p_values) if place != index]
        subsets = itertools.chain.from_iterable(
            itertools.combinations(others, size) for size in range(len(p_values))
        )
        worst = max((len(some) + 1) * min([*some, p_values[index]]) for some in subsets)
        assert adjusted == pytest.approx(min(worst, 1))


def test_crossed_interval_keeps_the_chance_that_seeds_of_a_pretraining_share() -> None:
    # Pretrainings differ and seeds do not: more seeds must not average the difference out.
    runs = generator().normal(size=(6, 1))
    widths = []
    for seeds in (2, 200):
        values = np.broadcast_to(runs, (4000, 6, seeds))
        low, high = statistics.crossed_interval(values, 0.95, generator())
        widths.append(high - low)
    assert widths[0] == pytest.approx(widths[1], rel=0.1)
    assert widths[0] == pytest.approx(2 * 1.96 * runs.std() / np.sqrt(6), rel=0.15)


def coverage(covers: Callable[[np.random.Generator], bool], repeats: int = 300) -> float:
    random = generator()
    return float(np.mean([covers(random) for _ in range(repeats)]))


@pytest.mark.parametrize(
    ("seeds", "least", "most"), [(3, 0.6, 0.9), (10, 0.85, 0.96), (30, 0.9, 0.98)]
)
def test_what_the_interval_over_seeds_covers(seeds: int, least: float, most: float) -> None:
    """Nominally 95 %: about that with 30 seeds, and clearly less with 3."""

    def covers(random: np.random.Generator) -> bool:
        low, high = statistics.interval(random.normal(size=seeds), 0.95, 400, random)
        return low <= 0 <= high

    assert least <= coverage(covers) <= most


def test_what_the_crossed_interval_covers_beside_that_over_seeds() -> None:
    """A score whose images count too: seeds alone know nothing of these, crossed intervals do."""
    kept: dict[str, list[bool]] = {"seeds": [], "crossed": []}
    random = generator()
    for _ in range(300):
        images, seeds = random.normal(size=60), random.normal(scale=0.1, size=10)
        noise = random.normal(size=(10, 60))
        values = images + seeds[:, None] + noise  # of each seed on each image; expected: zero
        counts = random.multinomial(60, np.full(60, 1 / 60), size=400) / 60
        low, high = statistics.crossed_interval((counts @ values.T)[:, None], 0.95, random)
        kept["crossed"].append(low <= 0 <= high)
        low, high = statistics.interval(values.mean(axis=1), 0.95, 400, random)
        kept["seeds"].append(low <= 0 <= high)
    assert np.mean(kept["seeds"]) < 0.8
    assert np.mean(kept["crossed"]) >= 0.9


def test_p_beyond_zero_is_never_zero_and_one_for_none() -> None:
    assert statistics.beyond_zero(np.full(999, 0.3)) == 2 / 1000
    assert statistics.beyond_zero(np.zeros(999)) == 1.0
    assert statistics.beyond_zero(np.r_[np.full(95, 1.0), np.full(4, -1.0)]) == 0.1


@pytest.mark.parametrize(
    ("teacher", "gain", "expected"),
    [
        ([0.7, 0.8, 0.9], [0.1, 0.05, -0.05], 0.85),
        ([0.9, 0.7, 0.8], [-0.05, 0.1, 0.05], 0.85),  # any order
        ([0.7, 0.8, 0.9], [0.1, 0.05, 0.01], None),  # always helps
        ([0.7, 0.8, 0.9], [-0.1, -0.05, 0.0], None),  # never helps
        ([0.5, 0.7, 0.9], [-0.1, 0.1, -0.1], 0.8),  # too weak a teacher does not count
        ([0.7, 0.8, 0.9], [0.1, 0.0, 0.0], 0.8),
        ([0.8, 0.85, 0.9, 0.95], [0.1, -0.1, 0.05, -0.1], 0.825),  # the first fall to zero
    ],
)
def test_crossing(teacher: list[float], gain: list[float], expected: float | None) -> None:
    found = statistics.crossing(np.array(teacher), np.array(gain))
    assert found == (None if expected is None else pytest.approx(expected))


def test_crossings_of_resamples_scatter_about_the_crossing() -> None:
    random = generator()
    teachers = np.array([0.7, 0.8, 0.9])[:, None, None] + 0.004 * random.normal(size=(3, 5, 3))
    gains = np.array([0.1, 0.05, -0.05])[:, None, None] + 0.004 * random.normal(size=(3, 5, 3))
    found = statistics.crossing_replicates(teachers, gains, 500, random)
    assert np.array(found, float) == pytest.approx(0.85, abs=0.02)
    assert np.std(np.array(found, float)) > 0
