"""MedMNIST v2's published protocol, and how a training differs from it.

Yang et al., MedMNIST v2 – A large-scale lightweight benchmark for 2D and 3D biomedical image
classification, Scientific Data 10:41 (2023), section "Baseline methods".
"""

from __future__ import annotations

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
    "robustness": 0.0,
    "mixup": 0.0,
    "self_training": 0,
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
    dataset, recipe, volumetric = str(settings.dataset), settings.recipe, settings.volumetric
    found = ["phantom images"] if catalogue.is_phantom(dataset) else []
    for key, value in {"epochs": EPOCHS, "batch_size": BATCHES[volumetric], **SETTINGS}.items():
        given = getattr(recipe, key)
        if given != value:
            found.append(f"{readable(key)} {_say(given)} ({_say(value)})")
    if settings.size != SIZE:
        found.append(f"image size {settings.size} ({SIZE})")
    elif settings.edge not in EDGES[volumetric]:
        edges = " or ".join(map(str, EDGES[volumetric]))
        found.append(f"enlarged to {settings.edge} ({edges})")
    stem = "dense" if settings.edge == SIZE else "imagenet"
    if recipe.stem not in ("auto", stem):
        found.append(f"stem {recipe.stem} ({stem})")
    if recipe.start.source != "random":
        found.append(f"first weights from {recipe.start.source} (random)")
    if taught := recipe.distillation:
        teacher = f"{taught.network}/{taught.recipe}"
        found.append(f"{taught.part:g} of the loss follows {teacher} (no teacher)")
    if dataset in SCALED and not recipe.intensity_scaling:
        found.append("no intensity scaling (scaled)")
    return found


def _say(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_say, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
