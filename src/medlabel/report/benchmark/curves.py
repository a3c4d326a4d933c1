"""Figure: how every row trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from medlabel.report import style
from medlabel.report.benchmark import comparison, panels
from medlabel.report.benchmark.comparison import Comparison, Run, Score
from medlabel.report.text import readable, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

LOSSES = {
    "train_loss": ("training loss", style.BLUE, "solid"),
    "val_loss": ("validation loss", style.ORANGE, (0, (4, 1.2))),
}
ACROSS = 4  # rows side by side
LOSS, AUC = 27.0, 22.0  # mm
AROUND = 20.0  # mm, of a line of panels: titles, ticks and labels
LEGEND = 6.0  # mm
NAME_LENGTH = 27
SEEDS_LENGTH = 7


def draw(results: Path, runs: Mapping[str, Sequence[Path]], targets: Sequence[Path]) -> None:
    """Draw loss and validation AUC by epoch, one column for each row, one line for each seed.

    Parameters
    ----------
    results
        The JSON file that `medlabel compare` wrote.
    runs
        Folders of the runs by the row's name.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or the runs are not those that were compared.
    """
    found = comparison.read(results)
    read = comparison.read_runs(found, runs)
    across = min(ACROSS, len(found.rows))
    lines = math.ceil(len(found.rows) / across)
    with style.house():
        figure = style.sheet(
            lines * (LOSS + AUC + AROUND) + LEGEND,
            f"Training of the benchmark: {readable(found.preset)}",
            "One line a seed (n in each title). The weights of the epoch with the highest "
            "validation AUC are kept and judged on the test split. Losses on a logarithmic scale; "
            "the training loss is the mean over an epoch in which the weights move.",
            phantom=found.phantom,
        )
        grid = figure.subplots(2 * lines, across, squeeze=False, height_ratios=(LOSS, AUC) * lines)
        for place in range(lines * across):
            line, column = divmod(place, across)
            pair = grid[2 * line : 2 * line + 2, column]
            if place < len(found.rows):
                row = found.rows[place]
                _draw_row(list(pair), row, read[row.name], found)
            else:
                for axes in pair:
                    axes.remove()
        _share(grid, len(found.rows))
        handles, labels = _entries(grid)
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        style.save(figure, targets)


def _draw_row(pair: Sequence[Axes], row: Score, runs: Sequence[Run], found: Comparison) -> None:
    loss, auc = pair
    thin = 1.1 if len(runs) <= 3 else 0.6
    for run in runs:
        table = run.curve()
        dots = "o" if len(table) <= 12 else None
        for column, (label, colour, dashes) in LOSSES.items():
            loss.plot(
                table["epoch"], table[column], color=colour, linestyle=dashes, label=label,
                linewidth=thin, marker=dots, markersize=1.5,
            )  # fmt: skip
        auc.plot(
            table["epoch"], table["val_auc"], color=style.GREEN, linewidth=thin, marker=dots,
            markersize=1.5, label="validation AUC",
        )  # fmt: skip
        _draw_kept(auc, table)
    for axes in pair:
        axes.set_xlim(0.4, row.epochs + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _draw_milestones(axes, runs[0])
    loss.set_yscale("log")
    loss.tick_params(labelbottom=False)
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    loss.yaxis.set_minor_locator(NullLocator())
    auc.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10)))
    panels.entitle(
        loss,
        f"{row.dataset}\n{shorten(row.model, NAME_LENGTH)}\n"
        f"{shorten(row.recipe, NAME_LENGTH - SEEDS_LENGTH)}, n = {row.seeds}",
        row,
        found,
        fontsize=6.5,
        linespacing=1.25,
    )
    auc.set_xlabel("Epoch")


def _draw_kept(axes: Axes, table: pd.DataFrame) -> None:
    kept = table[table["kept"]]
    axes.plot(
        kept["epoch"], kept["val_auc"], "o", color=style.VERMILLION, fillstyle="none",
        markersize=4.5, markeredgewidth=0.9, clip_on=False, label="epoch whose weights are kept",
    )  # fmt: skip


def _draw_milestones(axes: Axes, run: Run) -> None:
    """Draw a line between the two epochs where a milestone lowers the learning rate."""
    recipe = run.record.settings
    if recipe.schedule != "steps":
        return
    for part in recipe.milestones:
        before = math.ceil(part * recipe.epochs)
        axes.axvline(
            before + 0.5, color=style.GREY, linestyle=(0, (1, 1.5)), linewidth=0.9,
            label="learning rate lowered",
        )  # fmt: skip


def _share(grid: np.ndarray, rows: int) -> None:
    """Give all panels of a kind one scale, labelled at left."""
    across = grid.shape[1]
    for kind, label in ((0, "Loss (nats)"), (1, "Validation AUC")):
        panels_of_kind = grid[kind::2].ravel()[:rows]
        limits = np.array([axes.get_ylim() for axes in panels_of_kind])
        for place, axes in enumerate(panels_of_kind):
            axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
            if place % across:
                axes.tick_params(labelleft=False, which="both")
            else:
                axes.set_ylabel(label)


def _entries(grid: np.ndarray) -> tuple[list[Artist], list[str]]:
    """Return each entry of the panels' legends once."""
    found: dict[str, Artist] = {}
    for axes in grid.ravel():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
