"""Files that need not be read again, because nothing that the system tells of them has changed."""

from __future__ import annotations

import hashlib
import os
import time

from medlabel.annotation.sources import Source
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
        # `Path.stat` and `Path.absolute` would take half the time of a large folder.
        found = os.stat(source.place)  # noqa: PTH116
    except (OSError, ValueError):
        return b""
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    if changed > time.time_ns() - SECONDS_UNTIL_SETTLED * 1e9:
        return b""
    told = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    # The name decides where the content does not say what it is.
    place = os.path.join(os.getcwd(), source.place), suffix_of(source.name)  # noqa: PTH109, PTH118
    return hashlib.sha256(repr((place, told)).encode("utf-8", "surrogateescape")).digest()
