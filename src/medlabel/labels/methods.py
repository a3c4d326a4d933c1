"""Every way from embeddings and words to labels, by the name that parameters give it."""

from __future__ import annotations

import logging
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
    head,
    mixture,
    propagation,
    transclip,
    turtle,
    vote,
    zeroshot,
)
from medlabel.labels.evidence import Evidence, Fit, Labeller

if TYPE_CHECKING:
    from medlabel.params import AnyLabelling

logger = logging.getLogger("medlabel")

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
    "turtle": turtle.fit,
    "confident": confident.fit,
    "head": head.fit,
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
        order, and however often each is there. Of fewer different images than classes nothing can
        be learnt, which is logged: words alone decide then.

    Raises
    ------
    MedlabelError
        As `evidence.gather`, and where the method says so.
    """
    return learn(settings, evidence.gather(images, words, logit_scale, classes))


def learn(settings: AnyLabelling, found: Evidence) -> Labeller:
    """Learn a labelling from what was gathered, as `fit`.

    Raises
    ------
    MedlabelError
        Where the method says so.
    """
    if len(found.images) < len(found.classes) and settings.method != "zeroshot":
        logger.warning(
            "labels: %d different images for %d classes: too few to learn from, so that words "
            "alone decide, not %s",
            len(found.images),
            len(found.classes),
            settings.method,
        )
        return zeroshot.fit(found, settings)
    return METHODS[settings.method](found, settings)
