"""MedMNIST v2's published protocol, and how a training differs from it.

Yang et al., MedMNIST v2 – A large-scale lightweight benchmark for 2D and 3D biomedical image
classification, Scientific Data 10:41 (2023), section "Baseline methods".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medlabel.data import catalogue
from medlabel.params import TrainingSettings
from medlabel.report.text import readable

EPOCHS = 100
BATCHES = {False: 128, True: 32}  # images a step, in 2-D and in 3-D
SIZE = 28  # pixels or voxels, as read
EDGES = {False: (28, 224), True: (28,)}  # that the network sees
SETTINGS: dict[str, Any] = {
    "channels": 3,
    "select": "auc",
    "patience": None,
    "optimizer": "adam",
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "schedule": "steps",
    "milestones": [0.5, 0.75],
    "decay": 0.1,
    "label_smoothing": 0.0,
    "sampling": "shuffled",
    "class_weights": False,
    "augmentations": [],
    "test_time_flips": False,
}
SCALED = ("adrenalmnist3d", "vesselmnist3d")  # shapes, whose intensities are scaled at random


def differences(settings: TrainingSettings) -> list[str]:
    """Say in which settings a training on one file differs from the published protocol.

    Each such as ``"epochs 3 (100)"``, the published value in brackets. A phantom has no published
    protocol, which is a difference too.
    """
    return list(_differences(settings))


def _differences(settings: TrainingSettings) -> Iterator[str]:
    dataset, recipe = str(settings.dataset), settings.recipe
    if catalogue.is_phantom(dataset):
        yield "phantom images"
    volumetric = settings.volumetric
    expected = {"epochs": EPOCHS, "batch_size": BATCHES[volumetric], **SETTINGS}
    for key, value in expected.items():
        given = getattr(recipe, key)
        if given != value:
            yield f"{readable(key)} {_say(given)} ({_say(value)})"
    if settings.size != SIZE:
        yield f"image size {settings.size} ({SIZE})"
    elif settings.edge not in EDGES[volumetric]:
        yield f"enlarged to {settings.edge} ({' or '.join(map(str, EDGES[volumetric]))})"
    stem = "dense" if settings.edge == SIZE else "imagenet"
    if recipe.stem not in ("auto", stem):
        yield f"stem {recipe.stem} ({stem})"
    if recipe.start.source != "random":
        yield f"first weights from {recipe.start.source} (random)"
    if recipe.distillation:
        taught = recipe.distillation
        yield f"{taught.part:g} of the loss follows {taught.network}/{taught.recipe} (no teacher)"
    if dataset in SCALED and not recipe.intensity_scaling:
        yield "no intensity scaling (scaled)"


def _say(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_say, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
