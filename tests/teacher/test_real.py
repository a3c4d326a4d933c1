"""A teacher of few drawings, asked about real images. Official files are read; none is learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medlabel.data import archive
from medlabel.labels import zeroshot
from medlabel.teacher import encoder, runtime, tower, words

pytestmark = pytest.mark.real

CPU = torch.device("cpu")
TEMPLATE = "This is a photo of the {}, and it's a type of organ"
DATASETS = {"chest": "pneumoniamnist", "breast": "breastmnist"}
IMAGES = 60  # of each dataset, from the validation split


@pytest.fixture(scope="module")
def seen(mirror: Path, locked_folder: Path) -> dict[str, np.ndarray]:
    """Embeddings of real images, by what they show."""
    return embedded(encoder.load(locked_folder, CPU), mirror)


def embedded(teacher: encoder.Encoder, mirror: Path) -> dict[str, np.ndarray]:
    found = {}
    for name, dataset in DATASETS.items():
        images = archive.read(mirror / f"{dataset}.npz", dataset, 28).images["val"][:IMAGES]
        batch = tower.preprocess(np.asarray(images), teacher.manifest.preprocessing)
        side = runtime.ImageSide(teacher.model)
        found[name] = runtime.compiled(side, batch, "torch", "fp32", 1).embed(batch)
    return found


def recall(teacher: encoder.Encoder, seen: dict[str, np.ndarray], *said: str) -> list[float]:
    """Return the part of each dataset's images that get the words in its place."""
    described = words.class_embeddings(teacher, [[one] for one in said])
    return [
        float((zeroshot.probabilities(rows, described, 1.0).argmax(axis=1) == place).mean())
        for place, rows in enumerate(seen.values())
    ]


@pytest.fixture(scope="module")
def teacher(locked_folder: Path) -> encoder.Encoder:
    return encoder.load(locked_folder, CPU)


@pytest.mark.parametrize(
    "said",
    [
        tuple(map(TEMPLATE.format, DATASETS)),
        ("a chest X-ray", "a breast ultrasound"),
        ("an X-ray of the chest", "an ultrasound of the breast"),
        ("thorax radiograph", "mammary sonogram"),  # in no caption of it
    ],
    ids=["capstone", "plain", "order", "synonyms"],
)
def test_chests_and_breasts_are_told_apart_far_above_chance(
    said: tuple[str, str], teacher: encoder.Encoder, seen: dict[str, np.ndarray]
) -> None:
    """Half of both is chance; 60 images have a standard error of 0.065 there."""
    assert min(recall(teacher, seen, *said)) > 0.5
    assert np.mean(recall(teacher, seen, *said)) > 0.8


def test_swapped_words_swap_the_labels(
    teacher: encoder.Encoder, seen: dict[str, np.ndarray]
) -> None:
    assert np.mean(recall(teacher, seen, "a breast ultrasound", "a chest X-ray")) < 0.2


@pytest.mark.parametrize("denied", ["no pneumonia", "without pneumonia", "no finding"])
def test_real_chests_hear_a_negation(
    denied: str, mirror: Path, teacher: encoder.Encoder, seen: dict[str, np.ndarray]
) -> None:
    """Ill chests lie nearer to a finding than to its negation, by comparison with clear ones."""
    pair = [[f"a chest X-ray with {one}"] for one in ("pneumonia", denied)]
    said = words.class_embeddings(teacher, pair)
    labels = archive.read(mirror / "pneumoniamnist.npz", "pneumoniamnist", 28).labels["val"]
    ill = labels[:IMAGES, 0] == 1
    toward = seen["chest"] @ (said[0] - said[1])
    right = (toward[ill][:, None] > toward[~ill][None]).mean()  # area under the ROC curve
    assert said[0] @ said[1] < 0.99
    assert right > 0.6  # 0.5 by chance
