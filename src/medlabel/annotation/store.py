"""What was read and embedded before, kept by content in the user's cache.

SQLite files: of what the system tells of a file (`medlabel.annotation.unchanged`) the SHA-256 of
its content, of that the images that are in it, and of each image's pixels (SHA-256) the embedding.
No name of a file, no pixel and nothing of a header is kept, but a few numbers that an image is
measured by.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medlabel.data.pixels import Pixels
from medlabel.data.reading.page import Outcome
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError

SECONDS_TO_WAIT = 60.0  # for another run that writes
AT_ONCE = 500  # keys a query
# With row numbers: without them SQLite gives every embedding a page of its own.
SCHEMA = "CREATE TABLE IF NOT EXISTS entry (key BLOB PRIMARY KEY, value BLOB NOT NULL)"


class Seen(NamedTuple):
    """One image of a file, without its pixels.

    Attributes
    ----------
    number
        Of the page; None where the file is one image.
    pixels
        SHA-256 of pixels and shape, in hexadecimal.
    height, width
        In pixels.
    note
        What a reader should know.
    look
        As `medlabel.annotation.looks` measures it.
    """

    number: int | None
    pixels: str
    height: int
    width: int
    note: str
    look: tuple[float, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What a file's content holds: images, and what ended the reading."""

    seen: tuple[Seen, ...]
    outcome: Outcome | None = None
    reason: str = ""

    def to_bytes(self) -> bytes:
        """Write as JSON, without names of fields, which costs a third of the time to read."""
        return json.dumps([self.seen, self.outcome, self.reason], ensure_ascii=False).encode()

    @classmethod
    def all_of(cls, contents: Sequence[bytes]) -> Iterator[Facts]:
        """Read what `to_bytes` wrote, many at once, which takes half the time."""
        for first in range(0, len(contents), AT_ONCE):
            part = b",".join(contents[first : first + AT_ONCE])
            for seen, outcome, reason in json.loads(b"[" + part + b"]"):
                images = [
                    Seen(number, pixels, height, width, note, tuple(look))
                    for number, pixels, height, width, note, look in seen
                ]
                yield cls(tuple(images), outcome, reason)


def digest_of(pixels: Pixels) -> str:
    """Return the SHA-256 of an image's shape and pixels."""
    state = hashlib.sha256(repr(pixels.shape).encode())
    state.update(np.ascontiguousarray(pixels).data)
    return state.hexdigest()


class Store:
    """A table of bytes by key, in one file; several processes may use it.

    Parameters
    ----------
    path
        The file.
    read_only
        For workers, which find nothing where there is no file.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(path, timeout=SECONDS_TO_WAIT)
                self._connection.execute(SCHEMA)
                self._connection.commit()
            else:
                address = f"{path.resolve().as_uri()}?mode=ro"
                self._connection = sqlite3.connect(address, uri=True, timeout=SECONDS_TO_WAIT)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the values that there are."""
        wanted = list(keys)
        found: dict[bytes, bytes] = {}
        for first in range(0, len(wanted), AT_ONCE):
            part = wanted[first : first + AT_ONCE]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, value FROM entry WHERE key IN ({marks})"  # noqa: S608
            try:
                found.update(self._connection.execute(query, part).fetchall())
            except sqlite3.Error as error:
                raise self._trouble(error) from error
        return found

    def present(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return the keys that have values, without reading these."""
        wanted = list(keys)
        found: set[bytes] = set()
        for first in range(0, len(wanted), AT_ONCE):
            part = wanted[first : first + AT_ONCE]
            marks = ",".join("?" * len(part))
            query = f"SELECT key FROM entry WHERE key IN ({marks})"  # noqa: S608
            try:
                found.update(key for (key,) in self._connection.execute(query, part))
            except sqlite3.Error as error:
                raise self._trouble(error) from error
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep values, all or none of them."""
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO entry VALUES (?, ?)", entries.items()
                )
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _trouble(self, error: Exception) -> MedlabelError:
        return MedlabelError(
            f"{self.path}: the cache cannot be used ({error}); free some space, delete the file, "
            f"or name another folder by XDG_CACHE_HOME."
        )


def key_of(recipe: Mapping[str, Any]) -> str:
    """Name a store by all that decides on its values, as JSON has it."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]


def vectors_of(store: Store, digests: Sequence[str], dimension: int) -> Vectors:
    """Read embeddings: float32 of shape (len(digests), dimension).

    Raises
    ------
    KeyError
        When one is not there.
    """
    found = np.empty((len(digests), dimension), np.float32)
    for first in range(0, len(digests), AT_ONCE):
        part = [bytes.fromhex(one) for one in digests[first : first + AT_ONCE]]
        values = store.get(part)
        joined = b"".join([values[key] for key in part])
        found[first : first + len(part)] = np.frombuffer(joined, "<f4").reshape(-1, dimension)
    return found
