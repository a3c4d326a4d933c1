"""Neighbours, nearest centres and principal components, against plain computations."""

from __future__ import annotations

import numpy as np
import pytest

from medlabel.labels import kmeans, neighbours, space
from tests.labels.world import folder


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_neighbours_are_the_most_similar_others(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", block)
    images, _, _ = folder([9, 9, 9])
    rows, cosines = neighbours.nearest(images[:20], images, 4)
    all_cosines = images[:20] @ images.T
    np.fill_diagonal(all_cosines, -1)
    np.testing.assert_array_equal(rows, np.argsort(-all_cosines, axis=1)[:, :4])
    np.testing.assert_allclose(cosines, np.sort(all_cosines, axis=1)[:, :-5:-1], atol=1e-6)


def test_where_there_are_fewer_neighbours_the_rest_weigh_nothing() -> None:
    images, _, _ = folder([2, 0, 0])
    rows, cosines = neighbours.nearest(images, images, 5)
    assert rows.shape == cosines.shape == (2, 2)
    assert (cosines[:, 1] == 0).all()


@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_images_go_to_the_nearest_centre(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "BLOCK", block)
    points = space.fit(folder([30, 30, 30])[0], 5).project(folder([30, 30, 30])[0])
    centres = kmeans.centres(points, 7, "test")
    apart = np.square(points[:, None] - centres[None]).sum(axis=2)
    np.testing.assert_array_equal(kmeans.nearest(points, centres), apart.argmin(axis=1))
    assert len(set(kmeans.nearest(points, centres))) == 7


def test_components_are_those_of_a_singular_value_decomposition() -> None:
    images, _, _ = folder([30, 20, 10])
    points = space.fit(images, 6).project(images)
    _, sizes, _ = np.linalg.svd(images - images.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), sizes[:6], rtol=1e-4)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
