"""Image embeddings: each image passes the image tower once, ever."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from medlabel import compute, files
from medlabel.data import archive
from medlabel.errors import MedlabelError
from medlabel.params import Embed
from medlabel.progress import track
from medlabel.teacher import encoder

logger = logging.getLogger("medlabel")

Precision = Literal["fp32", "bf16"]
Pixels = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Part of the cache's key: change it whenever `preprocess` gives other values.
RESAMPLING = "torch uint8, antialias"
ROWS_PER_GROUP = 8192
IMAGE_COLUMNS = ["dataset", "split", "row"]


def embed(
    encoders: Sequence[Path],
    archives: Mapping[str, Path],
    pool: Path,
    targets: Sequence[Path],
    settings: Embed,
    cache: Path,
    device: str,
    threads: int,
) -> None:
    """Embed every image of a pool with each encoder.

    Parameters
    ----------
    encoders
        Folders, as `medlabel.teacher.encoder` writes them.
    archives
        The .npz of each dataset in the pool.
    pool
        Table with the columns ``dataset``, ``split`` and ``row``; an image may appear twice.
    targets
        For each encoder, the parquet table to write: dataset, split, row and embedding, a
        fixed-size list of float32 of length 1 (L2 norm); one row a distinct image, in order of
        dataset, split and row. The schema's metadata ``medlabel`` tells how it was computed.
    settings
        Batch size and precision.
    cache
        Folder of embeddings computed before, by this run or any other.
    device, threads
        As for `medlabel.compute.prepare`.

    Raises
    ------
    MedlabelError
        When an input is missing or damaged, or the pool names volumes or rows that do not exist.
    """
    where = compute.prepare(device, threads)
    table = files.read_parquet(pool, "pool", IMAGE_COLUMNS)
    images = table[IMAGE_COLUMNS].drop_duplicates().sort_values(IMAGE_COLUMNS, ignore_index=True)
    sources = {
        name: archive.read(archives[name], name) for name in images["dataset"].unique().tolist()
    }
    precision = choose_precision(settings.precision, where)
    for folder, target in zip(encoders, targets, strict=True):
        manifest = encoder.inspect(folder)
        recipe = _recipe(manifest, precision, where)
        stores = {
            name: RowStore(cache, {**recipe, "dataset": source.sha256}, _count(source), manifest)
            for name, source in sources.items()
        }
        _fill(stores, sources, images, settings.batch_size, manifest, where, precision)
        _write(target, images, stores, sources, recipe)


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Return bf16 where the processor multiplies bfloat16 matrices in hardware, else fp32.

    Without such instructions bfloat16 is emulated, ten times slower than float32.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"


def preprocess(images: Pixels, expected: encoder.Preprocessing) -> torch.Tensor:
    """Resize, crop and normalise a batch as open_clip's own transform does image by image.

    Parameters
    ----------
    images
        uint8 of shape (n, H, W) for grey or (n, H, W, 3) for RGB.
    expected
        What the image tower expects.

    Returns
    -------
    Tensor
        float32 of shape (n, 3, height, width).

    Notes
    -----
    Resampling is Pillow's algorithm in torch: separable, antialiased, on 8-bit intensities, each
    pass rounded to 8 bits. Grey is resampled once and becomes three channels in the normalisation.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    channels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    mean = torch.tensor(expected.mean).view(1, 3, 1, 1)
    deviation = torch.tensor(expected.std).view(1, 3, 1, 1)
    return (_fit(channels, expected).float().div_(255.0) - mean).div_(deviation)


def _fit(images: torch.Tensor, expected: encoder.Preprocessing) -> torch.Tensor:
    wanted = _resized(images.shape[-2:], expected)
    if tuple(images.shape[-2:]) != wanted:
        images = torch.nn.functional.interpolate(
            images, size=wanted, mode=_mode(expected), antialias=True
        )
    return _cropped_or_padded(images, expected)


def _mode(expected: encoder.Preprocessing) -> str:
    if expected.interpolation not in ("bicubic", "bilinear"):
        raise MedlabelError(
            f"{encoder.CONFIG}: preprocess_cfg.interpolation: expected bicubic or bilinear, found "
            f"{expected.interpolation!r}; set it to the one that the encoder was trained with."
        )
    return expected.interpolation


def _resized(edges: Sequence[int], expected: encoder.Preprocessing) -> tuple[int, int]:
    height, width = edges
    if expected.resize_mode == "squash":
        return expected.size
    if expected.resize_mode == "longest":
        scale = max(height / expected.size[0], width / expected.size[1])
        return round(height / scale), round(width / scale)
    # torchvision's rule for the longer edge: truncated, not rounded.
    if height <= width:
        return expected.size[0], int(expected.size[0] * width / height)
    return int(expected.size[1] * height / width), expected.size[1]


def _cropped_or_padded(images: torch.Tensor, expected: encoder.Preprocessing) -> torch.Tensor:
    if tuple(images.shape[-2:]) == expected.size:
        return images
    from torchvision.transforms.functional import center_crop, pad

    height, width = images.shape[-2:]
    missing = [max(want - has, 0) for want, has in zip(expected.size, (height, width), strict=True)]
    if any(missing):
        top, left = missing[0] // 2, missing[1] // 2
        edges = [left, top, missing[1] - left, missing[0] - top]
        images = pad(images, edges, fill=expected.fill)
    cropped: torch.Tensor = center_crop(images, list(expected.size))
    return cropped


def encode_images(loaded: encoder.Encoder, batch: torch.Tensor, precision: Precision) -> Embeddings:
    """Embed one batch of images.

    Parameters
    ----------
    loaded
        An encoder whose image tower has the dtype of `precision` (see `cast`).
    batch
        As `preprocess` returns it: float32 of shape (n, 3, height, width).
    precision
        Arithmetic of the image tower.

    Returns
    -------
    ndarray
        float32 of shape (n, dimension), each row of length 1 (L2 norm).
    """
    with torch.inference_mode():
        features = loaded.model.encode_image(batch.to(loaded.device, DTYPES[precision]))
        unit: Embeddings = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return unit


def cast(loaded: encoder.Encoder, precision: Precision) -> encoder.Encoder:
    """Put an encoder's image tower into the dtype of `precision`, in place."""
    loaded.model.visual.to(DTYPES[precision])
    return loaded


class RowStore:
    """Embeddings of one dataset by one encoder on disk, as far as they are computed.

    A file holds one record an image of the dataset: the CRC-32 of the embedding and the embedding.
    A record whose checksum does not match counts as not computed, which holds for records never
    written (the file is sparse) and for those that a killed run or a failing disk left in halves.
    The file's name is the SHA-256 of all that decides on the embeddings.

    Parameters
    ----------
    folder
        Of the cache.
    recipe
        What decides on the embeddings.
    count
        Number of images in the dataset.
    manifest
        The encoder.
    """

    def __init__(
        self, folder: Path, recipe: Mapping[str, Any], count: int, manifest: encoder.Manifest
    ) -> None:
        key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        self.path = folder / f"{key}.rows"
        self.dtype = np.dtype([("crc", "<u4"), ("embedding", "<f4", (manifest.dimension,))])
        self.count = count
        self._create()

    def _create(self) -> None:
        wanted = self.count * self.dtype.itemsize
        if self.path.exists():
            if self.path.stat().st_size == wanted:
                return
            logger.warning("%s is damaged (not %d bytes): computing it anew", self.path, wanted)
        with files.replacing(self.path) as partial, partial.open("wb") as stream:
            stream.truncate(wanted)

    def missing(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return those of `rows` that are not computed, or no longer whole."""
        records = self._records()
        lacking = np.zeros(len(rows), dtype=bool)
        broken = 0
        for position, row in enumerate(rows.tolist()):
            recorded = int(records["crc"][row])
            lacking[position] = recorded != zlib.crc32(records["embedding"][row])
            broken += bool(lacking[position] and recorded)
        if broken:
            logger.warning("%s: %d damaged embeddings: computing them anew", self.path, broken)
        return rows[lacking]

    def read(self, rows: npt.NDArray[np.int64]) -> Embeddings:
        """Return float32 embeddings of shape (len(rows), dimension)."""
        embeddings: Embeddings = self._records()["embedding"][rows]
        return embeddings

    def write(self, rows: npt.NDArray[np.int64], embeddings: Embeddings) -> None:
        """Store embeddings of shape (len(rows), dimension).

        Raises
        ------
        MedlabelError
            When the disk is full. (Written through a memory map, it would kill the process.)
        """
        records = np.empty(len(rows), dtype=self.dtype)
        records["embedding"] = embeddings
        records["crc"] = [zlib.crc32(row) for row in records["embedding"]]
        try:
            with self.path.open("r+b") as stream:
                for row, record in zip(rows.tolist(), records, strict=True):
                    stream.seek(row * self.dtype.itemsize)
                    stream.write(record.tobytes())
        except OSError as error:
            raise files.disk_error(error, self.path) from error

    def _records(self) -> npt.NDArray[Any]:
        return np.memmap(self.path, dtype=self.dtype, mode="r")


def _recipe(
    manifest: encoder.Manifest, precision: Precision, device: torch.device
) -> dict[str, Any]:
    return {
        "encoder": manifest.weights_sha256,
        "architecture": manifest.config["model_cfg"],
        "preprocessing": {**asdict(manifest.preprocessing), "resampling": RESAMPLING},
        "precision": precision,
        "device": device.type,
        "open_clip": encoder.open_clip_version(),
    }


def _fill(
    stores: Mapping[str, RowStore],
    sources: Mapping[str, archive.Archive],
    images: pd.DataFrame,
    batch_size: int,
    manifest: encoder.Manifest,
    device: torch.device,
    precision: Precision,
) -> None:
    """Compute what the stores lack; the network is built only if there is any."""
    missing = {name: store.missing(_rows(images, sources[name])) for name, store in stores.items()}
    if not any(map(len, missing.values())):
        return
    loaded = cast(encoder.load(manifest.folder, device), precision)
    for name, rows in missing.items():
        task = f"embed {name} with {manifest.folder.name}"
        batches = -(-len(rows) // batch_size)
        for chosen, pixels in track(_batches(sources[name], rows, batch_size), task, batches):
            batch = preprocess(pixels, manifest.preprocessing)
            stores[name].write(chosen, encode_images(loaded, batch, precision))


def _batches(
    source: archive.Archive, rows: npt.NDArray[np.int64], size: int
) -> Iterator[tuple[npt.NDArray[np.int64], Pixels]]:
    splits = np.repeat(archive.SPLITS, [len(source.images[split]) for split in archive.SPLITS])
    starts = _starts(source)
    for first in range(0, len(rows), size):
        chosen = rows[first : first + size]
        pixels = [
            source.images[split][row - starts[split]]
            for split, row in zip(splits[chosen], chosen, strict=True)
        ]
        yield chosen, np.stack(pixels)


def _starts(source: archive.Archive) -> dict[str, int]:
    """Return the number of each split's first image when all images are counted through."""
    lengths = [len(source.images[split]) for split in archive.SPLITS]
    return dict(zip(archive.SPLITS, np.cumsum([0, *lengths[:-1]]).tolist(), strict=True))


def _count(source: archive.Archive) -> int:
    return sum(len(source.images[split]) for split in archive.SPLITS)


def _rows(images: pd.DataFrame, source: archive.Archive) -> npt.NDArray[np.int64]:
    """Return the numbers of a dataset's images in the pool, counted through its splits."""
    if source.volumetric:
        raise MedlabelError(
            f"{source.path}: expected images, found volumes, which no image tower can embed."
        )
    part = images[images["dataset"] == source.dataset]
    lengths = {split: len(source.images[split]) for split in archive.SPLITS}
    beyond = part[part["row"] >= part["split"].map(lengths)]
    if len(beyond):
        first = beyond.iloc[0]
        raise MedlabelError(
            f"{source.path}: expected row {first['row']} of {first['split']}_images, found "
            f"{lengths[first['split']]} rows; the pool was drawn from another file: run "
            f"`medlabel pool` again."
        )
    rows: npt.NDArray[np.int64] = (part["row"] + part["split"].map(_starts(source))).to_numpy(
        np.int64
    )
    return rows


def _write(
    target: Path,
    images: pd.DataFrame,
    stores: Mapping[str, RowStore],
    sources: Mapping[str, archive.Archive],
    recipe: Mapping[str, Any],
) -> None:
    """Write the table group by group, so that it never lies in memory whole."""
    import pyarrow.parquet as pq

    content = {**recipe, "datasets": {name: source.sha256 for name, source in sources.items()}}
    with files.replacing(target) as partial, contextlib.ExitStack() as stack:
        writer: Any = None
        for name, source in sources.items():
            part = images[images["dataset"] == name]
            rows = _rows(images, source)
            for first in range(0, len(rows), ROWS_PER_GROUP):
                group = slice(first, first + ROWS_PER_GROUP)
                table = _table(part.iloc[group], stores[name].read(rows[group]), content)
                writer = writer or stack.enter_context(pq.ParquetWriter(partial, table.schema))
                writer.write_table(table)


def _table(images: pd.DataFrame, embeddings: Embeddings, content: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    dimension = embeddings.shape[1]
    values = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), dimension)
    table = pa.Table.from_pandas(images, preserve_index=False).append_column("embedding", values)
    return table.replace_schema_metadata({"medlabel": json.dumps(content, sort_keys=True)})


def read(path: Path) -> tuple[pd.DataFrame, Embeddings]:
    """Read a table of embeddings.

    Returns
    -------
    images
        Columns dataset, split and row.
    embeddings
        float32 of shape (n, dimension), in the same order.

    Raises
    ------
    MedlabelError
        When the file is missing, damaged or something else.
    """
    table = files.read_parquet(path, "embed", [*IMAGE_COLUMNS, "embedding"])
    return table[IMAGE_COLUMNS], np.stack(table["embedding"].to_list())
