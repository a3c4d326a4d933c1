"""Losses and probabilities, for each of MedMNIST's tasks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from medlabel.data.catalogue import is_multi_label


def loss(
    task: str, logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float
) -> Tensor:
    """Return the cross-entropy of logits (n, outputs), a mean over images (and labels).

    Targets are classes, int64 (n,); probabilities, float32 (n, outputs); or of a multi-label task 0
    and 1. Weights of the classes are as `class_weights` gives them; smoothing spreads that part of
    each target evenly.
    """
    if is_multi_label(task):
        smoothed = targets * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=weights)
    return F.cross_entropy(logits, targets, weights, label_smoothing=smoothing)


def following(task: str, logits: Tensor, answers: Tensor) -> Tensor:
    """Return the cross-entropy between the network's and a teacher's logits, (n, outputs)."""
    if is_multi_label(task):
        return F.binary_cross_entropy_with_logits(logits, answers.sigmoid())
    return F.cross_entropy(logits, answers.softmax(dim=1))


def class_weights(task: str, targets: Tensor, outputs: int) -> Tensor:
    """Weigh each class by its inverse frequency: n / (classes * n of the class).

    Multi-label: the weight of each label's positives, its negatives over its positives. Soft
    targets count with their probabilities. A class that is absent, as a bad teacher may leave it,
    has the weight 0.
    """
    if is_multi_label(task):
        positives = targets.sum(dim=0)
        return ((len(targets) - positives) / positives).nan_to_num(posinf=0.0)
    hard = targets.ndim == 1
    counts = torch.bincount(targets, minlength=outputs).float() if hard else targets.sum(dim=0)
    return (len(targets) / (outputs * counts)).nan_to_num(posinf=0.0)


def hits(task: str, logits: Tensor, targets: Tensor) -> Tensor:
    """Count right answers: images, or of a multi-label task the mean over labels."""
    if is_multi_label(task):
        return ((logits > 0) == (targets > 0.5)).float().mean(dim=1).sum()
    classes = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return (logits.argmax(dim=1) == classes).sum()


def probabilities(task: str, logits: Tensor) -> npt.NDArray[np.float32]:
    """Turn logits into probabilities: of each class, or of each label of a multi-label task."""
    scores = logits.sigmoid() if is_multi_label(task) else logits.softmax(dim=1)
    return np.asarray(scores.cpu().numpy(), dtype=np.float32)
