"""How right labels are, without a label; which images no class names; and whether to use labels.

Every estimate of accuracy without labels rests on assumptions (Garg et al., ICLR 2022). These are:
words and clusters are as sure as they are right on average, and seldom err together. Neither sees
words that name one class and mean another, nor clusters that follow the scanner where words do
too: `medlabel.labels.sources` looks for these.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels import evidence, kmeans, space, zeroshot
from medlabel.labels.evidence import Evidence, Floats

Verdict = Literal["trusted", "check", "refused"]
Chances = npt.NDArray[np.floating[Any]]

# Log-odds of accuracy: a number, and factors of the log-odds of each sign; and of the lower end of
# the 90 % interval: a number, and a factor of these. Fitted by `bench/estimates.py` to folders of
# draws from 1000, seen by other trainings of encoders than those that estimates are judged on.
INTERCEPT = -0.06
FACTORS = {"confidence": 0.91, "clearness": 0.18, "agreement": 0.13}
LOW = -4.02, 1.56
EDGE = 0.01  # shares are drawn away from 0 and 1 by so much before log-odds
NORMAL = 1.645  # standard deviations that 90 % lie within
TRUSTED = 0.92  # estimated accuracy from which labels are trusted
REFUSED = 0.75  # and below which they are refused
STRAY = 0.45  # part of the best cluster's cosine to words, below which an image fits no class
STRAYS = 0.02  # part of the images that may fit no class in labels that are trusted
COMPONENTS, COUNTS, STARTS = 32, (8, 12, 16), 2  # of the clusters that strays are found by

logger = logging.getLogger("medlabel")


@dataclass(frozen=True)
class Estimate:
    """What is known of labels.

    Attributes
    ----------
    accuracy, low, high
        Of the labels of images that fit a class: estimate and 90 % interval, whose upper end is 1:
        labels may be better than they look at any estimate, as those of one class alone often are.
    confidence, clearness, agreement
        What the estimate is made of: the mean of the highest probability by words, and by clusters,
        and the share of images that words (and clusters) label alike.
    stray
        Which images fit no class, (n,).
    verdict, reason
        Whether to use the labels, and why, in a line.
    """

    accuracy: float
    low: float
    high: float
    confidence: float
    clearness: float
    agreement: float
    stray: npt.NDArray[np.bool_]
    verdict: Verdict
    reason: str

    @property
    def signs(self) -> dict[str, float]:
        """What the estimate is made of, by name."""
        return {name: getattr(self, name) for name in FACTORS}


def estimate(found: Evidence, images: Vectors, chances: Vectors, by_clusters: Vectors) -> Estimate:
    """Estimate how right the labels of a folder are.

    Parameters
    ----------
    found
        What `evidence.gather` made of the folder and of the words.
    images
        Embeddings of all of its images, float32 (n, dimension).
    chances
        Probabilities of these images by any labelling, (n, classes).
    by_clusters
        Those by `clusters`, which the labels are compared with.
    """
    by_words = zeroshot.softmax(evidence.logits(images, found.words, found.logit_scale))
    return of_views(chances, by_words, by_clusters, strays(found, images))


def of_views(
    chances: Chances, by_words: Chances, by_clusters: Chances, stray: npt.NDArray[np.bool_]
) -> Estimate:
    """Estimate how right labels are that words and clusters have a view on.

    Parameters
    ----------
    chances, by_words, by_clusters
        Probabilities of the same images by the labelling, by words alone and by clusters, (n,
        classes).
    stray
        Which images fit no class, (n,).
    """
    kept = ~stray if not stray.all() else stray
    labels = chances.argmax(axis=1)
    views = [by_words.argmax(axis=1), by_clusters.argmax(axis=1)]
    agreement = min(float((view == labels)[kept].mean()) for view in views)
    confidence, clearness = (float(one.max(axis=1)[kept].mean()) for one in (by_words, by_clusters))
    return judged(confidence, clearness, agreement, stray)


def judged(
    confidence: float, clearness: float, agreement: float, stray: npt.NDArray[np.bool_]
) -> Estimate:
    """Turn what was found of the images that are not stray into an estimate and a verdict.

    The interval reaches as low as the truth does in all but a tenth of the folders that the numbers
    were fitted to, and lower where few images may be right by chance. Of two labellings one at most
    is right on each image that they label otherwise, so that the estimate is at most what both
    have right on average if one of them always is.
    """
    found = {"confidence": confidence, "clearness": clearness, "agreement": agreement}
    middle = INTERCEPT + sum(FACTORS[name] * log_odds(share) for name, share in found.items())
    middle = min(middle, log_odds((1 + agreement) / 2))
    inner = drawn_in(share_of(middle))
    by_chance = NORMAL / np.sqrt(max(int((~stray).sum()), 1) * inner * (1 - inner))
    below = max(middle - (LOW[0] + LOW[1] * middle), 0.0)
    accuracy, low, least = (
        float(share_of(middle - off)) for off in (0, np.hypot(below, by_chance), by_chance)
    )
    verdict, reason = _verdict(accuracy, least, confidence, agreement, stray)
    return Estimate(accuracy, low, 1.0, **found, stray=stray, verdict=verdict, reason=reason)


def log_odds(share: float | Floats) -> Any:
    """Return the log-odds of a share, drawn away from 0 and 1."""
    inner = drawn_in(share)
    return np.log(inner / (1 - inner))


def drawn_in(share: float | Floats) -> Any:
    """Draw a share away from 0 and 1, of which few images would make certainty."""
    return EDGE + (1 - 2 * EDGE) * np.asarray(share)


def share_of(odds: Any) -> Any:
    """Undo `log_odds`."""
    inner = 1 / (1 + np.exp(-odds))
    return np.clip((inner - EDGE) / (1 - 2 * EDGE), 0, 1)


def strays(found: Evidence, images: Vectors) -> npt.NDArray[np.bool_]:
    """Tell which images fit no class: their clusters lie far from all words.

    Far is by the cosine to the nearest words, meant over a cluster, beside that of the best cluster
    of the folder. So it takes an encoder whose cosines of what does not belong together are
    near 0, and at least one class with images.
    """
    basis = space.fit(found.images, COMPONENTS)
    known, points = basis.project(found.images), basis.project(images)
    best = (found.images @ found.words.T).max(axis=1)
    scores = np.zeros(len(images))
    for count in COUNTS:
        for start in range(STARTS):
            centres = kmeans.centres(known, count, "strays", start)
            members = kmeans.nearest(known, centres)
            sizes = np.maximum(np.bincount(members, minlength=len(centres)), 1)
            means = np.bincount(members, weights=best, minlength=len(centres)) / sizes
            scores += means[kmeans.nearest(points, centres)]
    stray: npt.NDArray[np.bool_] = scores < STRAY * scores.max()
    return stray


def _verdict(
    accuracy: float,
    least: float,
    confidence: float,
    agreement: float,
    stray: npt.NDArray[np.bool_],
) -> tuple[Verdict, str]:
    alone = int(stray.sum())
    if accuracy < TRUSTED:
        unsure = log_odds(confidence) < log_odds(agreement)
        reason = (
            f"the words do not tell these images apart: {confidence:.0%} sure on average"
            if unsure
            else f"words and clusters disagree on {1 - agreement:.0%} of the images"
        )
        return ("refused" if accuracy < REFUSED else "check"), reason
    if least < REFUSED:
        return "check", f"{len(stray)} images are too few to be sure of them"
    if alone > STRAYS * len(stray):
        return "check", f"{alone} of {len(stray)} images fit no class"
    return "trusted", f"words and clusters agree on {agreement:.1%} of the images"
