"""Learning curves: true labels by their number, beside labels that took none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from medlabel import files, progress
from medlabel.data import catalogue, mixtures, vectors
from medlabel.data.vectors import Vectors
from medlabel.evaluate import scores
from medlabel.labels import few
from medlabel.params import FewLabels, Mixture
from medlabel.randomness import stream

SCORES = ["method", "labels_a_class", "labels", "draw", "accuracy", "balanced_accuracy", "auc"]


@dataclass(frozen=True)
class Inputs:
    """Files that a curve is computed from.

    Attributes
    ----------
    pool, embeddings, words
        Of the mixture; by the encoder.
    labelled
        Labels without a label, by the labelling's name.
    """

    pool: Path
    embeddings: Path
    words: Path
    labelled: Mapping[str, Path]


@dataclass(frozen=True)
class Drawn:
    """Images of one draw: a mixture's seed.

    Attributes
    ----------
    images, labels
        To take labelled images from, float32 (n, dimension) and (n,).
    held_out, truth
        To be judged on, float32 (m, dimension) and (m, 1).
    test
        The same images as a table: dataset, split, row.
    """

    images: Vectors
    labels: npt.NDArray[np.intp]
    held_out: Vectors
    truth: scores.Labels
    test: pd.DataFrame


def compute(
    inputs: Inputs, reference: str, mixture: Mixture, settings: FewLabels, seed: int
) -> pd.DataFrame:
    """Learn from a few labels, again and again, and tell how right that is.

    Parameters
    ----------
    inputs
        Files.
    reference
        The encoder's weights: a column of the embeddings and the words.
    mixture
        Classes, and how many images each draw has.
    settings
        Methods, numbers of labels and draws.
    seed
        Root of the random streams.

    Returns
    -------
    DataFrame
        A row a method, number of labels a class and draw, with columns `SCORES`. Labelled images of
        a draw grow: those of 4 a class are among those of 8. A labelling has 0 labels.

    Raises
    ------
    MedlabelError
        When an input is missing, damaged, or does not fit the others.
    """
    words, logit_scale = vectors.read_words(inputs.words, reference, mixture.class_names)
    task = catalogue.task_of(len(mixture.class_names))
    tables = {
        name: files.read_parquet(path, "pseudolabel", _columns(mixture))
        for name, path in inputs.labelled.items()
    }
    rows: list[dict[str, Any]] = []
    draws = range(settings.draws)
    for number, drawn in zip(draws, _draws(inputs, reference, mixture, draws, seed), strict=True):
        for name, table in tables.items():
            found = drawn.test.merge(table, on=mixtures.IMAGE, validate="one_to_one")
            chances = found[_columns(mixture)[len(mixtures.IMAGE) :]].to_numpy()
            rows.append(_row(name, 0, 0, number, scores.score(task, drawn.truth, chances)))
        for count in settings.counts:
            chosen = _chosen(drawn.labels, count, stream(seed, "few labels", number))
            known = few.Labelled(
                drawn.images[chosen], drawn.labels[chosen], words, logit_scale, number
            )
            for method in settings.methods:
                with threadpool_limits(1):  # sums in one thread, so that digits repeat
                    chances = few.METHODS[method](known, drawn.held_out, settings)
                score = scores.score(task, drawn.truth, chances)
                rows.append(_row(method, count, len(chosen), number, score))
    return pd.DataFrame(rows, columns=SCORES)


def _columns(mixture: Mixture) -> list[str]:
    return [*mixtures.IMAGE, *(f"p_{name}" for name in mixture.class_names)]


def _row(
    method: str, count: int, labels: int, draw: int, score: Mapping[str, float]
) -> dict[str, Any]:
    known = {"method": method, "labels_a_class": count, "labels": labels, "draw": draw}
    return known | {name: score[name] for name in SCORES[4:]}


def _draws(
    inputs: Inputs, reference: str, mixture: Mixture, draws: range, seed: int
) -> Iterator[Drawn]:
    pool = mixtures.read_pool(inputs.pool)
    everything = vectors.read_embeddings(inputs.embeddings, reference, pool)
    places = pd.MultiIndex.from_frame(pool[mixtures.IMAGE])
    for number in progress.track(draws, "few labels", len(draws)):
        drawn = mixtures.draw(mixture, pool, number, seed)
        train, test = (drawn[drawn["role"] == role] for role in mixtures.ROLES)
        images, held_out = (
            everything[places.get_indexer(pd.MultiIndex.from_frame(part[mixtures.IMAGE]))]
            for part in (train, test)
        )
        labels, truth = train["label"].to_numpy(np.intp), test["label"].to_numpy(np.int64)
        yield Drawn(images, labels, held_out, truth[:, None], test[mixtures.IMAGE])


def _chosen(
    labels: npt.NDArray[np.intp], count: int, random: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Choose so many images of each class, the same first ones whatever the number."""
    order = random.permutation(len(labels))
    return np.concatenate([order[labels[order] == one][:count] for one in np.unique(labels)])
