"""Files that are either whole or absent: atomic writes, checksums and safe readers."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import pandas as pd

CHUNK_BYTES = 1 << 20

# What numpy and zipfile raise, flipped bit by flipped bit, on an archive that is not whole.
BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    EOFError,
    OSError,
    MemoryError,
    RuntimeError,
    AttributeError,
    TypeError,
)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to, and rename it to `target` once that succeeded.

    Parameters
    ----------
    target
        The file to create or replace; missing parent folders are made.

    Yields
    ------
    Path
        A new empty file in the same folder (so that the rename is atomic) with the same suffix.

    Raises
    ------
    MedlabelError
        When the disk is full. `target` is then as it was before.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent
        )
    except OSError as error:
        raise disk_error(error, target) from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise disk_error(error, target) from error
    finally:
        partial.unlink(missing_ok=True)


def disk_error(error: Exception, target: Path) -> Exception:
    """Turn "no space left" and "quota exceeded" into one clear line; give others back.

    torch and safetensors wrap the system's error in their own and keep only its text, or lose it:
    then the space that is left decides.
    """
    full = (errno.ENOSPC, errno.EDQUOT)
    wrapped = not isinstance(error, OSError | MedlabelError)
    if (isinstance(error, OSError) and error.errno in full) or (
        wrapped and (os.strerror(errno.ENOSPC) in str(error) or _is_full(target.parent))
    ):
        return MedlabelError(
            f"{target}: the disk is full ({error}); nothing was overwritten. "
            f"Free some space under {target.parent} and run the same command again."
        )
    return error


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < CHUNK_BYTES


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal checksum of a file, read in chunks of 1 MiB.

    Parameters
    ----------
    path
        An existing file.
    algorithm
        A name that `hashlib.new` knows, such as ``"md5"`` or ``"sha256"``.
    """
    state = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()


def require(path: Path, made_by: str) -> Path:
    """Return `path` if it exists.

    Raises
    ------
    MedlabelError
        Naming the missing file and the step that makes it.
    """
    if not path.exists():
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
    import pandas as pd
    from pyarrow import ArrowInvalid

    try:
        table = pd.read_parquet(require(path, made_by))
    except (ArrowInvalid, OSError) as error:
        raise MedlabelError(
            f"{path}: expected a parquet table, found something else ({error}); delete the file "
            f"and run `medlabel {made_by}` again."
        ) from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise MedlabelError(
            f"{path}: expected the columns {', '.join(columns)}, but {', '.join(missing)} is "
            f"missing; delete the file and run `medlabel {made_by}` again."
        )
    return table


def write_npz(target: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed .npz whose bytes depend on `arrays` alone (no time stamps)."""
    with replacing(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with file.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def read_npz(path: Path, made_by: str) -> dict[str, np.ndarray]:
    """Read every array of a .npz file; pickled objects are never loaded.

    Raises
    ------
    MedlabelError
        When the file is missing, truncated, altered (a member's CRC-32 does not match), no .npz,
        or holds pickled objects.
    """
    remedy = f"delete the file and run `medlabel {made_by}` again"
    try:
        with np.load(require(path, made_by), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        found = "pickled Python objects" if "allow_pickle" in str(error) else str(error)
        raise MedlabelError(
            f"{path}: expected a .npz of plain arrays, found {found}; {remedy}."
        ) from error
    except BROKEN_ARCHIVE as error:
        raise MedlabelError(
            f"{path}: expected a whole .npz, found a truncated or altered file ({error}); {remedy}."
        ) from error
