"""Augmentations: what each may change, in images and in volumes."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from medlabel import params
from medlabel.params import Augmentation, Recipe
from medlabel.params.recipes import APART
from medlabel.training import augment

EDGE = 12
DRAWS = 40
EVERY = tuple(name for name in get_args(Augmentation) if name not in APART)


@pytest.fixture(scope="session")
def recipe(default_params: params.Params) -> Recipe:
    return default_params.recipes["official_3d"]


def image(axes: int) -> Tensor:
    return torch.rand(1, *[EDGE] * axes, generator=torch.Generator().manual_seed(0))


def drawn(recipe: Recipe, names: list[str], axes: int, seed: int = 3) -> list[Tensor]:
    apply = augment.transform(names, recipe, axes == 3, EDGE, seed)
    return [apply(image(axes)) for _ in range(DRAWS)]


def test_every_augmentation_of_the_parameters_exists(recipe: Recipe) -> None:
    assert tuple(augment._transforms(recipe, 2, EDGE)) == EVERY
    for name in APART:
        assert drawn(recipe, [name], 2)


def test_augmentations_with_a_module_of_their_own_come_after_the_others(recipe: Recipe) -> None:
    both, plain = (drawn(recipe, names, 2) for names in (["augmix", "flip"], ["flip"]))
    alone = augment.transform(["augmix"], recipe, False, EDGE, 3)
    assert all(torch.equal(one, alone(flipped)) for one, flipped in zip(both, plain, strict=True))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", EVERY)
def test_each_changes_some_images_and_keeps_shape_and_range(
    recipe: Recipe, name: str, axes: int
) -> None:
    before, after = image(axes), drawn(recipe, [name], axes)
    assert {one.shape for one in after} == {before.shape}
    assert all(one.min() >= 0 and one.max() <= 1 for one in after)
    changed = sum(not torch.equal(one, before) for one in after)
    assert changed >= DRAWS / 4


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", ["flip", "rotate90"])
def test_flips_and_quarter_turns_only_move_values(recipe: Recipe, name: str, axes: int) -> None:
    before = image(axes).flatten().sort().values
    for after in drawn(recipe, [name], axes):
        assert torch.equal(after.flatten().sort().values, before)


def test_quarter_turns_and_flips_reach_all_orientations_of_a_cube(recipe: Recipe) -> None:
    apply = augment.transform(["flip", "rotate90"], recipe, True, 2, 0)
    corners = torch.arange(8.0).reshape(1, 2, 2, 2) / 7
    found = {tuple(apply(corners).flatten().tolist()) for _ in range(2000)}
    assert len(found) == 48


@pytest.mark.parametrize("axes", [2, 3])
def test_the_seed_fixes_what_is_drawn(recipe: Recipe, axes: int) -> None:
    first, again, other = (drawn(recipe, list(EVERY), axes, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
