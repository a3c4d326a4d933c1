"""AugMix: mixtures of an image with chains of operations, fixed by the seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from medlabel.training import augmix
from medlabel.training.inputs import Inputs
from tests.training.world import images, settings

DRAWS = 30


def image(size: int = 12, channels: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (channels, size, size), generator=random) / 255


def drawn(seed: int, given: Tensor) -> list[Tensor]:
    apply = augmix.transform(seed)
    return [apply(given) for _ in range(DRAWS)]


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_range_stay_and_most_images_change(channels: int) -> None:
    before = image(channels=channels)
    after = drawn(3, before)
    assert {one.shape for one in after} == {before.shape}
    assert all(one.min() >= 0 and one.max() <= 1 for one in after)
    assert sum(not torch.equal(one, before) for one in after) > DRAWS * 0.9


@given(seed=st.integers(0, 2**63 - 1), state=st.integers(0, 1000))
def test_the_seed_alone_decides_and_dropout_keeps_its_stream(seed: int, state: int) -> None:
    torch.manual_seed(state)
    expected = torch.rand(3)
    torch.manual_seed(state)
    first = augmix.transform(seed)(image())
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(state + 1)
    assert torch.equal(augmix.transform(seed)(image()), first)


def test_another_seed_draws_other_mixtures() -> None:
    first, other = drawn(3, image()), drawn(4, image())
    assert not any(torch.equal(one, another) for one, another in zip(first, other, strict=True))


def test_a_mixture_without_operations_is_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        v2.AugMix, "_apply_image_or_video_transform", lambda _self, seen, *_rest, **_more: seen
    )
    before = image()
    for after in drawn(0, before):
        # Shares add up to one; what is below a grey level is cut off.
        torch.testing.assert_close(after, before, atol=1.01 / 255, rtol=0)


def test_operations_are_the_nine_of_the_paper_in_chains_of_one_to_three(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    applied: list[str] = []

    def note(_self: v2.AugMix, seen: Tensor, name: str, *_rest: object, **_more: object) -> Tensor:
        applied.append(name)
        return seen

    monkeypatch.setattr(v2.AugMix, "_apply_image_or_video_transform", note)
    apply = augmix.transform(0)
    counts = []
    for _ in range(300):
        before = len(applied)
        apply(image())
        counts.append(len(applied) - before)
    assert set(applied) == {
        *("AutoContrast", "Equalize", "Posterize", "Solarize", "Rotate"),
        *("ShearX", "ShearY", "TranslateX", "TranslateY"),
    }
    assert set(counts) == set(range(3, 10))


@pytest.mark.parametrize("names", [["augmix"], ["flip", "augmix"]])
def test_a_recipe_that_names_it_changes_each_epoch_and_repeats(names: list[str]) -> None:
    made = Inputs(settings(augmentations=names))
    seen = images(4, 0).pixels
    epochs = []
    for seed in (5, 6, 5):
        made.reseed(seed)
        epochs.append(made.training(seen))
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], made.judging(seen))
    assert epochs[0].abs().max() <= 1
