"""Files that need not be read again, because nothing that the system tells of them has changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from medlabel.annotation.sources import Source
from medlabel.annotation.store import Facts, Store
from medlabel.data.reading.images import suffix_of

# A file that was just written may be written again without another time of change.
SECONDS_UNTIL_SETTLED = 2.0


def stamp(source: Source) -> bytes:
    """Return a checksum of what the system tells of a file: place, size, and times of change.

    Files that may still be written, that cannot be looked at, or that are in an archive have none:
    it is empty then.
    """
    if source.member is not None or source.reason:
        return b""
    try:
        found = source.path.stat()
    except (OSError, ValueError):
        return b""
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    if changed > time.time_ns() - SECONDS_UNTIL_SETTLED * 1e9:
        return b""
    told = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    # The name decides where the content does not say what it is.
    place = os.path.abspath(source.path), suffix_of(source.name)  # noqa: PTH100 (links stay)
    return hashlib.sha256(repr((place, told)).encode("utf-8", "surrogateescape")).digest()


def known(
    sources: Sequence[Source], stamps: Path, facts: Path, embeddings: Path
) -> Mapping[int, tuple[bytes, Facts]]:
    """Return the digests and contents of unchanged files all of whose images are embedded.

    Parameters
    ----------
    sources
        Files.
    stamps, facts, embeddings
        Stores: digests of files by stamps, facts by digests, embeddings by digests of pixels.

    Returns
    -------
    mapping
        By the places of files among the sources.
    """
    if not (stamps.is_file() and facts.is_file() and embeddings.is_file()):
        return {}
    stamped = {place: one for place, source in enumerate(sources) if (one := stamp(source))}
    digests = _values(stamps, set(stamped.values()))
    seen = {
        digest: Facts.from_bytes(value)
        for digest, value in _values(facts, set(digests.values())).items()
    }
    wanted = {bytes.fromhex(one.pixels) for each in seen.values() for one in each.seen}
    store = Store(embeddings, read_only=True)
    there = store.present(wanted)
    store.close()
    whole = {
        digest: each
        for digest, each in seen.items()
        if all(bytes.fromhex(one.pixels) in there for one in each.seen)
    }
    return {
        place: (digest, whole[digest])
        for place, one in stamped.items()
        if (digest := digests.get(one, b"")) in whole
    }


def _values(path: Path, keys: set[bytes]) -> dict[bytes, bytes]:
    store = Store(path, read_only=True)
    found = store.get(keys)
    store.close()
    return found
