from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from medlabel.errors import MedlabelError
from medlabel.labels import zeroshot


def units(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, 6))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_probabilities_of_two_classes_are_logistic_in_the_difference() -> None:
    images = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    found = zeroshot.probabilities(images, np.eye(2, dtype=np.float32), 100.0)
    difference = 100.0 * (images[:, 0].astype(float) - images[:, 1])
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.exp(-difference)), rtol=1e-6, atol=1e-30)
    assert found.dtype == np.float32


@given(st.integers(2, 7), st.floats(0.1, 1000), st.integers(0, 99))
def test_probabilities_are_scipys_softmax_to_the_last_bit(
    classes: int, scale: float, seed: int
) -> None:
    images, words = units(9, seed), units(classes, seed + 100)
    logits = scale * (images.astype(np.float64) @ words.astype(np.float64).T)
    expected = softmax(logits, axis=1).astype(np.float32)
    np.testing.assert_array_equal(zeroshot.probabilities(images, words, scale), expected)


def test_classes_with_the_same_words_are_refused() -> None:
    """F25: every image would be the first of them, at one half."""
    words = units(3, 0)
    zeroshot.require_distinct(words, ["chest", "breast", "skin"])
    words[2] = words[0] * np.float32(1 + 1e-7)
    with pytest.raises(MedlabelError, match="chest and skin have the same words") as caught:
        zeroshot.require_distinct(words, ["chest", "breast", "skin"])
    assert "\n" not in str(caught.value)
