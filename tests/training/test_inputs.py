"""From pixels to what a network sees."""

from __future__ import annotations

import pytest
import torch

from medlabel.training.inputs import READY_PIXELS, Inputs
from tests.training.world import images, settings


def test_volumes_of_shapes_are_judged_at_half_intensity() -> None:
    pixels = torch.full((2, 4, 4, 4), 255, dtype=torch.uint8)
    made = Inputs(settings(4, "vesselmnist3d", channels=3, intensity_scaling=True))
    made.reseed(0)
    assert made.judging(pixels).unique().tolist() == [0.5]
    training = made.training(pixels)
    assert training.shape == (2, 3, 4, 4, 4)
    assert 0 <= training.min() <= training.max() <= 1
    assert training[0].unique().tolist() != training[1].unique().tolist()


@pytest.mark.parametrize(("dataset", "scaling"), [("organmnist3d", True), ("vesselmnist3d", False)])
def test_other_volumes_keep_their_intensities(dataset: str, scaling: bool) -> None:
    pixels = torch.full((2, 4, 4, 4), 255, dtype=torch.uint8)
    made = Inputs(settings(4, dataset, intensity_scaling=scaling))
    assert made.training(pixels).unique().tolist() == [1.0]


def test_pixels_are_scaled_about_zero() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 3, 1)
    found = Inputs(settings()).judging(pixels)
    torch.testing.assert_close(found, torch.tensor([[[[-1.0, -0.6, 1.0]]]]))


def test_enlarging_repeats_pixels_and_grey() -> None:
    made = Inputs(settings(28, "breastmnist", channels=3, enlarge_to=56))
    pixels = torch.randint(0, 256, (1, 28, 28, 1), dtype=torch.uint8)
    expected = (pixels[..., 0].float() / 255 - 0.5) / 0.5
    expected = expected.repeat_interleave(2, 1).repeat_interleave(2, 2)
    found = made.judging(pixels)
    assert found.shape == (1, 3, 56, 56)
    for channel in range(3):
        torch.testing.assert_close(found[:, channel], expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_prepared_once_equals_prepared_by_batch(channels: int) -> None:
    given = images(20, 0, channels=channels)
    made = Inputs(settings(channels=channels))
    assert made.fixed(given.pixels)
    order = torch.randperm(20)
    whole = made.training(given.pixels)[order]
    for part, seen in zip(order.split(6), whole.split(6), strict=True):
        batch = made.training(given.pixels[part])
        assert torch.equal(batch, seen)
        assert batch.stride() == seen.stride()


@pytest.mark.parametrize(
    "changes", [{"augmentations": ["flip"]}, {"enlarge_to": 56}, {"dataset": "vesselmnist3d"}]
)
def test_changing_or_enlarged_inputs_are_not_prepared_once(changes: dict[str, object]) -> None:
    made = Inputs(settings(intensity_scaling=True, **changes))  # type: ignore[arg-type]
    assert not made.fixed(torch.zeros(2, 4, 4, 4, dtype=torch.uint8))


def test_many_images_are_not_prepared_at_once() -> None:
    pixels = torch.empty(READY_PIXELS // 64 + 1, 8, 8, 1, dtype=torch.uint8, device="meta")
    assert not Inputs(settings()).fixed(pixels)


def test_the_seed_fixes_augmentation() -> None:
    given = images(6, 0)
    made = Inputs(settings(augmentations=["flip", "noise"]))
    found = []
    for seed in (1, 1, 2):
        made.reseed(seed)
        found.append(made.training(given.pixels))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
