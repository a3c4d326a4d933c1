"""Views of a phantom: what they keep, and that random numbers alone tell them apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medlabel.randomness import stream
from medlabel.teacher import views


def images(count: int, height: int, width: int, colour: bool = False) -> np.ndarray:
    shape = (count, height, width, 3) if colour else (count, height, width)
    return stream(0, "views", *shape).integers(0, 256, shape, dtype=np.uint8)


def test_the_first_view_is_the_image_itself() -> None:
    given_ = images(3, 14, 14)
    np.testing.assert_array_equal(views.view(given_, 0, stream(0)), given_)


@given(st.integers(1, 4), st.integers(1, 33), st.integers(1, 33), st.booleans())
def test_a_view_has_the_shape_and_the_type_of_its_image(
    count: int, height: int, width: int, colour: bool
) -> None:
    given_ = images(count, height, width, colour)
    before = given_.copy()
    seen = views.view(given_, 1, stream(0, "shapes"))
    assert seen.shape == given_.shape
    assert seen.dtype == np.uint8
    assert seen.flags.c_contiguous
    np.testing.assert_array_equal(given_, before)


def test_the_same_random_numbers_give_the_same_view_and_others_another() -> None:
    given_ = images(3, 28, 28, colour=True)
    one, again, other = (views.view(given_, 1, stream(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.5


def test_each_image_of_a_batch_has_random_numbers_of_its_own() -> None:
    alike = np.repeat(images(1, 28, 28), 4, axis=0)
    seen = views.view(alike, 1, stream(0))
    assert len({one.tobytes() for one in seen}) == 4


def test_grey_images_are_seen_as_coloured_ones_are() -> None:
    grey = images(2, 14, 14)
    seen = views.view(np.repeat(grey[..., None], 3, axis=-1), 1, stream(0))
    np.testing.assert_array_equal(seen[..., 0], views.view(grey, 1, stream(0)))
    assert (seen == seen[..., :1]).all()


@pytest.mark.parametrize("level", [0, 255])
def test_a_flat_image_stays_flat(level: int) -> None:
    """Nothing comes in from outside: what a turn uncovers is the image reflected."""
    seen = views.view(np.full((5, 20, 20), level, np.uint8), 1, stream(0)).astype(int)
    assert np.ptp(seen, axis=(1, 2)).max() == 0
