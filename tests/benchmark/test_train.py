"""The training loop: official rates, resumption, divergence, selection, sampling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medlabel import params
from medlabel.benchmark import inputs, run, train
from medlabel.errors import MedlabelError
from medlabel.params import Distillation, Recipe, Row

ROW = Row(dataset="phantom_vessel3d", model="vit3d", recipe="tiny", seeds=1)


@pytest.fixture(scope="session")
def recipe(default_params: params.Params) -> Recipe:
    official = default_params.benchmark.recipes["official_3d"]
    changes = {"epochs": 3, "batch_size": 8, "augmentations": ["flip"], "precision": "fp32"}
    return official.model_copy(update=changes)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Volumes of which those of class 1 are brighter."""
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 33), ("val", 12), ("test", 12)):
        labels = (np.arange(count) % 3 == 0).astype(np.uint8)[:, None]
        images = random.integers(0, 80, (count, 28, 28, 28)) + 100 * labels[:, :, None, None]
        arrays |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels}
    path = tmp_path / "phantom_vessel3d.npz"
    np.savez(path, **arrays)
    return path


def fit(
    folder: Path,
    recipe: Recipe,
    archive: Path,
    name: str = "run",
    teacher: run.Teacher | None = None,
) -> run.Outputs:
    made = folder / name
    outputs = run.Outputs(
        made / "predictions.parquet",
        made / "curve.parquet",
        made / "run.json",
        made / "weights.safetensors",
    )
    run.run(ROW, recipe, 0, archive, None, teacher, outputs, folder / "state.pt", "cpu", 1, 7)
    return outputs


def test_the_official_rate_falls_at_half_and_three_quarters(default_params: params.Params) -> None:
    official = default_params.benchmark.recipes["official"]
    rates = [train.learning_rate(official, epoch * 10, 10) for epoch in (0, 49, 50, 74, 75, 99)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_warm_up_rises_and_the_cosine_ends_near_zero(recipe: Recipe) -> None:
    changed = recipe.model_copy(update={"schedule": "cosine", "warmup": 0.1, "epochs": 10})
    rates = [train.learning_rate(changed, step, 10) for step in range(100)]
    assert rates[:10] == pytest.approx([1e-4 * step for step in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-6


def test_a_killed_training_ends_as_one_left_alone(
    tmp_path: Path, recipe: Recipe, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = fit(tmp_path, recipe, archive, "alone")
    stored = train.Training._store

    def killed(training: train.Training) -> None:
        stored(training)
        if len(training.reached.curve) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Training, "_store", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, recipe, archive, "resumed")
    monkeypatch.undo()
    assert (tmp_path / "state.pt").exists()
    resumed = fit(tmp_path, recipe, archive, "resumed")
    assert resumed.predictions.read_bytes() == alone.predictions.read_bytes()
    assert resumed.weights.read_bytes() == alone.weights.read_bytes()
    assert not (tmp_path / "state.pt").exists()


def test_a_student_follows_its_teacher_against_the_labels(
    tmp_path: Path, recipe: Recipe, archive: Path
) -> None:
    plain = {"augmentations": [], "intensity_scaling": False, "learning_rate": 1e-4}
    quick = recipe.model_copy(update=plain)
    taught = fit(tmp_path, quick, archive, "teacher")
    teacher = run.Teacher(ROW, quick, taught.weights)
    distillation = Distillation(dataset=ROW.dataset, model="vit3d", recipe="tiny", part=1.0)
    # Labels turned round: whoever answers rightly can have learned it from the teacher alone.
    arrays = dict(np.load(archive))
    arrays["train_labels"] = 1 - arrays["train_labels"]
    np.savez(archive, **arrays)
    distilled = quick.model_copy(update={"distillation": distillation})
    student = fit(tmp_path, distilled, archive, "student", teacher)
    table = pd.read_parquet(student.predictions)
    of_class_1 = table["label_0"] == 1
    assert table.loc[of_class_1, "p_1"].min() > table.loc[~of_class_1, "p_1"].max()
    assert json.loads(student.record.read_text())["teacher"] == ROW.name


@pytest.mark.parametrize("task", ["multi-class", "multi-label, binary-class"])
def test_following_loss_is_least_for_the_teachers_own_answers(task: str) -> None:
    torch.manual_seed(0)
    answers = torch.randn(5, 4)
    own = train.following_loss(task, answers, answers)
    for _ in range(20):
        assert train.following_loss(task, answers + torch.randn(5, 4), answers) > own


def test_following_loss_is_the_cross_entropy_of_its_definition() -> None:
    logits, answers = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    expected = -(answers.softmax(1) * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(train.following_loss("multi-class", logits, answers), expected)


def test_every_augmentation_goes_with_bfloat16(
    tmp_path: Path, recipe: Recipe, archive: Path
) -> None:
    names = ["flip", "affine", "elastic", "noise", "intensity"]
    changes = {"augmentations": names, "precision": "bf16", "epochs": 1}
    curve = pd.read_parquet(fit(tmp_path, recipe.model_copy(update=changes), archive).curve)
    assert np.isfinite(curve["train_loss"]).all()


def test_a_checkpoint_of_other_settings_is_not_taken_up(
    tmp_path: Path, recipe: Recipe, archive: Path
) -> None:
    torch.save({"fingerprint": "of another recipe"}, tmp_path / "state.pt")
    curve = pd.read_parquet(fit(tmp_path, recipe, archive).curve)
    assert curve["epoch"].tolist() == [1, 2, 3]


def test_the_best_epochs_weights_are_judged(tmp_path: Path, recipe: Recipe, archive: Path) -> None:
    outputs = fit(tmp_path, recipe, archive)
    curve, record = pd.read_parquet(outputs.curve), json.loads(outputs.record.read_text())
    assert record["best_epoch"] == curve["epoch"][curve["val_auc"].idxmax()]
    assert curve.loc[curve["kept"], "epoch"].tolist() == [record["best_epoch"]]
    predicted = pd.read_parquet(outputs.predictions)
    judged = predicted[predicted["split"] == "val"]
    best = curve.loc[curve["kept"], "val_accuracy"].item()
    assert (judged["label_0"] == (judged["p_1"] > 0.5)).mean() == pytest.approx(best)


def test_a_diverging_training_says_the_epoch_and_keeps_the_last_state(
    tmp_path: Path, recipe: Recipe, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = train.Training._step

    def diverging(training: train.Training, *given: object) -> torch.Tensor:
        loss = step(training, *given)  # type: ignore[arg-type]
        return loss * float("nan") if training.reached.curve else loss

    monkeypatch.setattr(train.Training, "_step", diverging)
    with pytest.raises(
        MedlabelError, match=r"epoch 2: the loss is no longer finite.*after epoch 1"
    ):
        fit(tmp_path, recipe, archive)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert len(state["curve"]) == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: tried 9 bytes"),
    ],
)
def test_too_large_a_batch_names_its_key(
    tmp_path: Path,
    recipe: Recipe,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: RuntimeError,
) -> None:
    def lacking(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(train.Training, "_step", lacking)
    with pytest.raises(MedlabelError, match=r"recipes\.tiny\.batch_size"):
        fit(tmp_path, recipe, archive)


def test_an_absent_class_is_named(tmp_path: Path, recipe: Recipe, archive: Path) -> None:
    arrays = dict(np.load(archive))
    arrays["val_labels"] = np.zeros_like(arrays["val_labels"])
    np.savez(archive, **arrays)
    with pytest.raises(MedlabelError, match=r"val_labels: .*tells class 1 from the others"):
        fit(tmp_path, recipe, archive)


def test_oversampling_draws_classes_alike(recipe: Recipe) -> None:
    labels = torch.tensor([0] * 20 + [1] * 5, dtype=torch.uint8)[:, None]
    images = inputs.Images(torch.zeros(25, 2, 2, 2, dtype=torch.uint8), labels)
    changed = recipe.model_copy(update={"sampling": "oversampled"})
    order = train._order(images, changed, np.random.default_rng(0))
    assert np.bincount(labels[torch.from_numpy(order), 0].numpy()).tolist() == [20, 20]
    assert set(order) == set(range(25))


def test_class_weights_are_inverse_frequencies() -> None:
    labels = torch.tensor([0, 0, 0, 1])[:, None]
    found = train.class_weights("binary-class", labels)
    torch.testing.assert_close(found, torch.tensor([4 / 6, 2.0]))


def test_volumes_of_shapes_are_judged_at_half_intensity(recipe: Recipe) -> None:
    pixels = torch.full((2, 4, 4, 4), 255, dtype=torch.uint8)
    made = inputs.Inputs("vesselmnist3d", True, recipe.model_copy(update={"augmentations": []}))
    made.reseed(0)
    assert made.judging(pixels).unique().tolist() == [0.5]
    training = made.training(pixels)
    assert training.shape == (2, 3, 4, 4, 4)
    assert 0 <= training.min() <= training.max() <= 1
    assert training[0].unique().tolist() != training[1].unique().tolist()


def test_enlarging_repeats_pixels_and_images_are_centred(default_params: params.Params) -> None:
    official = default_params.benchmark.recipes["official"]
    made = inputs.Inputs("breastmnist", False, official.model_copy(update={"enlarge_to": 56}))
    pixels = torch.randint(0, 256, (1, 28, 28), dtype=torch.uint8)
    expected = (pixels.float() / 255 - 0.5) / 0.5
    expected = expected.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(made.judging(pixels)[:, 1], expected)
