"""What trainings learn from: splits, draws, paired arms, official files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from medlabel import files
from medlabel.data import mixtures
from medlabel.errors import MedlabelError
from medlabel.training import examples
from tests.training.world import DRAWN, Mixed, mixture, settings, thirds, write_archive

CPU = torch.device("cpu")


def test_split_of_the_study_is_873_and_219() -> None:
    labels = np.repeat([0, 1], 546)
    fitted, held_back = examples.split(labels, 0.2, np.random.default_rng(0))
    assert (len(fitted), len(held_back)) == (873, 219)
    assert sorted(np.bincount(labels[held_back])) == [109, 110]


@hypothesis_settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_split_divides_every_class_in_proportion(
    labels: list[int], fraction: float, seed: int
) -> None:
    classes = np.array(labels)
    fitted, held_back = examples.split(classes, fraction, np.random.default_rng(seed))
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
    one, two = (examples.split(each, 0.2, np.random.default_rng(3))[1] for each in (labels, other))
    assert len(np.intersect1d(one, two)) >= 30


def test_split_rounds_up_what_only_binary_fractions_exceed() -> None:
    fitted, held_back = examples.split(np.zeros(15, int), 0.2, np.random.default_rng(0))
    assert (len(fitted), len(held_back)) == (12, 3)


def test_one_image_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match="1 images cannot be divided"):
        examples.split(np.zeros(1, int), 0.2, np.random.default_rng(0))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return Mixed(tmp_path_factory.mktemp("mixed")).prepare()


def opened(
    mixed: Mixed, labels: Path | None, permuted: bool = False, **changes: object
) -> examples.Source:
    chosen = mixed.settings(labels is not None, **changes)
    return examples.open_source(chosen, mixed.archives, mixed.pool, labels, permuted, CPU)


def same(one: examples.Examples, other: examples.Examples) -> bool:
    pairs = [(one.train, other.train), (one.val, other.val)]
    return all(
        a.pixels.shape == b.pixels.shape
        and torch.equal(a.pixels, b.pixels)
        and torch.equal(a.targets, b.targets)
        for a, b in pairs
    )


def test_a_seed_draws_and_divides_its_images(mixed: Mixed) -> None:
    source = opened(mixed, None)
    found = source.of(1)
    held_back = 10  # ceil(0.2 * 48)
    assert len(found.val.targets) == held_back
    assert len(found.train.targets) == 2 * DRAWN["train"] - held_back
    assert found.train.pixels.shape[1:] == (28, 28, 1)
    assert found.train.pixels.dtype == torch.uint8
    bright = found.train.pixels.float().mean(dim=(1, 2, 3)) > 90
    assert torch.equal(bright.long(), found.train.targets)
    (judged,) = found.judged
    drawn = mixtures.draw(mixture(), mixtures.read_pool(mixed.pool), 1, 11)
    test = drawn[drawn["role"] == "test"].reset_index(drop=True)
    pd.testing.assert_frame_equal(judged.table, test[mixtures.IMAGE])
    assert judged.labels[:, 0].tolist() == test["label"].tolist()
    assert (len(source.classes), source.task) == (2, "binary-class")


def test_seeds_and_roots_draw_differently(mixed: Mixed) -> None:
    source = opened(mixed, None)
    assert same(source.of(0), source.of(0))
    assert not same(source.of(0), source.of(1))
    assert not same(source.of(0), opened(mixed, None, seed=12).of(0))


def test_a_perfect_teacher_gives_what_the_truth_does(mixed: Mixed) -> None:
    taught = opened(mixed, mixed.teacher(0.0))
    assert same(taught.of(0), opened(mixed, None).of(0))


def test_permuted_labels_keep_their_frequencies_and_the_images(mixed: Mixed) -> None:
    labels = mixed.teacher(0.1)
    ours, permuted = opened(mixed, labels).of(0), opened(mixed, labels, permuted=True).of(0)
    targets = [torch.cat([one.train.targets, one.val.targets]) for one in (ours, permuted)]
    assert targets[0].bincount().tolist() == targets[1].bincount().tolist()
    sums = [
        torch.cat([one.train.pixels, one.val.pixels]).long().sum(dim=(1, 2, 3)).sort().values
        for one in (ours, permuted)
    ]
    assert torch.equal(*sums)
    bright = permuted.train.pixels.float().mean(dim=(1, 2, 3)) > 90
    assert (bright.long() == permuted.train.targets).float().mean() < 0.9


def test_images_weigh_what_their_labelling_is_sure_of(mixed: Mixed) -> None:
    labels = mixed.teacher(0.1)
    found = opened(mixed, labels, confidence_weights=True).of(0)
    assert found.train.importance is not None
    assert found.val.importance is not None
    both = torch.cat([found.train.importance, found.val.importance])
    assert both.mean() == pytest.approx(1)
    assert both.unique().numel() > 1
    surest = opened(mixed, labels, confidence_weights=True, top_k=6).of(0)
    assert surest.train.importance is not None
    assert len(surest.train.importance) == len(surest.train.targets)
    assert (
        opened(mixed, labels, permuted=True, confidence_weights=True).of(0).train.importance is None
    )


@pytest.mark.parametrize("targets", ["hard", "soft"])
def test_top_k_and_soft_targets(mixed: Mixed, targets: str) -> None:
    found = opened(mixed, mixed.teacher(0.1), top_k=6, targets=targets).of(0)
    both = torch.cat([found.train.targets, found.val.targets])
    assert (len(found.train.targets), len(found.val.targets)) == (9, 3)
    assert both.ndim == (2 if targets == "soft" else 1)
    classes = both if both.ndim == 1 else both.argmax(dim=1)
    assert classes.bincount().tolist() == [6, 6]
    assert both.dtype == (torch.float32 if targets == "soft" else torch.int64)


def test_colour_networks_get_grey_three_times(mixed: Mixed) -> None:
    pixels = opened(mixed, None, channels=3).of(0).train.pixels
    assert pixels.shape[-1] == 3
    assert torch.equal(pixels[..., 0], pixels[..., 2])


def test_labels_of_one_class_can_be_divided(mixed: Mixed) -> None:
    found = opened(mixed, mixed.teacher(0.0, classes=1)).of(0)
    assert found.train.targets.unique().tolist() == [0]
    assert found.val.targets.unique().tolist() == [0]


def test_too_few_labelled_images_are_refused(mixed: Mixed) -> None:
    with pytest.raises(MedlabelError, match="2 labelled images in seed 0, at least 4 expected"):
        opened(mixed, mixed.teacher(0.1), top_k=1).of(0)


def test_images_without_a_label_are_counted(mixed: Mixed, tmp_path: Path) -> None:
    table = pd.read_parquet(mixed.teacher(0.0))
    files.write_parquet(tmp_path / "part.parquet", table[table["row"] > 0])
    with pytest.raises(MedlabelError, match=r"part\.parquet: [12] of 48 training images of seed"):
        source = opened(mixed, tmp_path / "part.parquet")
        for seed in range(5):
            source.of(seed)


def test_a_mixture_needs_its_pool_and_a_validation_fraction(mixed: Mixed) -> None:
    chosen = mixed.settings(False)
    with pytest.raises(MedlabelError, match="medlabel pool"):
        examples.open_source(chosen, mixed.archives, None, None, False, CPU)
    with pytest.raises(MedlabelError, match="validation_fraction"):
        opened(mixed, None, validation_fraction=None).of(0)


def official(
    tmp_path: Path,
    labels: dict[str, np.ndarray],
    dataset: str = "phantom_vessel3d",
    **changes: object,
) -> examples.Source:
    edges = (8,) * (3 if dataset.endswith("3d") else 2)
    path = write_archive(tmp_path / f"{dataset}.npz", edges, labels)
    chosen = settings(8, dataset, **changes)
    return examples.open_source(chosen, {dataset: path}, None, None, False, CPU)


def test_official_splits_are_the_same_for_every_seed(tmp_path: Path) -> None:
    source = official(tmp_path, thirds())
    found = source.of(0)
    assert found is source.of(5)
    assert len(found.train.targets) == 33
    assert [judged.role for judged in found.judged] == ["val", "test"]
    assert found.judged[1].table["row"].tolist() == list(range(12))
    assert found.train.pixels.shape[1:] == (8, 8, 8)
    assert len(source.classes) == 2


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_an_absent_class_is_named(tmp_path: Path, name: str) -> None:
    labels = thirds()
    labels[name] = np.zeros_like(labels[name])
    with pytest.raises(MedlabelError, match=rf"{name}_labels: .*tells class 1 from the others"):
        official(tmp_path, labels)


def fourteen(**counts: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {name: random.integers(0, 2, (count, 14)) for name, count in counts.items()}


def test_several_labels_an_image_are_float_targets(tmp_path: Path) -> None:
    source = official(tmp_path, fourteen(train=30, val=20, test=20), "chestmnist")
    assert (len(source.classes), source.task) == (14, "multi-label, binary-class")
    targets = source.of(0).train.targets
    assert targets.shape == (30, 14)
    assert targets.dtype == torch.float32


def test_several_labels_cannot_be_oversampled(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="sampling: oversampled given, but images of chestmn"):
        official(
            tmp_path, fourteen(train=30, val=20, test=20), "chestmnist", sampling="oversampled"
        )


def test_a_label_that_no_image_carries_is_named(tmp_path: Path) -> None:
    labels = fourteen(train=30, val=20, test=20)
    labels["val"][:, 5] = 0
    with pytest.raises(MedlabelError, match=r"val_labels: .*tells class 5 from the others"):
        official(tmp_path, labels, "chestmnist")
