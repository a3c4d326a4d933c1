"""What a job that trained tells of itself: one model, written and read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class SeedRecord(BaseModel):
    """One seed's training.

    Attributes
    ----------
    seed
        Which repeat.
    epochs
        Trained.
    best_epoch
        The one whose weights were kept, counted from 1.
    seconds
        Wall clock, validation included; the last part alone of a training that was resumed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    epochs: int
    best_epoch: int
    seconds: float


class RunRecord(BaseModel):
    """``run.json``: what was trained on what, how, where, and by which code.

    Attributes
    ----------
    images, labels, network, recipe, block
        Names, as `params.Trained` has them; and the seeds.
    settings
        All parameters that the result depends on.
    classes, task, phantom
        Of the images.
    train_images, test_images
        Of each seed: images to train on, validation included where it was split off, and judged.
    parameters
        Of the network.
    device, precision, versions, code
        Where and by what.
    start, teacher
        Where the first weights come from; whose answers were learned beside the labels.
    seeds
        One entry a seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: str
    labels: str
    network: str
    recipe: str
    block: str
    settings: dict[str, Any]
    classes: list[str]
    task: str
    phantom: bool
    train_images: int
    test_images: int
    parameters: int
    device: str
    precision: str
    start: str
    teacher: str | None
    versions: dict[str, str]
    code: str
    seeds: list[SeedRecord]
