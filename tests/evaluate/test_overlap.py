"""Overlap of masks and maps: against scikit-learn, by hand, and what holds for all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from medlabel.evaluate import overlap

masks = arrays(bool, (3, 4, 4))
levels = arrays(np.float32, (3, 4, 4), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))


@settings(max_examples=25)
@given(masks, masks)
def test_dice_and_jaccard_are_those_of_scikit_learn(found: np.ndarray, truth: np.ndarray) -> None:
    dice, jaccard = overlap.dice(found, truth), overlap.jaccard(found, truth)
    for number, (one, own) in enumerate(zip(found, truth, strict=True)):
        flat = own.ravel(), one.ravel()
        assert dice[number] == pytest.approx(f1_score(*flat, zero_division=1))
        assert jaccard[number] == pytest.approx(jaccard_score(*flat, zero_division=1))


@settings(max_examples=25)
@given(levels, masks)
def test_auc_is_that_of_scikit_learn_ties_and_all(maps: np.ndarray, truth: np.ndarray) -> None:
    found = overlap.area_under_curve(maps, truth)
    for number, own in enumerate(truth):
        if own.all() or not own.any():
            assert np.isnan(found[number])
        else:
            expected = roc_auc_score(own.ravel(), maps[number].ravel())
            assert found[number] == pytest.approx(expected)


def test_the_threshold_is_the_best_over_all_sizes_together() -> None:
    truth = np.zeros((1, 4, 4), bool)
    truth[:, :2] = True
    large = np.repeat(np.repeat(truth, 2, 1), 2, 2)
    maps = [(np.where(one, 0.62, 0.41).astype(np.float32), one) for one in (truth, large)]
    assert overlap.best_threshold(maps) == pytest.approx(0.45)
