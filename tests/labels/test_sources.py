"""Two sources in images of one kind, which clusters follow."""

from __future__ import annotations

import numpy as np
import pytest

from medlabel.labels import sources
from medlabel.labels.sources import Property
from tests.labels.world import folder, units

KEPT = np.ones(200, np.bool_)
SURE, UNSURE = np.float32([[0.99, 0.01], [0.01, 0.99]]), np.float32([[0.7, 0.3], [0.3, 0.7]])


def world(share: float = 0.5, follow: float = 2.0) -> tuple[np.ndarray, ...]:
    """Give images of two classes, labels, and which images another source made.

    Embeddings move by so much where the source is the other one.
    """
    images, _, truth = folder([100, 100], error=0.2)
    random = np.random.default_rng(1)
    other = random.random(len(images)) < share
    moved = images + follow * np.outer(other, units(random.standard_normal((1, images.shape[1]))))
    return units(moved), truth, other


def measured(other: np.ndarray, apart: float) -> list[Property]:
    """Give a sharpness that differs between sources by so many standard deviations."""
    random = np.random.default_rng(2)
    noise = random.standard_normal((2, len(other)))
    return [Property("brightness", noise[0]), Property("sharpness", noise[1] + apart * other)]


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_source_that_images_lie_by_is_found(share: float) -> None:
    images, labels, other = world(share)
    found = sources.find(measured(other, 6), images, labels, SURE[labels], KEPT)
    assert found is not None
    assert found.what == "sharpness"
    assert found.share == pytest.approx(share, abs=0.08)
    assert "differ in sharpness" in found.told()


def test_neither_a_difference_alone_nor_likeness_alone_is_a_source() -> None:
    images, labels, other = world()
    assert sources.find(measured(other, 0), images, labels, SURE[labels], KEPT) is None
    images, labels, other = world(follow=0)
    assert sources.find(measured(other, 6), images, labels, SURE[labels], KEPT) is None


def test_classes_may_differ_where_words_do() -> None:
    images, labels, _ = world(follow=0)
    assert sources.find(measured(labels == 1, 6), images, labels, SURE[labels], KEPT) is None


def test_labels_that_are_the_source_are_seen_where_words_are_unsure() -> None:
    images, _, other = world()
    labels = other.astype(np.intp)
    assert sources.find(measured(other, 6), images, labels, SURE[labels], KEPT) is None
    found = sources.find(measured(other, 6), images, labels, UNSURE[labels], KEPT)
    assert found is not None
    assert found.share == pytest.approx(0.5, abs=0.08)


def test_folders_may_be_classes() -> None:
    images, labels, other = world()
    by_class = sources.folders([f"folder {one}" for one in labels])
    assert [one.chosen for one in by_class] == [True, True]
    assert sources.find(by_class, images, labels, UNSURE[labels], KEPT) is None
    by_source = sources.folders([f"folder {one}" for one in other])
    found = sources.find(by_source, images, labels, UNSURE[labels], KEPT)
    assert found is not None
    assert found.what == "folder"


def test_what_foretells_a_property_makes_its_sources_plain() -> None:
    """Of wide spread within a source, most of which another property explains."""
    images, labels, other = world()
    random = np.random.default_rng(4)
    given = random.standard_normal((len(images), 1))
    values = 3 * given[:, 0] + 0.5 * random.standard_normal(len(images)) + 3 * other
    hidden, plain = Property("contrast", values), Property("contrast", values, given=given)
    assert sources.find([hidden], images, labels, SURE[labels], KEPT) is None
    found = sources.find([plain], images, labels, SURE[labels], KEPT)
    assert found is not None
    assert found.share == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("further", [0, 15])
def test_what_foretells_is_learnt_within_sources(further: int) -> None:
    """Of all images together it would foretell the source too, where both happen to go together."""
    images, labels, other = world()
    random = np.random.default_rng(3)
    given = random.standard_normal((len(images), 1)) + other[:, None]
    values = given[:, 0] + 0.4 * random.standard_normal(len(images)) + 2.4 * other
    known = np.column_stack([np.ones(len(images)), given])
    rest = values - known @ np.linalg.lstsq(known, values, rcond=None)[0]
    assert sources.find([Property("", rest)], images, labels, SURE[labels], KEPT) is None
    noise = 0.01 * random.standard_normal((len(images), further))
    plain = Property("contrast", values, given=np.hstack([given, noise]))
    above, apart = plain.divided(np.arange(len(images)))
    assert (above == other).mean() > 0.97
    assert apart > sources.APART
    found = sources.find([plain], images, labels, SURE[labels], KEPT)
    assert found is not None
    assert found.what == "contrast"


def test_steady_properties_of_many_images_need_to_be_less_far_apart() -> None:
    images, _, other = world()
    labels = other.astype(np.intp)
    values = np.random.default_rng(2).normal(size=len(other)) + 3.9 * other
    apart = Property("", values).divided(np.arange(len(other)))[1]
    assert sources.APART_STEADY < apart < sources.APART
    for what, seen in (("grey range", True), ("noise", False)):
        found = sources.find([Property(what, values)], images, labels, UNSURE[labels], KEPT)
        assert (found is not None) == seen
    few = np.arange(200) % 3 == 0
    assert (
        sources.find([Property("grey range", values)], images, labels, UNSURE[labels], few) is None
    )


def test_columns_become_properties() -> None:
    rows = [[1, 2, 3], [4, 5, 6]]
    one, other = sources.measured(rows, ["a", "b", "c"], ["a"], {"b": ["c", "a"]})
    assert (one.what, other.what) == ("a", "b")
    assert one.given is None
    assert other.given is not None
    assert other.values.tolist() == [2, 5]
    assert other.given.tolist() == [[3, 1], [6, 4]]
    assert sources.measured([], ["a"], ["a"], {})[0].values.size == 0


def test_few_images_and_strays_say_nothing() -> None:
    images, labels, other = world()
    assert sources.find(measured(other, 6), images, labels, SURE[labels], ~KEPT) is None
    few = np.arange(200) < 20
    assert sources.find(measured(other, 6), images, labels, SURE[labels], few) is None
    assert not sources.folders(["one"] * 9)
    assert sources.find([], images, labels, SURE[labels], KEPT) is None
