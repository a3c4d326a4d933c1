"""Small benchmarks, as `medlabel benchmark` and `medlabel compare` would have written them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medlabel import files
from medlabel.data import catalogue
from medlabel.evaluate import metrics
from medlabel.params import Benchmark, Params, Recipe
from medlabel.randomness import stream

DEVICE = "AMD EPYC 9004, 2 threads"
LONG = "pretrained_on_phantoms_then_oversampled_with_weighted_loss"
CLASSES: dict[str, int] = {"phantom_vessel3d": 2}
IMAGES = {"vesselmnist3d": 382, "breastmnist": 156, "bloodmnist": 400, "chestmnist": 300}


@dataclass(frozen=True)
class Trained:
    """One row to synthesise."""

    dataset: str
    model: str
    recipe: str
    seeds: int
    skill: float

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.model.replace(':', '.')}/{self.recipe}"


@dataclass(frozen=True)
class Bench:
    """The files of a synthetic benchmark."""

    comparison: Path
    runs: dict[str, list[Path]]
    archives: dict[str, Path]
    settings: Benchmark


REAL = (
    Trained("vesselmnist3d", "resnet18_acs", "official_3d", 2, 2.2),
    Trained("vesselmnist3d", "resnet18_acs_vit3d", LONG, 2, 1.6),
    Trained("vesselmnist3d", "vit3d", "augmented", 2, 0.6),
    Trained("breastmnist", "timm:vit_base_patch16_224.augreg_in21k_ft_in1k", "official", 1, 1.8),
    Trained("bloodmnist", "resnet18", "official", 2, 2.5),
)
MIXED = (
    *REAL[2:4],
    Trained("chestmnist", "resnet18", "official", 2, 1.0),
    Trained("phantom_vessel3d", "vit3d", "augmented", 2, 2.0),
)
DRAWN = (Trained("phantom_vessel3d", "vit3d", "augmented", 2, 2.0),)

PUBLISHED = {
    "vesselmnist3d/resnet18_acs": [
        ("official", 28, 100, 32, 0.930, 0.928, "Yang et al. 2023", "as quoted | by Abdalla 2024"),
        ("reproduction", 28, 100, 32, 0.943, 0.862, "Abdalla 2024, fig. 4.3", ""),
        ("batch_size_64", 28, 100, 64, 0.889, 0.725, "Abdalla 2024, fig. 4.4", ""),
    ],
    "vesselmnist3d/vit3d": [
        ("baseline", 28, 20, 8, 0.604, 0.887, "Abdalla 2024, fig. 4.11", ""),
        ("zero_shot", "28->224", None, None, None, 0.66, "Li Yuan, capstone report", None),
    ],
    "bloodmnist/resnet18": [
        ("official", 28, 100, 128, 0.998, 0.958, "Yang et al. 2023, Sci Data 10:41", ""),
    ],
}


def recipes(params: Params) -> dict[str, Recipe]:
    official = params.benchmark.recipes["official"]
    short = official.model_copy(update={"epochs": 8})
    volumes = official.model_copy(update={"batch_size": 32})
    augmented = short.model_copy(
        update={"augmentations": ["flip", "affine", "elastic", "noise", "intensity"]}
    )
    return {"official": short, "official_3d": volumes, LONG: short, "augmented": augmented}


def class_names(dataset: str) -> list[str]:
    if dataset in catalogue.INFO:
        return list(catalogue.source(dataset, 28).labels)
    return ["vessel", "aneurysm"]


def answers(row: Trained, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n, L) and probabilities (n, K) of a run on the test split."""
    names, n = class_names(row.dataset), IMAGES.get(row.dataset, 200)
    truth, noise = stream(0, row.dataset), stream(seed, row.name)
    if row.dataset == "chestmnist":
        labels = (truth.random((n, len(names))) < 0.15).astype(np.uint8)
        logits = row.skill * (2.0 * labels - 1) + noise.standard_normal(labels.shape)
        return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)
    weights = np.geomspace(4, 1, len(names)) if len(names) > 2 else np.array([0.75, 0.25])
    classes = truth.choice(len(names), n, p=weights / weights.sum())
    logits = row.skill * np.eye(len(names))[classes] + noise.standard_normal((n, len(names)))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return classes[:, None].astype(np.uint8), shares.astype(np.float32)


def write_run(folder: Path, row: Trained, seed: int, recipe: Recipe) -> None:
    labels, given = answers(row, seed)
    table = pd.DataFrame({"split": "test", "row": np.arange(len(labels), dtype=np.int32)})
    table[[f"label_{index}" for index in range(labels.shape[1])]] = labels
    table[[f"p_{index}" for index in range(given.shape[1])]] = given
    val = table.head(40).assign(split="val")
    files.write_parquet(folder / "predictions.parquet", pd.concat([val, table]))
    epochs = np.arange(1, recipe.epochs + 1)
    random = stream(seed, "curve", row.name)
    part = epochs / recipe.epochs
    auc = 0.97 - 0.35 * np.exp(-4 * part) + 0.01 * random.standard_normal(len(epochs))
    curve = pd.DataFrame(
        {
            "epoch": epochs.astype(np.int32),
            "learning_rate": 0.001,
            "train_loss": 0.7 * np.exp(-3 * part) + 0.004,
            "val_loss": 0.35 + 0.4 * np.exp(-4 * part) + 0.02 * random.standard_normal(len(epochs)),
            "val_auc": auc,
            "val_accuracy": auc - 0.05,
            "seconds": 2.0,
            "kept": epochs == epochs[auc.argmax()],
        }
    )
    files.write_parquet(folder / "curve.parquet", curve)
    record = {
        "dataset": row.dataset,
        "model": row.model,
        "recipe": row.recipe,
        "seed": seed,
        "settings": recipe.model_dump(mode="json"),
        "device": DEVICE,
        "precision": "fp32",
        "parameters": 11_000_000,
        "epochs": recipe.epochs,
        "best_epoch": int(epochs[auc.argmax()]),
        "seconds": 75.0,
        "task": task_of(row.dataset),
        "phantom": catalogue.is_phantom(row.dataset),
        "start": "random",
        "versions": {"torch": "2.13.0", "timm": "1.0.20", "monai": "1.6.0"},
    }
    files.write_json(folder / "run.json", record)


def task_of(dataset: str) -> str:
    return catalogue.INFO.get(dataset, {"task": "binary-class"})["task"]


def estimate(values: Sequence[float], half: float) -> dict[str, Any]:
    mean = float(np.mean(values))
    return {
        "mean": mean,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "low": max(0.0, mean - half),
        "high": min(1.0, mean + half),
        "seeds": list(values),
    }


def scored(row: Trained, recipe: Recipe) -> dict[str, Any]:
    runs = [answers(row, seed) for seed in range(row.seeds)]
    names = class_names(row.dataset)
    multi_label = runs[0][0].shape[1] > 1
    n = len(runs[0][0])
    if multi_label:
        each = [
            [
                metrics.score(y[:, i], np.stack([1 - p[:, i], p[:, i]], axis=1))
                for i in range(len(names))
            ]
            for y, p in runs
        ]
        found = [
            {key: float(np.mean([one[key] for one in labels])) for key in ("auc", "accuracy", "f1")}
            for labels in each
        ]
        confusion, trivial = None, float(1 - runs[0][0].mean())
    else:
        found = [metrics.score(y[:, 0], p) for y, p in runs]
        counts = np.zeros((len(names), len(names)), dtype=int)
        for y, p in runs:
            np.add.at(counts, (y[:, 0], p.argmax(axis=1)), 1)
        confusion = counts.tolist()
        trivial = float(np.bincount(runs[0][0][:, 0]).max() / n)
    columns = {key: [one[key] for one in found] for key in ("auc", "accuracy", "f1")}
    columns["balanced_accuracy"] = [value - 0.03 for value in columns["accuracy"]]
    columns["average_precision"] = [value - 0.1 for value in columns["auc"]]
    columns["calibration_error"] = [0.04 + 0.001 * seed for seed in range(row.seeds)]
    judged = {key: estimate(values, float(1 / np.sqrt(n))) for key, values in columns.items()}
    return {
        "dataset": row.dataset,
        "model": row.model,
        "recipe": row.recipe,
        "seeds": row.seeds,
        "task": task_of(row.dataset),
        "phantom": catalogue.is_phantom(row.dataset),
        "images": n,
        "classes": names,
        "parameters": 11_000_000,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "image_size": recipe.image_size,
        "enlarge_to": recipe.enlarge_to,
        "precision": "fp32",
        "device": DEVICE,
        "start": "random",
        "seconds": 75.0,
        "metrics": judged,
        "recall": [0.5 + 0.4 / (index + 1) for index in range(len(names))],
        "confusion": confusion,
        "trivial_accuracy": trivial,
        "published": published(row, judged),
    }


def published(row: Trained, judged: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = []
    for recipe, size, epochs, batch, auc, accuracy, source, note in PUBLISHED.get(
        f"{row.dataset}/{row.model}", []
    ):
        entry = {
            "model": row.model,
            "recipe": recipe,
            "image_size": size,
            "epochs": epochs,
            "batch_size": batch,
            "source": source,
            "note": note,
        }
        for name, value in (("auc", auc), ("accuracy", accuracy)):
            ours = judged[name]
            known = value is not None
            entry[name] = value
            entry[f"{name}_difference"] = ours["mean"] - value if known else None
            entry[f"{name}_within"] = ours["low"] <= value <= ours["high"] if known else None
        entries.append(entry)
    return entries


def compared(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    pairs = []
    for place, first in enumerate(rows):
        for second in rows[place + 1 :]:
            if first["dataset"] != second["dataset"]:
                continue
            for metric in ("auc", "accuracy"):
                difference = first["metrics"][metric]["mean"] - second["metrics"][metric]["mean"]
                clear = abs(difference) > 0.08
                pairs.append(
                    {
                        "dataset": first["dataset"],
                        "first": f"{first['model']}/{first['recipe']}",
                        "second": f"{second['model']}/{second['recipe']}",
                        "metric": metric,
                        "difference": difference,
                        "low": difference - 0.05,
                        "high": difference + 0.05,
                        "p": 0.00002 if clear else 0.21,
                        "p_holm": 0.00012 if clear else 0.84,
                    }
                )
    return pairs


def write_archive(path: Path, dataset: str) -> None:
    """Write an archive of bright balls, whose radius is the class, in noise."""
    random = stream(0, "archive", dataset)
    volumetric = catalogue.is_volumetric(dataset)
    colour = catalogue.INFO.get(dataset, {"n_channels": 1})["n_channels"] == 3
    names, axes = class_names(dataset), 3 if volumetric else 2
    n = 2 * len(names)
    grid = np.stack(np.meshgrid(*[np.arange(28)] * axes, indexing="ij"))
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "val", "test"):
        classes = np.arange(n) % len(names)
        middles = random.uniform(10, 18, (n, axes))
        images = np.stack(
            [
                np.hypot.reduce(grid - middle.reshape(-1, *[1] * axes)) < 4 + label
                for middle, label in zip(middles, classes, strict=True)
            ]
        )
        images = (160 * images + random.integers(0, 60, images.shape)).astype(np.uint8)
        arrays[f"{split}_images"] = np.stack([images] * 3, axis=-1) if colour else images
        labels = np.eye(len(names))[classes] if dataset == "chestmnist" else classes[:, None]
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    files.write_npz(path, arrays)


def write_bench(
    folder: Path, rows: Sequence[Trained], datasets: Sequence[str], params: Params
) -> Bench:
    known = recipes(params)
    runs: dict[str, list[Path]] = {}
    for row in rows:
        runs[row.name] = [folder / row.name / f"{seed:03d}" for seed in range(row.seeds)]
        for seed, run in enumerate(runs[row.name]):
            write_run(run, row, seed, known[row.recipe])
    found = [scored(row, known[row.recipe]) for row in rows]
    content = {
        "preset": "laptop",
        "confidence": 0.95,
        "resamples": 1000,
        "devices": [DEVICE],
        "rows": found,
        "comparisons": compared(found),
    }
    files.write_json(folder / "laptop.json", content)
    archives = {dataset: folder / f"{dataset}.npz" for dataset in datasets}
    for dataset, path in archives.items():
        write_archive(path, dataset)
    settings = params.benchmark.model_copy(update={"name": "laptop", "recipes": known})
    return Bench(folder / "laptop.json", runs, archives, settings)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory, default_params: Params) -> Bench:
    """Three official datasets: volumes in three rows over two seeds, and images."""
    return write_bench(tmp_path_factory.mktemp("real"), REAL, ["vesselmnist3d"], default_params)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory, default_params: Params) -> Bench:
    """Official datasets, one with several labels an image, beside a phantom."""
    datasets = ["vesselmnist3d", "phantom_vessel3d"]
    return write_bench(tmp_path_factory.mktemp("mixed"), MIXED, datasets, default_params)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory, default_params: Params) -> Bench:
    """A phantom alone."""
    folder = tmp_path_factory.mktemp("drawn")
    return write_bench(folder, DRAWN, ["phantom_vessel3d"], default_params)


@pytest.fixture(scope="session")
def flat(tmp_path_factory: pytest.TempPathFactory, default_params: Params) -> Bench:
    """Images of many classes, none of them a volume, and no augmentation."""
    rows, datasets = REAL[3:], ["breastmnist", "bloodmnist"]
    return write_bench(tmp_path_factory.mktemp("flat"), rows, datasets, default_params)


@pytest.fixture
def altered(real: Bench, tmp_path: Path) -> Callable[..., Bench]:
    """Write the results with some keys of the first row, or of the whole, replaced."""

    def write(row: Mapping[str, Any] | None = None, **changes: Any) -> Bench:
        content = files.read_json(real.comparison, "compare") | changes
        content["rows"][0] |= row or {}
        target = tmp_path / "altered.json"
        files.write_json(target, content)
        return replace(real, comparison=target)

    return write
