"""Scores of every task against MedMNIST's evaluator and scikit-learn, and on their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medmnist.evaluator import getACC, getAUC
from sklearn import metrics as reference

from medlabel.evaluate import scores

TASKS = ("binary-class", "multi-class", "ordinal-regression", "multi-label, binary-class")


def draw(task: str, seed: int, count: int = 60, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels in which every class occurs, and scores; two digits make ties."""
    random = np.random.default_rng(seed)
    classes = 2 if task == "binary-class" else 5
    if task.startswith("multi-label"):
        labels = np.vstack([np.eye(classes, dtype=int), 1 - np.eye(classes, dtype=int)])
        more = random.integers(0, 2, (count - len(labels), classes))
        return np.vstack([labels, more]), np.round(random.random((count, classes)), digits)
    labels = np.append(np.arange(classes), random.integers(0, classes, count - classes))
    given = random.dirichlet(np.ones(classes), count) + 0.3 * np.eye(classes)[labels]
    given = np.round(given / given.sum(axis=1, keepdims=True), digits)
    if task == "binary-class":
        given[:, 0] = 1 - given[:, 1]
    return labels[:, None], given


@settings(max_examples=60, deadline=None)
@given(task=st.sampled_from(TASKS), seed=st.integers(0, 10_000), digits=st.sampled_from([1, 2, 8]))
def test_auc_and_accuracy_are_the_evaluators(task: str, seed: int, digits: int) -> None:
    labels, given = draw(task, seed, digits=digits)
    found = scores.score(task, labels, given)
    assert found["auc"] == pytest.approx(getAUC(labels, given, task), abs=1e-12)
    assert found["accuracy"] == pytest.approx(getACC(labels, given, task), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(task=st.sampled_from(TASKS[:3]), seed=st.integers(0, 10_000))
def test_other_scores_are_scikit_learns(task: str, seed: int) -> None:
    labels, given = draw(task, seed)
    truth, answered = labels[:, 0], scores.predictions(task, given)[:, 0]
    found = scores.score(task, labels, given)
    assert found["f1"] == pytest.approx(reference.f1_score(truth, answered, average="macro"))
    balanced = reference.balanced_accuracy_score(truth, answered)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    recalls = reference.recall_score(truth, answered, average=None, zero_division=0)
    assert scores.recall(task, labels, given) == pytest.approx(list(recalls))
    counts = reference.confusion_matrix(truth, answered, labels=range(given.shape[1]))
    assert scores.confusion(task, labels, given).tolist() == counts.tolist()
    areas = [
        reference.average_precision_score(truth == label, given[:, label])
        for label in ([1] if task == "binary-class" else range(given.shape[1]))
    ]
    assert found["average_precision"] == pytest.approx(np.mean(areas))


def test_multi_label_scores_are_means_over_labels() -> None:
    task = TASKS[3]
    labels, given = draw(task, 8)
    answered = scores.predictions(task, given)
    found = scores.score(task, labels, given)
    pairs = list(zip(labels.T, answered.T, strict=True))
    f1 = np.mean([reference.f1_score(*pair) for pair in pairs])
    balanced = np.mean([reference.balanced_accuracy_score(*pair) for pair in pairs])
    assert found["f1"] == pytest.approx(f1)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    precision = reference.average_precision_score(labels, given, average="macro")
    assert found["average_precision"] == pytest.approx(precision)


def test_multi_class_area_is_scikit_learns_one_against_the_rest() -> None:
    labels, given = draw("multi-class", 3, 200, digits=8)
    raw = given / given.sum(axis=1, keepdims=True)
    expected = reference.roc_auc_score(labels[:, 0], raw, multi_class="ovr", average="macro")
    found = scores.score("multi-class", labels, raw)
    assert found["auc"] == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_known_cases() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.6, 0.6])
    hits = np.array([True, True, True, False, True, False])
    expected = (4 * abs(0.9 - 0.75) + 2 * abs(0.6 - 0.5)) / 6
    ones = np.ones((1, 6))
    assert scores.calibration_error(confidence, hits, ones) == pytest.approx([expected])
    sure = scores.calibration_error(np.ones(6), np.ones(6, bool), ones)
    assert sure.tolist() == [0]


@settings(max_examples=30, deadline=None)
@given(task=st.sampled_from(TASKS), seed=st.integers(0, 10_000))
def test_a_weight_counts_an_image_so_many_times(task: str, seed: int) -> None:
    labels, given = draw(task, seed)
    counts = np.random.default_rng(seed).integers(0, 4, (5, len(labels)))
    found = scores.weighted(task, labels, given, counts.astype(float))
    for place, count in enumerate(counts):
        expected = scores.score(task, np.repeat(labels, count, axis=0), np.repeat(given, count, 0))
        got = {name: found[name][place] for name in scores.METRICS}
        assert got == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_constant_answers_score_chance() -> None:
    labels = np.array([0, 0, 0, 1])[:, None]
    found = scores.score("binary-class", labels, np.full((4, 2), 0.5))
    # Class 0 wins ties: its F1 is 6 / 7, that of class 1 is 0.
    assert (found["accuracy"], found["f1"], found["auc"]) == pytest.approx((0.75, 3 / 7, 0.5))
    assert found["average_precision"] == pytest.approx(0.25)
    assert scores.trivial_accuracy("binary-class", labels) == 0.75
    several = np.array([[0, 0], [0, 1]])
    assert scores.trivial_accuracy(TASKS[3], several) == 0.75


def test_perfect_and_inverted_answers() -> None:
    labels = np.array([0, 1, 1, 0])[:, None]
    right = np.eye(2)[labels[:, 0]]
    for answers, expected in ((right, 1.0), (right[:, ::-1], 0.0)):
        found = scores.score("binary-class", labels, answers)
        assert {found[name] for name in ("accuracy", "f1", "auc")} == {expected}


def test_scores_of_an_absent_class_are_undefined() -> None:
    given = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    found = scores.score("binary-class", np.zeros((3, 1), int), given)
    assert math.isnan(found["auc"])
    assert found["accuracy"] == pytest.approx(2 / 3)
    absent = scores.score("multi-class", np.array([0, 1, 1])[:, None], np.eye(3)[[0, 1, 1]])
    assert math.isnan(absent["auc"])
    assert absent["f1"] == 1.0


def test_weights_of_zero_leave_every_score_undefined() -> None:
    labels, given = draw("multi-class", 0)
    found = scores.weighted("multi-class", labels, given, np.zeros((1, len(labels))))
    assert all(math.isnan(found[name][0]) for name in scores.METRICS)


def test_float32_probabilities_score_as_their_float64_values() -> None:
    labels, given = draw("binary-class", 1, digits=8)
    narrow = given.astype(np.float32)
    wide = scores.score("binary-class", labels, narrow.astype(np.float64))
    assert scores.score("binary-class", labels, narrow) == wide


@pytest.mark.parametrize("shape", [(0, 2), (4, 2), (3,)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        scores.score("binary-class", np.zeros((3 if shape[0] else 0, 1), int), np.zeros(shape))
