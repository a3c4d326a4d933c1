"""Metrics of every task against MedMNIST's evaluator and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medmnist.evaluator import getACC, getAUC
from sklearn import metrics as reference

from medlabel.evaluate import classification

TASKS = ("binary-class", "multi-class", "ordinal-regression", "multi-label, binary-class")


def draw(task: str, seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    classes = 2 if task == "binary-class" else 5
    # Two digits make ties.
    scores = np.round(random.random((count, classes)), 2)
    if task.startswith("multi-label"):
        return random.integers(0, 2, (count, classes)), scores
    labels = np.append(np.arange(classes), random.integers(0, classes, count - classes))
    scores = np.round(random.dirichlet(np.ones(classes), count), 2)
    if task == "binary-class":
        scores[:, 0] = 1 - scores[:, 1]
    return labels[:, None], scores


@settings(max_examples=40, deadline=None)
@given(task=st.sampled_from(TASKS), seed=st.integers(0, 10_000))
def test_auc_and_accuracy_are_the_evaluators(task: str, seed: int) -> None:
    labels, scores = draw(task, seed)
    found = classification.score(task, labels, scores)
    assert found["auc"] == pytest.approx(getAUC(labels, scores, task), abs=1e-12)
    assert found["accuracy"] == pytest.approx(getACC(labels, scores, task), abs=1e-12)


@pytest.mark.parametrize("task", TASKS[:3])
def test_other_metrics_are_scikit_learns(task: str) -> None:
    labels, scores = draw(task, 3)
    truth, answered = labels[:, 0], classification.predictions(task, scores)[:, 0]
    found = classification.score(task, labels, scores)
    assert found["f1"] == pytest.approx(reference.f1_score(truth, answered, average="macro"))
    balanced = reference.balanced_accuracy_score(truth, answered)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    recalls = reference.recall_score(truth, answered, average=None)
    assert classification.recall(task, labels, scores) == pytest.approx(list(recalls))


def test_multi_label_metrics_are_means_over_labels() -> None:
    task = TASKS[3]
    labels, scores = draw(task, 8)
    answered = classification.predictions(task, scores)
    found = classification.score(task, labels, scores)
    pairs = list(zip(labels.T, answered.T, strict=True))
    f1 = np.mean([reference.f1_score(*pair) for pair in pairs])
    balanced = np.mean([reference.balanced_accuracy_score(*pair) for pair in pairs])
    assert found["f1"] == pytest.approx(f1)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    precision = reference.average_precision_score(labels, scores, average="macro")
    assert found["average_precision"] == pytest.approx(precision)


def test_average_precision_of_a_binary_task_is_that_of_class_1() -> None:
    labels, scores = draw("binary-class", 5)
    expected = reference.average_precision_score(labels[:, 0], scores[:, 1])
    found = classification.score("binary-class", labels, scores)
    assert found["average_precision"] == pytest.approx(expected)


def test_calibration_error_of_known_cases() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.6, 0.6])
    hits = np.array([True, True, True, False, True, False])
    expected = (4 * abs(0.9 - 0.75) + 2 * abs(0.6 - 0.5)) / 6
    ones = np.ones((1, 6))
    assert classification.calibration_error(confidence, hits, ones) == pytest.approx([expected])
    sure = classification.calibration_error(np.ones(6), np.ones(6, bool), ones)
    assert sure.tolist() == [0]


@settings(max_examples=20, deadline=None)
@given(task=st.sampled_from(TASKS), seed=st.integers(0, 10_000))
def test_a_weight_counts_an_image_so_many_times(task: str, seed: int) -> None:
    labels, scores = draw(task, seed)
    counts = np.random.default_rng(seed).integers(1, 4, len(labels))
    found = classification.weighted(task, labels, scores, counts[None].astype(float))
    repeated = np.repeat(labels, counts, axis=0), np.repeat(scores, counts, axis=0)
    expected = classification.score(task, *repeated)
    for name in classification.METRICS:
        assert found[name] == pytest.approx([expected[name]], abs=1e-12), name


def test_an_absent_class_is_refused() -> None:
    with pytest.raises(ValueError, match="a class is absent"):
        classification.score("binary-class", np.zeros((4, 1), int), np.full((4, 2), 0.5))
