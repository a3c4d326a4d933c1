"""The training loop: its arithmetic, when it stops, what it keeps, and how it goes on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel.errors import MedlabelError
from medlabel.params import Distillation
from medlabel.randomness import torch_seed
from medlabel.training import loop, losses, mixup
from medlabel.training.inputs import Inputs
from medlabel.training.loop import Identity, Images, Progress, Training
from tests.training.world import TINY, build, images, settings

TASK = "binary-class"
SGD = {"optimizer": "sgd", "learning_rate": 0.02}


def make(
    network: nn.Module | None = None,
    checkpoint: Path | None = None,
    teacher: nn.Module | None = None,
    fingerprint: str = "same",
    **changes: Any,
) -> Training:
    """Set up a training of seed 3, whose network the seed draws."""
    chosen = settings(**changes)
    torch.manual_seed(0)
    identity = Identity("one, seed 3", chosen.seed, 3, checkpoint, fingerprint)
    return Training(
        network or build(chosen), Inputs(chosen), TASK, chosen.recipe.precision, identity, teacher
    )


def fit(training: Training, soft: bool = False, turned: bool = False) -> Progress:
    """Fit 45 images, judged on 20; `turned` judges by the wrong labels."""
    train, val = images(45, 0), images(20, 1)
    targets = [train.targets, 1 - val.targets if turned else val.targets]
    if soft:
        targets = [F.one_hot(one).float() for one in targets]
    return training.fit(Images(train.pixels, targets[0]), Images(val.pixels, targets[1]))


def test_the_loop_computes_what_a_plain_one_does() -> None:
    reached = fit(make(epochs=2, **SGD))
    given = images(45, 0)
    torch.manual_seed(0)
    network = build(settings())
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, fused=False)
    order = torch.Generator().manual_seed(torch_seed(7, "student", "order", 3))
    for epoch in reached.curve:
        total, right = 0.0, 0
        for chosen in torch.randperm(45, generator=order).split(8):
            pixels = given.pixels[chosen].squeeze(3)[:, None].float() / 127.5 - 1
            logits = network(pixels)
            loss = F.cross_entropy(logits, given.targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
            right += int((logits.argmax(1) == given.targets[chosen]).sum())
        assert epoch.train_loss == pytest.approx(total / 45, abs=1e-5)
        assert epoch.train_accuracy == pytest.approx(right / 45)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_it_learns(optimizer: str) -> None:
    rate = 0.02 if optimizer == "sgd" else 0.003
    training = make(epochs=12, optimizer=optimizer, learning_rate=rate)
    reached = fit(training)
    assert reached.curve[-1].val_loss < 0.5 * reached.curve[0].val_loss
    given = images(100, 9)
    assert (training.logits(given.pixels).argmax(1) == given.targets).float().mean() > 0.95


def test_weight_decay_reaches_the_optimiser() -> None:
    free, decayed = (fit(make(**SGD, weight_decay=decay)) for decay in (0.0, 0.5))
    assert decayed.weights["8.weight"].norm() < 0.9 * free.weights["8.weight"].norm()


def test_one_hot_targets_equal_hard_ones() -> None:
    hard, soft = fit(make(**SGD)), fit(make(**SGD), soft=True)
    for one, other in zip(hard.curve, soft.curve, strict=True):
        assert vars(one) == pytest.approx(vars(other), abs=1e-5)


def test_inputs_prepared_once_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = fit(make())
    monkeypatch.setattr(Inputs, "fixed", lambda *_: False)
    by_batch = fit(make())
    assert ready.curve == by_batch.curve
    assert all(torch.equal(value, by_batch.weights[name]) for name, value in ready.weights.items())


def test_it_stops_early_and_keeps_the_best_weights() -> None:
    # What is learnt is wrong for the images held back, so that their loss soon rises for good.
    training = make(epochs=30, patience=3, **SGD)
    reached = fit(training, turned=True)
    found = [epoch.val_loss for epoch in reached.curve]
    assert len(found) == reached.best + 3 < 30
    assert reached.best == 1 + int(np.argmin(found))
    val = images(20, 1)
    loss = losses.Loss(TASK)(training.logits(val.pixels), 1 - val.targets).item()
    assert loss == pytest.approx(found[reached.best - 1], abs=1e-5)


def test_by_auc_the_first_of_equals_is_kept() -> None:
    reached = fit(make(epochs=12, select="auc"))
    aucs = [epoch.val_auc for epoch in reached.curve]
    assert reached.best == 1 + aucs.index(max(aucs))
    assert aucs[-1] == 1.0
    assert reached.best < 12


@pytest.mark.parametrize("select", ["loss", "auc"])
def test_labels_of_one_class_alone_train(select: str) -> None:
    train, val = images(20, 0), images(8, 1)
    one = [Images(part.pixels, torch.zeros_like(part.targets)) for part in (train, val)]
    weights = losses.class_weights(TASK, one[0].targets, 2)
    reached = make(epochs=3, select=select, sampling="oversampled").fit(*one, weights)
    assert len(reached.curve) == 3
    assert all(np.isnan(epoch.val_auc) for epoch in reached.curve)
    assert reached.best == (
        1 if select == "auc" else 1 + int(np.argmin([epoch.val_loss for epoch in reached.curve]))
    )


def test_class_weights_reach_the_loss() -> None:
    train, val = images(45, 0), images(20, 1)
    plain, weighted = (
        make(epochs=1).fit(train, val, weights) for weights in (None, torch.tensor([0.0, 2.0]))
    )
    assert weighted.curve[0].train_loss < plain.curve[0].train_loss
    assert weighted.curve[0].val_accuracy == 0.5  # all are told to be of class 1


def test_kept_weights_are_copies() -> None:
    training = make(epochs=1)
    reached = fit(training)
    before = copy.deepcopy(reached.weights)
    with torch.no_grad():
        for weights in training.network.parameters():
            weights.add_(1)
    assert all(torch.equal(before[name], value) for name, value in reached.weights.items())
    assert all(value.is_contiguous() for value in reached.weights.values())


def test_equal_seeds_give_equal_bits() -> None:
    one, other = fit(make()), fit(make())
    assert one.curve == other.curve
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def test_a_last_batch_of_one_image_does_not_upset_batch_normalisation() -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(TINY**2), nn.Linear(TINY**2, 2))
    assert len(fit(make(network, batch_size=11, epochs=2)).curve) == 2  # 45 = 4 * 11 + 1


@pytest.mark.parametrize("sampling", ["shuffled", "oversampled"])
@pytest.mark.parametrize(("batch_size", "seen"), [(1, 45), (11, 44), (45, 45), (100, 45)])
def test_only_a_lone_last_image_is_left_out(batch_size: int, seen: int, sampling: str) -> None:
    training = make(batch_size=batch_size, epochs=1, sampling=sampling)
    counts: list[int] = []
    training.network.register_forward_hook(
        lambda module, given, _: counts.append(len(given[0]) if module.training else 0)
    )
    fit(training)
    oversampled = 45 if batch_size == 45 else 46  # 23 of either class
    assert sum(counts) == (seen if sampling == "shuffled" else oversampled)


def test_answers_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    training = make(epochs=1)
    fit(training)
    given = images(30, 3).pixels
    whole = training.logits(given)
    monkeypatch.setattr(loop, "EVALUATION_BATCH", {True: 7, False: 7})
    torch.testing.assert_close(training.logits(given), whole)
    assert whole.dtype == torch.float32


def test_flips_average_logits() -> None:
    training = make(test_time_flips=True)
    given = images(5, 0).pixels
    seen = training.inputs.judging(given)
    training.network.eval()
    with torch.no_grad():
        views = [seen, seen.flip(2), seen.flip(3)]
        expected = sum(training.network(view) for view in views) / 3
    torch.testing.assert_close(training.logits(given), expected)
    torch.testing.assert_close(training.logits(given, seen), expected)


def test_volumes_are_flipped_along_three_axes() -> None:
    chosen = settings(4, "vesselmnist3d", test_time_flips=True)

    class First(nn.Module):
        """Answer with the value in a corner."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, volumes: Tensor) -> Tensor:
            return volumes[:, :, 0, 0, 0] * self.scale

    identity = Identity("one", 0, 0, None, "")
    training = Training(First(), Inputs(chosen), TASK, "fp32", identity)
    volume = torch.randint(0, 256, (1, 4, 4, 4), dtype=torch.uint8)
    corners = [volume[0, 0, 0, 0], volume[0, 3, 0, 0], volume[0, 0, 3, 0], volume[0, 0, 0, 3]]
    expected = torch.stack(corners).float().mean() / 255
    torch.testing.assert_close(training.logits(volume)[0, 0], expected)


def test_a_student_follows_its_teacher_against_the_labels() -> None:
    taught = make(epochs=12)
    fit(taught)
    wanted = Distillation(images="x", network="x", recipe="x", part=1.0)
    student = make(epochs=12, distillation=wanted, teacher=taught.network)
    train, val = images(45, 0), images(20, 1)
    student.fit(Images(train.pixels, 1 - train.targets), val)
    assert (student.logits(val.pixels).argmax(1) == val.targets).float().mean() > 0.9
    assert not any(weights.requires_grad for weights in taught.network.parameters())


def test_half_the_teacher_is_half_the_loss() -> None:
    teacher = build(settings())
    wanted = Distillation(images="x", network="x", recipe="x", part=0.25)
    training = make(distillation=wanted, teacher=teacher)
    seen, logits = training.inputs.judging(images(5, 0).pixels), torch.randn(5, 2)
    with torch.no_grad():
        followed = losses.following(TASK, logits, teacher(seen))
    found = training._distilled(torch.tensor(2.0), logits, seen)
    torch.testing.assert_close(found, 0.75 * 2 + 0.25 * followed)


class Killed(Exception):
    """Stands for the end of a process."""


def interrupted(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """End each process after an epoch, its state stored."""
    stored = Training._store

    def store(training: Training) -> None:
        stored(training)
        if len(training.reached.curve) == epoch:
            raise Killed

    monkeypatch.setattr(Training, "_store", store)


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "changes",
    [
        SGD | {"patience": 2},
        {"augmentations": ["flip", "noise"], "sampling": "oversampled"},
        {"augmentations": ["augmix"]},
        {"schedule": "cosine", "warmup": 0.3, "optimizer": "adamw", "weight_decay": 0.1},
    ],
    ids=["patience", "augmented", "augmix", "cosine"],
)
def test_a_killed_training_ends_as_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], epoch: int
) -> None:
    changes = {"epochs": 5} | changes
    alone = fit(make(**changes), turned=True)
    state = tmp_path / "state.pt"
    interrupted(monkeypatch, min(epoch, len(alone.curve)))
    with pytest.raises(Killed):
        fit(make(checkpoint=state, **changes), turned=True)
    monkeypatch.undo()
    torch.rand(17)  # what another process left in the generator does not matter
    resumed = fit(make(checkpoint=state, **changes), turned=True)
    assert resumed.curve == alone.curve
    assert resumed.best == alone.best
    assert all(torch.equal(value, alone.weights[name]) for name, value in resumed.weights.items())


def test_a_checkpoint_of_other_code_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state.pt"
    interrupted(monkeypatch, 2)
    with pytest.raises(Killed):
        fit(make(checkpoint=state, fingerprint="old code"))
    monkeypatch.undo()
    epochs: list[int] = []
    training = make(checkpoint=state, fingerprint="new code")
    monkeypatch.setattr(training, "_tell", lambda _: epochs.append(len(training.reached.curve)))
    assert fit(training).curve == fit(make()).curve
    assert epochs == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"", b"no state at all"])
def test_a_damaged_checkpoint_is_not_taken_up(tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "state.pt"
    state.write_bytes(content)
    assert fit(make(checkpoint=state)).curve == fit(make()).curve


def test_a_loss_that_is_not_finite_names_training_and_epoch() -> None:
    network = build(settings())
    with torch.no_grad():
        network.get_parameter("0.weight").fill_(float("nan"))
    with pytest.raises(MedlabelError, match="one, seed 3, epoch 1: the loss is no longer") as told:
        fit(make(network))
    assert "is kept in" not in str(told.value)


def test_a_diverging_training_keeps_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state.pt"
    train = Training._train

    def diverging(training: Training, *given: Any) -> tuple[float, float, float]:
        rate, loss, accuracy = train(training, *given)
        return rate, loss if not training.reached.curve else float("inf"), accuracy

    monkeypatch.setattr(Training, "_train", diverging)
    with pytest.raises(MedlabelError, match=r"epoch 2: the loss is no .*after epoch 1 is kept in"):
        fit(make(checkpoint=state))
    assert len(torch.load(state, weights_only=True)["curve"]) == 1


def test_mixed_pairs_cost_what_mixed_targets_do() -> None:
    random = np.random.default_rng(0)
    pairs = mixup.Pairs.draw(0.4, 6, random)
    logits, targets = torch.randn(6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    soft = F.one_hot(targets).float()
    mixed = pairs.share * soft + (1 - pairs.share) * soft[pairs.partners]
    found = pairs.loss(losses.Loss(TASK), logits, targets, None)
    torch.testing.assert_close(found, F.cross_entropy(logits, mixed))
    seen = torch.randn(6, 3, 4, 4)
    expected = pairs.share * seen + (1 - pairs.share) * seen[pairs.partners]
    torch.testing.assert_close(pairs.images(seen), expected)


def test_mixup_repeats_itself_and_learns() -> None:
    one, other = (fit(make(epochs=8, mixup=0.4, **SGD)) for _ in range(2))
    assert one.curve == other.curve
    assert one.curve != fit(make(epochs=8, **SGD)).curve
    assert one.curve[-1].val_loss < one.curve[0].val_loss


def test_images_without_importance_teach_nothing() -> None:
    given, val = images(40, 0), images(20, 1)
    wrong = torch.cat([given.targets, 1 - given.targets])
    importance = torch.cat([torch.full((40,), 2.0), torch.zeros(40)])
    both = Images(torch.cat([given.pixels, given.pixels]), wrong, importance)
    reached = make(epochs=12, **SGD).fit(both, val)
    assert reached.curve[-1].val_accuracy > 0.9
