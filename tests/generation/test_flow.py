"""Rectified flow: words are learnt, noise moves as computed by hand, seeds repeat."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medlabel.generation import flow
from medlabel.generation.flow import Captioned, Generator
from medlabel.params import Generation, Params

DIMENSION = 4
EDGE = 8


@pytest.fixture
def settings(default_params: Params) -> Generation:
    changed = {"width": 8, "steps": 150, "batch_size": 16, "integration": 4, "guidance": 1.0}
    changed |= {"learning_rate": 0.01}
    return default_params.generation["real"].model_copy(update=changed)


@pytest.fixture
def known() -> Captioned:
    """Dark images and bright ones, of which there are few, each with words of their own."""
    labels = np.array([0] * 30 + [1] * 6)
    random = np.random.default_rng(0)
    images = np.where(labels == 0, 40, 200)[:, None, None] + random.integers(20, size=(36, 8, 8))
    words = np.eye(DIMENSION, dtype=np.float32)[labels]
    return Captioned(images.astype(np.uint8), words, labels)


def test_images_are_what_words_say(known: Captioned, settings: Generation) -> None:
    generator = flow.learn(known, settings, 1, torch.device("cpu"))
    asked = np.eye(DIMENSION, dtype=np.float32)[[0] * 20 + [1] * 20]
    made = flow.imagine(generator, asked, EDGE, settings, 5)
    assert made.shape == (40, EDGE, EDGE)
    assert made.dtype == np.uint8
    means = made.reshape(40, -1).mean(axis=1)
    assert means[20:].mean() > means[:20].mean() + 50


def test_the_same_seed_gives_the_same_bytes(known: Captioned, settings: Generation) -> None:
    few = settings.model_copy(update={"steps": 5})
    made = [
        flow.imagine(flow.learn(known, few, one, torch.device("cpu")), known.words, EDGE, few, two)
        for one, two in ((1, 1), (1, 1), (2, 1), (1, 2))
    ]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    assert not np.array_equal(made[0], made[3])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_noise_moves_by_guidance_times_what_words_say(
    settings: Generation, guidance: float
) -> None:
    """A network whose velocity is the first word: images are noise and that word, guided."""

    def network(images: torch.Tensor, times: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        return words[:, :1, None, None].expand_as(images)

    whatever: Any = network
    generator = Generator(whatever, torch.zeros(DIMENSION), torch.ones(DIMENSION))
    asked = settings.model_copy(update={"guidance": guidance})
    words = np.full((3, DIMENSION), 0.25, np.float32)
    noise = torch.randn(3, 1, EDGE, EDGE, generator=torch.Generator().manual_seed(9))[:, 0]
    expected = ((noise + 0.25 * guidance).clamp(-1, 1) + 1) * 127.5
    found = flow.imagine(generator, words, EDGE, asked, 9)
    assert np.abs(found - expected.numpy()).max() <= 0.51


def test_the_loss_is_zero_on_the_straight_way() -> None:
    """A network that knows image and noise says their difference at any time."""
    images = torch.rand(6, 1, 4, 4)
    noise = torch.Generator().manual_seed(3)

    def network(between: torch.Tensor, times: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        # between = (1 - t) noise + t image, so that noise follows from the image.
        share = times[:, None, None, None]
        return images - (between - share * images) / (1 - share)

    whatever: Any = network
    assert float(flow._loss(whatever, images, torch.zeros(6, 1), noise)) < 1e-8


def test_rare_classes_are_seen_as_often(
    known: Captioned, settings: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def loss(network: Any, images: torch.Tensor, *others: Any) -> torch.Tensor:
        seen.append(float((images.mean(dim=(1, 2, 3)) > 0).float().mean()))
        return sum((one.sum() for one in network.parameters()), torch.zeros(()))

    monkeypatch.setattr(flow, "_loss", loss)
    flow.learn(known, settings.model_copy(update={"steps": 40}), 1, torch.device("cpu"))
    assert 0.4 < np.mean(seen) < 0.6


def test_words_are_brought_to_one_scale(known: Captioned) -> None:
    words = torch.from_numpy(known.words)
    generator = Generator(SimpleNamespace(), words.mean(0), words.std(0) + 1e-6)  # type: ignore[arg-type]
    scaled = generator.scaled(known.words)
    assert float(scaled.mean(0).abs().max()) < 1e-5
    assert scaled[:, :2].std(0).numpy() == pytest.approx([1, 1], abs=1e-4)
