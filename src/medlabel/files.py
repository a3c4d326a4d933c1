"""Files that are either whole or absent: atomic writes, checksums and safe readers."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FULL_BELOW = 1 << 20  # bytes left on a disk
LONGEST_STEM = 40  # of partial files: most file systems allow 255 bytes a name
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to, and rename it to `target` once that succeeded.

    Missing parent folders are made. The file's mode is what the umask leaves, as for any new file.

    Yields
    ------
    Path
        A new empty file in the same folder (so that the rename is atomic) with the same suffix.

    Raises
    ------
    MedlabelError
        When the disk is full or `target` cannot be written. It is then as it was before.
    """
    partial = _beside(target)
    mode = partial.stat().st_mode
    try:
        yield partial
        with _refusing(target):
            if partial.stat().st_mode != mode:  # safetensors puts a file of its own in the place
                partial.chmod(mode & 0o7777)
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(target)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise write_error(error, target) from error
    finally:
        partial.unlink(missing_ok=True)


def require_writable(target: Path) -> None:
    """Make sure that a file can be written, before hours of work are spent on it.

    Raises
    ------
    MedlabelError
        When `target` is a folder, or its folder cannot be written to.
    """
    with _refusing(target):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    _beside(target).unlink()


def _beside(target: Path) -> Path:
    """Create an empty file in the folder of `target`, with the mode that the umask leaves."""
    stem = target.stem[:LONGEST_STEM]
    partial = target.with_name(f".{stem}.{secrets.token_hex(8)}{target.suffix}")
    with _refusing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.touch(exist_ok=False)
    return partial


@contextmanager
def _refusing(target: Path) -> Iterator[None]:
    """Say in one line why the file system does not let `target` be written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise write_error(error, target) from error
        reason = f"cannot be written ({error.strerror or error})"
        remedy = f"choose another place, or make {target.parent} a folder that you may write to"
        if error.errno == errno.EISDIR:
            reason, remedy = "expected a file to write, found a folder", "name a file"
        raise MedlabelError(f"{target}: {reason}; {remedy}.") from error


def write_error(error: Exception, target: Path) -> Exception:
    """Turn "no space left" and "quota exceeded" into one clear line; give others back.

    torch and safetensors wrap the system's error in their own and keep only its text, or lose it:
    then the space that is left decides.
    """
    if isinstance(error, OSError | MedlabelError):
        full = isinstance(error, OSError) and error.errno in FULL
    else:
        left = shutil.disk_usage(target.parent).free
        full = os.strerror(errno.ENOSPC) in str(error) or left < FULL_BELOW
    if full:
        return MedlabelError(
            f"{target}: the disk is full ({error}); nothing was overwritten. "
            f"Free some space under {target.parent} and run the same command again."
        )
    return error


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal checksum of a file, by an algorithm that `hashlib.new` knows."""
    with path.open("rb") as stream:
        state = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return state.hexdigest()


def require(path: Path, made_by: str) -> Path:
    """Return `path` if it exists and may be read.

    Raises
    ------
    MedlabelError
        Naming the missing file and the step that makes it.
    """
    try:
        found, readable = path.exists(), os.access(path, os.R_OK)
    except PermissionError:  # a folder above is closed
        found, readable = True, False
    if found and not readable:
        raise MedlabelError(
            f"{path}: may not be read by this user; ask its owner, or change its mode."
        )
    if not found:
        raise MedlabelError(
            f"{path}: no such file or folder; it is made by `medlabel {made_by}`, "
            f"or by running `snakemake`."
        )
    return path


def write_json(target: Path, content: Any) -> None:
    """Write `content` as indented JSON with sorted keys; NaN and infinities are refused."""
    with replacing(target) as partial:
        text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, made_by: str) -> Any:
    """Read a JSON file that the step `made_by` wrote.

    Raises
    ------
    MedlabelError
        When the file is missing or is not JSON.
    """
    try:
        return json.loads(require(path, made_by).read_text(encoding="utf-8"))
    except ValueError as error:
        raise MedlabelError(
            f"{path}: expected JSON, found something else ({error}); delete the file and run "
            f"`medlabel {made_by}` again."
        ) from error


def write_parquet(target: Path, table: pd.DataFrame) -> None:
    """Write `table` without its index, zstd-compressed; equal tables give equal bytes."""
    with replacing(target) as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def read_parquet(path: Path, made_by: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read a parquet table that the step `made_by` wrote and check that it has `columns`.

    Raises
    ------
    MedlabelError
        When the file is missing, is not parquet, or lacks a column.
    """
    table: pd.DataFrame = read_arrow(path, made_by, columns, others=True).to_pandas()
    return table


def read_arrow(path: Path, made_by: str, columns: Sequence[str], others: bool = False) -> pa.Table:
    """As `read_parquet`, with `columns` alone unless `others` are wanted too, and as Arrow has it.

    A column of vectors is read whole here, where pandas would make an object of each.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    remedy = f"delete the file and run `medlabel {made_by}` again"
    try:
        with pq.ParquetFile(require(path, made_by)) as file:
            names = file.schema_arrow.names
            if missing := [column for column in columns if column not in names]:
                raise MedlabelError(
                    f"{path}: expected the columns {', '.join(columns)}, but {', '.join(missing)} "
                    f"is missing; {remedy}."
                )
            return file.read(None if others else list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise MedlabelError(
            f"{path}: expected a parquet table, found something else ({error}); {remedy}."
        ) from error


def write_npz(target: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed .npz whose bytes depend on `arrays` alone (no time stamps)."""
    with replacing(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with file.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
