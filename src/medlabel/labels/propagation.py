"""ZLaP: labels that spread from words through a graph (Stojnić, Kalantidis & Tolias, CVPR 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medlabel.data.vectors import Vectors
from medlabel.labels import neighbours
from medlabel.labels.evidence import Evidence, Floats

if TYPE_CHECKING:
    from medlabel.params import Propagation

POWER = 5  # of the cosines that weight edges: near ones count more
ROUNDS = 50
LEAST = 1e-12


@dataclass(frozen=True)
class Propagated:
    """Words and images that were learnt from, and the scores (., classes) that they ended with."""

    words: Vectors
    known: Vectors
    of_words: Floats
    of_images: Floats
    near: int

    def predict(self, images: Vectors) -> Vectors:
        """Return the shares of each class in the scores of an image's neighbours, (n, classes)."""
        rows, cosines = neighbours.nearest(images, self.known, self.near)
        weights = np.maximum(cosines, 0).astype(np.float64) ** POWER
        scores = np.einsum("nk,nkc->nc", weights, self.of_images[rows])
        scores += _to_words(images, self.words) @ self.of_words + LEAST
        found: Vectors = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
        return found


def fit(evidence: Evidence, settings: Propagation) -> Propagated:
    """Solve (1 - damping S) Z = Y by iteration.

    S is the symmetrically normalised graph of images and words, Y has a one for the words of each
    class. Images are joined to their nearest ones; every image to all words, by weights of its
    own, since words lie apart from images.
    """
    from scipy import sparse

    images, count, classes = evidence.images, len(evidence.images), len(evidence.words)
    rows, cosines = neighbours.nearest(images, images, settings.neighbours)
    weights = np.maximum(cosines, 0).astype(np.float64) ** POWER
    starts = np.repeat(np.arange(count), rows.shape[1])
    among = sparse.csr_array((weights.ravel(), (starts, rows.ravel())), shape=(count, count))
    to_words = sparse.csr_array(_to_words(images, evidence.words))
    graph = sparse.block_array([[among.maximum(among.T), to_words], [to_words.T, None]]).tocsr()
    scale = 1 / np.sqrt(np.maximum(graph.sum(axis=1), LEAST))
    graph = graph.multiply(scale[:, None]).multiply(scale[None, :]).tocsr()
    given = np.vstack([np.zeros((count, classes)), np.eye(classes)])
    found = given
    for _ in range(ROUNDS):
        found = settings.damping * (graph @ found) + given
    found = found * scale[:, None]
    return Propagated(evidence.words, images, found[count:], found[:count], settings.neighbours)


def _to_words(images: Vectors, words: Vectors) -> Floats:
    """Return the weights of edges to words: their cosines, from the least of an image's to 1."""
    cosines = (images @ words.T).astype(np.float64)
    above = cosines - cosines.min(axis=1, keepdims=True)
    found: Floats = (above / np.maximum(above.max(axis=1, keepdims=True), LEAST)) ** POWER
    return found
