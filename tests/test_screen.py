"""What is left of Snakemake's output on the screen."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from medlabel.screen import LINES_OF_A_FAILED_LOG, Job, Screen


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(output: io.StringIO) -> Screen:
    return Screen(console=Console(file=output, width=80))


def send(
    screen: Screen, message: str | None = None, level: int = logging.INFO, **event: Any
) -> None:
    record = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    vars(record).update(event)
    screen.show(record)


def start(screen: Screen, number: int, step: str, log: Path, **wildcards: str) -> None:
    send(
        screen,
        "rule: ...",
        **{"event": "job_info", "jobid": number, "rule_name": step},
        wildcards=wildcards,
        log=[log],
        shellcmd="a long command",
    )


def test_a_step_gets_its_line_when_its_last_job_ends(screen: Screen, output: io.StringIO) -> None:
    send(screen, "table", event="run_info", stats={"mix": 1, "train": 2, "total": 3})
    for number, step in enumerate(["mix", "train", "train"]):
        start(screen, number, step, Path("x.log"))
        send(screen, event="shellcmd", shellcmd="a long command")
        send(screen, event="job_finished", job_id=number)
    lines = [line.split() for line in output.getvalue().splitlines()]
    assert lines == [
        ["3", "jobs", "in", "2", "steps"],
        ["mix", "1", "job", "0:00"],
        ["train", "2", "jobs", "0:00"],
        ["all", "3", "jobs", "0:00"],
    ]


def test_numbers_stand_in_line_beside_long_names(screen: Screen, output: io.StringIO) -> None:
    steps = {"pretrain_phantom_clip": 1, "embed": 1}
    send(screen, "table", event="run_info", stats=steps | {"total": 2})
    start(screen, 0, "pretrain_phantom_clip", Path("x.log"), run="")
    start(screen, 1, "embed", Path("x.log"), mixture="breast", encoder="phantom_clip")
    for number in range(2):
        send(screen, event="job_finished", job_id=number)
    lines = output.getvalue().splitlines()[1:]
    assert len({len(line) for line in lines}) == 1


def test_a_repeated_pretraining_is_named_as_its_weights_are() -> None:
    names = [Job("pretrain_phantom_clip", run, [], 0.0).name for run in ("", ".1")]
    assert names == ["pretrain_phantom_clip", "pretrain_phantom_clip.1"]


def test_a_failed_job_shows_where_and_why(
    screen: Screen, output: io.StringIO, tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    start(screen, 1, "train", log)
    failure = {"event": "job_error", "jobid": 1, "rule_name": "train"}
    send(screen, "Error in rule", logging.ERROR, **failure, log=[log, tmp_path / "absent.log"])
    lines = output.getvalue().splitlines()
    assert lines[:2] == ["train failed", f"  {log}:"]
    assert "    line 99" in lines
    assert f"    line {99 - LINES_OF_A_FAILED_LOG}" not in lines


def test_errors_and_warnings_are_never_lost(screen: Screen, output: io.StringIO) -> None:
    send(screen, "Select jobs to execute...")
    send(screen, "careful", logging.WARNING)
    send(screen, "WorkflowError: [broken]", logging.ERROR, event="error", exception="X")
    send(screen, "Nothing to be done (all requested files are present and up to date).")
    assert output.getvalue().splitlines() == [
        "careful",
        "WorkflowError: [broken]",
        "Nothing to be done (all requested files are present and up to date).",
    ]


def test_a_dry_run_lists_the_steps(output: io.StringIO) -> None:
    screen = Screen(dry=True, console=Console(file=output, width=80))
    send(screen, "table", event="run_info", stats={"mix": 1, "train": 2, "total": 3})
    assert [line.split()[0] for line in output.getvalue().splitlines()] == ["3", "mix", "train"]


def test_a_terminal_shows_what_runs(output: io.StringIO) -> None:
    console = Console(file=output, width=80, force_terminal=True)
    screen = Screen(console=console)
    send(screen, "table", event="run_info", stats={"train": 2, "total": 2})
    start(screen, 1, "train", Path("absent.log"), arm="true", block="0000-0009")
    with console.capture() as captured:
        console.print(screen)
    screen.close()
    assert "train true/0000-0009" in captured.get()
    assert "0 of 2 jobs" in captured.get()
