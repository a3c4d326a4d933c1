"""One model for many sets: what its loss and its batches weigh, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from medlabel import files
from medlabel.data import mixtures, stand_ins
from medlabel.data.many_sets import Numbering
from medlabel.errors import MedlabelError
from medlabel.evaluate import many_sets as evaluation
from medlabel.params import Learner, Params
from medlabel.training import many_sets, many_sets_job

SETS = ["breastmnist", "chestmnist"]


def test_balanced_sets_weigh_alike_however_many_images_they_have() -> None:
    sets = np.array(["large"] * 30 + ["small"] * 10)
    learner = Learner(network="capstone", recipe="many_sets", balance="loss")
    weights = many_sets.image_weights(learner, sets)
    assert weights.mean() == pytest.approx(1)
    assert weights[:30].sum() == pytest.approx(weights[30:].sum())
    model = {"network": "capstone", "recipe": "many_sets"}
    doubled = Learner(**model, balance="loss", weights={"breastmnist": 2.0})
    sets = np.array(["breastmnist"] * 30 + ["chestmnist"] * 10)
    weights = many_sets.image_weights(doubled, sets)
    assert weights[:30].sum() == pytest.approx(2 * weights[30:].sum())
    assert (many_sets.image_weights(Learner(**model), sets) == 1).all()


def test_the_loss_is_that_of_each_task() -> None:
    random = torch.Generator().manual_seed(1)
    outputs = torch.randn(4, 5, generator=random, requires_grad=True)
    classes = torch.tensor([0, 2, 1, 2])
    labels = torch.full((4, 2), float("nan"))
    labels[1], labels[3] = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0])
    measured = many_sets.loss(outputs, classes, labels)
    several = [1, 3]
    expected = F.cross_entropy(outputs[:, :3], classes) + F.binary_cross_entropy_with_logits(
        outputs[several, 3:], labels[several]
    ) * len(several) / len(classes)
    assert measured.item() == pytest.approx(expected.item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(measured, outputs)
    assert (gradient[[0, 2], 3:] == 0).all()  # images of one label teach the others nothing
    assert (gradient[several, 3:] != 0).all()


def test_weights_of_images_scale_their_losses() -> None:
    outputs, classes = torch.randn(3, 2, generator=torch.Generator().manual_seed(2)), [0, 1, 1]
    given = torch.tensor(classes), torch.zeros(3, 0)
    weights = torch.tensor([3.0, 0.0, 0.0])
    alone = many_sets.loss(outputs[:1], given[0][:1], given[1][:1])
    assert many_sets.loss(outputs, *given, weights).item() == pytest.approx(alone.item(), rel=1e-6)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> many_sets_job.Files:
    """Stand-ins of two sets and their pool."""
    folder = tmp_path_factory.mktemp("sets")
    archives = {name: folder / f"{name}.npz" for name in SETS}
    for name, path in archives.items():
        stand_ins.write(name, path, {"train": 24, "val": 12, "test": 4}, 28, seed=2)
    return many_sets_job.Files(archives, folder / "pool.parquet", None, folder / "resume.pt")


@pytest.fixture
def settings(default_params: Params) -> Params:
    """An entry `phantom_two` with one model `small`."""
    base = default_params.many_sets["phantom_eleven"]
    learner = Learner(network="capstone", recipe="small", balance="sampling")
    many = base.model_copy(update={"sets": SETS, "models": {"small": learner}, "published": None})
    recipe = default_params.recipes["many_sets"].model_copy(update={"epochs": 12, "batch_size": 8})
    return default_params.model_copy(
        update={
            "device": "cpu",
            "many_sets": {"phantom_two": many},
            "recipes": default_params.recipes | {"small": recipe},
        }
    )


@pytest.fixture
def pooled(given: many_sets_job.Files, settings: Params) -> many_sets_job.Files:
    mixture = settings.many_sets["phantom_two"].mixture
    mixtures.write_pool("two", mixture, given.archives, given.pool, 0)
    return given


def test_a_killed_training_ends_as_an_undisturbed_one(
    pooled: many_sets_job.Files,
    settings: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(folder: Path) -> None:
        many_sets_job.run(settings, "phantom_two", "small", pooled, folder, "code")

    run(tmp_path / "whole")
    store = many_sets.Training._store

    def killed(self: many_sets.Training, *arguments: Any) -> None:
        store(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(many_sets.Training, "_store", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts")
    monkeypatch.undo()
    run(tmp_path / "parts")
    for name in ("predictions.parquet", "curves.parquet"):
        whole, parts = (pd.read_parquet(tmp_path / one / name) for one in ("whole", "parts"))
        pd.testing.assert_frame_equal(whole, parts)
    record = files.read_json(tmp_path / "whole" / "run.json", "train_sets")
    assert record["parameters"] > 100_000
    answers = evaluation.read(tmp_path / "whole" / "predictions.parquet", Numbering(tuple(SETS)))
    assert len(answers.images) == 2 * (24 + 12 + 4)
    np.testing.assert_allclose(answers.shared.sum(axis=1), 1, rtol=1e-5)
    right = evaluation.sets_right(answers, Numbering(tuple(SETS)))
    assert right.mean() > 0.8  # ultrasounds of breasts and chests look unlike
    assert not pooled.resume.exists()


def test_a_class_without_validation_images_is_refused(
    pooled: many_sets_job.Files, settings: Params, tmp_path: Path
) -> None:
    path = tmp_path / "breastmnist.npz"
    with np.load(pooled.archives["breastmnist"]) as held:
        arrays = dict(held)
    arrays["val_labels"] = np.zeros_like(arrays["val_labels"])
    files.write_npz(path, arrays)
    lacking = many_sets_job.Files(
        {**pooled.archives, "breastmnist": path}, pooled.pool, None, pooled.resume
    )
    with pytest.raises(MedlabelError, match=r"breastmnist: one validation image of .* none found"):
        many_sets_job.run(settings, "phantom_two", "small", lacking, tmp_path, "code")
