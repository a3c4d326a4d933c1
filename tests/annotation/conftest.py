"""The tiny encoder of the teacher's tests, a folder of images, and a call that labels it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medlabel.annotation import embedding
from medlabel.annotation.label import label
from medlabel.annotation.request import Request
from medlabel.randomness import stream
from tests.teacher.conftest import loaded, make_encoder, tiny_encoder, tiny_settings

__all__ = ["loaded", "make_encoder", "tiny_encoder", "tiny_settings"]

CLASSES = {
    "chest": ["a photo of the chest"],
    "retina": ["a photo of the retina", "a photo of the eye"],
}
Run = Callable[..., list[dict[str, str]]]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "deeper").mkdir(parents=True)
    rng = stream(0, "own images")
    for name, shape in {
        "b.png": (20, 30),
        "a.jpg": (40, 28, 3),
        "deeper/c.PNG": (14, 14, 3),
    }.items():
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def run(images: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(embedding, "ENGINES", {})  # torch needs no compiling

    def call(**changes: object) -> list[dict[str, str]]:
        given = {
            "images": images,
            "out": tmp_path / "labels",
            "sentences": CLASSES,
            "encoder": str(tiny_encoder),
            "batch_size": 2,
            "arithmetic": "fp32",
            "device": "cpu",
            "cache": tmp_path / "cache",
            "anyway": True,  # this encoder learnt nothing
            **changes,
        }
        label(Request(**given))
        with (given["out"] / "labels.csv").open(newline="", encoding="utf-8") as table:
            return list(csv.DictReader(table))

    return call
