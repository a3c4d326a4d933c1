"""Zero-shot labels: the class whose words lie nearest to the image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    from medlabel.labels.evidence import Evidence
    from medlabel.params import Labelling

SAME = 1e-6  # largest difference of two unit vectors' entries that rounding alone makes


@dataclass(frozen=True)
class ByWords:
    """Words and a scale; nothing was learnt from images."""

    words: Vectors
    logit_scale: float

    def predict(self, images: Vectors) -> Vectors:
        """As `probabilities`."""
        return probabilities(images, self.words, self.logit_scale)


def fit(evidence: Evidence, _: Labelling) -> ByWords:
    """Keep the words; see `ByWords`."""
    return ByWords(evidence.words, evidence.logit_scale)


def probabilities(images: Vectors, words: Vectors, logit_scale: float) -> Vectors:
    """Return softmax(scale * cosine) for each image and class.

    Parameters
    ----------
    images
        float32 of shape (n, dimension), rows of length 1.
    words
        float32 of shape (classes, dimension), rows of length 1.
    logit_scale
        Factor on the cosines.

    Returns
    -------
    ndarray
        float32 of shape (n, classes), computed in float64; rows sum to 1.
    """
    logits = logit_scale * (images.astype(np.float64) @ words.astype(np.float64).T)
    found: Vectors = softmax(logits).astype(np.float32)
    return found


def softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return probabilities by rows from unnormalised log-probabilities."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def require_distinct(words: Vectors, classes: Sequence[str]) -> None:
    """Refuse classes that an encoder cannot tell apart, because it reads the same words.

    Words are float32 of shape (classes, dimension).

    Raises
    ------
    MedlabelError
        Naming two such classes.
    """
    named = zip(classes, words, strict=True)
    for (one, first), (other, second) in itertools.combinations(named, 2):
        if np.abs(first - second).max() < SAME:
            raise MedlabelError(
                f"words: {one} and {other} have the same words for the encoder, so that it could "
                f"not tell them apart; describe them differently."
            )
