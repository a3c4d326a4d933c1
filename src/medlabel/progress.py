"""Progress with an estimate of the time left: a bar in a terminal, lines in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
logger = logging.getLogger("medlabel")

SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[Item], task: str, total: int) -> Iterator[Item]:
    """Yield `items` while showing how far `task` has come.

    Parameters
    ----------
    items
        What to iterate over.
    task
        A few words, such as ``"embed breastmnist"``.
    total
        How many items there will be.
    """
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
