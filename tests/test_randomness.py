"""Streams are reproducible, and independent of one another."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medlabel.randomness import stream, torch_seed

purposes = st.lists(st.text("abc", min_size=1) | st.integers(0, 99), min_size=1, max_size=3)


@given(st.integers(0, 2**32 - 1), purposes)
def test_the_same_name_gives_the_same_numbers(seed: int, purpose: list) -> None:
    assert np.array_equal(stream(seed, *purpose).random(4), stream(seed, *purpose).random(4))
    assert 0 <= torch_seed(seed, *purpose) < 2**63


def test_names_and_seeds_give_different_numbers() -> None:
    draws = {
        tuple(stream(seed, "mix", name, number).integers(0, 2**62, 2))
        for seed in range(5)
        for name in ("chest", "breast")
        for number in range(20)
    }
    assert len(draws) == 200


def test_the_stream_does_not_change_between_versions() -> None:
    assert stream(2024, "mix", "chest", 0).integers(0, 1000, 5).tolist() == GOLDEN


GOLDEN = [181, 445, 981, 369, 81]
