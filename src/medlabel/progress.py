"""Progress with an estimate of the time left: a bar in a terminal, lines in a log file.

Where `FOLDER_VARIABLE` is set, as Snakefiles do, a small file in that folder also tells it to
others: to ``medlabel watch``, and to the terminal that runs Snakemake.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
logger = logging.getLogger("medlabel")

FOLDER_VARIABLE = "MEDLABEL_PROGRESS"
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FILES = 0.5
# Longer than any single item takes. Only where its process cannot be asked for: on another node.
SECONDS_UNTIL_DEAD = 1800.0

_numbers = itertools.count()


@dataclass(frozen=True)
class Progress:
    """How far one task has come, as its own process tells."""

    task: str
    done: int
    total: int
    seconds: float
    """Since the task began."""
    host: str
    process: int
    log: int
    """Inode of the file that standard error goes to, by which a job is known from outside."""
    age: float = 0.0
    """Seconds since it was told; filled in by who reads it."""

    @property
    def left(self) -> float | None:
        """Estimate the seconds left; none before the first item is done."""
        if not self.done:
            return None
        return max(self.seconds / self.done * (self.total - self.done) - self.age, 0.0)


def track(items: Iterable[Item], task: str, total: int) -> Iterator[Item]:
    """Yield `items`, of which there are `total`, while showing how far `task` has come.

    A task is named in a few words, such as ``"embed breastmnist"``.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        items = _told(items, task, total, Path(folder))
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(items, task, total, console=Console(stderr=True))
        return
    started = reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= SECONDS_BETWEEN_LINES or done == total:
            left = (now - started) / done * (total - done)
            logger.info("%s: %d of %d, about %.0f s left", task, done, total, left)
            reported = now


def _told(items: Iterable[Item], task: str, total: int, folder: Path) -> Iterator[Item]:
    """Yield `items` and keep a file in `folder` that says how far they have come."""
    host, process = socket.gethostname(), os.getpid()
    path = folder / f"{host}-{process}-{next(_numbers)}.json"
    log = os.fstat(2).st_ino
    started = time.monotonic()
    told = float("-inf")
    try:
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - told >= SECONDS_BETWEEN_FILES:
                _tell(path, Progress(task, done, total, now - started, host, process, log))
                told = now
            yield item
    finally:
        with contextlib.suppress(OSError):  # as when telling: the folder may never have been one
            path.unlink(missing_ok=True)


def _tell(path: Path, progress: Progress) -> None:
    """Replace the file in one go; a full disk or a lost folder must not end a training."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(asdict(progress)), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        logger.debug("%s: %s", path, error)


def running(folder: Path) -> list[Progress]:
    """Read what the processes that still run tell in `folder`, the eldest first."""
    found = []
    for path in folder.glob("*.json"):
        try:
            progress = replace(
                Progress(**json.loads(path.read_text(encoding="utf-8"))),
                age=max(time.time() - path.stat().st_mtime, 0.0),
            )
        except (OSError, ValueError, TypeError):
            continue  # it ended just now, or another version wrote it
        if _is_alive(progress):
            found.append(progress)
    return sorted(found, key=lambda progress: -progress.seconds)


def _is_alive(progress: Progress) -> bool:
    if progress.host != socket.gethostname():
        return progress.age < SECONDS_UNTIL_DEAD
    try:
        os.kill(progress.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True
