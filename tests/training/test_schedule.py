"""Learning rates, the order of images, and how many steps an epoch has."""

from __future__ import annotations

import pytest
import torch

from medlabel.params import Params
from medlabel.training import schedule
from tests.training.world import recipe


def test_the_official_rate_falls_at_half_and_three_quarters(default_params: Params) -> None:
    official = default_params.recipes["official"]
    steps = [epoch * 10 for epoch in (0, 49, 50, 74, 75, 99)]
    rates = [schedule.learning_rate(official, step, 10) for step in steps]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_warm_up_rises_and_the_cosine_ends_near_zero() -> None:
    changed = recipe(schedule="cosine", warmup=0.1, epochs=10, learning_rate=1e-3)
    rates = [schedule.learning_rate(changed, step, 10) for step in range(100)]
    assert rates[:10] == pytest.approx([1e-4 * step for step in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-6


def test_a_constant_rate_stays() -> None:
    rates = {schedule.learning_rate(recipe(schedule="constant"), step, 5) for step in range(20)}
    assert rates == {0.003}


def test_shuffled_gives_each_image_once() -> None:
    random = torch.Generator().manual_seed(5)
    found = schedule.order(recipe(), torch.zeros(20), random)
    assert torch.equal(found, torch.randperm(20, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("soft", [False, True])
def test_oversampling_draws_classes_alike(soft: bool) -> None:
    classes = torch.tensor([0] * 20 + [1] * 5)
    targets = torch.nn.functional.one_hot(classes).float() if soft else classes
    order = schedule.order(recipe(sampling="oversampled"), targets, torch.Generator())
    assert torch.bincount(classes[order]).tolist() == [20, 20]
    assert set(order.tolist()) == set(range(25))


def test_oversampling_passes_over_absent_classes() -> None:
    targets = torch.tensor([0, 0, 2])
    order = schedule.order(recipe(sampling="oversampled"), targets, torch.Generator())
    assert torch.bincount(targets[order]).tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("count", "batch_size", "expected"),
    [(45, 1, 45), (45, 11, 4), (45, 45, 1), (45, 100, 1), (1, 8, 1), (46, 11, 5), (9, 8, 1)],
)
def test_a_last_batch_of_one_is_no_step(count: int, batch_size: int, expected: int) -> None:
    assert schedule.steps_per_epoch(recipe(batch_size=batch_size), torch.zeros(count)) == expected
