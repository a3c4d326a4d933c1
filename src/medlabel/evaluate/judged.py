"""Teachers and trained networks on the test images of each seed: scores, and resampled scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medlabel import files
from medlabel.data import catalogue, mixtures
from medlabel.errors import MedlabelError
from medlabel.evaluate import scores
from medlabel.evaluate.scores import Floats, Labels, Probabilities
from medlabel.labels import selection
from medlabel.params import Mixture

IMAGE = ["dataset", "split", "row"]
WEIGHTS = 8_000_000  # of images in resamples at a time: bounds memory only


@dataclass(frozen=True)
class Test:
    """The test images of one seed, with their truth, and their places among those of all seeds."""

    images: pd.DataFrame
    places: Labels

    @property
    def labels(self) -> Labels:
        """The truth, shape (n, L)."""
        labels: Labels = self.images[_labels(self.images)].to_numpy(np.intp)
        return labels


@dataclass
class Judged:
    """One teacher or training, judged on some seeds.

    Attributes
    ----------
    answers
        Probabilities of each seed, (n, K).
    values, replicates
        Each metric on the images as they are, (seeds,), and resampled, (resamples, seeds).
    right
        Part of the labels to learn from that is right, of each seed; teachers only.
    """

    name: str
    answers: list[Probabilities]
    values: dict[str, Floats] = field(default_factory=dict)
    replicates: dict[str, Floats] = field(default_factory=dict)
    right: Floats | None = None


@dataclass(frozen=True)
class Bench:
    """What all that is trained on the same images is judged on: the test images of each seed.

    `trains` are the images to label, of each seed, with ``label``; none for official files.
    """

    name: str
    task: str
    tests: list[Test]
    trains: list[pd.DataFrame]

    @property
    def truth(self) -> Labels:
        """Labels of the test images of all seeds, (N, L)."""
        labels: Labels = np.concatenate([test.labels for test in self.tests])
        return labels


def of_mixture(name: str, mixture: Mixture, pool: Path, seeds: int, seed: int) -> Bench:
    """Draw the images of each seed of a mixture.

    Raises
    ------
    MedlabelError
        When the pool is missing, damaged, or too small.
    """
    table = mixtures.read_pool(pool)
    draws = [mixtures.draw(mixture, table, one, seed) for one in range(seeds)]
    tests = [draw[draw["role"] == "test"].rename(columns={"label": "label_0"}) for draw in draws]
    task = catalogue.task_of(len(mixture.class_names))
    trains = [draw[draw["role"] == "train"] for draw in draws]
    return Bench(name, task, _placed(tests), trains)


def of_file(name: str, task: str, predictions: pd.DataFrame, seeds: int) -> Bench:
    """Take the test images of an official file from a training's answers to them."""
    first = predictions[predictions["seed"] == predictions["seed"].min()]
    return Bench(name, task, _placed([first]) * seeds, [])


def _labels(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if name.startswith("label_")]


def _placed(tests: Sequence[pd.DataFrame]) -> list[Test]:
    together = pd.concat(tests)
    places = together.groupby(IMAGE, observed=True).ngroup().to_numpy()
    parts = np.split(places, np.cumsum([len(test) for test in tests])[:-1])
    columns = [*IMAGE, *_labels(together)]
    return [
        Test(test[columns].reset_index(drop=True), part)
        for test, part in zip(tests, parts, strict=True)
    ]


def read_predictions(paths: Sequence[Path]) -> pd.DataFrame:
    """Read what trainings answered on their test images, one file a block of seeds.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged.
    """
    columns = ["seed", "role", *IMAGE, "label_0", "p_0"]
    table = pd.concat([files.read_parquet(path, "train", columns) for path in paths])
    return table[table["role"] == "test"]


def trained(name: str, bench: Bench, seeds: int, predictions: pd.DataFrame, source: Path) -> Judged:
    """Align a training's answers with the test images of its seeds.

    Raises
    ------
    MedlabelError
        When it answered other images, or a seed is missing.
    """
    parts = dict(iter(predictions.groupby("seed")))
    if missing := [one for one in range(seeds) if one not in parts]:
        raise MedlabelError(
            f"{source}: expected seeds 0 to {seeds - 1}, found none of seed {missing[0]}; run "
            f"`snakemake` to train it."
        )
    answers = [
        _aligned(test, parts[one].drop(columns=["seed", "role"]), source)
        for one, test in enumerate(bench.tests[:seeds])
    ]
    return Judged(name, answers)


def teacher(
    name: str, bench: Bench, path: Path, classes: Sequence[str], top_k: int | None
) -> Judged:
    """Align a teacher's answers with the test images, and rate its labels of the training images.

    `path` holds its labels of `classes`, in label order; of each class `top_k` are learnt from, as
    `labels.selection.select` takes them.

    Raises
    ------
    MedlabelError
        When the labels are missing, damaged, or of other images.
    """
    names = {f"p_{name}": f"p_{index}" for index, name in enumerate(classes)}
    columns = ["role", *IMAGE, "label", "pseudolabel", *names]
    table = files.read_parquet(path, "pseudolabel", columns)
    held_out = table[table["role"] == "test"].rename(columns=names | {"label": "label_0"})
    held_out = held_out.drop(columns=["role", "pseudolabel"])
    answers = [_aligned(test, held_out, path) for test in bench.tests]
    learnt = table[table["role"] == "train"].drop(columns=["role", "label"])
    right = [_right(train, learnt, top_k, path) for train in bench.trains]
    return Judged(name, answers, right=np.array(right))


def _aligned(test: Test, table: pd.DataFrame, source: Path) -> Probabilities:
    joined = test.images.merge(table, on=IMAGE, how="left", suffixes=("", "_given"))
    names = [name for name in joined.columns if name.startswith("p_")]
    answers: Probabilities = joined[names].to_numpy(np.float64)
    labels = _labels(test.images)
    same = len(joined) == len(test.images) and np.isfinite(answers).all()
    if not same or not all((joined[name] == joined[f"{name}_given"]).all() for name in labels):
        raise MedlabelError(
            f"{source}: expected one row of finite probabilities for each test image, with its "
            f"label, found others; delete the file and run `snakemake` again."
        )
    return answers


def _right(train: pd.DataFrame, learnt: pd.DataFrame, top_k: int | None, source: Path) -> float:
    joined = train.merge(learnt, on=IMAGE)
    if len(joined) != len(train):
        raise MedlabelError(
            f"{source}: expected one label for each training image, found others; delete the file "
            f"and run `snakemake` again."
        )
    chosen = selection.select(joined, top_k)
    return float((chosen["pseudolabel"] == chosen["label"]).mean())


def score(
    bench: Bench, judged: Sequence[Judged], resamples: int, random: np.random.Generator
) -> None:
    """Fill in `values` and `replicates` of all that is judged on the same images, resampled alike.

    Raises
    ------
    MedlabelError
        When a class has no test image, which leaves scores undefined.
    """
    for one in judged:
        each = [
            scores.score(bench.task, test.labels, answers)
            for test, answers in zip(bench.tests, one.answers, strict=False)
        ]
        one.values = {metric: np.array([got[metric] for got in each]) for metric in scores.METRICS}
        if np.isnan(np.stack(list(one.values.values()))).any():
            raise MedlabelError(
                f"{bench.name}: a class has no test image, so that scores of {one.name} are "
                f"undefined; give the mixture or phantoms more test images."
            )
        one.replicates = {metric: np.empty((resamples, len(each))) for metric in scores.METRICS}
    images = max(int(test.places.max()) for test in bench.tests) + 1
    for part, weights in _weightings(images, resamples, random):
        for place, test in enumerate(bench.tests):
            of_seed = weights[:, test.places]
            for one in judged:
                if place < len(one.answers):
                    found = scores.weighted(bench.task, test.labels, one.answers[place], of_seed)
                    for metric, values in found.items():
                        one.replicates[metric][part, place] = values


def _weightings(
    count: int, resamples: int, random: np.random.Generator
) -> Iterator[tuple[slice, Floats]]:
    """Count how often each image is drawn in so many resamplings of all of them, by chunks."""
    chunk = max(1, WEIGHTS // count)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = random.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield slice(start, start + size), counts.astype(np.float64)


def recall(bench: Bench, judged: Sequence[Judged]) -> list[float]:
    """Return the recall of each class, mean over all seeds of all given."""
    found = [scores.recall(bench.task, *pair) for pair in _pairs(bench, judged)]
    means: list[float] = np.mean(found, axis=0).tolist()
    return means


def confusion(bench: Bench, judged: Sequence[Judged]) -> list[list[int]] | None:
    """Count [true class][answered class] over all seeds of all given; None for multi-label."""
    if catalogue.is_multi_label(bench.task):
        return None
    counts: Any = sum(scores.confusion(bench.task, *pair) for pair in _pairs(bench, judged))
    rows: list[list[int]] = counts.tolist()
    return rows


def _pairs(bench: Bench, judged: Sequence[Judged]) -> Iterator[tuple[Labels, Probabilities]]:
    for one in judged:
        for test, answers in zip(bench.tests, one.answers, strict=False):
            yield test.labels, answers
