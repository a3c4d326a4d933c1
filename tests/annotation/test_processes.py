"""A second process does what the first would have done, and its end is not the end of the task."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from medlabel.annotation import processes
from medlabel.errors import MedlabelError


def _where() -> int:
    return os.getpid()


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _has(module: str) -> bool:
    return module in sys.modules


def _fail() -> None:
    raise MedlabelError("a.png: no such file.")


def _dies_elsewhere(parent: int) -> int:
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def test_a_task_runs_beside_or_here(tmp_path: Path) -> None:
    with processes.beside(True) as submit:
        written = submit(_write, tmp_path / "a.txt", text="beside")
        assert submit(_where)() != os.getpid()
        written()
    assert (tmp_path / "a.txt").read_text() == "beside"
    with processes.beside(False) as submit:
        assert submit(_where)() == os.getpid()


@pytest.mark.parametrize("wanted", [True, False])
def test_what_fails_is_told_where_it_is_waited_for(wanted: bool) -> None:
    with processes.beside(wanted) as submit:
        failing = submit(_fail)
        with pytest.raises(MedlabelError, match=r"a\.png: no such file"):
            failing()


def test_a_task_whose_process_was_killed_is_run_here() -> None:
    with processes.beside(True) as submit:
        assert submit(_dies_elsewhere, os.getpid())() == os.getpid()
        assert submit(_where)() == os.getpid()  # and so are those that come after it


def test_modules_are_imported_before_there_is_a_task() -> None:
    with processes.beside(True, "wave") as submit:
        assert submit(_has, "wave")()
        assert not submit(_has, "sunau")()
