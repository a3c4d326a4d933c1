"""Metrics against scikit-learn's and MedMNIST's, and on their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from medlabel.evaluate.metrics import METRICS, score, weighted


def examples(
    count: int, classes: int, seed: int, decimals: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Random truth in which every class occurs, and probabilities that follow it a little."""
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), random.integers(classes, size=count - classes)])
    raw = random.random((count, classes)) + 0.3 * np.eye(classes)[truth]
    return truth, np.round(raw / raw.sum(axis=1, keepdims=True), decimals)


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(6, 80),
    classes=st.integers(2, 5),
    seed=st.integers(0, 10_000),
    decimals=st.sampled_from([1, 8]),  # one decimal gives many ties
)
def test_metrics_are_scikit_learns(count: int, classes: int, seed: int, decimals: int) -> None:
    truth, probabilities = examples(count, classes, seed, decimals)
    predicted = probabilities.argmax(axis=1)
    areas = [
        roc_auc_score(truth == index, probabilities[:, index])
        for index in ([1] if classes == 2 else range(classes))
    ]
    expected = {
        "accuracy": accuracy_score(truth, predicted),
        "f1": f1_score(truth, predicted, average="macro"),
        "auc": np.mean(areas),
    }
    assert score(truth, probabilities) == pytest.approx(expected, abs=1e-12)


def test_multi_class_area_is_scikit_learns_one_against_the_rest() -> None:
    truth, probabilities = examples(200, 4, 3)
    raw = probabilities / probabilities.sum(axis=1, keepdims=True)
    expected = roc_auc_score(truth, raw, multi_class="ovr", average="macro")
    assert score(truth, raw)["auc"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("classes", "task"), [(2, "binary-class"), (4, "multi-class")])
def test_metrics_are_medmnists(classes: int, task: str) -> None:
    from medmnist.evaluator import getACC, getAUC

    truth, probabilities = examples(150, classes, 5)
    ours = score(truth, probabilities)
    assert ours["accuracy"] == pytest.approx(getACC(truth, probabilities, task), abs=1e-12)
    assert ours["auc"] == pytest.approx(getAUC(truth, probabilities, task), abs=1e-12)


def test_weights_count_images_several_times() -> None:
    truth, probabilities = examples(40, 3, 7)
    counts = np.random.default_rng(0).integers(0, 4, size=(20, 40))
    found = weighted(truth, probabilities, counts.astype(float))
    for row, count in enumerate(counts):
        repeated = np.repeat(np.arange(40), count)
        expected = score(truth[repeated], probabilities[repeated])
        assert {name: found[name][row] for name in METRICS} == pytest.approx(expected, abs=1e-12)


def test_constant_predictions_score_chance() -> None:
    truth = np.array([0, 0, 0, 1])
    found = score(truth, np.full((4, 2), 0.5))
    # Class 0 wins ties: its F1 is 6 / 7, that of class 1 is 0.
    assert found == pytest.approx({"accuracy": 0.75, "f1": 3 / 7, "auc": 0.5})


def test_perfect_and_inverted_predictions() -> None:
    truth = np.array([0, 1, 1, 0])
    right = np.eye(2)[truth]
    assert score(truth, right) == {"accuracy": 1.0, "f1": 1.0, "auc": 1.0}
    assert score(truth, right[:, ::-1]) == {"accuracy": 0.0, "f1": 0.0, "auc": 0.0}


def test_area_is_undefined_when_a_class_is_absent() -> None:
    found = score(np.zeros(3, int), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))
    assert math.isnan(found["auc"])
    assert found["accuracy"] == pytest.approx(2 / 3)
    absent = score(np.array([0, 1, 1]), np.eye(3)[[0, 1, 1]])
    assert math.isnan(absent["auc"])
    assert absent["f1"] == 1.0


def test_weights_of_zero_leave_every_metric_undefined() -> None:
    truth, probabilities = examples(10, 2, 0)
    found = weighted(truth, probabilities, np.zeros((1, 10)))
    assert all(math.isnan(found[name][0]) for name in METRICS)


def test_float32_probabilities_score_as_their_float64_values() -> None:
    truth, probabilities = examples(60, 2, 1)
    narrow = probabilities.astype(np.float32)
    assert score(truth, narrow) == score(truth, narrow.astype(np.float64))


@pytest.mark.parametrize("shape", [(0, 2), (4, 2), (3,)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        score(np.zeros(3 if shape[0] else 0, int), np.zeros(shape))
