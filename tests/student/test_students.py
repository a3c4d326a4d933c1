"""A block of students on small archives: what is written, what pairs the arms, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.student import models, train
from medlabel.student.students import Labels, train_block

IMAGE = ["dataset", "split", "row"]
CLASSES = ["dark", "bright"]
DATASETS = ["phantom_chest", "phantom_breast"]
COUNTS = {"train": 30, "val": 4, "test": 10}
DRAWN = {"train": 24, "test": 8}
SIZE = 14

STUDENT = params.Student(
    model="two_layer_cnn",
    channels=1,
    optimizer=params.Optimizer(name="adam", lr=0.003, momentum=0.0, weight_decay=0.0),
    batch_size=8,
    epochs=8,
    patience=8,
    validation_fraction=0.2,
)
PSEUDOLABEL = params.Pseudolabel(
    templates=["a {}"],
    prompts=[params.Prompt(label=name, descriptions=[name]) for name in CLASSES],
    logit_scale=None,
    select="all",
    k=5,
    targets="hard",
)


class World:
    """Two datasets, dark and bright, the draws of two seeds, and a teacher's labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archives = {name: folder / f"{name}.npz" for name in DATASETS}
        random = np.random.default_rng(0)
        for label, path in enumerate(self.archives.values()):
            arrays = {}
            for split, count in COUNTS.items():
                noise = random.integers(0, 150, size=(count, SIZE, SIZE))
                arrays[f"{split}_images"] = (noise + 100 * label).astype(np.uint8)
                arrays[f"{split}_labels"] = np.zeros((count, 1), np.uint8)
            files.write_npz(path, arrays)
        pool = pd.DataFrame(
            [
                (split, dataset, split, row, label)
                for split in DRAWN
                for label, dataset in enumerate(DATASETS)
                for row in range(COUNTS[split])
            ],
            columns=["role", *IMAGE, "label"],
        ).astype({"row": np.int32, "label": np.int8})
        self.pool = pool
        self.draw = folder / "0000-0001.parquet"
        files.write_parquet(self.draw, self._draw(random))

    def _draw(self, random: np.random.Generator) -> pd.DataFrame:
        parts = []
        for seed in (0, 1):
            for (role, _), group in self.pool.groupby(["role", "label"]):
                chosen = group.iloc[random.permutation(len(group))[: DRAWN[str(role)]]]
                parts.append(chosen.assign(seed=np.int32(seed)))
        return pd.concat(parts, ignore_index=True)

    def teacher(self, wrong: float) -> Path:
        """Write pseudo-labels, a part of which is wrong."""
        table = self.pool.copy()
        flipped = np.random.default_rng(1).random(len(table)) < wrong
        table["pseudolabel"] = np.where(flipped, 1 - table["label"], table["label"]).astype(np.int8)
        sure = np.random.default_rng(2).uniform(0.6, 1, len(table)).astype(np.float32)
        for index, name in enumerate(CLASSES):
            table[f"p_{name}"] = np.where(table["pseudolabel"] == index, sure, 1 - sure)
        path = self.folder / f"teacher_{wrong}.parquet"
        files.write_parquet(path, table)
        return path

    def train(self, labels: Labels, pseudolabels: Path | None, **changes: Any) -> Path:
        """Train a block and return the folder that holds its three files."""
        target = self.folder / f"{labels}_{len(list(self.folder.iterdir()))}"
        options: dict[str, Any] = {
            "draw": self.draw,
            "archives": self.archives,
            "pseudolabels": pseudolabels,
            "labels": labels,
            "block": "0000-0001",
            "predictions": target / "predictions.parquet",
            "curves": target / "curves.parquet",
            "weights": target / "weights.safetensors",
            "settings": STUDENT,
            "pseudolabel": PSEUDOLABEL,
            "classes": CLASSES,
            "size": SIZE,
            "keep_weights": [1],
            "device": "cpu",
            "threads": 1,
            "seed": 11,
        }
        train_block(**(options | changes))
        return target


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("students"))


@pytest.fixture(scope="module")
def taught(world: World) -> Path:
    """Students of a teacher that is right in 90 % of its labels."""
    return world.train(Labels.TEACHER, world.teacher(0.1))


def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "predictions.parquet")


def accuracy(table: pd.DataFrame) -> float:
    chosen = table[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(axis=1)
    return float((chosen == table["label"]).mean())


def test_predictions_are_of_the_held_out_images_of_each_seed(world: World, taught: Path) -> None:
    table = predictions(taught)
    assert list(table.columns) == ["seed", *IMAGE, "label", "p_dark", "p_bright"]
    assert table.dtypes[["seed", "row", "label", "p_dark"]].astype(str).tolist() == [
        "int32",
        "int32",
        "int8",
        "float32",
    ]
    drawn = pd.read_parquet(world.draw).query("role == 'test'")
    expected = drawn[["seed", *IMAGE, "label"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(table[expected.columns], expected)
    np.testing.assert_allclose(table["p_dark"] + table["p_bright"], 1, atol=1e-6)


def test_students_correct_their_teacher(taught: Path) -> None:
    assert accuracy(predictions(taught)) > 0.95


def test_curves_mark_the_epoch_that_was_kept(taught: Path) -> None:
    curves = pd.read_parquet(taught / "curves.parquet")
    assert list(curves.columns) == [
        "seed",
        "epoch",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "kept",
    ]
    for _, curve in curves.groupby("seed"):
        assert curve["epoch"].tolist() == list(range(1, len(curve) + 1))
        assert (
            curve["kept"].tolist()
            == (curve["validation_loss"] == curve["validation_loss"].min()).tolist()
        )


def test_kept_weights_give_the_predictions(world: World, taught: Path) -> None:
    weights = load_file(taught / "weights.safetensors")
    assert {name.split("/")[0] for name in weights} == {"1"}
    network = models.build(STUDENT.model, 1, 2, SIZE)
    network.load_state_dict({name.split("/")[1]: value for name, value in weights.items()})
    table = predictions(taught).query("seed == 1")
    pixels = np.stack(
        [
            files.read_npz(world.archives[dataset], "phantoms")[f"{split}_images"][row]
            for dataset, split, row in table[IMAGE].itertuples(index=False)
        ]
    )
    found = train.predict(network, torch.from_numpy(pixels[..., None]))
    np.testing.assert_allclose(found[:, 1], table["p_bright"], atol=1e-6)


def test_no_kept_weights_leave_an_empty_file(world: World) -> None:
    folder = world.train(Labels.TRUE, None, keep_weights=[])
    assert load_file(folder / "weights.safetensors") == {}


def test_equal_inputs_give_equal_bytes(world: World, taught: Path) -> None:
    again = world.train(Labels.TEACHER, world.teacher(0.1))
    for path in taught.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_a_seed_does_not_depend_on_its_block(world: World, taught: Path) -> None:
    alone = world.train(Labels.TEACHER, world.teacher(0.1), block="0001-0001")
    expected = predictions(taught).query("seed == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(predictions(alone), expected)


def test_arms_are_paired(world: World) -> None:
    # A teacher that is always right must give exactly the student of the true labels.
    perfect = world.train(Labels.TEACHER, world.teacher(0.0))
    true = world.train(Labels.TRUE, None)
    pd.testing.assert_frame_equal(predictions(perfect), predictions(true))


def test_another_root_seed_gives_other_students(world: World, taught: Path) -> None:
    other = world.train(Labels.TEACHER, world.teacher(0.1), seed=12)
    assert not predictions(other)["p_dark"].equals(predictions(taught)["p_dark"])


def test_permuted_labels_keep_their_frequencies_and_teach_little(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    divide = train.split

    def spy(labels: np.ndarray, *others: Any) -> Any:
        seen.append(labels)
        return divide(labels, *others)

    monkeypatch.setattr(train, "split", spy)
    world.train(Labels.TEACHER, world.teacher(0.1))
    folder = world.train(Labels.PERMUTED, world.teacher(0.1))
    taught_labels, permuted_labels = seen[:2], seen[2:]
    for ours, permuted in zip(taught_labels, permuted_labels, strict=True):
        assert np.bincount(ours).tolist() == np.bincount(permuted).tolist()
        assert (ours != permuted).any()
    assert accuracy(predictions(folder)) < 0.9


@pytest.mark.parametrize("targets", ["hard", "soft"])
def test_top_k_and_soft_targets_reach_the_training(
    world: World, monkeypatch: pytest.MonkeyPatch, targets: str
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    fit = train.fit

    def spy(network: Any, images: Any, targets: Any, *others: Any) -> Any:
        seen.append(targets)
        return fit(network, images, targets, *others)

    monkeypatch.setattr(train, "fit", spy)
    settings = PSEUDOLABEL.model_copy(update={"select": "top_k", "k": 6, "targets": targets})
    world.train(Labels.TEACHER, world.teacher(0.1), pseudolabel=settings)
    for fitted, held_back in seen:
        both = torch.cat([fitted, held_back])
        assert (len(fitted), len(held_back)) == (9, 3)
        assert both.ndim == (2 if targets == "soft" else 1)
        classes = both if both.ndim == 1 else both.argmax(dim=1)
        assert classes.bincount().tolist() == [6, 6]


def test_colour_networks_see_grey_images(world: World) -> None:
    settings = STUDENT.model_copy(update={"channels": 3, "epochs": 1})
    folder = world.train(Labels.TRUE, None, settings=settings)
    assert load_file(folder / "weights.safetensors")["1/0.weight"].shape[1] == 3


def test_labels_of_one_class_are_refused(world: World, tmp_path: Path) -> None:
    table = pd.read_parquet(world.teacher(0.0)).assign(pseudolabel=np.int8(1))
    files.write_parquet(tmp_path / "one.parquet", table)
    with pytest.raises(MedlabelError, match="expected images of at least two classes"):
        world.train(Labels.TEACHER, tmp_path / "one.parquet")


def test_too_few_labelled_images_are_refused(world: World) -> None:
    settings = PSEUDOLABEL.model_copy(update={"select": "top_k", "k": 1})
    with pytest.raises(MedlabelError, match="2 labelled images in seed 0, at least 4 expected"):
        world.train(Labels.TEACHER, world.teacher(0.1), pseudolabel=settings)


def test_images_without_a_pseudolabel_are_counted(world: World, tmp_path: Path) -> None:
    table = pd.read_parquet(world.teacher(0.0))
    files.write_parquet(tmp_path / "part.parquet", table[table["row"] > 0])
    with pytest.raises(MedlabelError, match=r"part\.parquet: [12] of 48 training images of seed"):
        world.train(Labels.TEACHER, tmp_path / "part.parquet")


def test_a_draw_of_other_seeds_is_refused(world: World) -> None:
    with pytest.raises(MedlabelError, match=r"0000-0001\.parquet: no images of seed 2"):
        world.train(Labels.TRUE, None, block="0002-0002")


def test_pseudolabels_are_needed_to_learn_from_them(world: World) -> None:
    with pytest.raises(MedlabelError, match="permuted labels: a table of pseudo-labels is needed"):
        world.train(Labels.PERMUTED, None)


def test_a_failure_leaves_no_output(world: World, tmp_path: Path) -> None:
    settings = STUDENT.model_copy(
        update={"optimizer": STUDENT.optimizer.model_copy(update={"lr": float("inf")})}
    )
    paths = {name: tmp_path / "out" / name for name in ("predictions", "curves", "weights")}
    with pytest.raises(MedlabelError, match="student of seed 0, epoch 1: the loss is no longer"):
        world.train(Labels.TRUE, None, settings=settings, **paths)
    assert not (tmp_path / "out").exists()
