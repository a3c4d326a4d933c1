"""Progress that others can see: files of what runs, gone when it ended."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from medlabel import progress
from medlabel.progress import Progress, running, track


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(tmp_path / "told"))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_FILES", 0.0)
    return tmp_path / "told"


def tell(folder: Path, **changes: object) -> Path:
    here = Progress("task", 1, 4, 10.0, os.uname().nodename, os.getpid(), 7)
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(asdict(here) | changes))
    return path


def test_a_task_tells_how_far_it_is_and_leaves_nothing(folder: Path) -> None:
    seen = []
    for _ in track("abc", "letters", 3):
        (told,) = running(folder)
        seen.append((told.task, told.done, told.total, told.process))
    assert seen == [("letters", done, 3, os.getpid()) for done in range(3)]
    assert list(folder.iterdir()) == []


def test_two_tasks_at_once_tell_apart(folder: Path) -> None:
    for _ in track([1], "outer", 1):
        for _ in track([1], "inner", 1):
            assert {told.task for told in running(folder)} == {"outer", "inner"}


def test_a_task_that_fails_leaves_nothing(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in track([1], "fails", 1):
            raise ZeroDivisionError
    assert list(folder.iterdir()) == []


def test_without_the_variable_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(progress.FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert list(track([1, 2], "quiet", 2)) == [1, 2]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_does_not_end_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(tmp_path / "file"))
    assert list(track([1, 2], "goes on", 2)) == [1, 2]


def test_lines_still_go_to_the_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="medlabel"):
        list(track([1, 2], "lines", 2))
    assert caplog.messages == ["lines: 2 of 2, about 0 s left"]


def test_files_are_written_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(tmp_path))
    told = [running(tmp_path)[0].done for _ in track(range(1000), "fast", 1000)]
    assert len(set(told)) < 100


def test_the_dead_and_the_torn_are_left_out(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    tell(tmp_path, process=ended.pid)
    (tmp_path / "torn.json").write_text('{"task": "to')
    (tmp_path / "other.json").write_text('{"version": 9}')
    assert running(tmp_path) == []
    tell(tmp_path)
    assert [told.done for told in running(tmp_path)] == [1]


def test_another_node_is_believed_while_it_tells(tmp_path: Path) -> None:
    path = tell(tmp_path, host="elsewhere", process=1)
    assert len(running(tmp_path)) == 1
    then = time.time() - progress.SECONDS_UNTIL_DEAD - 1
    os.utime(path, (then, then))
    assert running(tmp_path) == []


def test_estimates_count_on_between_two_tellings() -> None:
    told = Progress("task", 1, 4, 10.0, "", 0, 0)
    assert told.left == 30.0
    assert Progress("task", 1, 4, 10.0, "", 0, 0, age=12.0).left == 18.0
    assert Progress("task", 1, 4, 10.0, "", 0, 0, age=99.0).left == 0.0
    assert Progress("task", 0, 4, 10.0, "", 0, 0).left is None
