"""Stand-ins have the layout of the official files, and what their labels say is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medlabel import files
from medlabel.data import archive, catalogue, phantoms, stand_ins
from medlabel.data.stand_ins import chests, facts, repeated
from medlabel.report import page

COUNTS = {"train": 3, "val": 2, "test": 2}


def test_every_flat_set_has_one() -> None:
    flat = {name for name in catalogue.DATASETS if not catalogue.is_volumetric(name)}
    assert set(stand_ins.STAND_INS) == flat


@pytest.mark.parametrize("name", stand_ins.STAND_INS)
def test_it_is_read_as_the_official_file(name: str, tmp_path: Path) -> None:
    stand_ins.write(name, tmp_path / "drawn.npz", COUNTS, 28, seed=1)
    read = archive.read(tmp_path / "drawn.npz", name, 28)  # refuses other channels and labels
    assert {split: len(labels) for split, labels in read.labels.items()} == COUNTS


@pytest.mark.parametrize("name", ["bloodmnist", "tissuemnist", "organamnist", "chestmnist"])
def test_equal_seeds_draw_equal_images(name: str) -> None:
    first, again, other = (stand_ins.draw(name, 3, 28, seed, "train") for seed in (4, 4, 5))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_they_are_other_images_than_encoders_learn_from() -> None:
    images, _ = stand_ins.draw("bloodmnist", 3, 28, 4, "train")
    learnt = phantoms.draw("phantom_blood", 3, 28, 4, "train", artefacts=True).images
    assert (images != learnt).any(axis=(1, 2, 3)).all()


def test_no_split_is_larger_than_the_official_one(tmp_path: Path) -> None:
    stand_ins.write("breastmnist", tmp_path / "drawn.npz", {"val": 100}, 28, seed=1)
    with np.load(tmp_path / "drawn.npz") as drawn:
        assert len(drawn["val_images"]) == catalogue.INFO["breastmnist"]["n_samples"]["val"] == 78


def test_findings_have_the_order_of_the_official_labels() -> None:
    assert list(chests.SIGNS) == list(catalogue.class_names("chestmnist"))
    images, labels = stand_ins.draw("chestmnist", 200, 14, 7, "train")
    assert labels.shape == (200, len(chests.SIGNS))
    assert labels.mean() == pytest.approx(chests.CHANCE, abs=0.03)
    enlarged = list(chests.SIGNS).index("cardiomegaly")
    middle = images[:, 7:11, 6:9].mean(axis=(1, 2))
    assert middle[labels[:, enlarged] == 1].mean() > middle[labels[:, enlarged] == 0].mean()


@pytest.mark.parametrize("name", ["chestmnist", "bloodmnist"])
def test_few_drawings_come_again_as_other_images_with_their_labels(
    name: str, tmp_path: Path
) -> None:
    counts = {"train": 11, "val": 4, "test": 3}
    for target, seed in (("first", 1), ("again", 1), ("other", 2)):
        repeated.write(name, tmp_path / f"{target}.npz", counts, 4, 28, seed)
    first, again, other = (tmp_path / f"{one}.npz" for one in ("first", "again", "other"))
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    read = archive.read(first, name, 28)
    assert {split: len(labels) for split, labels in read.labels.items()} == counts
    images, labels = read.images["train"], read.labels["train"]
    drawn, said = stand_ins.draw(name, 4, 28, 1, "train")
    np.testing.assert_array_equal(labels, said[np.arange(11) % 4])
    assert len(np.unique(images.reshape(11, -1), axis=0)) == 11
    alike = [alike_when_moved(one, drawn[row % 4]) for row, one in enumerate(images)]
    assert min(alike) > 0.9


def alike_when_moved(image: np.ndarray, drawing: np.ndarray) -> float:
    """The highest correlation of an image with a drawing moved by two pixels at most."""
    padded = np.pad(drawing, [(2, 2), (2, 2), *[(0, 0)] * (drawing.ndim - 2)], mode="edge")
    moved = (padded[y : y + 28, x : x + 28] for y in range(5) for x in range(5))
    return max(np.corrcoef(image.ravel(), one.ravel())[0, 1] for one in moved)


def test_a_report_finds_what_it_tells_of_official_files(tmp_path: Path) -> None:
    repeated.write("chestmnist", tmp_path / "drawn.npz", COUNTS, 1, 28, 1)
    facts.write("chestmnist", 28, tmp_path / "drawn.npz")
    found = files.read_json(tmp_path / "drawn.json", "stand_in")
    assert set(found) == set(page.FACTS)
    assert found["flag"] == "STAND-IN for chestmnist"
    assert found["sha256"] == files.digest(tmp_path / "drawn.npz")
