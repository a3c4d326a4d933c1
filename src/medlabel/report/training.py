"""Figure: how the networks of a study's cells trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medlabel.evaluate.results import StudyResult
from medlabel.report import style
from medlabel.report.sources import Source
from medlabel.report.text import continued, shorten, titled

ACROSS = 4  # cells side by side
SHOWN = 12  # cells, the first ones
FEW = 5  # seeds that are drawn one by one
HEIGHT = 27.0  # mm, of a panel
AROUND = 20.0  # mm, of a line of panels: titles, ticks and labels
LEGEND = 6.0  # mm
NAME_LENGTH = 27
PARTS = {"train": ("training", style.BLUE), "val": ("validation", style.ORANGE)}


def draw(study: StudyResult, sources: Sequence[Source], targets: Sequence[Path]) -> None:
    """Draw loss and the score of validation by epoch, and the epochs whose weights are kept."""
    shown = sources[:SHOWN]
    across = min(ACROSS, len(shown))
    lines = math.ceil(len(shown) / across)
    alone = len(shown) == 1
    with style.sheet(
        targets,
        (52 if alone else lines * (2 * HEIGHT + AROUND)) + LEGEND,
        f"Training: {continued(study.title)}",
        f"One line a seed (n in each title); of more than {FEW} seeds, the mean and the range "
        f"that holds the central {100 * study.confidence:g} % of those still training. "
        f"Validation chooses the epoch whose weights are kept.",
        phantom=study.phantom,
    ) as figure:
        shape = (1, 2) if alone else (2 * lines, across)
        grid = figure.subplots(*shape, squeeze=False)
        for place in range(lines * across):
            line, column = divmod(place, across)
            pair = grid[0] if alone else grid[2 * line : 2 * line + 2, column]
            if place < len(shown):
                _draw_cell(pair[0], pair[1], shown[place], study)
            else:
                for axes in pair:
                    axes.remove()
        style.legend(figure, 4)


def _draw_cell(loss: Axes, score: Axes, source: Source, study: StudyResult) -> None:
    table, recipe, found = source.curves(), source.settings.recipe, source.found
    by_auc = recipe.select == "auc"
    names = {"val": "val_auc"} if by_auc else {part: f"{part}_accuracy" for part in PARTS}
    unit = 1.0 if by_auc else 100.0
    _draw_lines(loss, table, {part: f"{part}_loss" for part in PARTS}, 1.0, study.confidence)
    _draw_lines(score, table, names, unit, study.confidence)
    _draw_kept(score if by_auc else loss, table, recipe.select, unit)
    for axes in (loss, score):
        axes.set_xlim(0.4, max(recipe.epochs, int(table["epoch"].max())) + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("Epoch")
        _draw_milestones(axes, source)
    loss.set_ylabel("Loss (nats)")
    agreement = "Agreement with teacher" if found.taught else "Accuracy"
    score.set_ylabel("Validation AUC" if by_auc else f"{agreement} (%)")
    name = "" if found.label == found.images else f"\n{shorten(found.name, NAME_LENGTH)}"
    title = f"{shorten(titled(found.images, found.phantom), NAME_LENGTH)}{name}\nn = {found.seeds}"
    drawn, all_drawn = found.phantom, study.phantom
    style.entitle(loss, title, drawn=drawn, all_drawn=all_drawn, fontsize=6.5, linespacing=1.25)


def _draw_lines(
    axes: Axes, table: pd.DataFrame, names: Mapping[str, str], unit: float, confidence: float
) -> None:
    tail = (1 - confidence) / 2
    for part, column in names.items():
        name, colour = PARTS[part]
        if table["seed"].nunique() > FEW:
            by_epoch = (unit * table[column]).groupby(table["epoch"])
            low, high = by_epoch.quantile(tail), by_epoch.quantile(1 - tail)
            axes.fill_between(low.index, low, high, color=colour, alpha=0.2, linewidth=0)
            mean = by_epoch.mean()
            axes.plot(mean.index, mean, color=colour, label=name, marker="o", markersize=1.8)
            continue
        for _, one in table.groupby("seed"):
            axes.plot(
                one["epoch"], unit * one[column], color=colour, label=name, linewidth=0.9,
                marker="o" if len(one) <= 20 else None, markersize=1.5,
            )  # fmt: skip


def _draw_kept(axes: Axes, table: pd.DataFrame, select: str, unit: float) -> None:
    kept = table[table["kept"]]
    values = kept["val_loss"] if select == "loss" else unit * kept["val_auc"]
    axes.plot(
        kept["epoch"] + 0.3 * style.jitter(len(kept)) * (len(kept) > FEW), values, "o",
        color=style.VERMILLION, fillstyle="none", markersize=4.0 if len(kept) <= FEW else 2.6,
        markeredgewidth=0.8, clip_on=False, linestyle="", label="epoch whose weights are kept",
    )  # fmt: skip


def _draw_milestones(axes: Axes, source: Source) -> None:
    """Draw a line between the two epochs where a milestone lowers the learning rate."""
    recipe = source.settings.recipe
    for part in recipe.milestones if recipe.schedule == "steps" else []:
        axes.axvline(
            math.ceil(part * recipe.epochs) + 0.5, color=style.GREY, linestyle=(0, (1, 1.5)),
            linewidth=0.9, label="learning rate lowered",
        )  # fmt: skip
