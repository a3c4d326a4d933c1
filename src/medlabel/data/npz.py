"""Arrays of a .npz file, read whole or some rows at a time; pickled objects are never loaded."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from medlabel import files
from medlabel.errors import MedlabelError

BLOCK_BYTES = 1 << 24

# What numpy and zipfile raise, flipped bit by flipped bit, on an archive that is not whole.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    EOFError,
    OSError,
    MemoryError,
    OverflowError,
    RuntimeError,
    AttributeError,
    KeyError,
    TypeError,
)
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Member:
    """One array of a .npz file that the step `made_by` wrote; its header alone was read."""

    path: Path
    made_by: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> npt.NDArray[Any]:
        """Read the whole array.

        Raises
        ------
        MedlabelError
            When it is truncated or altered: its CRC-32 decides.
        """
        with self._opened() as stream:
            array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        return array

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Yield the number of a first row and the rows from there on, about 16 MiB at a time.

        All rows are gone through, for the CRC-32 counts at the end only.

        Raises
        ------
        MedlabelError
            As `read`.
        """
        if self.fortran or not self.nbytes:
            yield 0, self.read()
            return
        row_bytes = self.nbytes // self.shape[0]
        step = max(1, BLOCK_BYTES // row_bytes)
        with self._opened() as stream:
            _header(stream)
            for first in range(0, self.shape[0], step):
                count = min(step, self.shape[0] - first)
                content = stream.read(count * row_bytes)
                if len(content) != count * row_bytes:
                    raise EOFError(f"{self.name} ends in row {first + len(content) // row_bytes}")
                yield first, np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with (
            _told(self.path, self.made_by),
            zipfile.ZipFile(self.path) as file,
            file.open(f"{self.name}.npy") as stream,
        ):
            yield stream


def members(path: Path, made_by: str) -> dict[str, Member]:
    """Read the headers of all arrays of a file.

    Raises
    ------
    MedlabelError
        When the file is missing, no .npz, or holds pickled objects.
    """
    with _told(path, made_by), zipfile.ZipFile(files.require(path, made_by)) as file:
        names = [name.removesuffix(".npy") for name in file.namelist()]
        return {name: _member(path, made_by, file, name) for name in names}


def _member(path: Path, made_by: str, file: zipfile.ZipFile, name: str) -> Member:
    with file.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _header(stream)
        size = stream.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError("pickled Python objects")
    if size != file.getinfo(f"{name}.npy").file_size:
        raise EOFError(f"{name} has not the size that its header states")
    return Member(path, made_by, name, shape, dtype, fortran)


@contextmanager
def _told(path: Path, made_by: str) -> Iterator[None]:
    """Say in one line what is wrong with a file."""
    remedy = f"delete the file and run `medlabel {made_by}` again"
    try:
        yield
    except ValueError as error:
        found = " ".join(str(error).split())
        raise MedlabelError(
            f"{path}: expected a .npz of plain arrays, found {found}; {remedy}."
        ) from error
    except BROKEN as error:
        raise MedlabelError(
            f"{path}: expected a whole .npz, found a truncated or altered file ({error}); {remedy}."
        ) from error


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"an array of format {version}")
    shape, fortran, dtype = HEADERS[version](stream)
    return shape, fortran, dtype
