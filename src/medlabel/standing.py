"""How far a project is: results of its studies, time of its steps, room on the disk."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medlabel.layout import Layout
from medlabel.params import Params
from medlabel.watching import duration

STUDY = "study.json"
MB = 1_000_000
HINT = "`snakemake -n` says what would run"


@dataclass(frozen=True)
class Standing:
    """What is there of a project.

    Attributes
    ----------
    studies
        The default ones, with the time at which their results were written, ISO 8601; None where
        there are none. After a checkout it is that of the checkout.
    seconds
        Wall clock of the jobs of each step, added up, as far as it was measured.
    jobs
        How many of them there are.
    bytes
        Of the folders of data and results.
    """

    studies: dict[str, str | None]
    seconds: dict[str, float]
    jobs: dict[str, int]
    bytes: dict[str, int]

    def content(self) -> dict[str, Any]:
        """Return what JSON may hold."""
        return asdict(self)

    def told(self) -> str:
        """Say it in lines."""
        lines = [
            f"study {name}: {f'results of {made}' if made else 'no results yet'}"
            for name, made in self.studies.items()
        ]
        for step, seconds in self.seconds.items():
            jobs = f"{self.jobs[step]} job{'s' * (self.jobs[step] > 1)}"
            lines.append(f"  step {step}: {duration(seconds)}, {jobs}")
        lines += [f"{folder}: {size / MB:.0f} MB" for folder, size in self.bytes.items()]
        return "\n".join([*lines, HINT])


def of(params: Params, layout: Layout) -> Standing:
    """Look at a project.

    Parameters
    ----------
    params, layout
        Its parameters, and where its files lie.
    """
    timings = _timings(Path(layout.data) / "timings")
    steps = sorted(timings, key=lambda step: -sum(timings[step]))
    return Standing(
        {name: _made(Path(layout.study(name, STUDY))) for name in params.default_studies},
        {step: round(sum(timings[step]), 1) for step in steps},
        {step: len(timings[step]) for step in steps},
        {folder: _size(Path(folder)) for folder in (layout.data, layout.results)},
    )


def _made(path: Path) -> str | None:
    if not path.is_file():
        return None
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(" ", "minutes")


def _timings(folder: Path) -> dict[str, list[float]]:
    """Return the seconds of each job by step; Snakemake writes a table a job."""
    found: dict[str, list[float]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        step = path.relative_to(folder).parts[0]
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        found.setdefault(step, []).extend(float(row["s"]) for row in rows)
    return found


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
