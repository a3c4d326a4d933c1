"""The learning rate of each step, and the order of images in each epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medlabel.params import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the rate of one step, counted from 0, at `steps` steps an epoch.

    Milestones take effect at the start of an epoch, as MedMNIST's protocol has them; warm-up and
    the cosine move at every step.
    """
    total, warm = recipe.epochs * steps, recipe.warmup * recipe.epochs * steps
    if step < warm:
        return recipe.learning_rate * (step + 1) / math.ceil(warm)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "cosine":
        done = (step - warm) / (total - warm)
        return recipe.learning_rate * (1 + math.cos(math.pi * done)) / 2
    passed = sum(step // steps >= part * recipe.epochs for part in recipe.milestones)
    return float(recipe.learning_rate * recipe.decay**passed)


def order(recipe: Recipe, targets: Tensor, random: torch.Generator) -> Tensor:
    """Give the training images of one epoch in random order.

    Oversampled, each class comes as often as the commonest one: all its images, then random ones
    of them again. Targets are classes, int64 (n,), or probabilities, float32 (n, classes), whose
    highest one counts; the generator is on the CPU.
    """
    if recipe.sampling == "shuffled":
        return torch.randperm(len(targets), generator=random)
    classes = (targets if targets.ndim == 1 else targets.argmax(dim=1)).cpu()
    counts = torch.bincount(classes)
    chosen = []
    for label in torch.unique(classes):
        rows = torch.nonzero(classes == label)[:, 0]
        more = torch.randint(len(rows), (int(counts.max()) - len(rows),), generator=random)
        chosen.append(torch.cat([rows, rows[more]]))
    rows = torch.cat(chosen)
    return rows[torch.randperm(len(rows), generator=random)]


def steps_per_epoch(recipe: Recipe, targets: Tensor) -> int:
    """Return how many updates an epoch makes; a last batch of a single image is left out.

    Batch normalisation has no variance in a batch of one image.
    """
    images = len(order(recipe, targets, torch.Generator()))
    full, rest = divmod(images, recipe.batch_size)
    lone = rest == 1 and images > 1 and recipe.batch_size > 1
    return full + (rest > 0 and not lone)
