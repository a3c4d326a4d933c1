"""A block of students: for each seed a draw of images, a label each, a training, a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from medlabel import compute, files, params
from medlabel.data import archive, mixtures
from medlabel.errors import MedlabelError
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed
from medlabel.student import models, train
from medlabel.teacher import selection

if TYPE_CHECKING:
    from torch import nn

IMAGE = ["dataset", "split", "row"]
SMALLEST_SET = 4  # labelled images: fewer leave nothing to divide


class Labels(StrEnum):
    """What a student learns from."""

    TEACHER = "teacher"
    PERMUTED = "permuted"
    TRUE = "true"


@dataclass(frozen=True)
class _Learned:
    predictions: pd.DataFrame
    curve: pd.DataFrame
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class _Block:
    """What all trainings of a block share."""

    archives: Mapping[str, archive.Archive]
    settings: params.Student
    classes: Sequence[str]
    size: int
    device: torch.device
    seed: int

    def learn(
        self, seed: int, labelled: pd.DataFrame, targets: Tensor, test: pd.DataFrame
    ) -> _Learned:
        """Train one student and let it label the held-out images.

        The initial weights, the dropout, the split and the order of the images come from streams
        that `seed` names and the labels do not: arms are paired.
        """
        torch.manual_seed(torch_seed(self.seed, "student", "weights", seed))
        network = models.build(
            self.settings.model, self.settings.channels, len(self.classes), self.size
        ).to(self.device)
        labels = targets.numpy() if targets.ndim == 1 else targets.argmax(dim=1).numpy()
        parts = [
            torch.from_numpy(part)
            for part in train.split(
                labels,
                self.settings.validation_fraction,
                stream(self.seed, "student", "split", seed),
            )
        ]
        images = self._images(labelled)
        fitted = train.fit(
            network,
            (images[parts[0]].to(self.device), images[parts[1]].to(self.device)),
            (targets[parts[0]].to(self.device), targets[parts[1]].to(self.device)),
            self.settings,
            torch.Generator().manual_seed(torch_seed(self.seed, "student", "order", seed)),
            f"student of seed {seed}",
        )
        return _Learned(self._predict(seed, network, test), _curve(seed, fitted), fitted.weights)

    def _images(self, table: pd.DataFrame) -> Tensor:
        """Gather images as uint8 of shape (n, H, W, C)."""
        pixels = archive.pixels(self.archives, table, self.settings.channels, self.size)
        return torch.from_numpy(pixels.reshape(*pixels.shape[:3], self.settings.channels))

    def _predict(self, seed: int, network: nn.Module, test: pd.DataFrame) -> pd.DataFrame:
        probabilities = train.predict(network, self._images(test).to(self.device))
        table = test[[*IMAGE, "label"]].reset_index(drop=True)
        table.insert(0, "seed", np.int32(seed))
        columns = {f"p_{name}": probabilities[:, index] for index, name in enumerate(self.classes)}
        return table.assign(**columns)


def train_block(
    *,
    draw: Path,
    archives: Mapping[str, Path],
    pseudolabels: Path | None,
    labels: Labels,
    block: str,
    predictions: Path,
    curves: Path,
    weights: Path,
    settings: params.Student,
    pseudolabel: params.Pseudolabel,
    classes: Sequence[str],
    size: int,
    keep_weights: Sequence[int],
    device: str,
    threads: int,
    seed: int,
) -> None:
    """Train one student for each seed of a block, and write what they predict.

    Parameters
    ----------
    draw
        Table of the images of each seed.
    archives
        The mixture's files by dataset; each is read once.
    pseudolabels
        The teacher's labels; None for true labels.
    labels
        Learn from the teacher's labels; from the same ones shuffled among the images (a control:
        only the frequencies of the classes are left to learn); or from the true ones (an upper
        bound), which neither selection nor soft targets touch.
    block
        The seeds, such as ``"0000-0014"``.
    predictions
        Table to write: seed, dataset, split, row, label (the truth) and the probability of each
        class, float32, of the images of role test.
    curves
        Table to write: seed, epoch, the four values of `train.Epoch`, and kept, true at the epoch
        whose weights were kept. Accuracies are measured against the labels learnt from.
    weights
        Safetensors file to write: ``<seed>/<parameter>`` of the block's seeds in `keep_weights`.
    settings
        The student.
    pseudolabel
        Which pseudo-labelled images to learn from, and whether targets are hard or soft.
    classes
        Names, in label order.
    size
        Edge length of the images in pixels.
    keep_weights
        Seeds whose weights are written.
    device, threads
        As in `compute.prepare`.
    seed
        Root of the random streams.

    Raises
    ------
    MedlabelError
        When an input is missing or does not fit the others; when the labels of a seed name one
        class only, or fewer than four images; when a loss is no longer finite.
    """
    made = _Block(
        {dataset: archive.read(path, dataset, size) for dataset, path in archives.items()},
        settings,
        classes,
        size,
        compute.prepare(device, threads),
        seed,
    )
    seeds = mixtures.parse_block(block)
    drawn = files.read_parquet(draw, "mix", ["seed", "role", *IMAGE, "label"])
    teacher = None if pseudolabels is None else _read_pseudolabels(pseudolabels, classes)
    learned = {}
    for one in track(seeds, f"students, {labels} labels", len(seeds)):
        rows = drawn[drawn["seed"] == one]
        train_rows, test_rows = (rows[rows["role"] == role] for role in ("train", "test"))
        if train_rows.empty or test_rows.empty:
            raise MedlabelError(
                f"{draw}: no images of seed {one}; delete the file and run `medlabel mix` again."
            )
        labelled = _labelled(train_rows, teacher, labels, pseudolabel, pseudolabels)
        targets = _targets(labelled, labels, pseudolabel, classes)
        if labels is Labels.PERMUTED:
            shuffle = stream(seed, "student", "permute", one).permutation(len(targets))
            targets = targets[torch.from_numpy(shuffle)]
        _require_enough(targets, one, pseudolabels or draw)
        learned[one] = made.learn(one, labelled, targets, test_rows)
    _write(learned, predictions, curves, weights, set(keep_weights))


def _read_pseudolabels(path: Path, classes: Sequence[str]) -> pd.DataFrame:
    columns = [*IMAGE, "pseudolabel", *(f"p_{name}" for name in classes)]
    table = files.read_parquet(path, "pseudolabel", ["role", *columns])
    return table.loc[table["role"] == "train", columns]


def _labelled(
    drawn: pd.DataFrame,
    teacher: pd.DataFrame | None,
    labels: Labels,
    settings: params.Pseudolabel,
    source: Path | None,
) -> pd.DataFrame:
    """Give the training images of one seed that take part, with their pseudo-labels if any."""
    if labels is Labels.TRUE:
        return drawn
    if teacher is None:
        raise MedlabelError(f"{labels} labels: a table of pseudo-labels is needed, none given.")
    joined = drawn.merge(teacher, on=IMAGE, how="left", validate="one_to_one")
    if missing := int(joined["pseudolabel"].isna().sum()):
        raise MedlabelError(
            f"{source}: {missing} of {len(joined)} training images of seed "
            f"{drawn['seed'].iloc[0]} have no pseudo-label; run `medlabel pseudolabel` again."
        )
    return selection.select(joined, settings)


def _targets(
    labelled: pd.DataFrame, labels: Labels, settings: params.Pseudolabel, classes: Sequence[str]
) -> Tensor:
    if labels is not Labels.TRUE and settings.targets == "soft":
        columns = [f"p_{name}" for name in classes]
        return torch.from_numpy(labelled[columns].to_numpy(np.float32, copy=True))
    column = "label" if labels is Labels.TRUE else "pseudolabel"
    return torch.from_numpy(labelled[column].to_numpy(np.int64, copy=True))


def _require_enough(targets: Tensor, seed: int, source: Path) -> None:
    if len(targets) < SMALLEST_SET:
        raise MedlabelError(
            f"{source}: {len(targets)} labelled images in seed {seed}, at least {SMALLEST_SET} "
            f"expected; raise mixture.classes.*.train.count or pseudolabel.k."
        )


def _curve(seed: int, fitted: train.Fitted) -> pd.DataFrame:
    curve = pd.DataFrame([asdict(epoch) for epoch in fitted.curve]).astype({"epoch": np.int32})
    curve.insert(0, "seed", np.int32(seed))
    return curve.assign(kept=curve["epoch"] == fitted.best)


def _write(
    learned: Mapping[int, _Learned], predictions: Path, curves: Path, weights: Path, keep: set[int]
) -> None:
    kept = {
        f"{seed}/{name}": value
        for seed, student in learned.items()
        if seed in keep
        for name, value in student.weights.items()
    }
    with files.replacing(weights) as partial:
        save_file(kept, partial)
    curve_tables = [student.curve for student in learned.values()]
    files.write_parquet(curves, pd.concat(curve_tables, ignore_index=True))
    prediction_tables = [student.predictions for student in learned.values()]
    files.write_parquet(predictions, pd.concat(prediction_tables, ignore_index=True))
