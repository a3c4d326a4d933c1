"""The one place where embeddings and words become labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels import zeroshot

NAME = "zeroshot"


@dataclass(frozen=True)
class Opinion:
    """What is thought of n images.

    Attributes
    ----------
    probabilities
        float32 of shape (n, classes); rows sum to 1.
    margins
        float64 of shape (n,): how much likelier, as a logarithm, the first class is than the
        second; the order of review goes by it, because probabilities reach 1.
    clusters
        int64 of shape (n,), the group that each image belongs to, where the labelling makes groups.
    """

    probabilities: Vectors
    margins: npt.NDArray[np.float64]
    clusters: npt.NDArray[np.int64] | None = None


def judge(embeddings: Vectors, words: Vectors, logit_scale: float) -> Opinion:
    """Label images by words.

    Parameters
    ----------
    embeddings
        float32 of shape (n, dimension), rows of length 1.
    words
        float32 of shape (classes, dimension), rows of length 1.
    logit_scale
        The encoder's factor on cosines.
    """
    chances = zeroshot.probabilities(embeddings, words, logit_scale)
    return Opinion(chances, margins_of(chances))


def margins_of(chances: Vectors) -> npt.NDArray[np.float64]:
    """Return the logarithm of the ratio of the two largest probabilities of each row."""
    top = np.sort(chances.astype(np.float64), axis=1)[:, -2:]
    tiny = np.finfo(np.float32).tiny
    margins: npt.NDArray[np.float64] = np.log(top[:, 1]) - np.log(np.maximum(top[:, 0], tiny))
    return margins
