"""Features of captioned images: each view of each image passes a locked tower once, ever."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from medlabel import files, fingerprint
from medlabel.data import archive, catalogue
from medlabel.data.phantoms.captions import NAMING_A_FINDING
from medlabel.data.pixels import Pixels
from medlabel.params import Locked
from medlabel.progress import track
from medlabel.randomness import stream
from medlabel.teacher import runtime, tower, towers, trunks, views
from medlabel.teacher.sources import Source

logger = logging.getLogger("medlabel")

Features = npt.NDArray[np.float32]

# Modules that decide on features, beside the tower's weights.
DECISIVE = ("teacher.trunks", "teacher.tower", "teacher.runtime", "teacher.views", "data.pixels")


@dataclass(frozen=True)
class Captioned:
    """Features with what is said of their images, a row an image.

    Attributes
    ----------
    features
        float32 of shape (n, views, features), as `trunks.Scales` gives them.
    table
        kind, finding, caption, whether the caption names the finding, and whether the image was
        measured rather than drawn.
    """

    features: Features
    table: pd.DataFrame


class Extractor:
    """A locked tower, compiled when the first image comes that the cache does not hold.

    Parameters
    ----------
    settings
        Of the encoder.
    found
        The tower with its weights.
    cache
        Folder of features computed before.
    device
        Where the tower runs.
    threads
        As the rule declares them.
    seed
        Root of the views.
    """

    def __init__(
        self,
        settings: Locked,
        found: towers.Tower,
        cache: Path,
        device: torch.device,
        threads: int,
        seed: int,
    ) -> None:
        self.settings, self.tower = settings, found
        self.cache, self.device, self.threads, self.seed = cache, device, threads, seed
        self.engine = runtime.choose(settings.runtime, device)
        self.preprocessing = preprocessing(settings, found)
        self._runner: runtime.Runner | None = None

    def read(self, sources: Sequence[Source], split: str) -> Captioned:
        """Return the features of a split of captioned images: of validation, one view."""
        wanted = self.settings.views if split == "train" else 1
        features, tables = [], []
        for source in track(sources, f"features {split}", len(sources)):
            part = self._chosen(source, source.captions_of(split))
            rows = part["row"].to_numpy()
            images = self._images(source, split, rows)
            seen = [self._view(source, split, rows, images, number) for number in range(wanted)]
            features.append(np.stack(seen, axis=1))
            named = part["style"].isin(NAMING_A_FINDING)
            tables.append(part.assign(named=named, measured=source.measured))
        columns = ["kind", "finding", "caption", "named", "measured"]
        return Captioned(np.concatenate(features), pd.concat(tables, ignore_index=True)[columns])

    def _chosen(self, source: Source, part: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a split that are learnt from."""
        return part if source.measured else part.head(self.settings.phantoms)

    def _sees(self) -> dict[str, Any]:
        """Return what of the tower is read, as the key of the cache has it."""
        return {"edges": self.settings.edges, "middle": self.settings.middle}

    def _network(self) -> nn.Module:
        return trunks.Scales(self.tower.trunk, self.settings.edges, self.settings.middle)

    def _images(self, source: Source, split: str, rows: npt.NDArray[np.int64]) -> Pixels:
        given = archive.read(source.archive, source.dataset, source.size).images[split][rows]
        if not catalogue.is_volumetric(source.dataset):
            return np.asarray(given)
        # A volume is shown as its projection, along an axis of its own.
        axes = stream(self.seed, "projection", source.dataset, split).integers(3, size=len(given))
        return np.stack([volume.max(axis) for volume, axis in zip(given, axes, strict=True)])

    def _view(
        self,
        source: Source,
        split: str,
        rows: npt.NDArray[np.int64],
        images: Pixels,
        number: int,
    ) -> Features:
        key = {
            "tower": {**self.tower.facts, **self.tower.architecture},
            "preprocessing": str(self.preprocessing),
            **self._sees(),
            "precision": self.settings.precision,
            "runtime": [self.engine, "" if self.engine == "auto" else runtime.version(self.engine)],
            "threads": self.threads,
            "images": [files.digest(source.archive), split, _digest(rows)],
            "view": [number, self.seed if number else 0],
            "code": fingerprint.of(*DECISIVE),
        }
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        path = self.cache / f"{name}.npy"
        if not path.exists():
            rng = stream(self.seed, "view", source.dataset, source.size, split, number)
            found = self._compute(views.view(images, number, rng))
            with files.replacing(path) as partial, partial.open("wb") as out:
                np.save(out, found)
        return np.asarray(np.load(path))

    def _compute(self, images: Pixels) -> Features:
        size = self.settings.batch_size
        batches = [images[first : first + size] for first in range(0, len(images), size)]
        found = []
        for pixels in batches:
            batch = tower.preprocess(pixels, self.preprocessing)
            if self._runner is None:
                self._runner = self._compile(batch)
            found.append(self._runner.compute(batch))
        return np.concatenate(found)

    def _compile(self, example: torch.Tensor) -> runtime.Runner:
        network = self._network().eval().to(self.device)
        precision: Any = "bf16" if self.settings.precision == "bf16" else "fp32"
        return runtime.compiled(network, example, self.engine, precision, self.threads)


def _digest(rows: npt.NDArray[np.int64]) -> str:
    return hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()


def preprocessing(settings: Locked, found: towers.Tower) -> tower.Preprocessing:
    """Return how images are brought to a locked tower: squeezed, so that nothing is cut off."""
    return tower.Preprocessing(
        size=(settings.edges[0], settings.edges[0]),
        mean=found.mean,
        std=found.std,
        interpolation="bicubic",
        resize_mode="squash",
        fill=0,
    )


def permuted(said: Captioned, seed: int, run: int) -> Captioned:
    """Return the same features with captions of other images: a teacher that was told nothing."""
    order = stream(seed, "permuted captions", run).permutation(len(said.table))
    return Captioned(said.features, said.table.iloc[order].reset_index(drop=True))
