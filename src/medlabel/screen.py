"""A run of Snakemake on one screen: a line a step as it ends, bars for what runs.

Without a terminal, such as in CI, there are the lines alone. What is left out here, commands and
reasons above all, stands in the log file that Snakemake names at the end.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from medlabel import progress
from medlabel.watching import BAR_WIDTH, Row, board, duration

LINES_OF_A_FAILED_LOG = 20
# What Snakemake says of itself that is worth a line.
SAID = ("Nothing to be done", "This was a dry-run", "Complete log")
NARROWEST = 18  # characters of a step's name


@dataclass
class Job:
    """A job that Snakemake started, or gave to a cluster."""

    step: str
    detail: str
    logs: list[Path]
    started: float

    @property
    def name(self) -> str:
        """The step, and what it is done for."""
        # The wildcard of a repeated pretraining is empty, or such as `.1`.
        between = "" if self.detail.startswith(".") else " "
        return f"{self.step}{between}{self.detail}".strip()


class Screen:
    """What to show of Snakemake's events, as its logger plugins are handed them."""

    def __init__(self, dry: bool = False, console: Console | None = None) -> None:
        self._dry = dry
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(self, console=self._console, refresh_per_second=2, transient=True)
        self._started = time.monotonic()
        self._totals: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._begun: dict[str, float] = {}
        self._running: dict[int, Job] = {}

    def show(self, record: logging.LogRecord) -> None:
        """Show one event, or nothing of it."""
        event = getattr(record, "event", None)
        handler = getattr(self, f"_on_{event}", None) if event else None
        if handler:
            handler(vars(record))
        elif event is None or event == "error":
            self._say(record)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    def _say(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            style = "red" if record.levelno >= logging.ERROR else "yellow"
            self._print(Text(message, style=style))
        elif message.startswith(SAID):
            self._print(Text(message, style="dim"))

    def _print(self, content: Text) -> None:
        # Wrapping would tear paths apart, which a person wants to copy.
        self._console.print(content, soft_wrap=True)

    def _line(self, step: str, count: int, since: float | None = None) -> None:
        width = max([NARROWEST, *map(len, self._totals)])
        took = "" if since is None else duration(time.monotonic() - since)
        jobs = f"{count} job{'' if count == 1 else 's'}"
        self._print(Text(f"  {step:<{width}}{jobs:>11}{took:>10}".rstrip()))

    def _on_run_info(self, event: Mapping[str, Any]) -> None:
        totals = Counter({k: n for k, n in event["stats"].items() if k != "total"})
        if totals == self._totals:
            return  # a dry run tells it again at its end
        self._totals = totals
        self._print(Text(f"{self._totals.total()} jobs in {len(self._totals)} steps"))
        if self._dry:
            for step, count in self._totals.items():
                self._line(step, count)
        elif self._console.is_terminal:
            self._live.start()

    def _on_job_info(self, event: Mapping[str, Any]) -> None:
        if self._dry:
            return
        step = event["rule_name"]
        detail = "/".join(str(value) for value in event["wildcards"].values())
        job = Job(step, detail, [Path(str(path)) for path in event["log"]], time.monotonic())
        self._begun.setdefault(step, job.started)
        self._running[event["jobid"]] = job

    def _on_job_finished(self, event: Mapping[str, Any]) -> None:
        job = self._running.pop(event["job_id"], None)
        if not job:
            return
        self._done[job.step] += 1
        # A rule without a command, such as `all`, has no log, and takes no time.
        if self._done[job.step] == self._totals[job.step] and job.logs:
            self._line(job.step, self._done[job.step], self._begun[job.step])
        if self._done == self._totals:
            self._line("all", self._totals.total(), self._started)

    def _on_job_error(self, event: Mapping[str, Any]) -> None:
        self._running.pop(event["jobid"], None)
        self._print(Text(f"{event['rule_name']} failed", style="red"))
        for name in event["log"]:
            self._print(Text(f"  {name}:", style="red"))
            for line in _tail(Path(str(name))):
                self._print(Text(f"    {line}"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw what runs now, and how many jobs are done."""
        folder = os.environ.get(progress.FOLDER_VARIABLE)
        told = {one.log: one for one in progress.running(Path(folder))} if folder else {}
        found = [
            Row(job.name, time.monotonic() - job.started, _own(job, told))
            for job in list(self._running.values())
        ]
        done, total = self._done.total(), self._totals.total()
        summary = Table.grid(padding=(0, 1))
        summary.add_row(
            Text(duration(time.monotonic() - self._started)),
            ProgressBar(total=total, completed=done, width=BAR_WIDTH),
            f"{done} of {total} jobs",
        )
        yield Group(board(found), summary) if found else summary


def _own(job: Job, told: Mapping[int, progress.Progress]) -> progress.Progress | None:
    for path in job.logs:
        try:
            return told.get(path.stat().st_ino)
        except OSError:
            continue  # waits in a queue: its log is not there yet
    return None


def _tail(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return lines[-LINES_OF_A_FAILED_LOG:]
