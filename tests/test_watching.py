"""Watching from a second terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from medlabel import progress, watching
from medlabel.errors import MedlabelError
from medlabel.progress import Progress
from medlabel.watching import Row, board, duration, progress_folder, watch

# Takes one step, says so on standard output, and goes on once standard input is closed.
WORKER = """
import sys
from medlabel.progress import track
for item in track(range(4), "four steps", 4):
    if item == 1:
        print(flush=True)
        sys.stdin.read()
"""


def drawn(found: list[Row], width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(board(found))
    return console.export_text()


def test_a_running_job_is_named_after_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "students" / "true" / "0000-0009.log"
    log.parent.mkdir(parents=True)
    told = {progress.FOLDER_VARIABLE: str(progress_folder(tmp_path))}
    code = WORKER.replace(
        "from medlabel.progress",
        "import medlabel.progress as p\np.SECONDS_BETWEEN_FILES = 0.0\nfrom medlabel.progress",
    )
    with log.open("w") as stream:
        job = subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | told,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
        )
    assert job.stdout is not None
    job.stdout.readline()
    watch(tmp_path, once=True)
    running = capsys.readouterr().out
    job.communicate()
    watch(tmp_path, once=True)
    assert "students/true/0000-0009" in running
    assert "four steps" in running
    assert "1/4" in running
    assert "left" in running
    assert "Nothing" in capsys.readouterr().out


def test_a_job_without_progress_shows_how_long_it_runs() -> None:
    assert drawn([Row("study", 75)]).split() == ["study", "1:15"]


def test_many_jobs_fit_a_screen() -> None:
    text = drawn([Row(f"job{number}", 1) for number in range(watching.ROWS + 3)])
    assert len(text.splitlines()) == watching.ROWS + 1
    assert "and 3 more" in text


def test_a_long_name_does_not_wrap() -> None:
    told = Progress("a task of many words, " * 5, 3, 10, 9.0, "", 0, 0)
    assert len(drawn([Row("name/" * 40, 9.0, told)]).splitlines()) == 1


@pytest.mark.parametrize("width", [80, 120, 240])
def test_bar_numbers_and_both_ends_of_a_long_name_are_seen(width: int) -> None:
    name = "train/breast_pneumonia/permuted+phantom_clip@6+capstone+zeroshot/capstone/0010-0019"
    (line,) = drawn([Row(name, 9.0, Progress(name, 3, 10, 9.0, "", 0, 0))], width).splitlines()
    assert line.startswith("train")
    assert "19 train" in line
    assert "━━━" in line
    assert line.rstrip().endswith("3/10 0:21 left")
    assert ("…" in line) == (width < 240)


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="no such folder; run `snakemake` first"):
        watch(tmp_path / "absent")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36000, "10:00:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
