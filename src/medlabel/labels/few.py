"""Classifiers that learn from a few labelled images, on frozen embeddings of length 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels import zeroshot

if TYPE_CHECKING:
    from medlabel.params import FewLabels

PRECISE, MOST_STEPS = 1e-8, 1000  # gradient at which a fit ends
WIDEST = 30.0  # difference of logits

Ints = npt.NDArray[np.intp]
Chances = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Labelled:
    """What is learnt from.

    Attributes
    ----------
    images
        float32 of shape (n, dimension), rows of length 1.
    labels
        Of each image, (n,); every class is among them.
    words
        float32 of shape (classes, dimension), rows of length 1.
    logit_scale
        The encoder's factor on cosines.
    seed
        Of initial weights.
    """

    images: Vectors
    labels: Ints
    words: Vectors
    logit_scale: float
    seed: int


def prototypes(known: Labelled, images: Vectors, settings: FewLabels) -> Chances:
    """Compare with the mean image of each class (Snell et al., NeurIPS 2017)."""
    means = np.stack(
        [known.images[known.labels == one].mean(axis=0) for one in range(len(known.words))]
    )
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return zeroshot.probabilities(images, means, known.logit_scale)


def neighbours(known: Labelled, images: Vectors, settings: FewLabels) -> Chances:
    """Let the nearest images vote, by their cosines."""
    from sklearn.neighbors import KNeighborsClassifier

    count = min(settings.neighbours, len(known.images))
    voting = KNeighborsClassifier(count, weights="distance", metric="cosine", algorithm="brute")
    found: Chances = voting.fit(known.images, known.labels).predict_proba(images)
    return found


def logistic(known: Labelled, images: Vectors, settings: FewLabels) -> Chances:
    """Learn a logistic regression with a ridge."""
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=settings.strength, tol=PRECISE, max_iter=MOST_STEPS)
    learnt = regression.fit(known.images.astype(np.float64), known.labels)
    found: Chances = learnt.predict_proba(images.astype(np.float64))
    return found


def two_layers(known: Labelled, images: Vectors, settings: FewLabels) -> Chances:
    """Learn a head with one hidden layer, as Carminati (2023) on a frozen image tower."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    head = MLPClassifier(
        (settings.hidden,),
        solver="lbfgs",
        alpha=1 / settings.strength,
        max_iter=settings.steps,
        random_state=known.seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many steps are what was asked for
        head.fit(known.images, known.labels)
    found: Chances = head.predict_proba(images)
    return found


def tip_adapter(known: Labelled, images: Vectors, settings: FewLabels) -> Chances:
    """Add near labelled images to the words, without training (Zhang et al., ECCV 2022, eq. 5).

    Votes add up, so that many labels, or unequal numbers of them, drown the words. Logits farther
    apart than `WIDEST` are brought nearer together, all alike: probabilities of 1 have no order.
    """
    near = np.exp(settings.sharpness * (images @ known.images.T - 1.0))
    votes = near @ np.eye(len(known.words), dtype=np.float32)[known.labels]
    by_words = known.logit_scale * (images @ known.words.T)
    logits = (by_words + settings.cache_weight * votes).astype(np.float64)
    widest = np.ptp(logits, axis=1).max()
    return zeroshot.softmax(logits * min(1.0, WIDEST / widest))


WITH_WORDS = ("tip_adapter",)  # which know what the words say besides
METHODS: dict[str, Callable[[Labelled, Vectors, FewLabels], Chances]] = {
    "prototypes": prototypes,
    "neighbours": neighbours,
    "logistic": logistic,
    "two_layers": two_layers,
    "tip_adapter": tip_adapter,
}
