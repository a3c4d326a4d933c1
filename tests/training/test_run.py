"""Whole jobs: what is written, what pairs arms, what goes on, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from medlabel.errors import MedlabelError
from medlabel.networks import names, registry
from medlabel.params import Distillation, Start
from medlabel.training import run
from medlabel.training.loop import Images, Progress, Training
from medlabel.training.record import RunRecord
from tests.training.world import CLASSES, Mixed, Official, build, settings, thirds, write_archive

IMAGE = ["dataset", "split", "row"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return Mixed(tmp_path_factory.mktemp("mixed")).prepare()


@pytest.fixture(scope="module")
def taught(mixed: Mixed) -> Path:
    """Students of a teacher that is right in 90 % of its labels."""
    return mixed.run(mixed.teacher(0.1))


@pytest.fixture
def official(tmp_path: Path) -> Official:
    """Volumes of which those of class 1 are brighter."""
    path = write_archive(tmp_path / "phantom_vessel3d.npz", (14, 14, 14), thirds())
    chosen = settings(14, "phantom_vessel3d", network="vit3d", epochs=3, learning_rate=1e-4)
    return Official(tmp_path, path, chosen)


def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "predictions.parquet")


def record(folder: Path) -> RunRecord:
    return RunRecord.model_validate_json((folder / "run.json").read_text())


def accuracy(table: pd.DataFrame) -> float:
    return float(((table["p_1"] > 0.5) == table["label_0"]).mean())


def test_a_block_answers_for_the_held_out_images_of_each_seed(mixed: Mixed, taught: Path) -> None:
    table = predictions(taught)
    assert list(table.columns) == ["seed", "role", *IMAGE, "label_0", "p_0", "p_1"]
    kinds = table.dtypes[["seed", "row", "label_0", "p_0"]].astype(str).tolist()
    assert kinds == ["int32", "int32", "int16", "float32"]
    assert table.groupby("seed").size().tolist() == [16, 16]
    assert set(table["role"]) == {"test"}
    np.testing.assert_allclose(table["p_0"] + table["p_1"], 1, atol=1e-6)
    assert (table["label_0"] == (table["dataset"] == CLASSES["bright"])).all()


def test_students_correct_their_teacher(taught: Path) -> None:
    assert accuracy(predictions(taught)) > 0.95


def test_curves_mark_the_epoch_that_was_kept(taught: Path) -> None:
    curves = pd.read_parquet(taught / "curves.parquet")
    assert list(curves.columns) == [
        "seed",
        "epoch",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_auc",
        "val_accuracy",
        "kept",
    ]
    for _, curve in curves.groupby("seed"):
        assert curve["epoch"].tolist() == list(range(1, len(curve) + 1))
        assert curve["epoch"][curve["kept"]].tolist() == [
            curve["epoch"][curve["val_loss"].idxmin()]
        ]


def test_the_record_is_read_by_what_wrote_it(mixed: Mixed, taught: Path) -> None:
    found = record(taught)
    assert json.loads((taught / "run.json").read_text()) == found.model_dump(mode="json")
    assert (found.labels, found.block, found.start, found.teacher) == (
        "a+b+c",
        "0000-0001",
        "random",
        None,
    )
    assert (found.train_images, found.test_images) == (48, 16)
    assert found.classes == list(CLASSES)
    assert found.phantom
    assert [seed.seed for seed in found.seeds] == [0, 1]
    assert found.settings == mixed.settings(True).trigger()


def test_kept_weights_give_the_predictions(mixed: Mixed, taught: Path) -> None:
    weights = load_file(taught / "weights.safetensors")
    assert {name.split("/")[0] for name in weights} == {"0"}
    network = build(mixed.settings(True)).eval()
    network.load_state_dict({name.split("/")[1]: value for name, value in weights.items()})
    table = predictions(taught).query("seed == 0")
    archives = {name: np.load(path) for name, path in mixed.archives.items()}
    pixels = np.stack(
        [
            archives[dataset][f"{split}_images"][row]
            for dataset, split, row in table[IMAGE].itertuples(index=False)
        ]
    )
    with torch.no_grad():
        found = network(torch.from_numpy(pixels)[:, None].float() / 127.5 - 1).softmax(dim=1)
    np.testing.assert_allclose(found[:, 1], table["p_1"], atol=1e-6)


@pytest.mark.parametrize(("keep", "kept"), [(0, set()), (None, {"0", "1"}), (9, {"0", "1"})])
def test_weights_of_the_first_seeds_are_kept(
    mixed: Mixed, keep: int | None, kept: set[str]
) -> None:
    folder = mixed.run(None, keep_weights=keep, epochs=1)
    assert {name.split("/")[0] for name in load_file(folder / "weights.safetensors")} == kept


def test_equal_inputs_give_equal_bytes(mixed: Mixed, taught: Path) -> None:
    again = mixed.run(mixed.teacher(0.1))
    for path in taught.iterdir():
        if path.name != "run.json":  # tells how long it took
            assert path.read_bytes() == (again / path.name).read_bytes()


def test_a_seed_does_not_depend_on_its_block(mixed: Mixed, taught: Path) -> None:
    alone = mixed.run(mixed.teacher(0.1), block="0001-0001")
    expected = predictions(taught).query("seed == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(predictions(alone), expected)


def test_arms_are_paired(mixed: Mixed) -> None:
    # A teacher that is always right must give exactly the student of the true labels.
    perfect, true = mixed.run(mixed.teacher(0.0)), mixed.run(None)
    pd.testing.assert_frame_equal(predictions(perfect), predictions(true))


def test_another_root_seed_gives_other_students(mixed: Mixed, taught: Path) -> None:
    other = mixed.run(mixed.teacher(0.1), seed=12)
    assert not predictions(other)["p_0"].equals(predictions(taught)["p_0"])


def test_permuted_labels_teach_little(mixed: Mixed) -> None:
    assert accuracy(predictions(mixed.run(mixed.teacher(0.1), permuted=True))) < 0.9


def test_self_training_learns_from_the_answers_of_the_round_before(
    mixed: Mixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt, labels = [], mixed.teacher(0.3)
    plain = Training.fit

    def watched(self: Training, train: Images, val: Images, *rest: Any) -> Progress:
        reached = plain(self, train, val, *rest)
        learnt.append((train.targets, self.logits(train.pixels).argmax(1)))
        return reached

    monkeypatch.setattr(Training, "fit", watched)
    twice = mixed.run(labels, self_training=2)
    rounds = [learnt[3 * seed : 3 * seed + 3] for seed in range(len(learnt) // 3)]
    assert rounds
    for first, second, third in rounds:
        assert not torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[0])
        assert torch.equal(second[1], third[0])
    assert accuracy(predictions(twice)) > 0.7


def test_soft_targets_train(mixed: Mixed) -> None:
    assert accuracy(predictions(mixed.run(mixed.teacher(0.1), targets="soft"))) > 0.95


@pytest.mark.parametrize(
    "changes", [{"class_weights": True, "label_smoothing": 0.1}, {"sampling": "oversampled"}, {}]
)
def test_a_teacher_that_says_one_class_alone_is_learned(
    mixed: Mixed, changes: dict[str, Any]
) -> None:
    folder = mixed.run(mixed.teacher(0.0, classes=1), epochs=4, **changes)
    assert (predictions(folder)["p_0"] > 0.5).all()
    assert pd.read_parquet(folder / "curves.parquet")["val_auc"].isna().all()


def test_a_failure_leaves_no_output(mixed: Mixed, tmp_path: Path) -> None:
    with pytest.raises(
        MedlabelError, match=r"tiny, seed 0, epoch 1: the loss is no longer"
    ) as told:
        mixed.run(None, learning_rate=float("inf"), target=tmp_path / "out")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("block", ["0002", "0002-0001", "2-3", "a"])
def test_blocks_are_checked(mixed: Mixed, block: str) -> None:
    with pytest.raises(MedlabelError, match=f"block: '{block}' given; first-last"):
        mixed.run(None, block=block)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_job_ends_as_one_left_alone(
    official: Official, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    augmented = {"augmentations": ["flip", "affine"]}
    alone = official.run("alone", **augmented)
    stored = Training._store

    def killed(training: Training) -> None:
        stored(training)
        if len(training.reached.curve) == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_store", killed)
    with pytest.raises(KeyboardInterrupt):
        official.run("resumed", **augmented)
    monkeypatch.undo()
    assert (official.folder / "state.pt").exists()
    resumed = official.run("resumed", **augmented)
    for name in ("predictions.parquet", "curves.parquet", "weights.safetensors"):
        assert (resumed / name).read_bytes() == (alone / name).read_bytes()
    assert not (official.folder / "state.pt").exists()


def test_other_code_or_settings_start_anew(
    official: Official, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    tell = Training._tell

    def told(training: Training, seconds: float) -> None:
        trained.append(len(training.reached.curve))
        tell(training, seconds)
        if len(trained) == 2:
            training._store()
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_tell", told)
    for changes in ({"code": "new"}, {"learning_rate": 2e-4}, {}):
        trained.clear()
        with pytest.raises(KeyboardInterrupt):
            official.run(code="old")
        trained.append(0)
        official.run(**({"code": "old"} | changes))
        assert trained[3:] == ([1, 2, 3] if changes else [3])


def test_the_best_epochs_weights_are_judged(official: Official) -> None:
    folder = official.run(select="auc", epochs=4)
    curve = pd.read_parquet(folder / "curves.parquet")
    best = curve.loc[curve["val_auc"].idxmax()]
    (told,) = record(folder).seeds
    assert (told.epochs, told.best_epoch) == (4, best["epoch"])
    table = predictions(folder).query("role == 'val'")
    assert len(table) == 12
    assert accuracy(table) == pytest.approx(best["val_accuracy"])


def test_what_another_training_learned_is_the_start(official: Official) -> None:
    first = official.run("first", block="0000-0001", seeds_per_job=2)
    given = [first / "weights.safetensors"]
    begin = Start(source="training", images="phantom_vessel3d", recipe="tiny")
    # At so low a rate the second training stays where it began: at its own seed's end.
    second = official.run(
        "second", block="0001-0001", given=given, start=begin, learning_rate=1e-12, epochs=1
    )
    found, expected = predictions(second), predictions(first).query("seed == 1")
    np.testing.assert_allclose(found["p_1"], expected["p_1"], atol=1e-5)
    assert record(second).start.startswith("phantom_vessel3d/vit3d/tiny: ")


def test_weights_of_a_file_are_the_start(official: Official, tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = build(official.settings).state_dict()
    save_file(state, tmp_path / "given.safetensors")
    begin = Start(source="file", path=str(tmp_path / "given.safetensors"))
    folder = official.run(start=begin, learning_rate=1e-12, epochs=1)
    kept = load_file(folder / "weights.safetensors")
    torch.testing.assert_close(kept["0/pos_embed"], state["pos_embed"])


def test_weights_of_a_package_are_the_start(official: Official) -> None:
    begin = Start(source="package")
    folder = official.run(network=names.SURFACE, start=begin, learning_rate=1e-12, epochs=1)
    kept = load_file(folder / "weights.safetensors")
    given = registry.packaged(names.SURFACE)
    kernels = "tower.conv_stem.weight"
    torch.testing.assert_close(kept[f"0/{kernels}"], given[kernels])
    assert record(folder).start.startswith("package (ImageNet-1k): 294 tensors")


def test_several_labels_an_image_end_to_end(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    counts = {"train": 60, "val": 20, "test": 20}
    labels = {name: random.integers(0, 2, (count, 14)) for name, count in counts.items()}
    path = write_archive(tmp_path / "chestmnist.npz", (28, 28), labels)
    chosen = settings(28, "chestmnist", epochs=6, class_weights=True, label_smoothing=0.05)
    folder = Official(tmp_path, path, chosen, "chestmnist").run()
    table = predictions(folder)
    expected = ["seed", "role", *IMAGE, *(f"label_{i}" for i in range(14))]
    assert list(table.columns) == expected + [f"p_{i}" for i in range(14)]
    assert record(folder).task == "multi-label, binary-class"
    assert table.query("role == 'test'")[[f"label_{i}" for i in range(14)]].to_numpy().tolist() == (
        labels["test"].tolist()
    )
    bright = table["label_0"] == 1
    assert table.loc[bright, "p_0"].mean() > table.loc[~bright, "p_0"].mean() + 0.2


def test_every_augmentation_goes_with_bfloat16(official: Official) -> None:
    names = ["flip", "rotate90", "affine", "elastic", "noise", "intensity"]
    folder = official.run(augmentations=names, precision="bf16", epochs=1)
    assert np.isfinite(pd.read_parquet(folder / "curves.parquet")["train_loss"]).all()
    assert record(folder).precision == "bf16"


def test_a_student_follows_its_teacher_against_the_labels(official: Official) -> None:
    given = official.run("teacher", epochs=4)
    teacher = (official.settings, [given / "weights.safetensors"])
    distillation = Distillation(images="x", network="vit3d", recipe="tiny", part=1.0)
    # Labels turned round: whoever answers rightly can have learned it from the teacher alone.
    arrays = dict(np.load(official.archive))
    arrays["train_labels"] = 1 - arrays["train_labels"]
    np.savez(official.archive, **arrays)
    folder = official.run("student", distillation=distillation, teacher=teacher, epochs=4)
    table = predictions(folder)
    of_class_1 = table["label_0"] == 1
    assert table.loc[of_class_1, "p_1"].min() > table.loc[~of_class_1, "p_1"].max()
    assert record(folder).teacher == "vit3d"


def test_a_teacher_of_other_classes_is_refused(official: Official, tmp_path: Path) -> None:
    torch.manual_seed(0)
    three = {f"0/{name}": value for name, value in build(official.settings, 3).state_dict().items()}
    path = tmp_path / "three.safetensors"
    save_file(three, path)
    distillation = Distillation(images="x", network="vit3d", recipe="tiny", part=0.5)
    with pytest.raises(
        MedlabelError, match=r"teacher vit3d: .*head\.weight 3×256 for 2×256"
    ) as told:
        official.run(distillation=distillation, teacher=(official.settings, [path]))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: tried 9 bytes"),
    ],
)
def test_too_large_a_batch_names_its_key(
    official: Official, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def lacking(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(Training, "_train", lacking)
    with pytest.raises(MedlabelError, match=r"recipes\.tiny\.batch_size"):
        official.run()


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    official: Official, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("some fault")

    monkeypatch.setattr(Training, "_train", broken)
    with pytest.raises(RuntimeError, match="some fault"):
        official.run()


def test_block_names_are_read() -> None:
    assert list(run.parse_block("0003-0005")) == [3, 4, 5]
