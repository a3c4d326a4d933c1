"""Nearest neighbours among images that a labelling was fitted on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors

BLOCK = 2_000_000  # cosines at a time: bounds memory only
SAME = 1 - 1e-6  # cosine from which an image is taken for itself


def nearest(images: Vectors, known: Vectors, count: int) -> tuple[npt.NDArray[np.intp], Vectors]:
    """Return the most similar known images of each image, but for itself.

    Parameters
    ----------
    images, known
        float32 of shape (n, dimension) and (m, dimension), rows of length 1.
    count
        Neighbours; all there are, if fewer.

    Returns
    -------
    rows
        Places in `known`, (n, neighbours), the most similar first.
    cosines
        float32 of the same shape; 0 where there is no such neighbour.
    """
    found = [_nearest(block, known, count) for block in _blocks(images, len(known))]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([near for _, near in found])


def _blocks(images: Vectors, width: int) -> Iterator[Vectors]:
    size = max(1, BLOCK // width)
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _nearest(images: Vectors, known: Vectors, count: int) -> tuple[npt.NDArray[np.intp], Vectors]:
    cosines = images @ known.T
    cosines[cosines > SAME] = -np.inf
    count = min(count, len(known))
    rows = np.argpartition(cosines, -count, axis=1)[:, -count:]
    near = np.take_along_axis(cosines, rows, axis=1)
    order = np.argsort(-near, axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    return np.take_along_axis(rows, order, axis=1), np.where(np.isfinite(near), near, 0)
