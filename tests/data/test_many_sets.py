"""One numbering for the labels of many sets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medlabel.data import archive, catalogue, stand_ins
from medlabel.data.many_sets import Numbering, numbered
from medlabel.errors import MedlabelError
from medlabel.params import Params

SETS = ("breastmnist", "chestmnist", "octmnist")
COUNTS = {"train": 5, "val": 2, "test": 3}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, archive.Archive]:
    """Stand-ins of `SETS`, read as official files."""
    folder = tmp_path_factory.mktemp("sets")
    for name in SETS:
        stand_ins.write(name, folder / f"{name}.npz", COUNTS, 28, seed=3)
    return {name: archive.read(folder / f"{name}.npz", name, 28) for name in SETS}


def images(*rows: tuple[str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["dataset", "split", "row"])


def test_eleven_sets_have_the_published_number_of_classes(default_params: Params) -> None:
    numbering = Numbering(tuple(default_params.many_sets["phantom_eleven"].sets))
    assert len(numbering.sets) == 11
    assert len(set(numbering.classes)) == len(numbering.classes) == 78
    assert not numbering.labels


def test_a_multi_label_set_is_one_class_and_has_its_labels_apart() -> None:
    numbering = Numbering(SETS)
    assert len(numbering.classes) == 2 + 1 + 4
    assert numbering.classes[2] == ("chestmnist", "chestmnist")
    assert [label for _, label in numbering.labels] == list(catalogue.class_names("chestmnist"))
    assert numbering.own_classes("octmnist") == slice(3, 7)
    assert numbering.own_labels("octmnist") == slice(0, 0)
    np.testing.assert_array_equal(numbering.set_of_class, [0, 0, 1, 2, 2, 2, 2])


def test_labels_are_those_of_the_files_moved(archives: dict[str, archive.Archive]) -> None:
    numbering = Numbering(SETS)
    table = images(
        ("octmnist", "test", 2), ("chestmnist", "train", 4), ("breastmnist", "val", 1),
        ("octmnist", "train", 0),
    )  # fmt: skip
    classes, labels = numbered(numbering, archives, table)
    held = {name: archives[name].labels for name in SETS}
    assert classes.tolist() == [
        3 + held["octmnist"]["test"][2, 0],
        2,
        held["breastmnist"]["val"][1, 0],
        3 + held["octmnist"]["train"][0, 0],
    ]
    np.testing.assert_array_equal(labels[1], held["chestmnist"]["train"][4])
    assert np.isnan(labels[[0, 2, 3]]).all()


def test_an_image_that_is_not_in_its_file_is_refused(archives: dict[str, archive.Archive]) -> None:
    with pytest.raises(MedlabelError, match="expected 4 rows in test_labels, found 3"):
        numbered(Numbering(SETS), archives, images(("octmnist", "test", 3)))
