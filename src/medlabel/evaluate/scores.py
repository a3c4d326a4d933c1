"""The one set of scores of all results, for each of MedMNIST's tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medlabel.data.catalogue import is_multi_label

Labels = npt.NDArray[np.integer[Any]]
Probabilities = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]

METRICS = (
    "accuracy",
    "auc",
    "f1",
    "balanced_accuracy",
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
        v2, Scientific Data 10:41, 2023). ``f1`` is the mean F1 of the classes that occur in the
        truth or in the answers, ``balanced_accuracy`` their mean recall, ``average_precision``
        their mean (of class 1, in a binary task); ``calibration_error`` is Guo et al.'s expected
        one with 15 bins (On Calibration of Modern Neural Networks, ICML 2017). In a multi-label
        task each is the mean over labels, and F1 is that of the positives. NaN where a class is
        absent from the truth, which leaves a score undefined.

    Raises
    ------
    ValueError
        When there are no images, or shapes do not fit.
    """
    found = weighted(task, labels, probabilities, np.ones((1, len(labels))))
    return {name: float(value[0]) for name, value in found.items()}


def weighted(
    task: str, labels: Labels, probabilities: Probabilities, weights: Floats
) -> dict[str, Floats]:
    """Measure predictions as `score` does, under many weightings of the images, for a bootstrap.

    Parameters
    ----------
    task, labels, probabilities
        As in `score`.
    weights
        Of each image in each of r weightings, shape (r, n); weight 2 counts as two images.

    Returns
    -------
    dict
        Each metric, of shape (r,); NaN where a weighting leaves it undefined.
    """
    if labels.ndim != 2 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape}")
    if not len(labels):
        raise ValueError("no images to score, although probabilities have their shape")
    answered = predictions(task, probabilities)
    ranked = [
        _ranked(truth, scores, weights) for truth, scores in questions(task, labels, probabilities)
    ]
    if is_multi_label(task):
        decided = [
            _answered(labels[:, i], answered[:, i], np.column_stack([1 - p, p]), weights, True)
            for i, p in enumerate(probabilities.T)
        ]
    else:
        decided = [_answered(labels[:, 0], answered[:, 0], probabilities, weights, False)]
    means = {
        name: np.mean([one[name] for one in parts], axis=0)
        for parts in (ranked, decided)
        for name in parts[0]
    }
    return {name: means[name] for name in METRICS}


def predictions(task: str, probabilities: Probabilities) -> Labels:
    """Return what is answered: classes (n, 1), or 0 and 1 for each label (n, L)."""
    if is_multi_label(task):
        return (probabilities > THRESHOLD).astype(np.intp)
    if task == "binary-class":
        return (probabilities[:, -1:] > THRESHOLD).astype(np.intp)
    classes: Labels = probabilities.argmax(axis=1, keepdims=True)
    return classes


def recall(task: str, labels: Labels, probabilities: Probabilities) -> list[float]:
    """Return the part of each class's images that are found, or of each label's positives."""
    answered = predictions(task, probabilities)
    if is_multi_label(task):
        pairs = [(labels[:, i] == 1, answered[:, i] == 1) for i in range(labels.shape[1])]
    else:
        classes = range(probabilities.shape[1])
        pairs = [(labels[:, 0] == label, answered[:, 0] == label) for label in classes]
    return [float(found[present].mean()) for present, found in pairs]


def confusion(task: str, labels: Labels, probabilities: Probabilities) -> npt.NDArray[np.intp]:
    """Count [true class][answered class], shape (K, K); not of multi-label tasks."""
    counts = np.zeros((probabilities.shape[1],) * 2, dtype=np.intp)
    np.add.at(counts, (labels[:, 0], predictions(task, probabilities)[:, 0]), 1)
    return counts


def trivial_accuracy(task: str, labels: Labels) -> float:
    """Accuracy of always answering the commonest class; multi-label: of denying every label."""
    if is_multi_label(task):
        return float((labels == 0).mean())
    return float(np.bincount(labels[:, 0]).max() / len(labels))


def questions(
    task: str, labels: Labels, probabilities: Probabilities
) -> list[tuple[npt.NDArray[np.bool_], Probabilities]]:
    """Give truth and scores of each two-way question that the task's AUC averages over."""
    classes = probabilities.shape[1]
    if is_multi_label(task):
        return [(labels[:, i] == 1, probabilities[:, i]) for i in range(classes)]
    asked = [1] if task == "binary-class" else range(classes)
    return [(labels[:, 0] == label, probabilities[:, label]) for label in asked]


def calibration_error(
    confidence: npt.NDArray[np.floating[Any]], hits: npt.NDArray[np.bool_], weights: Floats
) -> Floats:
    """Return the mean gap between confidence and accuracy over equal bins of confidence, (r,).

    Confidence in the answers given and whether they were right have shape (n,), weights (r, n).
    """
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    gaps = np.zeros((len(hits), BINS))
    gaps[np.arange(len(hits)), bins] = hits - confidence.astype(np.float64)
    return _ratio(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))


def _ranked(
    truth: npt.NDArray[np.bool_], scores: Probabilities, weights: Floats
) -> dict[str, Floats]:
    """Measure how well scores put positives first, equal scores being one step.

    The AUC is how often a positive outranks a negative, ties counting half; average precision is
    the mean precision over the steps of recall.
    """
    order = np.argsort(scores, kind="stable")
    ordered, positive, weights = scores[order], truth[order], weights[:, order]
    steps = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    below = np.zeros((2, len(weights), len(steps) + 1))  # of each weighting, up to each step
    np.cumsum(weights * positive, axis=1).take(steps, axis=1, out=below[0, :, 1:])
    np.cumsum(weights * ~positive, axis=1).take(steps, axis=1, out=below[1, :, 1:])
    found, passed = below
    positives, negatives = found[:, -1:], passed[:, -1:]
    gained = np.diff(found, axis=1)
    outranked = np.einsum("rs,rs->r", gained, passed[:, :-1] + passed[:, 1:]) / 2
    named = positives - found[:, :-1]  # positives at or above each step
    taken = named + negatives - passed[:, :-1]
    precision = np.divide(named, taken, out=np.zeros_like(named), where=taken > 0)
    total = positives[:, 0]
    return {
        "auc": _ratio(outranked, total * negatives[:, 0]),
        "average_precision": _ratio(np.einsum("rs,rs->r", gained, precision), total),
    }


def _answered(
    truth: Labels, answered: Labels, probabilities: Probabilities, weights: Floats, positives: bool
) -> dict[str, Floats]:
    """Measure the answers given; F1 of the positives alone, or the mean of all classes."""
    classes = probabilities.shape[1]
    images = np.arange(len(truth))
    cells = np.zeros((len(truth), classes * classes))
    cells[images, truth.astype(np.intp) * classes + answered] = 1
    counts = (weights @ cells).reshape(-1, classes, classes)
    hits, present = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2)
    named = present + counts.sum(axis=1)
    f1 = np.divide(2 * hits, named, out=np.zeros_like(hits), where=named > 0)
    occurring = (named > 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        recalls = hits / present
    return {
        "accuracy": _ratio(hits.sum(axis=1), present.sum(axis=1)),
        "f1": f1[:, 1] if positives else _ratio(f1.sum(axis=1), occurring),
        "balanced_accuracy": recalls.mean(axis=1),
        "calibration_error": calibration_error(
            probabilities[images, answered], truth == answered, weights
        ),
    }


def _ratio(part: Floats, whole: npt.NDArray[Any]) -> Floats:
    undefined = np.full(len(part), np.nan)
    ratio: Floats = np.divide(part, whole, out=undefined, where=whole > 0)
    return ratio
