"""Every way from embeddings and words to labels, by the name that parameters give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medlabel.data.vectors import Vectors
from medlabel.labels import (
    anchored,
    balanced,
    clusters,
    confident,
    consensus,
    evidence,
    mixture,
    propagation,
    transclip,
    vote,
    zeroshot,
)
from medlabel.labels.evidence import Fit, Labeller

if TYPE_CHECKING:
    from medlabel.params import AnyLabelling

METHODS: dict[str, Fit] = {
    "zeroshot": zeroshot.fit,
    "clusters": clusters.fit,
    "balanced": balanced.fit,
    "mixture": mixture.fit,
    "anchored": anchored.fit,
    "transclip": transclip.fit,
    "propagation": propagation.fit,
    "consensus": consensus.fit,
    "vote": vote.fit,
    "confident": confident.fit,
}


def fit(
    settings: AnyLabelling,
    images: Vectors,
    words: Vectors,
    logit_scale: float,
    classes: Sequence[str],
) -> Labeller:
    """Learn a labelling from images without labels and from words.

    Parameters
    ----------
    settings
        Method and its parameters.
    images
        float32 of shape (n, dimension), rows of length 1.
    words
        float32 of shape (classes, dimension), rows of length 1.
    logit_scale
        Factor on their cosines before softmax.
    classes
        Names, for messages.

    Returns
    -------
    Labeller
        Gives probabilities of these images and of others. The same for the same images in any
        order, and however often each is there.

    Raises
    ------
    MedlabelError
        As `evidence.gather`, and where the method says so.
    """
    found = evidence.gather(images, words, logit_scale, classes)
    return METHODS[settings.method](found, settings)
