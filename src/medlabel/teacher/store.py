"""Embeddings on disk, image by image, as far as they are computed."""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medlabel import files

logger = logging.getLogger("medlabel")

Embeddings = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class RowStore:
    """Embeddings of one dataset by one encoder.

    A file holds one record an image of the dataset: the CRC-32 of the embedding and the embedding.
    A record whose checksum does not match counts as not computed, which holds for records never
    written (the file is sparse) and for those that a killed run or a failing disk left in halves.
    The file's name is the SHA-256 of all that decides on the embeddings.

    Parameters
    ----------
    folder
        Of the cache.
    recipe
        What decides on the embeddings, as JSON has it.
    count
        Number of images in the dataset.
    dimension
        Length of an embedding.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], count: int, dimension: int) -> None:
        key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        self.path = folder / f"{key}.rows"
        self.dtype = np.dtype([("crc", "<u4"), ("embedding", "<f4", (dimension,))])
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

    def missing(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Say of each of the images `numbers` whether it is not computed, or no longer whole."""
        records = self._records()
        lacking = np.zeros(len(numbers), dtype=bool)
        broken = 0
        for position, number in enumerate(numbers.tolist()):
            recorded = int(records["crc"][number])
            lacking[position] = recorded != zlib.crc32(records["embedding"][number])
            broken += bool(lacking[position] and recorded)
        if broken:
            logger.warning("%s: %d damaged embeddings: computing them anew", self.path, broken)
        return lacking

    def read(self, numbers: Numbers) -> Embeddings:
        """Return float32 embeddings of shape (len(numbers), dimension)."""
        embeddings: Embeddings = self._records()["embedding"][numbers]
        return embeddings

    def write(self, numbers: Numbers, embeddings: Embeddings) -> None:
        """Store embeddings of shape (len(numbers), dimension).

        Raises
        ------
        MedlabelError
            When the disk is full. (Written through a memory map, it would kill the process.)
        """
        records = np.empty(len(numbers), dtype=self.dtype)
        records["embedding"] = embeddings
        records["crc"] = [zlib.crc32(row) for row in records["embedding"]]
        try:
            with self.path.open("r+b") as stream:
                for number, record in zip(numbers.tolist(), records, strict=True):
                    stream.seek(number * self.dtype.itemsize)
                    stream.write(record.tobytes())
        except OSError as error:
            raise files.write_error(error, self.path) from error

    def _records(self) -> npt.NDArray[Any]:
        return np.memmap(self.path, dtype=self.dtype, mode="r")
