"""What runs now, from outside: a bar and an estimate for each job, refreshed every second."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from medlabel import progress
from medlabel.errors import MedlabelError

SECONDS_BETWEEN_LOOKS = 1.0
BAR_WIDTH = 24  # characters
ROWS = 15  # at most, so that all fits a screen


@dataclass(frozen=True)
class Shortened:
    """One line of text that loses its middle where it is too wide: names differ at both ends."""

    text: str
    style: str = ""

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Ask for all of the text, and do with one character."""
        return Measurement(1, max(len(self.text), 1))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Keep as much of both ends as there is room for."""
        text, room = self.text, options.max_width
        if len(text) > room:
            tail = room // 2
            text = text[: room - tail - 1] + "…" + text[len(text) - tail :]
        yield Text(text, style=self.style, no_wrap=True)


@dataclass(frozen=True)
class Row:
    """A running job: its name, how long it runs, and how far it says that it has come."""

    name: str
    seconds: float
    progress: progress.Progress | None = None


def progress_folder(logs: Path) -> Path:
    """Give the folder in which the jobs that log to `logs` tell their progress."""
    return logs / ".progress"


def watch(logs: Path, once: bool = False) -> None:
    """Show what the jobs that log to a folder are doing: `once`, or until interrupted.

    Raises
    ------
    MedlabelError
        When there is no such folder.
    """
    if not logs.is_dir():
        raise MedlabelError(
            f"{logs}: no such folder; run `snakemake` first, or name the folder of its logs."
        )
    console = Console()
    if once:
        console.print(board(rows(logs)))
        return
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, auto_refresh=False) as live,
    ):
        while True:
            live.update(board(rows(logs)), refresh=True)
            time.sleep(SECONDS_BETWEEN_LOOKS)


def rows(logs: Path) -> list[Row]:
    """List the jobs that tell their progress, named after their logs: step, then what it is for."""
    names = {}
    for path in logs.rglob("*.log"):
        # Snakemake removes the logs of what it runs again.
        with contextlib.suppress(OSError):
            names[path.stat().st_ino] = str(path.relative_to(logs).with_suffix(""))
    return [
        Row(names.get(told.log, "by hand"), told.seconds + told.age, told)
        for told in progress.running(progress_folder(logs))
    ]


def board(found: list[Row]) -> Table | Text | Group:
    """Draw a line a job: name, bar, items, estimate."""
    if not found:
        return Text("Nothing that tells its progress runs now.", style="dim")
    table = Table.grid(padding=(0, 1))
    # Rich narrows columns that may wrap before others, so that bars and numbers keep their width.
    table.add_column()
    table.add_column()
    table.add_column(width=BAR_WIDTH, no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for row in found[:ROWS]:
        table.add_row(Shortened(row.name), *_cells(row))
    if len(found) <= ROWS:
        return table
    return Group(table, Text(f"and {len(found) - ROWS} more", style="dim"))


def _cells(row: Row) -> tuple[Shortened | ProgressBar | str, ...]:
    told = row.progress
    if not told:
        return "", "", "", duration(row.seconds)
    left = duration(row.seconds) if told.left is None else f"{duration(told.left)} left"
    return (
        Shortened(told.task, style="dim"),
        ProgressBar(total=told.total, completed=told.done, width=BAR_WIDTH),
        f"{told.done}/{told.total}",
        left,
    )


def duration(seconds: float) -> str:
    """Write a duration as minutes and seconds, or hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
