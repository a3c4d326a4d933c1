"""Files are read and decoded by worker processes, in order, while the network runs."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from medlabel.annotation import images, thumbnails
from medlabel.annotation.page import Reading, UnreadableError
from medlabel.annotation.sources import Source
from medlabel.annotation.store import Facts, Seen, Store, digest_of
from medlabel.data.pixels import Pixels

CHUNK = 16  # files a task
WAITING = 3  # tasks a worker: what is decoded before the network asks for it


@dataclass(frozen=True)
class Caches:
    """Where workers look whether a file was read, and its images embedded, before."""

    facts: Path
    embeddings: Path


@dataclass
class Decoded:
    """A file as a worker gives it.

    Attributes
    ----------
    digest
        SHA-256 of its bytes; empty where there are none.
    facts
        What it holds.
    pixels, thumbnails
        Of those images that are not embedded yet, by digest.
    """

    source: Source
    digest: bytes
    facts: Facts
    pixels: dict[str, Pixels] = field(default_factory=dict)
    thumbnails: dict[str, bytes] = field(default_factory=dict)


def decode(sources: Sequence[Source], reading: Reading, caches: Caches | None) -> list[Decoded]:
    """Read files one after the other; what the caches know is not decoded again."""
    if caches is None:
        return [_decode(one, reading, None, None) for one in sources]
    facts, embeddings = (Store(path, read_only=True) for path in (caches.facts, caches.embeddings))
    try:
        return [_decode(one, reading, facts, embeddings) for one in sources]
    finally:
        facts.close()
        embeddings.close()


def _decode(
    source: Source, reading: Reading, facts: Store | None, embeddings: Store | None
) -> Decoded:
    try:
        content = source.content()
    except UnreadableError as error:
        return Decoded(source, b"", Facts((), error.outcome, str(error)))
    # The name decides where the content does not say what it is.
    digest = hashlib.sha256(images.suffix_of(source.name).encode() + b"\0" + content).digest()
    if facts is not None and embeddings is not None and (old := facts.get([digest])):
        known = Facts.from_bytes(old[digest])
        keys = [bytes.fromhex(one.pixels) for one in known.seen]
        if len(embeddings.get(keys)) == len(set(keys)):
            return Decoded(source, digest, known)
    return _read(source, content, digest, reading)


def _read(source: Source, content: bytes, digest: bytes, reading: Reading) -> Decoded:
    seen: list[Seen] = []
    pixels: dict[str, Pixels] = {}
    outcome, reason = None, ""
    path = source.path if source.member is None else None
    try:
        for page in images.pages(content, source.name, reading, path):
            height, width = page.pixels.shape[:2]
            seen.append(Seen(page.number, digest_of(page.pixels), height, width, page.note))
            pixels[seen[-1].pixels] = page.pixels
    except UnreadableError as error:
        outcome, reason = error.outcome, str(error)
    except Exception as error:  # one file must not end the run, whatever a library lets through
        outcome, reason = "unreadable", f"damaged ({type(error).__name__}); remove or replace it"
    thumbs = {name: thumbnails.encode(one) for name, one in pixels.items()}
    return Decoded(source, digest, Facts(tuple(seen), outcome, reason), pixels, thumbs)


def decoded(
    sources: Sequence[Source], reading: Reading, caches: Caches | None, workers: int
) -> Iterator[Decoded]:
    """Read files in their order, a bounded number ahead.

    Parameters
    ----------
    sources
        What to read.
    reading
        Windows, and how volumes become images.
    caches
        What was read and embedded before; None reads everything.
    workers
        Processes; 0 reads in this one.

    Notes
    -----
    A decoder that crashes takes its process along, not the run: the files of the task are read
    again one by one, and the one that does it becomes a row.
    """
    if not workers:
        for source in sources:
            yield from decode([source], reading, caches)
        return
    pool = _Pool(workers)
    waiting: deque[tuple[tuple[Source, ...], Any]] = deque()
    for chunk in _chunks(sources):
        waiting.append((chunk, pool.submit(chunk, reading, caches)))
        if len(waiting) >= WAITING * workers:
            yield from pool.result(*waiting.popleft(), reading, caches)
    while waiting:
        yield from pool.result(*waiting.popleft(), reading, caches)


class _Pool:
    """Processes that do not import a script's main module, as those of joblib do not."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def _executor(self) -> Any:
        from joblib.externals.loky import get_reusable_executor

        return get_reusable_executor(max_workers=self.workers, timeout=60, initializer=_quiet)

    def submit(self, chunk: Sequence[Source], reading: Reading, caches: Caches | None) -> Any:
        return self._executor().submit(decode, chunk, reading, caches)

    def result(
        self, chunk: Sequence[Source], task: Any, reading: Reading, caches: Caches | None
    ) -> list[Decoded]:
        from concurrent.futures.process import BrokenProcessPool

        try:
            found: list[Decoded] = task.result()
        except BrokenProcessPool:
            return [self._alone(source, reading, caches) for source in chunk]
        return found

    def _alone(self, source: Source, reading: Reading, caches: Caches | None) -> Decoded:
        from concurrent.futures.process import BrokenProcessPool

        try:
            (found,) = self.submit([source], reading, caches).result()
        except BrokenProcessPool:
            reason = "its decoder crashed; export it as PNG"
            return Decoded(source, b"", Facts((), "unreadable", reason))
        one: Decoded = found
        return one


def _quiet() -> None:
    """Let nothing that a library says of a file reach the terminal: it may quote a header."""
    logging.disable(logging.CRITICAL)
    with Path(os.devnull).open("w") as nowhere:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere.fileno(), stream.fileno())


def _chunks(sources: Sequence[Source]) -> Iterator[tuple[Source, ...]]:
    iterator = iter(sources)
    while chunk := tuple(islice(iterator, CHUNK)):
        yield chunk
