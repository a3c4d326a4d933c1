"""Files are read and decoded by worker processes, in order, while the network runs."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medlabel.annotation import looks, processes, thumbnails, unchanged
from medlabel.annotation.sources import Source
from medlabel.annotation.store import Facts, Seen, Store, digest_of
from medlabel.data.pixels import Pixels
from medlabel.data.reading import images
from medlabel.data.reading.page import Reading, UnreadableError

MOST_FILES, MOST_BYTES = 128, 1 << 20  # a task
WAITING = 3  # tasks a worker: what is decoded before the network asks for it


@dataclass(frozen=True)
class Caches:
    """Where is looked whether a file was read, and its images embedded, before.

    Attributes
    ----------
    stamps
        Digests of files by what the system told of them then.
    facts
        What is in files, by their digests.
    embeddings
        Of images, by their digests.
    """

    stamps: Path
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
    stamp
        As `unchanged.stamp`, from before the file was read; empty where that was not looked for.
    """

    source: Source
    digest: bytes
    facts: Facts
    pixels: dict[str, Pixels] = field(default_factory=dict)
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    stamp: bytes = b""


def decode(sources: Sequence[Source], reading: Reading, caches: Caches | None) -> list[Decoded]:
    """Read files one after the other; what the caches know is not decoded again."""
    contents = [_content(source) for source in sources]
    known = _known([one[0] for one in contents if isinstance(one, tuple)], caches)
    return [
        _decode(source, one, known, reading) for source, one in zip(sources, contents, strict=True)
    ]


def _content(source: Source) -> tuple[bytes, bytes] | UnreadableError:
    """Read a file: its digest and its bytes, or why that is not possible."""
    try:
        content = source.content()
    except UnreadableError as error:
        return error
    # The name decides where the content does not say what it is.
    state = hashlib.sha256(images.suffix_of(source.name).encode() + b"\0")
    state.update(content)
    return state.digest(), content


def _known(digests: Sequence[bytes], caches: Caches | None) -> dict[bytes, Facts]:
    """Return what is known of files all of whose images are embedded."""
    if caches is None:
        return {}
    store = Store(caches.facts, read_only=True)
    found = _facts(digests, store)
    store.close()
    return _embedded(found, caches.embeddings)


def _facts(digests: Sequence[bytes], store: Store) -> dict[bytes, Facts]:
    found = store.get(digests)
    return dict(zip(found, Facts.all_of(list(found.values())), strict=True))


def _embedded(found: Mapping[bytes, Facts], path: Path) -> dict[bytes, Facts]:
    """Return those of them all of whose images are embedded."""
    wanted = {bytes.fromhex(seen.pixels) for facts in found.values() for seen in facts.seen}
    embeddings = Store(path, read_only=True)
    there = embeddings.present(wanted)
    embeddings.close()
    return {
        key: facts
        for key, facts in found.items()
        if all(bytes.fromhex(seen.pixels) in there for seen in facts.seen)
    }


def _decode(
    source: Source,
    content: tuple[bytes, bytes] | UnreadableError,
    known: Mapping[bytes, Facts],
    reading: Reading,
) -> Decoded:
    if isinstance(content, UnreadableError):
        return Decoded(source, b"", Facts((), content.outcome, str(content)))
    digest, whole = content
    if digest in known:
        return Decoded(source, digest, known[digest])
    return _read(source, whole, digest, reading)


def _read(source: Source, content: bytes, digest: bytes, reading: Reading) -> Decoded:
    seen: list[Seen] = []
    pixels: dict[str, Pixels] = {}
    outcome, reason = None, ""
    path = source.path if source.member is None else None
    try:
        for page in images.pages(content, source.name, reading, path):
            height, width = page.pixels.shape[:2]
            key, measured = digest_of(page.pixels), looks.look(page.pixels)
            seen.append(Seen(page.number, key, height, width, page.note, measured))
            pixels[key] = page.pixels
    except UnreadableError as error:
        outcome, reason = error.outcome, str(error)
    except Exception as error:  # one file must not end the run, whatever a library lets through
        outcome, reason = "unreadable", f"damaged ({type(error).__name__}); remove or replace it"
    thumbs = {name: thumbnails.encode(one) for name, one in pixels.items()}
    return Decoded(source, digest, Facts(tuple(seen), outcome, reason), pixels, thumbs)


def decoded(
    sources: Sequence[Source], reading: Reading, caches: Caches | None, workers: int
) -> Iterator[Decoded]:
    """Give files in their order; those that changed, or are new, are read, a bounded number ahead.

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
    if caches is None:
        yield from _read_all(sources, reading, caches, workers)
        return
    stamps = [unchanged.stamp(source) for source in sources]
    known = _unchanged(stamps, caches)
    both = list(zip(sources, stamps, strict=True))
    changed = [source for source, stamp in both if stamp not in known]
    rest = _read_all(changed, reading, caches, workers)
    try:
        for source, stamp in both:
            if stamp in known:
                yield Decoded(source, *known[stamp])
                continue
            one = next(rest)
            one.stamp = stamp
            yield one
    finally:
        rest.close()


def _unchanged(stamps: Sequence[bytes], caches: Caches) -> dict[bytes, tuple[bytes, Facts]]:
    """Return digests and contents of files by their stamps, where all images are embedded."""
    # Not only to read: what a killed run left half-written is taken back then.
    by_stamp, by_digest = Store(caches.stamps), Store(caches.facts)
    digests = by_stamp.get(stamps)
    found = _embedded(_facts(list(set(digests.values())), by_digest), caches.embeddings)
    by_stamp.close()
    by_digest.close()
    return {stamp: (digest, found[digest]) for stamp, digest in digests.items() if digest in found}


def _read_all(
    sources: Sequence[Source], reading: Reading, caches: Caches | None, workers: int
) -> Generator[Decoded]:
    if not workers:
        for source in sources:
            yield from decode([source], reading, caches)
        return
    pool = _Pool(workers)
    waiting: deque[tuple[tuple[Source, ...], Any]] = deque()
    try:
        for chunk in _chunks(sources):
            waiting.append((chunk, pool.submit(chunk, reading, caches)))
            if len(waiting) >= WAITING * workers:
                yield from pool.result(*waiting.popleft(), reading, caches)
        while waiting:
            yield from pool.result(*waiting.popleft(), reading, caches)
    finally:
        pool.close()


class _Pool:
    """Processes that are started again after a crash."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.executor: Any = None

    def _start(self) -> Any:
        self.executor = processes.start(self.workers)
        return self.executor

    def submit(self, chunk: Sequence[Source], reading: Reading, caches: Caches | None) -> Any:
        from concurrent.futures.process import BrokenProcessPool

        try:
            return (self.executor or self._start()).submit(decode, chunk, reading, caches)
        except BrokenProcessPool:
            return self._start().submit(decode, chunk, reading, caches)

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

    def close(self) -> None:
        if self.executor is not None:
            self.executor.shutdown(wait=False, kill_workers=True)


def _chunks(sources: Sequence[Source]) -> Iterator[tuple[Source, ...]]:
    """Yield tasks of many small files or few large ones, so that memory stays flat."""
    chunk: list[Source] = []
    size = 0
    for source in sources:
        chunk.append(source)
        size += _size(source)
        if len(chunk) == MOST_FILES or size >= MOST_BYTES:
            yield tuple(chunk)
            chunk, size = [], 0
    if chunk:
        yield tuple(chunk)


def _size(source: Source) -> int:
    """Return a file's bytes on disk; a member of an archive counts as a larger one."""
    if source.member is not None:
        return MOST_BYTES // 8
    try:
        return source.path.stat().st_size
    except OSError:
        return 0
