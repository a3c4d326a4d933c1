"""Metrics of one set of predictions, for each of MedMNIST's tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medlabel.evaluate import metrics

Labels = npt.NDArray[np.integer[Any]]
Probabilities = npt.NDArray[np.floating[Any]]

METRICS = (
    "auc",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "average_precision",
    "calibration_error",
)
BINS = 15  # of the calibration error
THRESHOLD = 0.5


def score(task: str, labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Measure predictions.

    Parameters
    ----------
    task
        MedMNIST's: ``"binary-class"``, ``"multi-class"``, ``"ordinal-regression"`` or
        ``"multi-label, binary-class"``.
    labels
        Shape (n, L): classes (L = 1), or 0 and 1 for each label of a multi-label task.
    probabilities
        Shape (n, K): of each class, or of each label (K = L).

    Returns
    -------
    dict
        `METRICS`. ``auc`` and ``accuracy`` are those of MedMNIST's evaluator (Yang et al., MedMNIST
        v2, Scientific Data 10:41, 2023). ``balanced_accuracy`` is the mean recall of the classes,
        ``f1`` their mean F1, ``average_precision`` their mean (of class 1, in a binary task);
        ``calibration_error`` is Guo et al.'s expected one with 15 bins (On Calibration of Modern
        Neural Networks, ICML 2017). In a multi-label task each is the mean over labels.

    Raises
    ------
    ValueError
        When shapes do not fit, or a class is absent, which leaves the AUC undefined.
    """
    columns = _columns(task, labels, probabilities)
    each = [_binary(truth, scores) for truth, scores in columns]
    mean = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    if task.startswith("multi-label"):
        return mean
    predicted = predictions(task, probabilities)[:, 0]
    truth = labels[:, 0]
    hits = predicted == truth
    both = metrics.score(truth, np.eye(probabilities.shape[1])[predicted])
    return {
        "auc": mean["auc"],
        "accuracy": float(hits.mean()),
        "balanced_accuracy": float(np.mean(recall(task, labels, probabilities))),
        "f1": both["f1"],
        "average_precision": mean["average_precision"],
        "calibration_error": calibration_error(probabilities.max(axis=1), hits),
    }


def predictions(task: str, probabilities: Probabilities) -> Labels:
    """Return what is answered: classes (n, 1), or 0 and 1 for each label (n, L)."""
    if task.startswith("multi-label"):
        return (probabilities > THRESHOLD).astype(np.intp)
    if task == "binary-class":
        return (probabilities[:, -1:] > THRESHOLD).astype(np.intp)
    classes: Labels = probabilities.argmax(axis=1, keepdims=True)
    return classes


def recall(task: str, labels: Labels, probabilities: Probabilities) -> list[float]:
    """Return the part of each class's images that are found, or of each label's positives."""
    answered = predictions(task, probabilities)
    if task.startswith("multi-label"):
        pairs = [(labels[:, i] == 1, answered[:, i] == 1) for i in range(labels.shape[1])]
    else:
        classes = range(probabilities.shape[1])
        pairs = [(labels[:, 0] == label, answered[:, 0] == label) for label in classes]
    return [float(found[present].mean()) for present, found in pairs]


def calibration_error(
    confidence: npt.NDArray[np.floating[Any]], hits: npt.NDArray[np.bool_]
) -> float:
    """Return the mean gap between confidence and accuracy over equal bins of confidence."""
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    gaps = np.bincount(bins, weights=hits - confidence.astype(np.float64), minlength=BINS)
    return float(np.abs(gaps).sum() / len(hits))


def _columns(
    task: str, labels: Labels, probabilities: Probabilities
) -> list[tuple[npt.NDArray[np.bool_], Probabilities]]:
    """Give truth and scores of each two-way question that the task's AUC averages over."""
    if labels.ndim != 2 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape}")
    classes = probabilities.shape[1]
    if task.startswith("multi-label"):
        pairs = [(labels[:, i] == 1, probabilities[:, i]) for i in range(classes)]
    else:
        asked = [1] if task == "binary-class" else range(classes)
        pairs = [(labels[:, 0] == label, probabilities[:, label]) for label in asked]
    for truth, _ in pairs:
        if truth.all() or not truth.any():
            raise ValueError("a class is absent: its AUC is undefined")
    return pairs


def _binary(truth: npt.NDArray[np.bool_], scores: Probabilities) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score

    answered = scores > THRESHOLD
    sides = np.column_stack([1 - scores.astype(np.float64), scores])
    return {
        "auc": metrics.score(truth.astype(np.intp), sides)["auc"],
        "accuracy": float((answered == truth).mean()),
        "balanced_accuracy": float(balanced_accuracy_score(truth, answered)),
        "f1": float(f1_score(truth, answered, zero_division=0)),
        "average_precision": float(average_precision_score(truth, scores)),
        "calibration_error": calibration_error(np.maximum(scores, 1 - scores), answered == truth),
    }
