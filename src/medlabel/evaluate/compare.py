"""The benchmark's table: every row with its interval, beside the published values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medlabel import files
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.evaluate import classification, statistics
from medlabel.evaluate.classification import Floats, Labels, Probabilities
from medlabel.params import Benchmark, Row
from medlabel.randomness import stream

WEIGHTS = 4_000_000  # of images in resamples at a time: bounds memory only
COMPARED = ("auc", "accuracy")
PUBLISHED_METRICS = {"auc": "auc", "accuracy": "acc"}  # ours, and the reference table's column
PHANTOM_CLASSES = ["vessel", "aneurysm"]


@dataclass(frozen=True)
class Run:
    """One run's answers on the test split.

    Attributes
    ----------
    record
        Its `run.json`.
    rows
        Of the images in the archive.
    labels
        Shape (n, L).
    probabilities
        Shape (n, K).
    """

    record: dict[str, Any]
    rows: Labels
    labels: Labels
    probabilities: Probabilities

    @property
    def task(self) -> str:
        """MedMNIST's task."""
        return str(self.record["task"])


@dataclass(frozen=True)
class _Scored:
    """A row's runs, and each metric under each resampling of the images, (resamples, seeds)."""

    row: Row
    runs: list[Run]
    replicates: dict[str, Floats]

    @property
    def scores(self) -> dict[str, Floats]:
        """Each metric of each seed on the images as they are."""
        each = [classification.score(run.task, run.labels, run.probabilities) for run in self.runs]
        return {name: np.array([one[name] for one in each]) for name in classification.METRICS}


def write(
    *,
    runs: Mapping[str, Sequence[Path]],
    settings: Benchmark,
    published: Path,
    seed: int,
    target: Path,
    table: Path,
) -> None:
    """Score every row, compare every two of a dataset, and write both with the published values.

    Parameters
    ----------
    runs
        Folders of the runs of each row, by the row's name.
    settings
        The benchmark.
    published
        Table of published values with their sources.
    seed
        Root of the random streams.
    target, table
        JSON and CSV to write.

    Raises
    ------
    MedlabelError
        When a run is missing or damaged, or runs of one dataset judge different images.
    """
    references = read_published(published)
    scored = [
        _scored(row, [read_run(folder) for folder in runs[row.name]], settings.resamples, seed)
        for row in settings.rows
    ]
    _require_same_images(scored)
    entries = [_entry(one, references, settings.confidence, seed) for one in scored]
    content = {
        "preset": settings.name,
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "devices": sorted({entry["device"] for entry in entries}),
        "rows": entries,
        "comparisons": list(_comparisons(scored, settings.confidence, seed)),
    }
    files.write_json(target, content)
    with files.replacing(table) as partial:
        pd.DataFrame([_line(entry) for entry in entries]).to_csv(partial, index=False)


def read_run(folder: Path) -> Run:
    """Read what a run answered on the test split.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or a probability is not a number.
    """
    path = folder / "predictions.parquet"
    table = files.read_parquet(path, "benchmark", ["split", "row", "label_0", "p_0"])
    record = files.read_json(folder / "run.json", "benchmark")
    test = table[table["split"] == "test"]
    parts = [
        test[[name for name in test.columns if name.startswith(prefix)]].to_numpy()
        for prefix in ("label_", "p_")
    ]
    if not np.isfinite(parts[1]).all():
        raise MedlabelError(
            f"{path}: expected probabilities, found values that are not finite; delete the folder "
            f"and run `medlabel benchmark` again."
        )
    return Run(record, test["row"].to_numpy(), parts[0].astype(np.intp), parts[1])


def read_published(path: Path) -> pd.DataFrame:
    """Read the table of published values.

    Raises
    ------
    MedlabelError
        When it is missing, or a value has no source.
    """
    table = pd.read_csv(files.require(path, "compare"))
    if table["source"].isna().any():
        line = int(np.flatnonzero(table["source"].isna())[0]) + 2
        raise MedlabelError(f"{path}: line {line} has no source; every value needs one.")
    return table


def _scored(row: Row, runs: list[Run], resamples: int, seed: int) -> _Scored:
    each = [_replicates(run, resamples, seed, row.dataset) for run in runs]
    return _Scored(
        row,
        runs,
        {name: np.column_stack([one[name] for one in each]) for name in classification.METRICS},
    )


def _replicates(run: Run, resamples: int, seed: int, dataset: str) -> dict[str, Floats]:
    """Measure one run under resamplings of the images that all runs of a dataset share."""
    random = stream(seed, "benchmark", "images", dataset)
    count = len(run.labels)
    chunk = max(1, WEIGHTS // count)
    parts = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        weights = random.multinomial(count, np.full(count, 1 / count), size=size)
        parts.append(
            classification.weighted(
                run.task, run.labels, run.probabilities, weights.astype(np.float64)
            )
        )
    return {name: np.concatenate([one[name] for one in parts]) for name in classification.METRICS}


def _require_same_images(scored: list[_Scored]) -> None:
    first: dict[str, Run] = {}
    for one in scored:
        for run in one.runs:
            known = first.setdefault(one.row.dataset, run)
            same = np.array_equal(known.rows, run.rows) and np.array_equal(known.labels, run.labels)
            if not same:
                raise MedlabelError(
                    f"{one.row.name}: its test images are not those of "
                    f"{known.record['model']}/{known.record['recipe']}; both were trained on other "
                    f"files of {one.row.dataset}: delete one of the folders and run again."
                )


def _entry(
    scored: _Scored, references: pd.DataFrame, confidence: float, seed: int
) -> dict[str, Any]:
    row, first = scored.row, scored.runs[0]
    settings = first.record["settings"]
    estimates = _estimates(scored, confidence, seed)
    return {
        "dataset": row.dataset,
        "model": row.model,
        "recipe": row.recipe,
        "seeds": len(scored.runs),
        **{key: first.record[key] for key in ("task", "phantom", "parameters", "epochs")},
        **{key: first.record[key] for key in ("precision", "device", "start")},
        **{key: settings[key] for key in ("batch_size", "image_size", "enlarge_to")},
        "images": len(first.labels),
        "classes": _class_names(row.dataset),
        "seconds": float(np.mean([run.record["seconds"] for run in scored.runs])),
        "metrics": estimates,
        "recall": np.mean(
            [classification.recall(run.task, run.labels, run.probabilities) for run in scored.runs],
            axis=0,
        ).tolist(),
        "confusion": _confusion(scored.runs),
        "trivial_accuracy": _trivial_accuracy(first),
        "published": _published(row, estimates, references),
    }


def _class_names(dataset: str) -> list[str]:
    if catalogue.is_phantom(dataset):
        return PHANTOM_CLASSES
    labels = catalogue.INFO[dataset]["label"]
    return [labels[str(index)] for index in range(len(labels))]


def _estimates(scored: _Scored, confidence: float, seed: int) -> dict[str, dict[str, Any]]:
    random = stream(seed, "benchmark", "seeds", scored.row.dataset)
    estimates = {}
    for name, values in scored.scores.items():
        low, high = statistics.crossed_interval(scored.replicates[name], confidence, random)
        estimates[name] = {
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
            "low": low,
            "high": high,
            "seeds": values.tolist(),
        }
    return estimates


def _confusion(runs: list[Run]) -> list[list[int]] | None:
    if runs[0].task.startswith("multi-label"):
        return None
    classes = runs[0].probabilities.shape[1]
    counts = np.zeros((classes, classes), dtype=np.intp)
    for run in runs:
        answered = classification.predictions(run.task, run.probabilities)
        np.add.at(counts, (run.labels[:, 0], answered[:, 0]), 1)
    return counts.tolist()


def _trivial_accuracy(run: Run) -> float:
    """Accuracy of the commonest class; of denying every label where there are several."""
    if run.task.startswith("multi-label"):
        return float((run.labels == 0).mean())
    return float(np.bincount(run.labels[:, 0]).max() / len(run.labels))


def _published(
    row: Row, estimates: Mapping[str, Mapping[str, Any]], references: pd.DataFrame
) -> list[dict[str, Any]]:
    """Give every published value of the same dataset and model, whatever its recipe."""
    model = row.model.removeprefix("timm:")
    same = references[(references["dataset"] == row.dataset) & (references["model"] == model)]
    found = []
    for record in same.astype(object).where(same.notna(), None).to_dict("records"):
        entry = {key: record[key] for key in ("model", "recipe", "image_size", "source", "note")}
        for key in ("epochs", "batch_size"):
            entry[key] = None if record[key] is None else int(record[key])
        for name, column in PUBLISHED_METRICS.items():
            entry |= _beside(name, record[column], estimates[name])
        found.append(entry)
    return found


def _beside(name: str, value: float | None, estimate: Mapping[str, Any]) -> dict[str, Any]:
    known = value is not None
    return {
        name: value,
        f"{name}_difference": estimate["mean"] - value if known else None,
        f"{name}_within": estimate["low"] <= value <= estimate["high"] if known else None,
    }


def _comparisons(scored: list[_Scored], confidence: float, seed: int) -> Iterator[dict[str, Any]]:
    """Compare every two rows of a dataset; Holm's family is a dataset's pairs in one metric."""
    datasets = dict.fromkeys(one.row.dataset for one in scored)
    for dataset, name in itertools.product(datasets, COMPARED):
        rows = [one for one in scored if one.row.dataset == dataset]
        family = [
            compare(first, second, name, confidence, seed)
            for first, second in itertools.combinations(rows, 2)
        ]
        adjusted = statistics.holm([one["p"] for one in family]) if family else []
        for one, p in zip(family, adjusted, strict=True):
            yield one | {"p_holm": p}


def compare(
    first: _Scored, second: _Scored, name: str, confidence: float, seed: int
) -> dict[str, Any]:
    """Compare two rows on the same resampled images, repeat by repeat.

    The interval is that of the mean difference over the repeats that both have. Its p is twice the
    part of the resampled differences beyond zero, each count raised by one so that it is never 0
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.2).
    """
    seeds = min(len(first.runs), len(second.runs))
    observed = float((first.scores[name][:seeds] - second.scores[name][:seeds]).mean())
    replicates = first.replicates[name][:, :seeds] - second.replicates[name][:, :seeds]
    random = stream(seed, "benchmark", "seeds", first.row.dataset)
    drawn = random.integers(seeds, size=replicates.shape)
    means = np.take_along_axis(replicates, drawn, axis=1).mean(axis=1)
    means = means[~np.isnan(means)]
    low, high = statistics.percentiles(means, confidence)
    rounding = statistics.ROUNDING
    beyond = min(np.count_nonzero(means <= rounding), np.count_nonzero(means >= -rounding))
    return {
        "dataset": first.row.dataset,
        "first": f"{first.row.model}/{first.row.recipe}",
        "second": f"{second.row.model}/{second.row.recipe}",
        "metric": name,
        "difference": observed,
        "low": low,
        "high": high,
        "p": min(1.0, 2 * (int(beyond) + 1) / (len(means) + 1)),
    }


def _line(entry: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("dataset", "model", "recipe", "seeds", "images", "epochs", "precision", "device")
    line = {key: entry[key] for key in keys} | {"seconds": round(entry["seconds"], 1)}
    for name, estimate in entry["metrics"].items():
        line |= {f"{name}_{key}": estimate[key] for key in ("mean", "sd", "low", "high")}
    return line
