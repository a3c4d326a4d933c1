"""Small worlds to train in: archives, a mixture, a teacher's labels, and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medlabel import files
from medlabel.data import mixtures
from medlabel.networks import registry
from medlabel.params import (
    ClassRole,
    Mixture,
    MixtureClass,
    Network,
    Recipe,
    Start,
    Trained,
    TrainingSettings,
    ZeroShot,
)
from medlabel.training import run
from medlabel.training.loop import Images

CNN = Network(kind="cnn", channels=[10, 20], kernels=[3, 4], hidden=[250, 50], dropout=0.5)
RECIPE = Recipe(
    channels=1,
    enlarge_to=None,
    stem="halved",
    start=Start(source="random"),
    distillation=None,
    validation_fraction=None,
    select="loss",
    patience=None,
    epochs=4,
    batch_size=8,
    optimizer="adam",
    learning_rate=0.003,
    momentum=0.9,
    weight_decay=0.0,
    warmup=0.0,
    schedule="constant",
    milestones=[0.5, 0.75],
    decay=0.1,
    label_smoothing=0.0,
    robustness=0.0,
    mixup=0.0,
    confidence_weights=False,
    self_training=0,
    sampling="shuffled",
    class_weights=False,
    intensity_scaling=False,
    augmentations=[],
    rotation=15.0,
    translation=0.08,
    zoom=0.1,
    displacement=1.0,
    noise=0.1,
    intensity=0.2,
    test_time_flips=False,
    precision="fp32",
    threads=1,
    seeds_per_job=1,
    keep_weights=None,
)
LABELLING = ZeroShot(
    method="zeroshot", logit_scale=None, space=None, weigh=False, top_k=None, targets="hard"
)
TINY = 12  # pixels, the smallest that CNN takes


def recipe(**changes: Any) -> Recipe:
    """Change the plain recipe."""
    return RECIPE.model_copy(update=changes)


def settings(size: int = TINY, dataset: str = "phantom_chest", **changes: Any) -> TrainingSettings:
    """Give settings of a training on a file; changes are of its recipe, or its network."""
    network = changes.pop("network", CNN)
    return TrainingSettings(
        seed=7,
        mixture=None,
        dataset=dataset,
        size=size,
        labelling=None,
        network=network,
        recipe=recipe(**changes),
    )


def build(chosen: TrainingSettings, outputs: int = 2) -> torch.nn.Module:
    """Build the network of settings."""
    return registry.build(
        chosen.network,
        volumetric=chosen.volumetric,
        channels=chosen.recipe.channels,
        outputs=outputs,
        size=chosen.edge,
        stem=chosen.recipe.stem,
    )


def images(count: int, seed: int, size: int = TINY, channels: int = 1) -> Images:
    """Dark images of class 0 and bright ones of class 1."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    noise = random.integers(0, 150, size=(count, size, size, channels))
    pixels = noise + 100 * labels[:, None, None, None]
    return Images(torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels))


def write_archive(
    path: Path, edges: tuple[int, ...], labels: dict[str, np.ndarray], seed: int = 0
) -> Path:
    """Write images that are the brighter, the higher their first label."""
    random = np.random.default_rng(seed)
    arrays = {}
    for split, given in labels.items():
        noise = random.integers(0, 80, (len(given), *edges))
        lift = 100 * given[:, 0].reshape(-1, *[1] * len(edges))
        arrays |= {f"{split}_images": (noise + lift).astype(np.uint8)}
        arrays |= {f"{split}_labels": given.astype(np.uint8)}
    files.write_npz(path, arrays)
    return path


def thirds(train: int = 33, judged: int = 12) -> dict[str, np.ndarray]:
    """Give binary labels, every third of which is 1."""
    counts = {"train": train, "val": judged, "test": judged}
    return {
        name: (np.arange(count) % 3 == 0).astype(int)[:, None] for name, count in counts.items()
    }


@dataclass(frozen=True)
class Official:
    """A training on one file."""

    folder: Path
    archive: Path
    settings: TrainingSettings
    images: str = "phantom_vessel3d"

    def run(
        self,
        name: str = "run",
        block: str = "0000-0000",
        given: Sequence[Path] = (),
        teacher: run.Teacher | None = None,
        code: str = "code",
        **changes: Any,
    ) -> Path:
        """Train with changes to recipe or network, from `given` weights; return the folder."""
        network = changes.pop("network", self.settings.network)
        chosen = self.settings.model_copy(
            update={"recipe": self.settings.recipe.model_copy(update=changes), "network": network}
        )
        target = self.folder / name
        run.run(
            Trained(self.images, "true", str(network)[:8], "tiny"),
            chosen,
            block,
            {str(chosen.dataset): self.archive},
            None,
            None,
            given,
            teacher,
            target,
            self.folder / "state.pt",
            "cpu",
            1,
            code,
        )
        return target


CLASSES = {"dark": "phantom_chest", "bright": "phantom_breast"}
COUNTS = {"train": 30, "val": 4, "test": 10}
DRAWN = {"train": 24, "test": 8}
EDGE = 28


def mixture() -> Mixture:
    """Mix two datasets, dark and bright."""
    roles = {name: ClassRole(splits=[name], count=count) for name, count in DRAWN.items()}  # type: ignore[list-item]
    classes = [
        MixtureClass(name=name, dataset=dataset, train=roles["train"], test=roles["test"])
        for name, dataset in CLASSES.items()
    ]
    return Mixture(size=EDGE, pool=None, projection=None, classes=classes)


@dataclass(frozen=True)
class Mixed:
    """Two datasets, the pool of their mixture, and a teacher's labels."""

    folder: Path
    recipe: Recipe = field(
        default_factory=lambda: recipe(
            validation_fraction=0.2, epochs=5, seeds_per_job=2, keep_weights=1
        )
    )

    @property
    def archives(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.npz" for name in CLASSES.values()}

    @property
    def pool(self) -> Path:
        return self.folder / "pool.parquet"

    def prepare(self) -> Mixed:
        """Write archives and pool."""
        for label, path in enumerate(self.archives.values()):
            given = {split: np.full((count, 1), label) for split, count in COUNTS.items()}
            write_archive(path, (EDGE, EDGE), given, seed=label)
        mixtures.write_pool("phantom_pair", mixture(), self.archives, self.pool, 0)
        return self

    def teacher(self, wrong: float, classes: int = 2) -> Path:
        """Write labels, a part of which is wrong; with one class, all say so."""
        table = pd.read_parquet(self.pool)
        truth = (table.pop("class") == "bright").to_numpy(int)
        flipped = np.random.default_rng(1).random(len(table)) < wrong
        given = np.where(flipped, 1 - truth, truth) if classes == 2 else np.zeros_like(truth)
        sure = np.random.default_rng(2).uniform(0.6, 1, len(table)).astype(np.float32)
        columns = {
            f"p_{name}": np.where(given == index, sure, 1 - sure)
            for index, name in enumerate(CLASSES)
        }
        path = self.folder / f"teacher_{wrong}_{classes}.parquet"
        table = table.assign(label=truth.astype(np.int8), pseudolabel=given.astype(np.int8))
        files.write_parquet(path, table.assign(**columns))
        return path

    def settings(self, taught: bool, **changes: Any) -> TrainingSettings:
        """Give settings; changes are of the labelling, the seed, or else the recipe."""
        of_labels = {key: changes.pop(key) for key in ("top_k", "targets") if key in changes}
        return TrainingSettings(
            seed=changes.pop("seed", 11),
            mixture=mixture(),
            dataset=None,
            size=EDGE,
            labelling=LABELLING.model_copy(update=of_labels) if taught else None,
            network=changes.pop("network", CNN),
            recipe=self.recipe.model_copy(update=changes),
        )

    def run(
        self,
        labels: Path | None,
        permuted: bool = False,
        block: str = "0000-0001",
        target: Path | None = None,
        **changes: Any,
    ) -> Path:
        """Train a block of seeds; return the folder that was written."""
        told = "true" if labels is None else "a+b+c"
        target = target or self.folder / f"run_{len(list(self.folder.iterdir()))}"
        run.run(
            Trained("phantom_pair", f"permuted+{told}" if permuted else told, "cnn", "tiny"),
            self.settings(labels is not None, **changes),
            block,
            self.archives,
            self.pool,
            labels,
            (),
            None,
            target,
            self.folder / "state.pt",
            "cpu",
            1,
            "code",
        )
        return target
