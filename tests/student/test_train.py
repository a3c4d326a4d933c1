"""The training loop: its split, its arithmetic, when it stops and what it keeps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel import params
from medlabel.errors import MedlabelError
from medlabel.student import models, train

SETTINGS = params.Student(
    model="two_layer_cnn",
    channels=1,
    optimizer=params.Optimizer(name="sgd", lr=0.02, momentum=0.9, weight_decay=0.0),
    batch_size=8,
    epochs=6,
    patience=6,
    validation_fraction=0.2,
)
SIZE = 12


def changed(**changes: object) -> params.Student:
    return SETTINGS.model_copy(update=changes)


def with_optimizer(name: str, **changes: object) -> params.Student:
    return changed(optimizer=SETTINGS.optimizer.model_copy(update={"name": name, **changes}))


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Dark images of class 0 and bright ones of class 1."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = (
        random.integers(0, 150, size=(count, SIZE, SIZE, 1)) + 100 * labels[:, None, None, None]
    )
    return torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels)


def run(
    settings: params.Student,
    network: nn.Module | None = None,
    soft: bool = False,
    flip_held_back: bool = False,
) -> tuple[nn.Module, train.Fitted]:
    fit_images, fit_labels = examples(45, 0)
    held_images, held_labels = examples(20, 1)
    held_labels = 1 - held_labels if flip_held_back else held_labels
    targets = (fit_labels, held_labels)
    if soft:
        targets = (F.one_hot(fit_labels).float(), F.one_hot(held_labels).float())
    torch.manual_seed(0)
    network = network or models.build("two_layer_cnn", 1, 2, SIZE)
    order = torch.Generator().manual_seed(5)
    images = (fit_images, held_images)
    return network, train.fit(network, images, targets, settings, order, "seed 7")


def test_split_of_the_study_is_873_and_219() -> None:
    labels = np.repeat([0, 1], 546)
    fitted, held_back = train.split(labels, 0.2, np.random.default_rng(0))
    assert (len(fitted), len(held_back)) == (873, 219)
    assert sorted(np.bincount(labels[held_back])) == [109, 110]


@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_split_divides_every_class_in_proportion(
    labels: list[int], fraction: float, seed: int
) -> None:
    classes = np.array(labels)
    fitted, held_back = train.split(classes, fraction, np.random.default_rng(seed))
    assert sorted([*fitted, *held_back]) == list(range(len(classes)))
    assert len(fitted) >= 1
    assert len(held_back) >= 1
    share = len(held_back) / len(classes)
    taken = np.bincount(classes[held_back], minlength=5)
    assert (np.abs(taken - share * np.bincount(classes, minlength=5)) < 1).all()


def test_split_moves_little_when_few_labels_change() -> None:
    labels = np.repeat([0, 1], 100)
    other = labels.copy()
    other[:10] = 1
    one, two = (train.split(each, 0.2, np.random.default_rng(3))[1] for each in (labels, other))
    assert len(np.intersect1d(one, two)) >= 30


def test_split_rounds_up_what_only_binary_fractions_exceed() -> None:
    fitted, held_back = train.split(np.zeros(15, int), 0.2, np.random.default_rng(0))
    assert (len(fitted), len(held_back)) == (12, 3)


def test_one_image_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match="1 images cannot be divided"):
        train.split(np.zeros(1, int), 0.2, np.random.default_rng(0))


def test_the_loop_computes_what_a_plain_one_does() -> None:
    settings = changed(epochs=2)
    _, fitted = run(settings)
    images, labels = examples(45, 0)
    torch.manual_seed(0)
    network = models.build("two_layer_cnn", 1, 2, SIZE)
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, fused=False)
    order = torch.Generator().manual_seed(5)
    for epoch in fitted.curve:
        total, right = 0.0, 0
        for chosen in torch.randperm(45, generator=order).split(8):
            pixels = images[chosen].squeeze(3)[:, None].float() / 127.5 - 1
            logits = network(pixels)
            loss = F.cross_entropy(logits, labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
            right += int((logits.argmax(1) == labels[chosen]).sum())
        assert epoch.train_loss == pytest.approx(total / 45, abs=1e-5)
        assert epoch.train_accuracy == pytest.approx(right / 45)


def test_it_learns() -> None:
    network, fitted = run(changed(epochs=15, patience=15))
    assert fitted.curve[-1].validation_loss < 0.5 * fitted.curve[0].validation_loss
    images, labels = examples(100, 9)
    assert (train.predict(network, images).argmax(1) == labels.numpy()).mean() > 0.95


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_other_optimisers_learn_too(name: str) -> None:
    _, fitted = run(with_optimizer(name, lr=0.003))
    assert fitted.curve[-1].validation_loss < fitted.curve[0].validation_loss


def test_weight_decay_reaches_the_optimiser() -> None:
    _, free = run(with_optimizer("sgd"))
    _, decayed = run(with_optimizer("sgd", weight_decay=0.5))
    assert decayed.weights["8.weight"].norm() < 0.9 * free.weights["8.weight"].norm()


def test_one_hot_targets_equal_hard_ones() -> None:
    _, hard = run(SETTINGS)
    _, soft = run(SETTINGS, soft=True)
    for one, other in zip(hard.curve, soft.curve, strict=True):
        assert vars(one) == pytest.approx(vars(other), abs=1e-5)


def test_it_stops_early_and_keeps_the_best_weights() -> None:
    # What is learnt is wrong for the images held back, so that their loss soon rises for good.
    settings = changed(epochs=30, patience=3)
    network, fitted = run(settings, flip_held_back=True)
    losses = [epoch.validation_loss for epoch in fitted.curve]
    assert len(losses) == fitted.best + 3 < 30
    assert fitted.best == 1 + int(np.argmin(losses))
    images, labels = examples(20, 1)
    probabilities = train.predict(network, images)
    truth = 1 - labels.numpy()
    loss = -np.log(probabilities[np.arange(20), truth]).mean()
    assert loss == pytest.approx(losses[fitted.best - 1], abs=1e-5)


def test_kept_weights_are_copies() -> None:
    network, fitted = run(changed(epochs=1))
    before = copy.deepcopy(fitted.weights)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(1)
    assert all(torch.equal(before[name], value) for name, value in fitted.weights.items())
    assert all(value.is_contiguous() for value in fitted.weights.values())


def test_equal_seeds_give_equal_bits() -> None:
    one, other = run(SETTINGS)[1], run(SETTINGS)[1]
    assert one.curve == other.curve
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def test_a_loss_that_is_not_finite_names_seed_and_epoch() -> None:
    network = models.build("two_layer_cnn", 1, 2, SIZE)
    with torch.no_grad():
        network[0].weight.fill_(float("nan"))
    with pytest.raises(MedlabelError, match="seed 7, epoch 1: the loss is no longer finite"):
        run(SETTINGS, network)


def test_a_last_batch_of_one_image_does_not_upset_batch_normalisation() -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(SIZE**2), nn.Linear(SIZE**2, 2))
    _, fitted = run(changed(batch_size=11, epochs=2), network)  # 45 = 4 * 11 + 1
    assert len(fitted.curve) == 2


@pytest.mark.parametrize(("batch_size", "seen"), [(1, 45), (11, 44), (45, 45), (100, 45)])
def test_only_a_lone_last_image_is_left_out(batch_size: int, seen: int) -> None:
    network = models.build("two_layer_cnn", 1, 2, SIZE)
    counts: list[int] = []
    network.register_forward_hook(
        lambda module, given, _: counts.append(len(given[0]) if module.training else 0)
    )
    run(changed(batch_size=batch_size, epochs=1), network)
    assert sum(counts) == seen


def test_predictions_are_probabilities_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    network, _ = run(changed(epochs=1))
    images, _ = examples(30, 3)
    whole = train.predict(network, images)
    monkeypatch.setattr(train, "EVALUATION_BATCH", 7)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(train.predict(network, images), whole, atol=1e-6)


def test_pixels_are_scaled_about_zero() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 3, 1)
    torch.testing.assert_close(train.scaled(pixels), torch.tensor([[[[-1.0, -0.6, 1.0]]]]))
