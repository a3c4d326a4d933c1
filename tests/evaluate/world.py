"""A workspace of made-up files, as the steps before evaluation would have written them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from medlabel import files
from medlabel.data import catalogue, mixtures, vectors
from medlabel.layout import Layout
from medlabel.params import Cell, EncoderReference, Mixture, Params, Trained, overlay, pool_name
from medlabel.randomness import stream
from medlabel.training.record import RunRecord, SeedRecord

DEVICE = "AMD EPYC 9004, 2 threads"
RIGHT = {"student": 0.95, "permuted": 0.5, "true": 0.98}
SPARE = 6  # images of a class and role beyond those that a seed draws
EPOCHS = 6


def changed(params: Params, **changes: Any) -> Params:
    """Return parameters with some keys replaced, whole parts of them."""
    content = params.model_dump(mode="json")
    overlay(content, changes)
    return Params.model_validate(content)


class World:
    """The files of studies, in one folder.

    `right` says how often each answers rightly: by network, by encoder, by arm. All teachers have
    the same `record` beside their weights, and know the same words.
    """

    record: ClassVar[dict[str, Any]] = {
        part: {
            "name": f"some {part}",
            "source": f"{part} package",
            "version": "0.1",
            "licence": "MIT",
            "sha256": f"{part} cafe",
        }
        for part in ("tower", "words")
    }
    unknown_words: ClassVar[dict[str, str]] = {"breast": "bosom echo", "elsewhere": "nothing"}

    def __init__(self, folder: Path, params: Params, right: Mapping[str, float] | None = None):
        self.params, self.right = params, RIGHT | dict(right or {})
        self.layout = Layout(str(folder / "data"), str(folder / "results"))

    def add(self, study: str) -> World:
        """Write everything that a study reads."""
        for cell in self.params.grids[study]:
            self._add_images(cell)
            for teacher, student in zip(cell.teachers, self._students(cell), strict=False):
                self._add_teacher(teacher, student)
            for arm, group in self.params.students(cell, study).items():
                for one in group:
                    self._add_training(one, arm, cell.seeds)
        return self

    def _students(self, cell: Cell) -> list[Trained]:
        return [cell.student(run) for run in range(len(cell.teachers))]

    def _add_images(self, cell: Cell) -> None:
        mixture = self.params.every_mixture.get(cell.images)
        whole = self.params.mixtures.get(pool_name(cell.images))
        for name, path in self.layout.archives(mixture or cell.images).items():
            if not Path(path).exists():
                write_archive(Path(path), name)
        if whole is not None and not Path(self.layout.pool_of(cell.images)).exists():
            files.write_parquet(Path(self.layout.pool_of(cell.images)), pool_of(whole))

    def _add_teacher(self, teacher: EncoderReference, student: Trained) -> None:
        files.write_json(
            Path(self.layout.encoder(teacher)) / "provenance.json",
            {
                "weights_sha256": "c0ffee",
                "settings": {"steps": [1, 2]},
                **self._curve(teacher),
                **self.record,
            },
        )
        self._add_words(teacher, student)
        mixture = self.params.every_mixture[student.images]
        pool = mixtures.read_pool(Path(self.layout.pool_of(student.images)))
        pool = pool[pool["class"].isin(mixture.class_names)].reset_index(drop=True)
        truth = pool["class"].map(mixture.class_names.index).to_numpy()
        right = self.right.get(str(teacher), self.right.get(str(teacher.of_run(0)), 0.87))
        given = answers(truth, len(mixture.classes), right, str(teacher), student.images)
        table = pool.drop(columns="class").assign(
            label=truth.astype(np.int8), pseudolabel=given.argmax(axis=1).astype(np.int8)
        )
        table[[f"p_{name}" for name in mixture.class_names]] = given
        files.write_parquet(Path(self.layout.labels(student.images, student.labels)), table)

    def _curve(self, teacher: EncoderReference) -> dict[str, Any]:
        if self.params.encoders[teacher.name].kind != "locked":
            return {}
        points = [
            {"epoch": epoch, "loss": 1 / epoch, "validation_accuracy": 1 - 0.5 / epoch}
            for epoch in (1, 2, 3)
        ]
        return {"curve": points}

    def _add_words(self, teacher: EncoderReference, student: Trained) -> None:
        _, prompts, _ = student.taught
        references = map(str, self.params.teachers(teacher.name))
        note = {"unknown_words": dict.fromkeys(references, self.unknown_words)}
        classes = pd.DataFrame({"class": list(self.params.labels_wanted(prompts))})
        with files.replacing(Path(self.layout.words(teacher.name, prompts))) as partial:
            pq.write_table(vectors.with_vectors(classes, {}, note), partial)

    def _add_training(self, one: Trained, arm: str, seeds: int) -> None:
        mixture = self.params.every_mixture.get(one.images)
        names = self.params.training(one).class_names
        dataset = None if mixture else catalogue.parse(one.images)[0]
        task = task_of(mixture, dataset)
        right = self.right.get(one.network, self.right[arm])
        for block in self.params.blocks(one, seeds):
            first, last = map(int, block.split("-"))
            tests = {seed: self._test(mixture, one, seed) for seed in range(first, last + 1)}
            parts = [
                table.assign(seed=np.int32(seed), role="test").join(
                    given_by(task, labels, len(names), right, one.name, seed)
                )
                for seed, (table, labels) in tests.items()
            ]
            folder = Path(self.layout.training(one.name, block))
            shuffled = pd.concat(parts).sample(frac=1, random_state=1)
            val = shuffled.head(9).assign(role="val")
            files.write_parquet(folder / "predictions.parquet", pd.concat([val, shuffled]))
            files.write_parquet(folder / "curves.parquet", curves_of(list(tests)))
            record = RunRecord(
                images=one.images,
                labels=one.labels,
                network=one.network,
                recipe=one.recipe,
                block=block,
                settings=self.params.training(one).trigger(),
                classes=names,
                task=task,
                phantom=mixture.phantom if mixture else catalogue.is_phantom(str(dataset)),
                train_images=400,
                test_images=len(tests[first][0]),
                parameters=103_132,
                device=DEVICE,
                precision="fp32",
                start="random",
                teacher=None,
                versions={"torch": "2.13.0", "timm": "1.0.20"},
                code="0123456789abcdef",
                seeds=[
                    SeedRecord(seed=seed, epochs=EPOCHS, best_epoch=4, seconds=1.0)
                    for seed in tests
                ],
            )
            files.write_json(folder / "run.json", record.model_dump(mode="json"))

    def _test(
        self, mixture: Mixture | None, one: Trained, seed: int
    ) -> tuple[pd.DataFrame, np.ndarray]:
        if mixture is None:
            return official(one.images)
        pool = mixtures.read_pool(Path(self.layout.pool_of(one.images)))
        draw = mixtures.draw(mixture, pool, seed, self.params.seed)
        test = draw[draw["role"] == "test"].drop(columns="role").reset_index(drop=True)
        labels = test.pop("label").to_numpy()[:, None]
        return test.assign(label_0=labels[:, 0].astype(np.int16)), labels


def task_of(mixture: Mixture | None, dataset: str | None) -> str:
    if mixture is not None:
        return "binary-class" if len(mixture.classes) == 2 else "multi-class"
    return str(catalogue.INFO.get(str(dataset), {"task": "binary-class"})["task"])


def pool_of(mixture: Mixture) -> pd.DataFrame:
    rows: list[pd.DataFrame] = []
    taken: dict[tuple[str, str], int] = {}
    for role in ("train", "test"):
        for entry in mixture.classes:
            part = getattr(entry, role)
            split = part.splits[0]
            first = taken.get((entry.dataset, split), 0)
            count = (part.count or 30) + SPARE
            taken[entry.dataset, split] = first + count
            rows.append(
                pd.DataFrame(
                    {
                        "role": role,
                        "dataset": entry.dataset,
                        "split": split,
                        "row": np.arange(first, first + count, dtype=np.int32),
                        "class": entry.name,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def answers(truth: np.ndarray, classes: int, right: float, *purpose: Any) -> np.ndarray:
    """Name the true class in a part `right` of all cases, float32 (n, classes)."""
    random = stream(0, "answers", *purpose)
    wrong = random.random(len(truth)) > right
    chosen = np.where(wrong, (truth + random.integers(1, classes, len(truth))) % classes, truth)
    top = random.uniform(0.51, 0.99, len(truth))
    table = np.repeat(((1 - top) / (classes - 1))[:, None], classes, axis=1)
    table[np.arange(len(truth)), chosen] = top
    return np.asarray(table, dtype=np.float32)


def given_by(
    task: str, labels: np.ndarray, classes: int, right: float, *purpose: Any
) -> pd.DataFrame:
    if task.startswith("multi-label"):
        columns = [answers(labels[:, i], 2, right, *purpose, i)[:, 1] for i in range(classes)]
        table = np.stack(columns, axis=1)
    else:
        table = answers(labels[:, 0], classes, right, *purpose)
    return pd.DataFrame(table, columns=[f"p_{index}" for index in range(classes)])


def official(images: str, count: int = 200) -> tuple[pd.DataFrame, np.ndarray]:
    dataset, _ = catalogue.parse(images)
    classes = len(catalogue.class_names(dataset))
    random = stream(0, "truth", images)
    if task_of(None, dataset).startswith("multi-label"):
        labels = (random.random((count, classes)) < 0.2).astype(np.int16)
    else:
        share = np.geomspace(4, 1, classes)
        labels = random.choice(classes, count, p=share / share.sum()).astype(np.int16)[:, None]
    table = pd.DataFrame({"dataset": dataset, "split": "test", "row": np.arange(count)})
    table["row"] = table["row"].astype(np.int32)
    for index in range(labels.shape[1]):
        table[f"label_{index}"] = labels[:, index]
    return table, labels


def curves_of(seeds: Sequence[int]) -> pd.DataFrame:
    rows = []
    for seed in seeds:
        random = stream(0, "curves", seed)
        for epoch in range(1, EPOCHS + 1):
            loss = 0.25 + 0.45 * np.exp(-epoch / 3) + 0.02 * random.standard_normal()
            rows.append(
                {
                    "seed": np.int32(seed),
                    "epoch": epoch,
                    "learning_rate": 0.001,
                    "train_loss": loss + 0.03,
                    "train_accuracy": 0.9 - 0.4 * np.exp(-epoch / 3),
                    "val_loss": loss,
                    "val_auc": 0.95 - 0.3 * np.exp(-epoch / 3),
                    "val_accuracy": 0.88 - 0.3 * np.exp(-epoch / 3),
                    "kept": epoch == EPOCHS - seed % 3,
                }
            )
    return pd.DataFrame(rows)


def write_archive(path: Path, dataset: str) -> None:
    """Write noise on a ramp, brighter for each label, and the facts of an official file."""
    random = stream(0, "archive", dataset)
    info = catalogue.INFO.get(dataset, {"n_channels": 1})
    volumetric, names = catalogue.is_volumetric(dataset), catalogue.class_names(dataset)
    count = 120
    shape = (28,) * (3 if volumetric else 2)
    colour = info["n_channels"] == 3 or dataset in ("phantom_skin", "phantom_blood")
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "val", "test"):
        labels = np.arange(count) % len(names)
        images = random.integers(0, 90, shape) + np.arange(28) * 3 + np.zeros((count, *shape), int)
        images = images + 60 * labels.reshape(-1, *[1] * len(shape)) // len(names)
        images = images.astype(np.uint8)
        arrays[f"{split}_images"] = np.stack([images] * 3, axis=-1) if colour else images
        several = task_of(None, dataset).startswith("multi-label")
        found = np.eye(len(names))[labels] if several else labels[:, None]
        arrays[f"{split}_labels"] = found.astype(np.uint8)
    files.write_npz(path, arrays)
    if dataset in catalogue.INFO:
        source = catalogue.source(dataset, 28)
        facts = {"flag": dataset, "size": 28, "url": source.url, "md5": source.md5}
        facts |= {"sha256": dataset.encode().hex(), "bytes": 1_234_567}
        facts |= {"licence": source.licence, "non_commercial": source.non_commercial}
        files.write_json(path.with_suffix(".json"), facts)


SMALL = {"splits": ["train"], "count": 12}, {"splits": ["val", "test"], "count": 20}
TAUGHT = {"encoder": "phantom_clip@6", "prompts": "capstone", "labelling": "zeroshot"}


def classes(*names: tuple[str, str]) -> list[dict[str, object]]:
    train, test = SMALL
    return [
        {"name": name, "dataset": dataset, "train": dict(train), "test": dict(test)}
        for name, dataset in names
    ]


def small(params: Params) -> Params:
    """Return the committed parameters with fewer images, seeds and resamples, and more studies."""
    study = {"title": "Small", "images": "breast_pneumonia", "network": "capstone", "seeds": 3}
    study |= {"recipe": "capstone", "rows": [], "pretrainings": 1, "controls": []}
    supervised = {**study, "recipe": "official_3d", "seeds": 2, "images": "vesselmnist3d"}
    supervised |= dict.fromkeys(TAUGHT)
    phantoms = ["chest", "breast", "brain"]
    return changed(
        params,
        statistics={"resamples": 300},
        recipes={"capstone": {"seeds_per_job": 3}},
        mixtures={
            "breast_pneumonia": {
                "classes": classes(("chest", "pneumoniamnist"), ("breast", "breastmnist"))
            },
            "chest_breast_vessel": {
                "classes": classes(
                    ("chest", "pneumoniamnist"),
                    ("breast", "breastmnist"),
                    ("vessel", "vesselmnist3d"),
                )
            },
            "real_pairs": {
                "classes": classes(("chest", "pneumoniamnist"), ("breast", "breastmnist"))
            },
            "phantom_pairs": {"classes": classes(*((one, f"phantom_{one}") for one in phantoms))},
        },
        studies={
            "main": {"seeds": 6},
            "quality": {
                "encoder": [f"phantom_clip@{step}" for step in (5, 6, 20, 60)],
                "seeds": 2,
                "pretrainings": 3,
            },
            "students": {"seeds": 2},
            "vessel": {"seeds": 1},
            "grid": {
                **study, **TAUGHT, "network": ["capstone", "wider"],
                "recipe": ["capstone", "capstone_adam"],
            },
            "files": {
                **supervised,
                "title": "Several official files",
                "rows": [
                    {"network": "resnet18_acs"},
                    {"network": "vit3d", "recipe": "quick_3d"},
                    {"network": "resnet18_3d"},
                    {"images": "breastmnist", "network": "resnet18", "recipe": "official"},
                    {"images": "chestmnist", "network": "resnet18", "recipe": "official"},
                    {"images": "phantom_vessel3d", "network": "vit3d"},
                ],
            },
            "drawn": {**supervised, "images": "phantom_vessel3d", "network": "vit3d"},
        },
    )  # fmt: skip
