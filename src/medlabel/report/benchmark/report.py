"""All that a reader sees of the benchmark, drawn in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from medlabel.params import Benchmark
from medlabel.progress import track
from medlabel.report.benchmark import curves, roc, scores, slices
from medlabel.report.benchmark.page import CAPTIONS
from medlabel.report.benchmark.page import write as write_page
from medlabel.report.benchmark.tables import write as write_tables

SUFFIXES = (".svg", ".png")


def write(
    *,
    comparison: Path,
    runs: Mapping[str, Sequence[Path]],
    archives: Mapping[str, Path],
    settings: Benchmark,
    seed: int,
    figures: Path,
    tables: Path,
    page: Path,
) -> None:
    """Draw every figure as ``<figures>/benchmark_<preset>_<name>`` in SVG and PNG, then the rest.

    Parameters
    ----------
    comparison
        The JSON file that `medlabel compare` wrote.
    runs
        Folders of the runs by the row's name, one a seed.
    archives
        Image file of each dataset whose images are shown: the volumetric ones, or where there are
        none, any others of the benchmark.
    settings
        Parameters of the benchmark.
    seed
        Root of the random augmentations that are shown.
    figures
        Folder.
    tables, page
        Markdown and HTML file to write.

    Raises
    ------
    MedlabelError
        When an input is missing or damaged, or the runs are not those that were compared.
    """

    def targets(name: str) -> list[Path]:
        return [figures / f"benchmark_{settings.name}_{name}{suffix}" for suffix in SUFFIXES]

    drawings: dict[str, Callable[[Sequence[Path]], None]] = {
        "scores": lambda at: scores.draw(comparison, at),
        "roc": lambda at: roc.draw(comparison, runs, at),
        "curves": lambda at: curves.draw(comparison, runs, at),
        "slices": lambda at: slices.draw(comparison, runs, archives, seed, at),
    }
    for name, draw in track(drawings.items(), "draw figures", len(drawings)):
        draw(targets(name))
    write_tables(comparison, runs, tables)
    write_page(
        results=comparison,
        runs=runs,
        figures={name: targets(name)[0] for name in CAPTIONS},
        settings=settings,
        target=page,
    )
