"""MedMNIST v2's published protocol, and how a row's training differs from it.

Yang et al., MedMNIST v2 – A large-scale lightweight benchmark for 2D and 3D biomedical image
classification, Scientific Data 10:41 (2023), section "Baseline methods".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medlabel.data import catalogue
from medlabel.params import Recipe
from medlabel.report.benchmark.comparison import Comparison, Run
from medlabel.report.text import readable

EPOCHS = 100
BATCHES = {False: 128, True: 32}  # images a step, in 2-D and in 3-D
SIZES = {False: (28, 224), True: (28,)}  # edges that the network sees
SETTINGS: dict[str, Any] = {
    "image_size": 28,
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


def differences(dataset: str, recipe: Recipe) -> list[str]:
    """Say in which settings a recipe differs from the published protocol.

    Parameters
    ----------
    dataset
        A phantom has no published protocol, which is a difference too.
    recipe
        What was trained by.

    Returns
    -------
    list of str
        Such as ``"epochs 3 (100)"``, the published value in brackets; empty when there is none.
    """
    return list(_differences(dataset, recipe))


def _differences(dataset: str, recipe: Recipe) -> Iterator[str]:
    if catalogue.is_phantom(dataset):
        yield "phantom images"
    volumetric = catalogue.is_volumetric(dataset)
    expected = {"epochs": EPOCHS, "batch_size": BATCHES[volumetric], **SETTINGS}
    for key, value in expected.items():
        given = getattr(recipe, key)
        if given != value:
            yield f"{readable(key)} {_say(given)} ({_say(value)})"
    if recipe.network_size not in SIZES[volumetric] and recipe.image_size == SETTINGS["image_size"]:
        yield f"enlarged to {recipe.network_size} ({' or '.join(map(str, SIZES[volumetric]))})"
    stem = "dense" if recipe.network_size == SETTINGS["image_size"] else "imagenet"
    if recipe.stem not in ("auto", stem):
        yield f"stem {recipe.stem} ({stem})"
    if recipe.start.source != "random":
        yield f"first weights from {recipe.start.source} (random)"
    if recipe.distillation:
        taught = recipe.distillation
        yield f"{taught.part:g} of the loss follows {taught.model}/{taught.recipe} (no teacher)"
    if dataset in SCALED and not recipe.intensity_scaling:
        yield "no intensity scaling (scaled)"


def _say(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_say, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def verdict(comparison: Comparison, runs: Mapping[str, Sequence[Run]]) -> str:
    """Say in a few words how far the rows follow the published protocol."""
    recipes = [(row.dataset, runs[row.name][0].record.settings) for row in comparison.rows]
    followed = sum(not differences(dataset, recipe) for dataset, recipe in recipes)
    if followed == len(recipes):
        return "the published protocol"
    if followed:
        return f"{followed} of {len(recipes)} rows by the published protocol, the others not"
    shortened = sum(recipe.epochs < EPOCHS for _, recipe in recipes)
    if not shortened:
        return "not the published protocol"
    some = "" if shortened == len(recipes) else f"{shortened} of {len(recipes)} rows by "
    return f"{some}shortened recipes; not the published protocol"


def lengths(comparison: Comparison) -> str:
    """Say for how many epochs the rows were trained, such as ``3 to 10 epochs``."""
    epochs = [row.epochs for row in comparison.rows]
    low, high = min(epochs), max(epochs)
    many = f"{high}" if low == high else f"{low} to {high}"
    return f"{many} epoch{'s' if high > 1 else ''} (published: {EPOCHS})"
