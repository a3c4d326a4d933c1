"""Weights of sentences without labels (ZPE: Allingham et al., ICML 2023)."""

from __future__ import annotations

import numpy as np

from medlabel.data.vectors import Vectors
from medlabel.labels.evidence import Floats


def weights(images: Vectors, said: Vectors) -> Floats:
    """Score sentences by how far they tell a folder's images apart.

    A score is the mean over images of the highest cosine among the classes, less the mean that each
    class has over all images: words that suit all of them say nothing. The authors' second
    correction, by images that the encoder learnt from, is left out: a folder has none.

    Parameters
    ----------
    images
        float32 of shape (n, dimension), rows of length 1.
    said
        float32 of shape (sentences, classes, dimension), rows of length 1: the first sentence of
        every class, the second, and so on.

    Returns
    -------
    ndarray
        float64 of shape (sentences,), which sum to 1.
    """
    scores = np.array([_score(images, words) for words in said])
    total = scores.sum()
    return scores / total if total > 0 else np.full(len(said), 1 / len(said))


def _score(images: Vectors, words: Vectors) -> float:
    cosines = (images @ words.T).astype(np.float64)
    return float((cosines - cosines.mean(axis=0)).max(axis=1).mean())


def weighted(images: Vectors, said: Vectors) -> Vectors:
    """Return the weighted mean of sentences, of length 1: float32 (classes, dimension).

    Parameters are those of `weights`.
    """
    means = np.einsum("s,scd->cd", weights(images, said), said.astype(np.float64))
    found: Vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return found
