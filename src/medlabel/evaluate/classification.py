"""Metrics of one set of predictions, for each of MedMNIST's tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medlabel.evaluate import metrics

Labels = npt.NDArray[np.integer[Any]]
Probabilities = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]

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
    ones = np.ones((1, len(labels)))
    found = weighted(task, labels, probabilities, ones)
    return {name: float(value[0]) for name, value in found.items()}


def weighted(
    task: str, labels: Labels, probabilities: Probabilities, weights: Floats
) -> dict[str, Floats]:
    """Measure predictions under many weightings of the images, as a bootstrap needs.

    Parameters
    ----------
    task, labels, probabilities
        As in `score`.
    weights
        Of each image in each of r weightings, shape (r, n); weight 2 counts as two images.

    Returns
    -------
    dict
        The metrics of `score`, each of shape (r,); NaN where a weighting leaves one undefined.

    Raises
    ------
    ValueError
        As in `score`.
    """
    questions = _questions(task, labels, probabilities)
    ranked = [_ranked(truth, scores, weights) for truth, scores in questions]
    answered = predictions(task, probabilities)
    if task.startswith("multi-label"):
        sides = [np.column_stack([1 - scores, scores]) for _, scores in questions]
        each = [
            one | _answered(labels[:, i], answered[:, i], sides[i], weights, positives=True)
            for i, one in enumerate(ranked)
        ]
    else:
        decided = _answered(labels[:, 0], answered[:, 0], probabilities, weights, positives=False)
        each = [one | decided for one in ranked]
    return {name: np.mean([one[name] for one in each], axis=0) for name in METRICS}


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
    confidence: npt.NDArray[np.floating[Any]], hits: npt.NDArray[np.bool_], weights: Floats
) -> Floats:
    """Return the mean gap between confidence and accuracy over equal bins of confidence.

    Parameters
    ----------
    confidence
        In the answer given, shape (n,).
    hits
        Whether it was right, shape (n,).
    weights
        Shape (r, n).
    """
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    gaps = np.zeros((len(hits), BINS))
    gaps[np.arange(len(hits)), bins] = hits - confidence.astype(np.float64)
    error: Floats = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
    return error


def _questions(
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


def _ranked(
    truth: npt.NDArray[np.bool_], scores: Probabilities, weights: Floats
) -> dict[str, Floats]:
    """Measure how well scores put positives first."""
    sides = np.column_stack([-scores, scores])
    return {
        "auc": metrics.weighted(truth.astype(np.intp), sides, weights)["auc"],
        "average_precision": _average_precision(truth, scores, weights),
    }


def _average_precision(
    truth: npt.NDArray[np.bool_], scores: Probabilities, weights: Floats
) -> Floats:
    """Mean precision over the steps of recall, equal scores being one step."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    taken = np.cumsum(weights[:, order], axis=1)[:, last]
    found = np.cumsum(weights[:, order] * truth[order], axis=1)[:, last]
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    steps = np.diff(found, axis=1, prepend=0)
    total = found[:, -1]
    undefined = np.full(len(total), np.nan)
    mean: Floats = np.divide((precision * steps).sum(axis=1), total, out=undefined, where=total > 0)
    return mean


def _answered(
    truth: Labels,
    answered: Labels,
    probabilities: Probabilities,
    weights: Floats,
    *,
    positives: bool,
) -> dict[str, Floats]:
    """Measure the answers given; F1 of the positives alone, or the mean of all classes."""
    classes = probabilities.shape[1]
    hits = truth == answered
    known = metrics.weighted(truth, np.eye(classes)[answered], weights)
    present = np.eye(classes)[truth]
    counts, found = weights @ present, weights @ (present * hits[:, None])
    with np.errstate(invalid="ignore"):
        recalls = found / counts
    confidence = probabilities[np.arange(len(truth)), answered]
    return {
        "accuracy": known["accuracy"],
        "balanced_accuracy": recalls.mean(axis=1),
        "f1": _f1_of_positives(truth, answered, weights) if positives else known["f1"],
        "calibration_error": calibration_error(confidence, hits, weights),
    }


def _f1_of_positives(truth: Labels, answered: Labels, weights: Floats) -> Floats:
    hits = weights @ ((truth == 1) & (answered == 1)).astype(np.float64)
    named = weights @ (truth + answered).astype(np.float64)
    f1: Floats = np.divide(2 * hits, named, out=np.zeros_like(hits), where=named > 0)
    return f1
