"""The one place where embeddings and words become labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.annotation import places
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.labels import estimate, methods
from medlabel.labels.estimate import Estimate
from medlabel.labels.evidence import Labeller

if TYPE_CHECKING:
    from medlabel.params import Clusters

NAME = "clusters"  # of params.yaml


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
    estimate
        How right the labels are thought to be, which images fit no class, and the verdict.
    labeller
        Gives probabilities of other images.
    """

    probabilities: Vectors
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
) -> Opinion:
    """Label images: clusters of them are named by words.

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
        Those of whose words the encoder learnt none: such labels are never trusted.

    Raises
    ------
    MedlabelError
        When two classes have the same words for the encoder.
    """
    labeller = methods.fit(_settings(), embeddings, words, logit_scale, classes)
    chances = labeller.predict(embeddings)
    right = estimate.estimate(embeddings, words, logit_scale, classes, chances, chances)
    if unknown and right.verdict == "trusted":
        reason = f"the teacher learnt none of the words of {', '.join(unknown)}"
        right = replace(right, verdict="check", reason=reason)
    return Opinion(chances, margins_of(chances), right, labeller)


@cache
def _settings() -> Clusters:
    from medlabel import params

    part = params.read([places.parameters()]).labellings[NAME]
    if not isinstance(part, params.Clusters):
        raise MedlabelError(f"labellings.{NAME}: method {part.method} given; clusters expected.")
    return part


def margins_of(chances: Vectors) -> npt.NDArray[np.float64]:
    """Return the logarithm of the ratio of the two largest probabilities of each row."""
    top = np.sort(chances.astype(np.float64), axis=1)[:, -2:]
    tiny = np.finfo(np.float32).tiny
    margins: npt.NDArray[np.float64] = np.log(top[:, 1]) - np.log(np.maximum(top[:, 0], tiny))
    return margins
