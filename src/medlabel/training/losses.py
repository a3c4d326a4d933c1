"""Losses and probabilities, for each of MedMNIST's tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from medlabel.data.catalogue import is_multi_label


@dataclass(frozen=True)
class Loss:
    """Cross-entropy, or one that bears wrong labels better.

    Attributes
    ----------
    task
        MedMNIST's.
    weights
        Of the classes, as `class_weights` gives them; None weighs them alike.
    smoothing
        Part of each target that is spread evenly.
    robustness
        q of the generalised cross-entropy (1 - p^q) / q of the target's probability p (Zhang &
        Sabuncu, *NeurIPS* 2018), of which 0 is the limit, cross-entropy.
    """

    task: str
    weights: Tensor | None = None
    smoothing: float = 0.0
    robustness: float = 0.0

    def __call__(self, logits: Tensor, targets: Tensor, importance: Tensor | None = None) -> Tensor:
        """Return the mean over images (and labels).

        Parameters
        ----------
        logits
            (n, outputs).
        targets
            Classes, int64 (n,); probabilities, float32 (n, outputs); or of a multi-label task 0
            and 1.
        importance
            Weights of the images, (n,), of mean 1 over the training; None weighs them alike.
        """
        if is_multi_label(self.task):
            smoothed = targets * (1 - self.smoothing) + self.smoothing / 2
            return F.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=self.weights)
        if not self.robustness and importance is None:
            return F.cross_entropy(logits, targets, self.weights, label_smoothing=self.smoothing)
        losses = self._robust(logits, targets) if self.robustness else self._plain(logits, targets)
        if importance is not None:
            losses = losses * importance
        return losses.mean() if self.weights is None else losses.sum() / self._sum(targets)

    def _plain(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(
            logits, targets, self.weights, reduction="none", label_smoothing=self.smoothing
        )

    def _robust(self, logits: Tensor, targets: Tensor) -> Tensor:
        # By logarithms, because a power of 0, which small probabilities become, has no gradient.
        powers = (self.robustness * logits.log_softmax(dim=1)).exp()
        by_class = (1 - powers) / self.robustness
        if self.weights is not None:
            by_class = by_class * self.weights
        return (by_class * probable(targets, logits.shape[1])).sum(dim=1)

    def _sum(self, targets: Tensor) -> Tensor | int:
        """Return what a weighted mean divides by, as torch's cross-entropy has it."""
        assert self.weights is not None
        return self.weights[targets].sum() if targets.ndim == 1 else len(targets)


def probable(targets: Tensor, outputs: int) -> Tensor:
    """Return targets as probabilities, float32 (n, outputs)."""
    return F.one_hot(targets, outputs).float() if targets.ndim == 1 else targets


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
