"""The one place where embeddings and words become labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.annotation import places
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.labels import estimate, evidence, methods, neighbours, sources, zeroshot
from medlabel.labels.estimate import Estimate
from medlabel.labels.evidence import Labeller
from medlabel.labels.sources import Property

if TYPE_CHECKING:
    from medlabel.annotation.corrections import Accuracy
    from medlabel.params import AnyLabelling

Rows = npt.NDArray[np.intp]
NAME = "clusters"  # of params.yaml
# Images that are asked whether they have the same label, by chance; and the part of a class's share
# of them that is asked, at least so many. Of 0.1 and 0.16, which find as many errors of two
# classes, the one that finds more of ten.
ASKED, PART, FEWEST = 1000, 0.1, 5


@dataclass(frozen=True)
class Opinion:
    """What is thought of n images.

    Attributes
    ----------
    probabilities
        float32 of shape (n, classes); rows sum to 1.
    support
        float64 of shape (n,): of the images that look most like it, the share with the same label.
    margins
        float64 of shape (n,): how much likelier, as a logarithm, the first class is than the
        second, because probabilities reach 1.
    estimate
        How right the labels are thought to be, which images fit no class, and the verdict.
    labeller
        Gives probabilities of other images.
    """

    probabilities: Vectors
    support: npt.NDArray[np.float64]
    margins: npt.NDArray[np.float64]
    estimate: Estimate
    labeller: Labeller

    @property
    def stray(self) -> npt.NDArray[np.bool_]:
        """Which images fit no class, (n,)."""
        return self.estimate.stray

    @property
    def verdict(self) -> str:
        """Whether to use the labels."""
        return self.estimate.verdict

    @property
    def reason(self) -> str:
        """Why, in a line."""
        return self.estimate.reason

    @property
    def told(self) -> str:
        """What is thought of the labels, in a line."""
        found = self.estimate
        return (
            f"{self.verdict}: {self.reason}; estimated accuracy {found.accuracy:.1%} (90 % "
            f"interval {found.low:.1%} to {found.high:.1%})"
        )


@dataclass(frozen=True)
class Unnamed:
    """What is seen of n images without words; as `Opinion`, but that no class is named.

    Attributes
    ----------
    margins
        float64 of shape (n,): how much nearer, squared, the first centre is than the second.
    """

    margins: npt.NDArray[np.float64]
    verdict: str = "clustered"
    reason: str = "no words were given; a person names the clusters"

    @property
    def probabilities(self) -> Vectors:
        """Of no class: float32 of shape (n, 0)."""
        return np.empty((len(self.margins), 0), np.float32)

    @property
    def support(self) -> npt.NDArray[np.float64]:
        """No image has a label that others could have too, (n,)."""
        return np.ones(len(self.margins))

    @property
    def stray(self) -> npt.NDArray[np.bool_]:
        """No image fits less than others where there is no class, (n,)."""
        return np.zeros(len(self.margins), bool)

    @property
    def told(self) -> str:
        """What is thought of the images, in a line."""
        return f"{self.verdict}: {self.reason}"


def judge(
    embeddings: Vectors,
    words: Vectors,
    logit_scale: float,
    classes: Sequence[str],
    unknown: Sequence[str] = (),
    swapped: Sequence[str] = (),
    mute: Sequence[str] = (),
    properties: Sequence[Property] = (),
    method: str = NAME,
) -> Opinion:
    """Label images: clusters of them are named by words, or images where clusters follow a source.

    Parameters
    ----------
    embeddings
        float32 of shape (n, dimension), rows of length 1.
    words
        float32 of shape (classes, dimension), rows of length 1.
    logit_scale
        The encoder's factor on cosines.
    classes
        Their names.
    unknown
        Those of whose words the encoder learnt none.
    swapped
        Those whose names say what is said of another one of them.
    mute
        Those of whose names nobody can tell whether their sentences belong to them.
    properties
        What images are, whatever they show, so that clusters that follow a scanner are seen.
    method
        Another labelling of the parameters in the clusters' place.

    Returns
    -------
    Opinion
        Labels of unknown, swapped or mute classes, or of images from two sources, are not trusted.

    Raises
    ------
    MedlabelError
        When two classes have the same words for the encoder, or there is no such labelling.
    """
    found = evidence.gather(embeddings, words, logit_scale, classes)
    labeller = methods.learn(_settings(method), found)
    chances = by_clusters = labeller.predict(embeddings)
    if method != NAME:
        by_clusters = methods.learn(_settings(NAME), found).predict(embeddings)
    right = estimate.estimate(found, embeddings, chances, by_clusters)
    alone = zeroshot.ByWords(words, logit_scale)
    by_words, labels = alone.predict(embeddings), chances.argmax(axis=1)
    split = sources.find(properties, embeddings, labels, by_words, ~right.stray)
    if split:
        right = estimate.of_views(by_words, by_words, by_clusters, right.stray)
        labeller, chances = alone, by_words
    doubts = list(_doubts(unknown, swapped, mute, split))
    support = support_of(chances, embeddings, labeller, found.images[:ASKED])
    return Opinion(chances, support, margins_of(chances), _doubted(right, doubts), labeller)


def _doubts(
    unknown: Sequence[str],
    swapped: Sequence[str],
    mute: Sequence[str],
    split: sources.Split | None,
) -> Iterator[str]:
    if unknown:
        yield f"the teacher learnt none of the words of {', '.join(unknown)}"
    if swapped:
        yield f"the names {' and '.join(swapped)} say what is said of the other one"
    if mute:
        yield f"the names {', '.join(mute)} do not bear out what is said of them; check some images"
    if split:
        yield split.told()


def _doubted(right: Estimate, doubts: Sequence[str]) -> Estimate:
    """Trust labels no more that there are doubts of."""
    if not doubts:
        return right
    if right.verdict == "trusted":
        return replace(right, verdict="check", reason="; ".join(doubts))
    return replace(right, reason="; ".join([right.reason, *doubts]))


def checked(opinion: Opinion, audited: Accuracy) -> Opinion:
    """Let images that chance chose and a person checked decide, where they are enough to.

    They are held to the bounds that estimates are held to. Until they speak clearly, for the labels
    or against them, the verdict stays.
    """
    if not audited.checked:
        return opinion
    share = audited.right / audited.checked
    verdict: estimate.Verdict
    if share >= estimate.TRUSTED and audited.low >= estimate.REFUSED:
        verdict = "trusted"
    elif audited.high < estimate.TRUSTED:
        verdict = "refused" if share < estimate.REFUSED else "check"
    else:
        return opinion
    reason = f"of the images that chance chose, {audited.told()}"
    return replace(opinion, estimate=replace(opinion.estimate, verdict=verdict, reason=reason))


@cache
def _settings(name: str) -> AnyLabelling:
    from medlabel import params

    known = params.read([places.parameters()]).labellings
    usable = {key: part for key, part in known.items() if part.space is None and not part.weigh}
    if name not in usable:
        raise MedlabelError(f"labelling: {name!r} given, one of {', '.join(usable)} expected.")
    return usable[name]


def support_of(
    chances: Vectors, images: Vectors, labeller: Labeller, asked: Vectors
) -> npt.NDArray[np.float64]:
    """Return how many of the nearest images have the same label.

    Parameters
    ----------
    chances
        Probabilities of the images, (n, classes).
    images
        Their embeddings, float32 (n, dimension), rows of length 1.
    labeller
        Gives probabilities of any images.
    asked
        Embeddings of those that neighbours are looked for among; none is its own neighbour.

    Returns
    -------
    ndarray
        Shares of shape (n,); 1 where there is no other image.
    """
    labels, theirs = chances.argmax(axis=1), labeller.predict(asked).argmax(axis=1)
    count = max(FEWEST, round(PART * len(asked) / chances.shape[1]))
    rows, cosines = neighbours.nearest(images, asked, count)
    others = cosines != 0
    same = (theirs[rows] == labels[:, None]) & others
    found: npt.NDArray[np.float64] = same.sum(axis=1) / np.maximum(others.sum(axis=1), 1)
    return np.where(others.any(axis=1), found, 1.0)


def order_of_review(support: npt.NDArray[np.float64], margins: npt.NDArray[np.float64]) -> Rows:
    """Return places of images, those first whose neighbours have other labels, then small margins.

    In the first tenth of this order stand more wrong labels than in that of an order by margins, or
    by out-of-fold probabilities (`bench/review.py`).
    """
    order: Rows = np.lexsort((margins, support))
    return order


def margins_of(chances: Vectors) -> npt.NDArray[np.float64]:
    """Return the logarithm of the ratio of the two largest probabilities of each row."""
    top = np.sort(chances.astype(np.float64), axis=1)[:, -2:]
    tiny = np.finfo(np.float32).tiny
    margins: npt.NDArray[np.float64] = np.log(top[:, 1]) - np.log(np.maximum(top[:, 0], tiny))
    return margins
