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
import numpy.typing as npt
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
        shared = locked.shared(manifest.config, manifest.folder / encoder.WEIGHTS)
        alike.setdefault((shared or reference, manifest.preprocessing), {})[reference] = folder
    for (shared, expected), folders in alike.items():
        first = next(iter(folders))
        prepare = partial(
            _Tower.build, folders[first], where, engine, precision, threads, calibration, expected
        )
        if shared in folders:
            _fill(stores[first], stores, [first], wanted, settings.batch_size, expected, prepare)
            continue
        features = _features(cache, recipes[first], shared, folders[first], wanted)
        group = list(folders)
        _fill(features, stores, group, wanted, settings.batch_size, expected, prepare)
        _project(features, stores, folders, wanted, settings.batch_size, where)
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


def _features(
    cache: Path, recipe: Mapping[str, Any], shared: str, folder: Path, wanted: Mapping[str, _Wanted]
) -> dict[str, RowStore]:
    """Return where the features are kept that all heads on a trunk start from, by dataset."""
    decisive = {key: recipe[key] for key in recipe if key not in ("weights", "architecture")}
    length = locked.length_of_features(folder / encoder.WEIGHTS)
    return {
        name: _store(cache, {**decisive, "trunk": shared}, one, length)
        for name, one in wanted.items()
    }


@dataclass(frozen=True)
class _Tower:
    """What an image passes: the trunk of a locked tower, or the whole of another one.

    Attributes
    ----------
    runner
        Of either.
    locked
        Whether features come out, which heads turn into embeddings.
    """

    runner: runtime.Runner
    locked: bool

    @classmethod
    def build(
        cls,
        folder: Path,
        device: torch.device,
        engine: Runtime,
        precision: runtime.Precision,
        threads: int,
        calibration: Sequence[Pixels],
        expected: tower.Preprocessing,
        example: torch.Tensor,
    ) -> _Tower:
        model = encoder.load(folder, device).model
        of_locked = isinstance(model, locked.Locked)
        network = model.visual.scales() if of_locked else runtime.ImageSide(model)
        batches = [tower.preprocess(pixels, expected) for pixels in calibration]
        runner = runtime.compiled(network, example, engine, precision, threads, batches)
        return cls(runner, of_locked)

    def see(self, batch: torch.Tensor) -> Embeddings:
        """Return features, or embeddings of length 1 (L2 norm)."""
        return self.runner.compute(batch) if self.locked else self.runner.embed(batch)


def _fill(
    seen: Mapping[str, RowStore],
    stores: Mapping[str, Mapping[str, RowStore]],
    references: Sequence[str],
    wanted: Mapping[str, _Wanted],
    batch_size: int,
    expected: tower.Preprocessing,
    prepare: Callable[[torch.Tensor], _Tower],
) -> None:
    """Let a tower see what the stores of some encoders lack and nobody saw before.

    The network is built only if there is any such image.
    """
    network = None
    for name, one in wanted.items():
        missing = _lacking(stores, references, name, one)
        missing &= seen[name].missing(one.numbers)
        batches = one.batches(missing, batch_size)
        for numbers, pixels in track(
            batches, f"embed {name}", -(-int(missing.sum()) // batch_size)
        ):
            batch = tower.preprocess(pixels, expected)
            network = network or prepare(batch)
            seen[name].write(numbers, network.see(batch))


def _lacking(
    stores: Mapping[str, Mapping[str, RowStore]],
    references: Sequence[str],
    name: str,
    one: _Wanted,
) -> npt.NDArray[np.bool_]:
    lacking = [stores[reference][name].missing(one.numbers) for reference in references]
    return np.asarray(np.logical_or.reduce(lacking))


def _project(
    features: Mapping[str, RowStore],
    stores: Mapping[str, Mapping[str, RowStore]],
    folders: Mapping[str, Path],
    wanted: Mapping[str, _Wanted],
    batch_size: int,
    device: torch.device,
) -> None:
    """Turn features into embeddings by the heads of every encoder on a trunk."""
    heads: dict[str, Any] = {}
    for name, one in wanted.items():
        numbers = one.numbers[_lacking(stores, list(folders), name, one)]
        for first in range(0, len(numbers), batch_size):
            part = numbers[first : first + batch_size]
            heads = heads or {
                reference: encoder.load(folder, device).model.visual
                for reference, folder in folders.items()
            }
            seen = torch.from_numpy(features[name].read(part)).to(device)
            for reference, visual in heads.items():
                with torch.inference_mode():
                    found = torch.nn.functional.normalize(visual.project(seen), dim=-1)
                stores[reference][name].write(part, found.cpu().numpy())


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
