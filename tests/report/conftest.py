"""A small study's results, as the steps before the report would have written them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medlabel import files
from medlabel.data.catalogue import is_phantom
from medlabel.params import ClassRole, Mixture, MixtureClass
from medlabel.randomness import stream

ENCODER = "phantom_clip_step00010"
ARM_MEANS = {"teacher": 0.87, "student": 0.955, "permuted": 0.5, "true": 0.985}
STEPS = (5, 10, 15, 20, 30, 40, 80)
QUALITY = (0.74, 0.87, 0.928, 0.969, 0.982, 0.9905, 0.9962)


@dataclass(frozen=True)
class Run:
    """The files of a synthetic study."""

    mixture: Mixture
    pool: Path
    archives: dict[str, Path]
    pseudolabels: Path
    predictions: list[Path]
    curves: list[Path]
    study: Path
    scores: Path


def mixture_of(classes: dict[str, str]) -> Mixture:
    phantom = any(map(is_phantom, classes.values()))
    return Mixture(
        name="phantom_mixture" if phantom else "breast_pneumonia",
        pool=None,
        classes=[
            MixtureClass(
                name=name,
                dataset=dataset,
                labels=None,
                train=ClassRole(splits=["train"], count=40),
                test=ClassRole(splits=["test"], count=40),
            )
            for name, dataset in classes.items()
        ],
    )


def write_archive(path: Path, brightness: int, colour: bool) -> None:
    random = stream(0, "archive", path.stem)
    shape = (40, 28, 28, 3) if colour else (40, 28, 28)
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "val", "test"):
        noise = random.integers(0, 120, shape)
        ramp = np.linspace(0, 80, 28)[:, None, None] if colour else np.linspace(0, 80, 28)[:, None]
        arrays[f"{split}_images"] = (noise + ramp + brightness).clip(0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = np.zeros((40, 1), dtype=np.uint8)
    files.write_npz(path, arrays)


def probabilities(
    random: np.random.Generator, labels: np.ndarray, classes: int, accuracy: float
) -> np.ndarray:
    wrong = random.random(len(labels)) > accuracy
    chosen = np.where(wrong, (labels + random.integers(1, classes, len(labels))) % classes, labels)
    top = random.uniform(0.55, 0.99, len(labels))
    table = np.repeat(((1 - top) / (classes - 1))[:, None], classes, axis=1)
    table[np.arange(len(labels)), chosen] = top
    return table.astype(np.float32)


def estimate(values: np.ndarray) -> dict[str, float]:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "low": float(values.mean() - half),
        "high": float(values.mean() + half),
    }


def study_of(mixture: Mixture, scores: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    metrics = ("accuracy", "f1", "auc")
    by_arm = {arm: table.set_index("seed") for arm, table in scores.groupby("arm")}
    gains = {}
    for metric in metrics:
        difference = (by_arm["student"][metric] - by_arm["teacher"][metric]).to_numpy()
        around = estimate(difference)
        gains[metric] = {
            **around,
            "image_low": around["low"] - 0.01,
            "image_high": around["high"] + 0.01,
            "wins": int((difference > 0).sum()),
            "ties": int((difference == 0).sum()),
            "losses": int((difference < 0).sum()),
            "wilcoxon_p": 1.862645149230957e-09,
            "permutation_p": 0.00019998,
            "holm_p": 0.00059994,
        }
    content = {
        "mixture": mixture.name,
        "phantom": any(map(is_phantom, mixture.datasets)),
        "classes": [entry.name for entry in mixture.classes],
        "seeds": int(scores["seed"].nunique()),
        "test_images": 468,
        "train_images": 1092,
        "confidence": 0.95,
        "resamples": 10000,
        "encoder": ENCODER,
        "trivial_accuracy": 1 / len(mixture.classes),
        "arms": {
            arm: {metric: estimate(table[metric].to_numpy()) for metric in metrics}
            for arm, table in by_arm.items()
        },
        "gains": gains,
        "curve": [checkpoint(step, at) for step, at in zip(STEPS, QUALITY, strict=True)],
        "crossing": {
            "teacher_accuracy": 0.979,
            "low": 0.972,
            "high": 0.984,
            "crossing_resamples": 0.9312,
            "seeds": 30,
        },
    }
    return content | changes


def checkpoint(step: int | None, teacher: float, name: str = "phantom_clip") -> dict[str, Any]:
    student = teacher + 1.6 * (0.979 - teacher) * (teacher - 0.5) + (0.001 if teacher > 0.98 else 0)
    return {
        "encoder": name if step is None else f"{name}_step{step:05d}",
        "step": step,
        "seeds": 30,
        "teacher_accuracy": teacher,
        "teacher_accuracy_low": teacher - 0.05 * (1 - teacher),
        "teacher_accuracy_high": teacher + 0.05 * (1 - teacher),
        "student_accuracy": student,
        "student_accuracy_low": student - 0.006,
        "student_accuracy_high": student + 0.006,
        "gain": student - teacher,
        "gain_low": student - teacher - 0.006,
        "gain_high": student - teacher + 0.006,
        "pseudolabel_accuracy": teacher - 0.004,
    }


def scores_of(seeds: int) -> pd.DataFrame:
    rows = []
    for arm, mean in ARM_MEANS.items():
        random = stream(0, "scores", arm)
        for seed in range(seeds):
            accuracy = min(1.0, float(mean + 0.012 * random.standard_normal()))
            rows.append(
                {
                    "seed": seed,
                    "arm": arm,
                    "encoder": ENCODER,
                    "accuracy": accuracy,
                    "f1": accuracy - (0.02 if arm == "teacher" else 0.002),
                    "auc": min(1.0, accuracy + 0.02),
                    "pseudolabel_accuracy": 0.866,
                }
            )
    return pd.DataFrame(rows)


def curves_of(seeds: Sequence[int], epochs: int = 20) -> pd.DataFrame:
    rows = []
    for seed in seeds:
        random = stream(0, "curves", seed)
        last = int(random.integers(epochs - 7, epochs + 1))
        for epoch in range(1, last + 1):
            loss = 0.25 + 0.45 * np.exp(-epoch / 5) + 0.02 * random.standard_normal()
            rows.append(
                {
                    "seed": np.int32(seed),
                    "epoch": epoch,
                    "train_loss": loss + 0.03,
                    "train_accuracy": 0.9 - 0.4 * np.exp(-epoch / 4),
                    "validation_loss": loss,
                    "validation_accuracy": 0.88 - 0.3 * np.exp(-epoch / 4) + 0.01 * (loss - 0.3),
                    "kept": epoch == max(1, last - 4),
                }
            )
    return pd.DataFrame(rows)


def write_run(
    folder: Path,
    classes: dict[str, str],
    seeds: int = 30,
    student: float = 0.955,
    teacher: float = 0.87,
) -> Run:
    mixture = mixture_of(classes)
    names = list(classes)
    archives = {dataset: folder / "raw" / f"{dataset}.npz" for dataset in mixture.datasets}
    colour = {"phantom_blood", "phantom_colon", "phantom_skin", "phantom_retina"}
    for index, (dataset, path) in enumerate(archives.items()):
        write_archive(path, 20 * index, dataset in colour)
    pool = pd.concat(
        pd.DataFrame(
            {
                "role": role,
                "dataset": dataset,
                "split": role,
                "row": np.arange(40, dtype=np.int32),
                "label": np.int8(label),
            }
        )
        for role in ("train", "test")
        for label, dataset in enumerate(classes.values())
    ).reset_index(drop=True)
    columns = [f"p_{name}" for name in names]
    labels = pool["label"].to_numpy()
    given = probabilities(stream(0, "teacher"), labels, len(names), teacher)
    pseudolabels = pool.assign(pseudolabel=given.argmax(axis=1).astype(np.int8))
    pseudolabels[columns] = given
    test = pool[pool["role"] == "test"]
    answered = []
    for seed in range(seeds):
        random = stream(0, "student", seed)
        drawn = test[random.random(len(test)) < 0.8].drop(columns="role")
        table = drawn.assign(seed=np.int32(seed))
        table[columns] = probabilities(
            stream(0, "student"), drawn["label"].to_numpy(), len(names), student
        )
        answered.append(table)
    half = max(1, seeds // 2)
    blocks = [range(half), range(half, seeds)]
    predictions = [folder / f"predictions_{index}.parquet" for index in range(2)]
    curves = [folder / f"curves_{index}.parquet" for index in range(2)]
    for block, prediction, curve in zip(blocks, predictions, curves, strict=True):
        files.write_parquet(prediction, pd.concat([answered[seed] for seed in block]))
        files.write_parquet(curve, curves_of(block))
    files.write_parquet(folder / "pool.parquet", pool)
    files.write_parquet(folder / "pseudolabels.parquet", pseudolabels)
    scores = scores_of(seeds)
    scores.to_csv(folder / "scores.csv", index=False)
    files.write_json(folder / "study.json", study_of(mixture, scores))
    return Run(
        mixture,
        folder / "pool.parquet",
        archives,
        folder / "pseudolabels.parquet",
        predictions,
        curves,
        folder / "study.json",
        folder / "scores.csv",
    )


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A study of two official datasets over 30 seeds."""
    return write_run(
        tmp_path_factory.mktemp("real"), {"chest": "pneumoniamnist", "breast": "breastmnist"}
    )


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A study of five phantoms, some in colour, with long names, over 2 seeds."""
    classes = {
        "colorectal_adenocarcinoma_epithelium_and_stroma": "phantom_colon",
        "colorectal_normal_mucosa_next_to_adenocarcinoma": "phantom_skin",
        "blood": "phantom_blood",
        "posteroanterior_chest_radiograph": "phantom_chest",
        "breast_ultrasound": "phantom_breast",
    }
    return write_run(tmp_path_factory.mktemp("drawn"), classes, seeds=2)


@pytest.fixture
def altered(real: Run, tmp_path: Path) -> Callable[..., Path]:
    """Write the study's results with some keys replaced; the key's value None is kept as null."""

    def write(**changes: Any) -> Path:
        target = tmp_path / "study.json"
        files.write_json(target, files.read_json(real.study, "study") | changes)
        return target

    return write


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of published values in the layout of the package's own."""
    target = tmp_path_factory.mktemp("published") / "published.csv"
    target.write_text(
        "dataset,model,recipe,image_size,epochs,acc,source,note\n"
        'breastmnist,resnet18,official,28,100,0.863,"Yang et al. 2023",\n'
        'breast_chest,openai_vit_l_14,zero_shot_train,28,,0.8049,"Capstone, report",1092 images\n'
        'breast_chest,openai_vit_l_14,zero_shot_test,28,,0.8205,"Capstone, report",468 images\n'
        'breast_chest,two_layer_cnn,student,28,20,0.9572,"Capstone, report",'
        '"30 repeats: mean gain 6 points accuracy, 8 points F1"\n',
        encoding="utf-8",
    )
    return target
