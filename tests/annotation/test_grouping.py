"""Clusters for a person: the same for the same images, the doubtful first, named by most."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medlabel.annotation import grouping, tables
from medlabel.randomness import stream

CLASSES = ["chest", "hand"]


def blobs(each: int, kinds: int = 3) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return unit vectors around as many centres as kinds, digests in any order, and kinds."""
    rng = stream(0, "blobs")
    kind = np.repeat(np.arange(kinds), each)
    vectors = np.eye(16)[kind] + 0.02 * rng.standard_normal((len(kind), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    digests = [f"{number:064x}" for number in rng.permutation(len(kind))]
    return vectors.astype(np.float32), digests, kind


def by_words(kind: np.ndarray, sure: list[float]) -> np.ndarray:
    first = np.array(sure)[kind]
    return np.stack([first, 1 - first], axis=1).astype(np.float32)


def test_clusters_hold_what_is_alike() -> None:
    images, digests, kind = blobs(40)
    found = grouping.find(images, digests, by_words(kind, [0.99, 0.6, 0.01]))
    assert sorted(set(found.numbers.tolist())) == list(range(1, found.numbers.max() + 1))
    for number in range(1, found.numbers.max() + 1):
        assert len(set(kind[found.numbers == number].tolist())) == 1
    assert (found.distances >= 0).all()
    assert (found.margins >= 0).all()
    assert set(found.halves.tolist()) == {0, 1}
    assert found.said.tolist() == [0 if one < 2 else 1 for one in kind]


def test_those_that_words_doubt_come_first() -> None:
    images, digests, kind = blobs(40)
    found = grouping.find(images, digests, by_words(kind, [1.0, 0.5, 0.0]))
    unsure = found.numbers[kind == 1]
    assert unsure.max() < found.numbers[kind != 1].min()


def test_the_order_of_images_changes_nothing() -> None:
    images, digests, kind = blobs(30)
    said = by_words(kind, [0.99, 0.6, 0.01])
    found = grouping.find(images, digests, said)
    order = stream(0, "shuffled").permutation(len(images))
    again = grouping.find(images[order], [digests[one] for one in order], said[order])
    for name in ("numbers", "distances", "margins", "halves", "said"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name)[order])


@pytest.mark.parametrize(
    ("images", "classes", "most"), [(3, 2, 1), (20, 2, 4), (300, 2, 7), (300, 40, 40), (300, 0, 12)]
)
def test_there_are_few_enough_to_look_at(images: int, classes: int, most: int) -> None:
    vectors = stream(0, "few", images).standard_normal((images, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chances = np.full((images, classes), 1 / max(classes, 1), np.float32)
    found = grouping.find(vectors, [f"{one:064x}" for one in range(images)], chances)
    assert found.numbers.max() == most


def test_images_that_are_all_the_same_are_one_cluster() -> None:
    vectors = np.tile(np.eye(8, dtype=np.float32)[0], (50, 1))
    found = grouping.find(vectors, [f"{one:064x}" for one in range(50)], np.empty((50, 0), "f4"))
    assert set(found.numbers.tolist()) == {1}
    assert set(found.halves.tolist()) == {0}
    assert found.said.tolist() == [-1] * 50


def test_a_short_name_says_which_images_are_in_a_cluster() -> None:
    name = grouping.identity(["b", "a", "b"])
    assert name == grouping.identity(["a", "b"]) != grouping.identity(["a"])
    assert len(name) == grouping.LETTERS_OF_ID
    assert name.isalpha()


def table() -> pd.DataFrame:
    """Two clusters: three images of chests, one of them doubtful and a copy; two that fit none."""
    found = pd.DataFrame(
        {
            "file": ["a", "b", "c", "d", "e", "copy"],
            "page": pd.array([pd.NA, 2, pd.NA, pd.NA, pd.NA, pd.NA], dtype="Int32"),
            "label": ["chest", "chest", "hand", "", "", "chest"],
            "p_chest": np.float32([0.99, 0.8, 0.3, 0.5, 0.6, 0.99]),
            "p_hand": np.float32([0.01, 0.2, 0.7, 0.5, 0.4, 0.01]),
            "review_rank": pd.array([5, 4, 3, 2, 1, pd.NA], dtype="Int32"),
            "cluster": pd.array([2, 2, 2, 1, 1, 2], dtype="Int32"),
            "status": [tables.LABELLED] * 3 + [tables.STRAY] * 2 + [tables.DUPLICATE],
            "digest": ["1", "2", "3", "4", "5", "1"],
            "distance": [0.3, 0.1, 0.2, 0.2, 0.1, 0.3],
            "said": ["chest", "hand", "chest", "chest", "chest", "chest"],
        }
    )
    return found.assign(
        teacher=found["label"].replace("", "chest"), doubt=[0.01, 0.2, 0.3, 0.5, 0.4, 0.01]
    )


def test_a_cluster_has_the_label_of_most_of_its_images() -> None:
    first, second = grouping.summary(table(), CLASSES).to_dict("records")
    assert first["cluster"] == 1
    assert first["label"] == tables.STRAY
    assert (first["images"], first["stray"], first["typical"]) == (2, "yes", "e")
    assert pd.isna(first["words"])
    assert second["id"] == grouping.identity(["1", "2", "3"])
    assert (second["images"], second["label"], second["stray"]) == (3, "chest", "")
    assert second["words"] == pytest.approx(2 / 3)
    assert second["probability"] == pytest.approx((0.99 + 0.8 + 0.3) / 3)
    assert (second["doubtful"], second["typical"], second["checked"]) == (2, "b page 2", 0)
    assert second["correction"] == ""


def test_what_a_person_checked_is_not_doubtful() -> None:
    checked = table()
    checked.loc[[1, 2], ["label", "status"]] = ["chest", tables.IN_CLUSTER]
    _, second = grouping.summary(checked, CLASSES).to_dict("records")
    assert (second["doubtful"], second["checked"]) == (0, 2)
