"""What SYNTHETIC images are worth: scores of classifiers, and whether images are copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from medlabel.data import catalogue
from medlabel.data.pixels import Pixels
from medlabel.evaluate import judged, statistics
from medlabel.evaluate.results import Metric
from medlabel.evaluate.scores import Floats
from medlabel.params.studies import Statistics
from medlabel.randomness import stream

if TYPE_CHECKING:
    from medlabel.generation.classifiers import Answers

METRICS: tuple[Metric, ...] = ("auc", "balanced_accuracy")
NEAR = 0.05  # of held-out images, which are no copies, are so near to a training image or nearer


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and its ends."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Scored:
    """Answers of one question, and how right they are.

    Attributes
    ----------
    answers
        In the order of `scores`.
    values
        By `METRICS`: of each seed.
    scores, gains
        By `METRICS`: mean with its interval; of answers less the first of the question, and of the
        first no gain.
    """

    answers: Answers
    values: dict[Metric, Floats]
    scores: dict[Metric, Interval]
    gains: dict[Metric, Interval]


def score(answers: list[Answers], asked: Statistics, seed: int, *purpose: str) -> list[Scored]:
    """Score answers of one question, all resampled alike.

    Intervals resample held-out images and seeds of classifiers, crossed. There is one generator:
    the chance of its training is in none of them.

    Parameters
    ----------
    answers
        Of the same question and the same held-out images.
    asked
        Resamples and confidence.
    seed, *purpose
        Of the random stream.

    Raises
    ------
    MedlabelError
        When a group has no held-out image.
    """
    first = answers[0]
    test = judged.Test(pd.DataFrame({"label_0": first.truth}), np.arange(len(first.truth)))
    seeds, _, groups = first.probabilities.shape
    task = catalogue.task_of(groups)
    bench = judged.Bench(first.question, task, [test] * seeds, [])
    found = [judged.Judged(one.taught, list(one.probabilities)) for one in answers]
    random = stream(seed, "generation", *purpose, first.question)
    judged.score(bench, found, asked.resamples, random)
    return [
        Scored(
            own,
            {name: one.values[name] for name in METRICS},
            {name: _interval(one, None, name, asked, random) for name in METRICS},
            {name: _interval(one, found[0], name, asked, random) for name in METRICS},
        )
        for own, one in zip(answers, found, strict=True)
    ]


def _interval(
    one: judged.Judged,
    other: judged.Judged | None,
    metric: Metric,
    asked: Statistics,
    random: np.random.Generator,
) -> Interval:
    values, replicates = one.values[metric], one.replicates[metric]
    if other is not None:
        values, replicates = values - other.values[metric], replicates - other.replicates[metric]
    ends = statistics.crossed_interval(replicates[:, None, :], asked.confidence, random)
    return Interval(float(values.mean()), *ends)


@dataclass(frozen=True)
class Nearest:
    """How near images of a class are to the training images of all classes.

    Attributes
    ----------
    synthetic, held_out
        Root of the mean squared difference of pixels, (n,) and (m,), in grey values of 255.
    place
        Of the training image that is nearest to each SYNTHETIC one, (n,).
    """

    synthetic: Floats
    held_out: Floats
    place: npt.NDArray[np.intp]

    @property
    def copied(self) -> float:
        """Part of the SYNTHETIC images that are nearer than `NEAR` of the held-out ones are.

        Of images that the training images know no better than held-out ones it is `NEAR`.
        """
        return float((self.synthetic < np.quantile(self.held_out, NEAR)).mean())


def nearest(synthetic: Pixels, held_out: Pixels, learnt: Pixels) -> Nearest:
    """Find the training images that are nearest to others, pixel by pixel.

    All are uint8 (any number, H, W).
    """
    made, place = _distances(synthetic, learnt)
    return Nearest(made, _distances(held_out, learnt)[0], place)


def _distances(images: Pixels, others: Pixels) -> tuple[Floats, npt.NDArray[np.intp]]:
    one, other = (part.reshape(len(part), -1).astype(np.float64) for part in (images, others))
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    place = squares.argmin(axis=1)
    least = np.maximum(squares[np.arange(len(one)), place], 0)
    return np.sqrt(least / one.shape[1]), place
