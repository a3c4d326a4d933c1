"""What a training learns from and is judged on: images of a mixture's draw, or official splits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from medlabel import files
from medlabel.data import archive, catalogue, mixtures
from medlabel.data.pixels import with_channels
from medlabel.errors import MedlabelError
from medlabel.labels import selection
from medlabel.params import AnyLabelling, Mixture, Recipe, TrainingSettings
from medlabel.randomness import stream
from medlabel.training.loop import Images

SMALLEST_SET = 4  # labelled images: fewer leave nothing to divide


@dataclass(frozen=True)
class Judged:
    """Images to answer for, ``"val"`` or ``"test"``, and which they are.

    The table has columns dataset, split and row; labels are the truth, integers of shape (n, L).
    """

    role: str
    table: pd.DataFrame
    labels: npt.NDArray[np.integer[Any]]
    pixels: Tensor


@dataclass(frozen=True)
class Examples:
    """The images of one seed."""

    train: Images
    val: Images
    judged: list[Judged]


class Source(Protocol):
    """Where the images of each seed come from; its classes are the network's answers."""

    classes: list[str]
    task: str
    digests: list[str]

    def of(self, seed: int) -> Examples:
        """Return the images of one seed."""


def open_source(
    settings: TrainingSettings,
    archives: Mapping[str, Path],
    pool: Path | None,
    labels: Path | None,
    permuted: bool,
    device: torch.device,
) -> Source:
    """Read what the seeds of a training share.

    Parameters
    ----------
    settings
        Of the training.
    archives
        Image files by dataset.
    pool, labels
        Of a mixture: what may be drawn, and the teacher's labels; None for true labels.
    permuted
        Shuffle the teacher's labels among the images of a seed: only class frequencies are left.
    device
        Where images shall lie.

    Raises
    ------
    MedlabelError
        When a file is missing or does not fit the others.
    """
    if settings.mixture is None:
        ((dataset, path),) = archives.items()
        return OfficialSplits(archive.read(path, dataset, settings.size), settings.recipe, device)
    if pool is None:
        raise MedlabelError("train: a mixture needs its pool; run `medlabel pool` first.")
    return Draws(settings, settings.mixture, archives, pool, labels, permuted, device)


class Draws:
    """A mixture: each seed draws its images and splits off its validation images."""

    def __init__(
        self,
        settings: TrainingSettings,
        mixture: Mixture,
        archives: Mapping[str, Path],
        pool: Path,
        labels: Path | None,
        permuted: bool,
        device: torch.device,
    ) -> None:
        """Read pool, labels and archives once for all seeds."""
        self.settings, self.mixture, self.device = settings, mixture, device
        self.permuted = permuted
        self.archives = {
            name: archive.read(path, name, mixture.size) for name, path in archives.items()
        }
        self.pool = mixtures.read_pool(pool)
        self.source = labels or pool
        self.labels = None if labels is None else _read_labels(labels, mixture.class_names)
        self.classes = mixture.class_names
        self.task = catalogue.task_of(len(self.classes))
        self.digests = [files.digest(path) for path in filter(None, (pool, labels))]
        self.digests += [one.sha256 for one in self.archives.values()]

    def of(self, seed: int) -> Examples:
        """Return the images of one seed.

        Split, and with permuted labels their order, come from streams that the seed names and the
        labels do not: arms are paired.
        """
        drawn = mixtures.draw(self.mixture, self.pool, seed, self.settings.seed)
        test = drawn[drawn["role"] == "test"].reset_index(drop=True)
        labelled = self._labelled(drawn[drawn["role"] == "train"], seed)
        targets = self._targets(labelled)
        if self.permuted:
            random = stream(self.settings.seed, "student", "permute", seed)
            targets = targets[torch.from_numpy(random.permutation(len(targets)))]
        if len(targets) < SMALLEST_SET:
            raise MedlabelError(
                f"{self.source}: {len(targets)} labelled images in seed {seed}, at least "
                f"{SMALLEST_SET} expected; raise the mixture's train.count or top_k."
            )
        fraction = self.settings.recipe.validation_fraction
        if fraction is None:
            raise MedlabelError("train: a mixture needs a recipe with validation_fraction.")
        classes = targets.numpy() if targets.ndim == 1 else targets.argmax(dim=1).numpy()
        random = stream(self.settings.seed, "student", "split", seed)
        parts = [torch.from_numpy(part) for part in split(classes, fraction, random)]
        pixels, importance = self._pixels(labelled), self._importance(labelled)
        train, val = (
            Images(
                pixels[part].to(self.device),
                targets[part].to(self.device),
                None if importance is None else importance[part].to(self.device),
            )
            for part in parts
        )
        truth = test["label"].to_numpy(np.int64)[:, None]
        judged = Judged("test", test[mixtures.IMAGE], truth, self._pixels(test).to(self.device))
        return Examples(train, val, [judged])

    def _pixels(self, table: pd.DataFrame) -> Tensor:
        """Gather images as uint8 of shape (n, H, W, C)."""
        channels = self.settings.recipe.channels
        found = archive.pixels(
            self.archives, table, channels, self.mixture.size, self.mixture.projection
        )
        return torch.from_numpy(found.reshape(*found.shape[:3], channels))

    def _labelled(self, drawn: pd.DataFrame, seed: int) -> pd.DataFrame:
        """Give the training images that take part, with their pseudo-labels if any."""
        if self.labels is None:
            return drawn
        joined = drawn.merge(self.labels, on=mixtures.IMAGE, how="left", validate="one_to_one")
        if missing := int(joined["pseudolabel"].isna().sum()):
            raise MedlabelError(
                f"{self.source}: {missing} of {len(joined)} training images of seed {seed} have no "
                f"pseudo-label; run `medlabel pseudolabel` again."
            )
        return selection.select(joined, self._labelling.top_k)

    @property
    def _labelling(self) -> AnyLabelling:
        assert self.settings.labelling is not None
        return self.settings.labelling

    def _targets(self, labelled: pd.DataFrame) -> Tensor:
        if self.labels is None:
            return torch.from_numpy(labelled["label"].to_numpy(np.int64, copy=True))
        if self._labelling.targets == "soft":
            return torch.from_numpy(self._chances(labelled))
        return torch.from_numpy(labelled["pseudolabel"].to_numpy(np.int64, copy=True))

    def _importance(self, labelled: pd.DataFrame) -> Tensor | None:
        """Weigh images by the probability of their label, on average 1."""
        if self.labels is None or self.permuted or not self.settings.recipe.confidence_weights:
            return None
        chances = self._chances(labelled)
        own = np.take_along_axis(chances, labelled["pseudolabel"].to_numpy()[:, None], axis=1)[:, 0]
        return torch.from_numpy(own / own.mean())

    def _chances(self, labelled: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Return what the labelling thinks of each class, of shape (n, classes)."""
        return labelled[_chance_columns(self.classes)].to_numpy(np.float32, copy=True)


def _read_labels(path: Path, classes: list[str]) -> pd.DataFrame:
    columns = [*mixtures.IMAGE, "pseudolabel", *_chance_columns(classes)]
    table = files.read_parquet(path, "pseudolabel", ["role", *columns])
    return table.loc[table["role"] == "train", columns]


def _chance_columns(classes: list[str]) -> list[str]:
    return [f"p_{name}" for name in classes]


def split(
    labels: npt.NDArray[np.integer[Any]], validation_fraction: float, random: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Divide images into those to fit and those to hold back, in proportion in each class.

    The same generator state gives the same shuffle whatever the labels are, so that two label
    sets that agree on most images also agree on most of the split. ceil(n * fraction) images are
    held back, 219 of 1092 at 0.2; the largest remainders decide which classes round up, and at
    least one image stays on either side.

    Returns
    -------
    (ndarray, ndarray)
        Indices to fit and to hold back, each sorted.

    Raises
    ------
    ValueError
        When there are fewer than two images.
    """
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} images cannot be divided")
    # Rounded first: 0.2 * 15 is 3.0000000000000004 in binary.
    wanted = math.ceil(round(validation_fraction * len(labels), 9))
    counts = np.bincount(labels)
    quotas = counts * (min(wanted, len(labels) - 1) / len(labels))
    taken = np.floor(quotas + 1e-9).astype(np.intp)
    short = min(wanted, len(labels) - 1) - taken.sum()
    taken[np.argsort(taken - quotas, kind="stable")[:short]] += 1
    shuffled = random.permutation(len(labels))
    held_back = np.concatenate(
        [shuffled[labels[shuffled] == label][:count] for label, count in enumerate(taken)]
    )
    return np.setdiff1d(np.arange(len(labels)), held_back), np.sort(held_back)


class OfficialSplits:
    """One official file or phantom: every seed has its splits."""

    def __init__(self, source: archive.Archive, recipe: Recipe, device: torch.device) -> None:
        """Put the splits onto the device."""
        self.source, self.recipe, self.device = source, recipe, device
        self.digests = [source.sha256]
        self.classes = catalogue.class_names(source.dataset)
        published = catalogue.INFO.get(source.dataset, {})
        self.task = str(published.get("task", catalogue.task_of(len(self.classes))))
        self._require_classes()
        if recipe.sampling == "oversampled" and self._multi_label:
            raise MedlabelError(
                f"recipes: sampling: oversampled given, but images of {source.dataset} carry "
                f"several labels; shuffled expected (class_weights does apply)."
            )
        val = self._images("val")
        judged = [self._judged("val", val.pixels), self._judged("test", self._pixels("test"))]
        self.examples = Examples(self._images("train"), val, judged)

    @property
    def _multi_label(self) -> bool:
        return catalogue.is_multi_label(self.task)

    def of(self, seed: int) -> Examples:
        """Return the same images for every seed."""
        return self.examples

    def _pixels(self, name: str) -> Tensor:
        images = self.source.images[name]
        if not self.source.volumetric:
            images = with_channels(images, self.recipe.channels)
            images = images.reshape(*images.shape[:3], self.recipe.channels)
        return torch.from_numpy(np.ascontiguousarray(images)).to(self.device)

    def _images(self, name: str) -> Images:
        labels = self.source.labels[name]
        targets = torch.from_numpy(
            labels.astype(np.float32) if self._multi_label else labels[:, 0].astype(np.int64)
        )
        return Images(self._pixels(name), targets.to(self.device))

    def _judged(self, name: str, pixels: Tensor) -> Judged:
        labels = self.source.labels[name]
        rows = np.arange(len(labels), dtype=np.int32)
        table = pd.DataFrame({"dataset": self.source.dataset, "split": name, "row": rows})
        return Judged(name, table, labels, pixels)

    def _require_classes(self) -> None:
        """Check that every class can be learnt, chosen and judged by AUC."""
        for name, labels in self.source.labels.items():
            if self._multi_label:
                absent = np.flatnonzero(labels.min(axis=0) == labels.max(axis=0)).tolist()
            else:
                absent = sorted(set(range(len(self.classes))) - set(labels[:, 0].tolist()))
            if absent:
                raise MedlabelError(
                    f"{self.source.path}: {name}_labels: expected images of every class, found "
                    f"none that tells class {absent[0]} from the others; its AUC is undefined. "
                    f"Take the official split or leave {self.source.dataset} out of the study."
                )
