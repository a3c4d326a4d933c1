"""Scores of one model for many sets: over all of them, set by set, and between sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from medlabel import files
from medlabel.data import archive, vectors
from medlabel.data.many_sets import Classes, Labels, Numbering
from medlabel.data.mixtures import IMAGE
from medlabel.data.vectors import Vectors
from medlabel.evaluate import scores, statistics

ALL = "all"
SHARED, OWN, TRUTH = "shared", "own", "truth"  # columns of predictions
AT_ONCE = 250  # resamplings: bounds memory only
SCORES = [
    "model",
    "split",
    "set",
    "images",
    "classes",
    "trivial_accuracy",
    "accuracy",
    "auc",
    "accuracy_set_known",
    "set_right",
]


@dataclass(frozen=True)
class Answers:
    """What a model says of images, with the truth.

    Attributes
    ----------
    images
        A row each: dataset, split and row.
    classes
        True shared classes, int64 (n,).
    labels
        True labels of multi-label sets, float32 (n, L), NaN where an image has none.
    shared
        Probabilities of the shared classes, float32 (n, K).
    own
        Probabilities of the labels of multi-label sets, float32 (n, L).
    """

    images: pd.DataFrame
    classes: Classes
    labels: Labels
    shared: Vectors
    own: Vectors

    def of(self, chosen: npt.NDArray[np.bool_]) -> Answers:
        """Return the answers about some images."""
        return Answers(
            self.images[chosen].reset_index(drop=True),
            self.classes[chosen],
            self.labels[chosen],
            self.shared[chosen],
            self.own[chosen],
        )


def write(answers: Answers, target: Path) -> None:
    """Write answers as one table."""
    import pyarrow.parquet as pq

    columns = {SHARED: answers.shared}
    if answers.own.shape[1]:
        columns |= {OWN: answers.own, TRUTH: answers.labels}
    table = vectors.with_vectors(answers.images.assign(label=answers.classes), columns, {})
    with files.replacing(target) as partial:
        pq.write_table(table, partial, compression="zstd")


def read(path: Path, numbering: Numbering) -> Answers:
    """Read what `write` wrote.

    Raises
    ------
    MedlabelError
        When the file is missing or damaged.
    """
    wanted = [OWN, TRUTH] if numbering.labels else []
    table = files.read_arrow(path, "train_sets", [*IMAGE, "label", SHARED, *wanted])
    images = table.select([*IMAGE, "label"]).to_pandas()
    none = np.empty((len(images), 0), np.float32)
    found = {
        name: table[name].combine_chunks().flatten().to_numpy().reshape(len(images), -1)
        for name in (SHARED, *wanted)
    }
    return Answers(
        images[IMAGE],
        images["label"].to_numpy(np.int64),
        found.get(TRUTH, none),
        found[SHARED],
        found.get(OWN, none),
    )


def score(answers: Answers, numbering: Numbering, model: str) -> pd.DataFrame:
    """Score a model on each split, over all sets and set by set.

    Returns
    -------
    DataFrame
        Columns `SCORES`, a row a split and set. ``accuracy`` counts an image as right whose
        likeliest class of all sets is its own; ``accuracy_set_known`` looks among the classes of
        its own set; ``set_right`` is the share whose likeliest class is one of its set; ``auc`` is
        MedMNIST's, of the probabilities within the set. Of a multi-label set accuracies are
        MedMNIST's, the mean over labels, with its own outputs, whose reader knows the set. Over
        `ALL` there are images of one label alone, and the AUC is the mean over their classes, each
        against all others. NaN where a score is undefined.
    """
    rows = []
    for split in archive.SPLITS:
        chosen = answers.of((answers.images["split"] == split).to_numpy())
        rows.append({"model": model, "split": split, **overall(chosen, numbering)})
        for name in numbering.sets:
            own = chosen.of((chosen.images["dataset"] == name).to_numpy())
            rows.append({"model": model, "split": split, **_of_set(own, numbering, name)})
    return pd.DataFrame(rows, columns=SCORES)


def overall(answers: Answers, numbering: Numbering) -> dict[str, str | int | float]:
    """Score images that carry one label, over all sets."""
    chosen = single(answers, numbering)
    task, truth, chances = asked(chosen, numbering, ALL)
    known = _within(chosen.shared, chosen.classes, numbering)
    return {
        "set": ALL,
        "images": len(truth),
        "classes": chances.shape[1],
        "trivial_accuracy": scores.trivial_accuracy(task, truth),
        "accuracy": float(hits(chosen, numbering, ALL).mean()),
        "auc": scores.score(task, truth, chances)["auc"],
        "accuracy_set_known": float((known == chosen.classes).mean()),
        "set_right": float(sets_right(chosen, numbering).mean()),
    }


def single(answers: Answers, numbering: Numbering) -> Answers:
    """Return the answers about images that carry one label."""
    return answers.of(_single(numbering)[answers.classes])


def _single(numbering: Numbering) -> npt.NDArray[np.bool_]:
    """Say of each shared class whether it is a label, and not a multi-label set as a whole."""
    of_sets = np.array([not numbering.multi_label(name) for name in numbering.sets])
    return of_sets[numbering.set_of_class]


def asked(
    answers: Answers, numbering: Numbering, name: str
) -> tuple[str, npt.NDArray[np.int64], Vectors]:
    """Return task, truth and probabilities that the AUC of a set is of, or that of `ALL`.

    As `medlabel.evaluate.scores.score` takes them. `answers` are about images of that set, or about
    those of all sets that carry one label (`single`).
    """
    if name == ALL:
        kept = _single(numbering)
        places = np.cumsum(kept) - 1  # of the shared classes among those of sets with one label
        return "multi-class", places[answers.classes][:, None], answers.shared[:, kept]
    task = numbering.task(name)
    if numbering.multi_label(name):
        own = numbering.own_labels(name)
        return task, answers.labels[:, own].astype(np.int64), answers.own[:, own]
    within = numbering.own_classes(name)
    chances = answers.shared[:, within].astype(np.float64)
    chances = chances / np.maximum(chances.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return task, (answers.classes - within.start)[:, None], chances


def _within(shared: Vectors, classes: Classes, numbering: Numbering) -> Classes:
    """Return the likeliest class among those of each image's own set."""
    other = numbering.set_of_class != numbering.set_of_class[classes][:, None]
    found: Classes = np.where(other, -np.inf, shared).argmax(axis=1)
    return found


def sets_right(answers: Answers, numbering: Numbering) -> npt.NDArray[np.bool_]:
    """Say of each image whether its likeliest class is one of its set."""
    true, said = sets_of(answers, numbering)
    return np.asarray(true == said)


def sets_of(
    answers: Answers, numbering: Numbering
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the true set of each image, and the one whose class is the likeliest."""
    of_class = numbering.set_of_class
    return of_class[answers.classes], of_class[answers.shared.argmax(axis=1)]


def between_sets(answers: Answers, numbering: Numbering) -> npt.NDArray[np.intp]:
    """Count images by [true set][set of the likeliest class], shape (sets, sets)."""
    counts = np.zeros((len(numbering.sets),) * 2, np.intp)
    np.add.at(counts, sets_of(answers, numbering), 1)
    return counts


def hits(answers: Answers, numbering: Numbering, name: str) -> npt.NDArray[np.float64]:
    """Return what an accuracy is the mean of, (n,): of a set, or of `ALL`, as in `score`."""
    if name != ALL and numbering.multi_label(name):
        own = numbering.own_labels(name)
        right = (answers.own[:, own] > scores.THRESHOLD) == (answers.labels[:, own] == 1)
        return np.asarray(right.mean(axis=1))
    return np.asarray(answers.shared.argmax(axis=1) == answers.classes, np.float64)


def _of_set(answers: Answers, numbering: Numbering, name: str) -> dict[str, str | int | float]:
    task, truth, chances = asked(answers, numbering, name)
    found = scores.score(task, truth, chances)
    return {
        "set": name,
        "images": len(truth),
        "classes": chances.shape[1],
        "trivial_accuracy": scores.trivial_accuracy(task, truth),
        "accuracy": float(hits(answers, numbering, name).mean()),
        "auc": found["auc"],
        "accuracy_set_known": found["accuracy"],
        "set_right": float(sets_right(answers, numbering).mean()),
    }


def intervals(
    answers: Answers,
    numbering: Numbering,
    name: str,
    confidence: float,
    resamples: int,
    random: np.random.Generator,
) -> dict[str, float]:
    """Return percentile bootstrap intervals over images, of accuracy and AUC as `score` has them.

    Parameters
    ----------
    answers
        About images of a set, or about those of all sets that carry one label (`single`).
    name
        That set, or `ALL`.
    confidence
        Such as 0.95.
    resamples
        Resamplings of the images; those without a class have no AUC, and are passed over.
    random
        Of the resampling.

    Returns
    -------
    dict
        accuracy_low, accuracy_high, auc_low, auc_high; NaN where no resampling has a score.
    """
    images = len(answers.classes)
    right, question = hits(answers, numbering, name), asked(answers, numbering, name)
    accuracies, aucs = [], []
    for drawn in range(0, resamples, AT_ONCE):
        size = min(AT_ONCE, resamples - drawn)
        weights = random.multinomial(images, np.full(images, 1 / images), size).astype(np.float64)
        accuracies.append(weights @ right / images)
        aucs.append(scores.weighted(*question, weights)["auc"])
    found = {}
    for metric, parts in (("accuracy", accuracies), ("auc", aucs)):
        values = np.concatenate(parts)
        known = values[np.isfinite(values)]
        ends = statistics.percentiles(known, confidence) if len(known) else (np.nan, np.nan)
        found[f"{metric}_low"], found[f"{metric}_high"] = ends
    return found
