"""Accuracy, F1 and AUC, of one set of predictions or of many reweighted copies at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

METRICS = ("accuracy", "f1", "auc")

Truth = npt.NDArray[np.integer[Any]]
Probabilities = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]


def score(truth: Truth, probabilities: Probabilities) -> dict[str, float]:
    """Measure predictions against the truth.

    Parameters
    ----------
    truth
        Class indices, shape (n,).
    probabilities
        Of each class, shape (n, k); the most probable one is predicted, the first of equals.

    Returns
    -------
    dict
        ``accuracy``: part of the images whose prediction is right. ``f1``: unweighted mean of the
        F1 of each class that occurs in the truth or in the predictions (macro F1). ``auc``: with
        two classes the area under the ROC curve of class 1; with more the unweighted mean of each
        class against the rest, as MedMNIST's evaluator has it; NaN when a class is absent from
        the truth, for the area is then undefined.

    Raises
    ------
    ValueError
        When there are no images, or shapes do not fit.
    """
    ones = np.ones((1, len(truth)))
    return {name: float(value[0]) for name, value in weighted(truth, probabilities, ones).items()}


def weighted(truth: Truth, probabilities: Probabilities, weights: Floats) -> dict[str, Floats]:
    """Measure predictions under many weightings of the images, as a bootstrap needs.

    Parameters
    ----------
    truth, probabilities
        As in `score`.
    weights
        Weight of each image in each of r weightings, shape (r, n), not negative; an image of
        weight 2 counts as two images. Where all are 0 every metric is NaN.

    Returns
    -------
    dict
        The metrics of `score`, each of shape (r,).

    Raises
    ------
    ValueError
        When there are no images, or shapes do not fit.
    """
    if probabilities.ndim != 2 or probabilities.shape[0] != len(truth) or not len(truth):
        raise ValueError(f"truth of shape {truth.shape} and {probabilities.shape} probabilities")
    classes = probabilities.shape[1]
    confusion = _confusion(truth, probabilities.argmax(axis=1), weights, classes)
    judged = (1,) if classes == 2 else range(classes)
    areas = [_area(truth == index, probabilities[:, index], weights) for index in judged]
    hits = np.trace(confusion, axis1=1, axis2=2)
    return {
        "accuracy": _ratio(hits, confusion.sum(axis=(1, 2))),
        "f1": _macro_f1(confusion),
        "auc": np.mean(areas, axis=0),
    }


def _confusion(truth: Truth, predicted: Truth, weights: Floats, classes: int) -> Floats:
    """Weight of each pair (truth, prediction), shape (r, classes, classes)."""
    cells = np.zeros((len(truth), classes * classes))
    cells[np.arange(len(truth)), truth.astype(np.intp) * classes + predicted] = 1
    return (weights @ cells).reshape(-1, classes, classes)


def _macro_f1(confusion: Floats) -> Floats:
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    occurrences = confusion.sum(axis=1) + confusion.sum(axis=2)
    occurs = occurrences > 0
    f1 = np.divide(2 * hits, occurrences, out=np.zeros_like(hits), where=occurs)
    return _ratio(f1.sum(axis=1), occurs.sum(axis=1))


def _area(positive: npt.NDArray[np.bool_], scores: Probabilities, weights: Floats) -> Floats:
    """Area under the ROC curve: how often a positive outranks a negative, ties counting half."""
    order = np.argsort(scores, kind="stable")
    ordered, weights = scores[order], weights[:, order]
    positives = weights * positive[order]
    negatives = weights - positives
    # below[:, i] is the weight of the negatives among the i lowest scores.
    below = np.zeros((len(weights), len(order) + 1))
    np.cumsum(negatives, axis=1, out=below[:, 1:])
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right")
    outranked = np.einsum("rn,rn->r", positives, below[:, first] + below[:, last]) / 2
    return _ratio(outranked, positives.sum(axis=1) * below[:, -1])


def _ratio(part: Floats, whole: npt.NDArray[Any]) -> Floats:
    undefined = np.full(len(part), np.nan)
    ratio: Floats = np.divide(part, whole, out=undefined, where=whole > 0)
    return ratio
