"""Image embeddings: each image passes the image tower of each encoder once, ever."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medlabel import compute, files, fingerprint
from medlabel.data import archive, mixtures, vectors
from medlabel.data.pixels import Pixels, Projection
from medlabel.params import AnyEncoder, Mixture, Runtime
from medlabel.progress import track
from medlabel.teacher import encoder, locked, runtime, tower
from medlabel.teacher.store import Embeddings, Numbers, RowStore

ROWS_PER_GROUP = 8192


@dataclass(frozen=True)
class _Wanted:
    """The images of one dataset in a pool, sorted by split and row."""

    source: archive.Archive
    projection: Projection | None
    table: pd.DataFrame

    @property
    def count(self) -> int:
        """Images of the dataset, wanted or not."""
        return sum(map(len, self.source.labels.values()))

    @property
    def numbers(self) -> Numbers:
        """Numbers of the images when all of the dataset are counted through its splits."""
        lengths = [len(self.source.labels[split]) for split in archive.SPLITS]
        starts = dict(zip(archive.SPLITS, np.cumsum([0, *lengths[:-1]]).tolist(), strict=True))
        found: Numbers = (self.table["row"] + self.table["split"].map(starts)).to_numpy(np.int64)
        return found

    def batches(self, chosen: Any, size: int) -> Iterator[tuple[Numbers, Pixels]]:
        """Yield the images that a mask chooses, `size` at a time, with their numbers."""
        rows = self.table["row"].to_numpy()
        images = (
            image
            for split in self.table["split"].unique()
            for _, part in self.source.some(
                split, rows[chosen & (self.table["split"] == split).to_numpy()], self.projection
            )
            for image in part
        )
        numbers = self.numbers[chosen]
        for first in range(0, len(numbers), size):
            yield numbers[first : first + size], np.stack(list(itertools.islice(images, size)))


def embed(
    references: Mapping[str, Path],
    archives: Mapping[str, Path],
    mixture: Mixture,
    pool: Path,
    target: Path,
    settings: AnyEncoder,
    cache: Path,
    device: str,
    threads: int,
    calibration: Sequence[Pixels] = (),
) -> None:
    """Embed every image of a pool with each set of weights of an encoder.

    Parameters
    ----------
    references
        Folders, as `medlabel.teacher.encoder` writes them, by the names of their columns.
    archives
        The .npz of each dataset in the pool.
    mixture
        Whose pool it is: the size of its images, and how volumes become images.
    pool
        The table that `medlabel.data.mixtures.write_pool` wrote.
    target
        The parquet table to write: dataset, split, row and for each reference a fixed-size list of
        float32 of length 1 (L2 norm); one row a distinct image, in order of dataset, split and
        row. The schema's metadata ``medlabel`` tells how they were computed.
    settings
        Batch size and precision.
    cache
        Folder of embeddings computed before, by this run or any other.
    device, threads
        As for `medlabel.compute.prepare`.
    calibration
        For int8: images, in batches, on which the ranges of activations are found.

    Raises
    ------
    MedlabelError
        When an input is missing or damaged, or the pool names rows that do not exist.
    """
    where = compute.prepare(device, threads)
    precision: runtime.Precision = (
        "int8"
        if settings.precision == "int8"
        else compute.choose_precision(settings.precision, where)
    )
    engine = runtime.choose(settings.runtime, where)
    table = mixtures.read_pool(pool)[mixtures.IMAGE].drop_duplicates()
    images = table.sort_values(mixtures.IMAGE, ignore_index=True)
    wanted = {
        str(name): _Wanted(
            archive.read(archives[str(name)], str(name), mixture.size), mixture.projection, part
        )
        for name, part in images.groupby("dataset")
    }
    recipes, stores = {}, {}
    alike: dict[Any, dict[str, Path]] = {}
    for reference, folder in references.items():
        manifest = encoder.inspect(folder)
        recipes[reference] = _recipe(manifest, precision, where, engine, threads)
        if precision == "int8":
            recipes[reference]["calibration"] = [
                hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in calibration
            ]
        stores[reference] = {
            name: _store(cache, recipes[reference], one, manifest.dimension)
            for name, one in wanted.items()
        }
        shared = locked.shared(manifest.config, manifest.folder / encoder.WEIGHTS) or reference
        alike.setdefault((shared, manifest.preprocessing), {})[reference] = folder
    for (_, expected), folders in alike.items():
        prepare = partial(
            _Towers.build, folders, where, engine, precision, threads, calibration, expected
        )
        group = {reference: stores[reference] for reference in folders}
        _fill(group, wanted, settings.batch_size, expected, prepare)
    datasets = {name: one.source.sha256 for name, one in wanted.items()}
    _write(target, wanted, stores, {"datasets": datasets, "references": recipes})


def _recipe(
    manifest: encoder.Manifest,
    precision: runtime.Precision,
    device: torch.device,
    engine: Runtime,
    threads: int,
) -> dict[str, Any]:
    return {
        "weights": manifest.weights_sha256,
        "architecture": manifest.config,
        "preprocessing": asdict(manifest.preprocessing),
        "precision": precision,
        "device": device.type,
        "runtime": engine,
        "threads": threads,
        "versions": {
            name: runtime.version(name)
            for name in ("torch", "open_clip_torch", *_needed(engine, precision))
        },
    }


def _needed(engine: Runtime, precision: runtime.Precision) -> tuple[str, ...]:
    if precision == "int8":
        return *runtime.NEEDED["openvino"], *runtime.NEEDED["onnxruntime"]
    return runtime.ENGINES if engine == "auto" else runtime.NEEDED.get(engine, ())


def _store(cache: Path, recipe: Mapping[str, Any], wanted: _Wanted, dimension: int) -> RowStore:
    key = {
        **recipe,
        "dataset": wanted.source.sha256,
        "projection": wanted.projection if wanted.source.volumetric else None,
        "code": fingerprint.of("teacher.embed"),
    }
    return RowStore(cache, key, wanted.count, dimension)


@dataclass(frozen=True)
class _Towers:
    """Image towers of encoders that differ in their heads alone: the trunk runs once for all.

    Attributes
    ----------
    runner
        The trunk, or the whole of a single tower.
    device, projects
        What makes each encoder's embeddings of the runner's output, not normalised, and where.
    """

    runner: runtime.Runner
    device: torch.device
    projects: Mapping[str, Callable[[torch.Tensor], torch.Tensor]]

    @classmethod
    def build(
        cls,
        folders: Mapping[str, Path],
        device: torch.device,
        engine: Runtime,
        precision: runtime.Precision,
        threads: int,
        calibration: Sequence[Pixels],
        expected: tower.Preprocessing,
        example: torch.Tensor,
    ) -> _Towers:
        models = {name: encoder.load(folder, device).model for name, folder in folders.items()}
        first = next(iter(models.values()))
        if isinstance(first, locked.Locked):
            network: torch.nn.Module = first.visual.scales()
            projects = {name: one.visual.project for name, one in models.items()}
        else:
            network = runtime.ImageSide(first)
            projects = dict.fromkeys(models, torch.nn.Identity())
        batches = [tower.preprocess(pixels, expected) for pixels in calibration]
        runner = runtime.compiled(network, example, engine, precision, threads, batches)
        return cls(runner, device, projects)

    def embed(self, batch: torch.Tensor) -> dict[str, Embeddings]:
        """Return the embeddings by each encoder, of length 1 (L2 norm)."""
        with torch.inference_mode():
            seen = torch.from_numpy(self.runner.compute(batch)).to(self.device)
            return {
                name: torch.nn.functional.normalize(project(seen), dim=-1).cpu().numpy()
                for name, project in self.projects.items()
            }


def _fill(
    stores: Mapping[str, Mapping[str, RowStore]],
    wanted: Mapping[str, _Wanted],
    batch_size: int,
    expected: tower.Preprocessing,
    prepare: Callable[[torch.Tensor], _Towers],
) -> None:
    """Compute what any of the stores lacks; the networks are built only if there is any."""
    towers = None
    for name, one in wanted.items():
        lacking = [store[name].missing(one.numbers) for store in stores.values()]
        missing = np.logical_or.reduce(lacking)
        batches = one.batches(missing, batch_size)
        for numbers, pixels in track(
            batches, f"embed {name}", -(-int(missing.sum()) // batch_size)
        ):
            batch = tower.preprocess(pixels, expected)
            towers = towers or prepare(batch)
            for reference, embeddings in towers.embed(batch).items():
                stores[reference][name].write(numbers, embeddings)


def _write(
    target: Path,
    wanted: Mapping[str, _Wanted],
    stores: Mapping[str, Mapping[str, RowStore]],
    content: Mapping[str, Any],
) -> None:
    """Write the table group by group, so that it never lies in memory whole."""
    import pyarrow.parquet as pq

    with files.replacing(target) as partial, contextlib.ExitStack() as stack:
        writer: Any = None
        for name, one in wanted.items():
            numbers = one.numbers
            for first in range(0, len(numbers), ROWS_PER_GROUP):
                group = slice(first, first + ROWS_PER_GROUP)
                columns = {ref: store[name].read(numbers[group]) for ref, store in stores.items()}
                table = vectors.with_vectors(one.table.iloc[group], columns, content)
                writer = writer or stack.enter_context(pq.ParquetWriter(partial, table.schema))
                writer.write_table(table)
