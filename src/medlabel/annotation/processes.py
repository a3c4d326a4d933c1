"""Other processes: they decode, and one of them takes over what need not wait."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Submit(Protocol):
    """Begins a task; what it returns waits for the task's result."""

    def __call__(
        self, task: Callable[P, T], /, *given: P.args, **named: P.kwargs
    ) -> Callable[[], T]:
        """Begin a task with what is given to it."""
        ...


def start(workers: int) -> Any:
    """Start processes that do not import a script's main module.

    They are not those that joblib shares within a process: another library's `joblib.Parallel`
    would take ours over and fail.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(workers, initializer=_quiet)


@contextmanager
def beside(wanted: bool, *modules: str) -> Iterator[Submit]:
    """Give what runs a task in a second process, or, if not wanted, here when it is waited for.

    It imports some modules before there is a task. Tasks whose process was ended from outside are
    run here.
    """
    from concurrent.futures.process import BrokenProcessPool

    if not wanted:
        yield _later
        return
    executor = start(1)
    for module in modules:
        executor.submit(_import, module)

    def submit(task: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> Callable[[], T]:
        try:
            running = executor.submit(task, *given, **named)
        except BrokenProcessPool:
            return partial(task, *given, **named)
        return partial(_result, running, partial(task, *given, **named))

    try:
        yield submit
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _import(module: str) -> None:
    importlib.import_module(module)


def _later(task: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> Callable[[], T]:
    return partial(task, *given, **named)


def _result(running: Any, here: Callable[[], T]) -> T:
    from concurrent.futures.process import BrokenProcessPool

    try:
        found: T = running.result()
    except BrokenProcessPool:
        return here()
    return found


def _quiet() -> None:
    """Let nothing that a library says of a file reach the terminal: it may quote a header."""
    logging.disable(logging.CRITICAL)
    with Path(os.devnull).open("w") as nowhere:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere.fileno(), stream.fileno())
