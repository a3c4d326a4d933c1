"""Maps of a tower and the head on them: their form, and that words find what they were taught."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medlabel.errors import MedlabelError
from medlabel.params import Params, Segmentation
from medlabel.teacher import segmenter, wordvectors
from medlabel.teacher.patches import Patches


class Trunk(nn.Module):
    """A tower of two parts: maps of half and of an eighth of the image, then features."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 2, 2, stride=2)
        self.coarse = nn.Conv2d(2, 5, 4, stride=4)
        self.end = nn.Flatten()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.end(self.coarse(self.fine(images)))
        return found


@pytest.fixture
def settings(default_params: Params) -> Segmentation:
    small = {"hidden": 16, "steps": 100, "batch_size": 64, "learning_rate": 0.01, "dropout": 0.0}
    return default_params.segmentation["phantoms"].model_copy(update=small)


def test_maps_of_all_parts_lie_on_one_grid() -> None:
    torch.manual_seed(0)
    trunk, images = Trunk(), torch.rand(2, 3, 32, 32)
    found = Patches(trunk, ["fine", "coarse"], 8, 32)(images)
    fine = trunk.fine(images)
    assert found.shape == (2, 7, 8, 8)
    averaged = fine.reshape(2, 2, 8, 2, 8, 2).mean((3, 5))
    assert torch.allclose(found[:, :2], averaged, atol=1e-6)
    coarse = trunk.coarse(fine)
    assert torch.allclose(found[:, 2:, 0, 0], coarse[:, :, 0, 0], atol=1e-6)
    middle = (9 * coarse[:, :, 0, 0] + 3 * coarse[:, :, 0, 1] + 3 * coarse[:, :, 1, 0]) / 16
    assert torch.allclose(found[:, 2:, 1, 1], middle + coarse[:, :, 1, 1] / 16, atol=1e-5)


@pytest.mark.parametrize(
    ("part", "told"), [("middle", "the tower does not have; it has fine"), ("end", "gives no maps")]
)
def test_parts_that_give_no_maps_are_told(part: str, told: str) -> None:
    with pytest.raises(MedlabelError, match=told):
        Patches(Trunk(), ["fine", part], 8, 32)


def test_sentences_are_mean_word_vectors_of_length_1() -> None:
    vectors = wordvectors.load()
    loaded: Any = SimpleNamespace(
        tokenizer=wordvectors.Tokenizer(vectors.tokenizer, 64),
        model=SimpleNamespace(text=SimpleNamespace(table=vectors.table)),
    )
    lungs, other, lungs_twice = segmenter.say(loaded, ["lungs", "liver", "lungs lungs"])
    assert torch.allclose(lungs.norm(), torch.tensor(1.0), atol=1e-5)
    assert torch.allclose(lungs, lungs_twice, atol=1e-5)
    assert lungs @ other < 0.95
    row = loaded.tokenizer(["lungs"])[0]
    expected = loaded.model.text.table[row[row != 0]].float().mean(0)
    assert torch.allclose(lungs, expected / expected.norm(), atol=1e-5)


def test_a_head_learns_which_places_words_are_for(settings: Segmentation) -> None:
    random = torch.Generator().manual_seed(3)
    features = torch.randn(400, 6, generator=random)
    covered = torch.stack([features[:, 0] > 0, features[:, 1] > 0.5], 1).float()
    words = [torch.eye(4)[:2], torch.eye(4)[2:3]]
    head = segmenter.learn(features, covered, words, settings, seed=1)
    again = segmenter.learn(features, covered, words, settings, seed=1)
    maps = torch.zeros(1, 6, 2, 2)
    maps[0, 0, 0], maps[0, 0, 1], maps[0, 1] = 2.0, -2.0, -2.0
    found = segmenter.heat(head, maps, torch.eye(4)[:3], 8)
    assert found.shape == (1, 3, 8, 8)
    assert (found[0, :2, 0] > 0.9).all()  # either phrase of the first region
    assert (found[0, :2, -1] < 0.1).all()
    assert (found[0, 2] < 0.1).all()
    assert np.array_equal(found, segmenter.heat(again, maps, torch.eye(4)[:3], 8))


def test_a_feature_without_spread_does_no_harm(settings: Segmentation) -> None:
    features = torch.ones(64, 3)
    covered = torch.zeros(64, 1)
    head = segmenter.learn(features, covered, [torch.eye(4)[:1]], settings, seed=1)
    assert torch.isfinite(head(features, torch.eye(4))).all()
