"""Figure of two axes: the student's gain for every pair of classes, or of two keys' values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage

from medlabel.evaluate.results import CellResult, StudyResult, grouped
from medlabel.params import pool_name
from medlabel.report import style
from medlabel.report.text import MINUS, points, shorten, titled

TILE = 11.5  # mm
ROOM = 24.0  # mm, names and title around a panel
BAR = 18.0  # mm, the scale of the colours
LEAST = 3  # tiles, the width of a panel
NAME_LENGTH = 16
GAINS = LinearSegmentedColormap.from_list("gain", [style.VERMILLION, "#FFFFFF", style.BLUE], N=255)


@dataclass(frozen=True)
class Panel:
    """Cells by row and column; in pairs these are the same classes, and one triangle holds all."""

    title: str
    rows: list[str]
    columns: list[str]
    cells: Mapping[tuple[int, int], CellResult]
    pairs: bool

    @property
    def phantom(self) -> bool:
        """Whether its images are drawn."""
        return all(cell.phantom for cell in self.cells.values())


def draw(study: StudyResult, targets: Sequence[Path]) -> None:
    """Draw a panel for each pool of pairs, or one for all combinations of two keys.

    A tile's colour and number are the student's mean gain in accuracy; of networks taught by true
    labels, their accuracy. Above the diagonal of pairs stands the teacher's accuracy.
    """
    panels = list(_panels(study))
    across = [max(LEAST, len(panel.columns)) for panel in panels]
    tall = max(len(panel.rows) for panel in panels)
    tile = min(TILE, (style.TWO_COLUMNS - ROOM * len(panels) - BAR) / sum(across))
    wanted = tile * sum(across) + ROOM * len(panels) + BAR
    what = f"Student {MINUS} teacher (percentage points)" if study.taught else "Accuracy (%)"
    with style.sheet(
        targets,
        tile * tall + ROOM,
        study.title,
        _explain(study, panels[0].pairs),
        phantom=study.phantom,
        width=max(style.ONE_COLUMN, min(wanted, style.TWO_COLUMNS)),
    ) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False, width_ratios=across)[0]
        limit = max(abs(_shown(cell, study)) for cell in study.cells) or 1.0
        for axes, panel in zip(grid, panels, strict=True):
            picture = _draw_panel(axes, panel, study, limit)
        style.colour_bar(figure, picture, grid, what, pad=0.01, shrink=0.8)


def _panels(study: StudyResult) -> Iterator[Panel]:
    if len(study.axes) == 2:
        rows, columns = study.axes
        cells = {(rows.place(cell), columns.place(cell)): cell for cell in study.cells}
        yield Panel("", rows.values, columns.values, cells, pairs=False)
        return
    pools = grouped(study.cells, lambda cell: pool_name(cell.images))
    # Real images first.
    for name, group in sorted(pools.items(), key=lambda item: item[1][0].phantom):
        classes = list(dict.fromkeys(one for cell in group for one in cell.classes))
        pairs = [sorted(map(classes.index, cell.classes)) for cell in group]
        cells = {(last, first): cell for (first, last), cell in zip(pairs, group, strict=True)}
        yield Panel(name, classes, classes, cells, pairs=True)


def _explain(study: StudyResult, pairs: bool) -> str:
    if not study.taught:
        return f"Mean accuracy in per cent over {study.cells[0].repeats}."
    above = " Above the diagonal: the teacher's accuracy (%)." if pairs else ""
    return (
        f"{'Below the diagonal: mean' if pairs else 'Mean'} gain in accuracy over "
        f"{study.cells[0].repeats}, in percentage points; bold where its {study.interval} leaves "
        f"out zero.{above}"
    )


def _shown(cell: CellResult, study: StudyResult) -> float:
    found = cell.gains if study.taught else cell.arms[cell.trained]
    return 100 * found["accuracy"].mean


def _draw_panel(axes: Axes, panel: Panel, study: StudyResult, limit: float) -> AxesImage:
    shape = len(panel.rows), len(panel.columns)
    values = np.full(shape, np.nan)
    for place, cell in panel.cells.items():
        values[place] = _shown(cell, study)
    low = -limit if study.taught else min(_shown(cell, study) for cell in study.cells)
    colours = GAINS if study.taught else mpl.colormaps["Blues"]
    picture = axes.imshow(values, cmap=colours, vmin=low, vmax=limit, aspect="equal")
    for (row, column), cell in panel.cells.items():
        part = (values[row, column] - low) / ((limit - low) or 1.0)
        dark = abs(part - 0.5) > 0.38 if study.taught else part > 0.6
        gain = cell.gains["accuracy"] if study.taught else None
        axes.text(
            column, row, points(gain.mean) if gain else f"{values[row, column]:.1f}",
            ha="center", va="center", fontsize=6.5, color="white" if dark else style.BLACK,
            weight="bold" if gain and (gain.low > 0 or gain.high < 0) else "normal",
        )  # fmt: skip
        if panel.pairs and study.taught:
            teacher = f"{100 * cell.arms['teacher']['accuracy'].mean:.0f}"
            axes.text(
                row, column, teacher, ha="center", va="center", fontsize=6.0, color=style.GREY
            )
    axes.set_xticks(range(shape[1]), [shorten(one, NAME_LENGTH) for one in panel.columns],
                    rotation=45, ha="right", rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(shape[0]), [shorten(one, NAME_LENGTH) for one in panel.rows])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if not panel.pairs:
        axes.set(ylabel=study.axes[0].key.capitalize(), xlabel=study.axes[1].key.capitalize())
    title = titled(panel.title, panel.phantom)
    style.entitle(axes, title, drawn=panel.phantom, all_drawn=study.phantom)
    return picture
