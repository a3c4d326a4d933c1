"""What a job that trained tells of itself: one model, written and read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class SeedRecord(BaseModel):
    """One seed's training.

    The best epoch is the one whose weights were kept, counted from 1. Seconds are wall clock,
    validation included; of a training that was resumed, those of the last part alone.
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
    settings
        All parameters that the result depends on.
    train_images, test_images
        Of each seed: images to train on, validation included where it was split off, and judged.
    parameters
        How many the network has.
    start, teacher
        Where the first weights come from; whose answers were learned beside the labels.
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
