"""Principal components of embeddings, in which images are clustered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medlabel.data.vectors import Vectors

LEARNT_FROM = 20_000  # images, the first ones: more change no axis by much


@dataclass(frozen=True)
class Space:
    """A centre (dimension) and axes (dimension, components), both float32."""

    centre: Vectors
    axes: Vectors

    def project(self, images: Vectors) -> Vectors:
        """Return coordinates, float32 (n, components), of images (n, dimension)."""
        found: Vectors = images @ self.axes - self.centre @ self.axes
        return found


def fit(images: Vectors, components: int) -> Space:
    """Find the directions in which images (n, dimension) differ most, as many as there are."""
    some = images[:LEARNT_FROM]
    centre = some.mean(axis=0, dtype=np.float64).astype(np.float32)
    apart = some - centre
    _, axes = np.linalg.eigh(apart.T @ apart)  # by rising variance
    return Space(centre, np.ascontiguousarray(axes[:, ::-1][:, :components]))
