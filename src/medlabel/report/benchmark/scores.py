"""Figure: AUC and accuracy of every row with their uncertainty, beside the published values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from medlabel.report import style
from medlabel.report.benchmark import comparison, panels
from medlabel.report.benchmark.comparison import CHANCE_AUC, Comparison, Score
from medlabel.report.text import percent, readable, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Judged = Literal["auc", "accuracy"]

AXES: dict[Judged, tuple[str, float]] = {"auc": ("AUC", 1.0), "accuracy": ("Accuracy (%)", 100.0)}
LINE = 7.4  # mm, the height of a row
AROUND = 17.0  # mm, a panel's title, ticks and label
LEGEND = 10.0  # mm
NAME_LENGTH = 30
SEEDS, PUBLISHED = 0.27, -0.27  # of a row's height, downwards from its middle
PANEL = 66.0  # mm, about the width of a panel
LETTER = 1.5  # mm
SOURCES = (style.VERMILLION, style.PURPLE, style.GREEN, style.ORANGE, style.SKY)


def draw(results: Path, targets: Sequence[Path]) -> None:
    """Draw a line of panels for each dataset, and in them a line for each row.

    Parameters
    ----------
    results
        The JSON file that `medlabel compare` wrote.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When the file is missing or damaged.
    """
    found = comparison.read(results)
    datasets = found.datasets
    sources = _sources(found)
    heights = [len(rows) * LINE for rows in datasets.values()]
    with style.house():
        figure = style.sheet(
            sum(heights) + AROUND * len(heights) + LEGEND,
            f"Test scores of the benchmark: {readable(found.preset)}",
            f"Mean over n seeds with its {found.interval}, {found.resamples:,} resamples. "
            f"Overlapping intervals are not progress, nor is a difference of a few images. "
            f"Published values are of the same dataset and model, whatever their recipe and image "
            f"size.",
            phantom=found.phantom,
        )
        grid = figure.subplots(len(datasets), 2, sharey="row", squeeze=False, height_ratios=heights)
        for pair, rows in zip(grid, datasets.values(), strict=True):
            for axes, judged in zip(pair, AXES, strict=True):
                _draw_panel(axes, rows, judged, sources)
            _label(pair, rows, found)
        _legend(grid[0, 0], sources, found)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        style.save(figure, targets)


def _sources(found: Comparison) -> dict[str, tuple[str, str]]:
    """Give each source of published values its initials and colour."""
    names = dict.fromkeys(entry.authors for row in found.rows for entry in row.published)
    return {
        name: (_initials(name), SOURCES[place % len(SOURCES)]) for place, name in enumerate(names)
    }


def _initials(source: str) -> str:
    names = source.removesuffix(source.rpartition(" ")[2] if source[-1:].isdigit() else "")
    return "".join(word[0] for word in names.split() if word[0].isupper())


def _draw_panel(
    axes: Axes, rows: Sequence[Score], judged: Judged, sources: dict[str, tuple[str, str]]
) -> None:
    label, unit = AXES[judged]
    trivial = CHANCE_AUC if judged == "auc" else rows[0].trivial_accuracy
    every = np.array([*_values(rows, judged), trivial]) * unit
    margin = 0.04 * np.ptp(every) + 0.002 * unit
    low, high = every.min() - margin, every.max() + 1.5 * margin
    axes.set(xlabel=label, xlim=(low, high), ylim=(len(rows) - 0.5, -0.5))
    axes.axvline(unit * trivial, color=style.BLACK, linestyle=(0, (4, 2)), linewidth=0.9)
    for place, row in enumerate(rows):
        if place:
            axes.axhline(place - 0.5, color="#E4E4E4", linewidth=0.5)
        _draw_row(axes, place, row, judged)
        _draw_published(axes, place + PUBLISHED, row, judged, sources)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _values(rows: Sequence[Score], judged: Judged) -> Iterator[float]:
    for row in rows:
        estimate = row.metrics[judged]
        yield from (estimate.low, estimate.high, *estimate.seeds)
        yield from (
            value for entry in row.published if (value := getattr(entry, judged)) is not None
        )


def _draw_row(axes: Axes, place: int, row: Score, judged: Judged) -> None:
    estimate, unit = row.metrics[judged], AXES[judged][1]
    low, high = unit * estimate.low, unit * estimate.high
    axes.hlines(place, low, high, color=style.BLUE, linewidth=1.4)
    axes.plot(unit * estimate.mean, place, marker="o", markersize=4.2, color=style.BLUE)
    if len(estimate.seeds) > 1:
        axes.plot(
            unit * np.array(estimate.seeds), np.full(len(estimate.seeds), place + SEEDS), "|",
            color=style.GREY, markersize=4.0, markeredgewidth=0.8,
        )  # fmt: skip


def _draw_published(
    axes: Axes, height: float, row: Score, judged: Judged, sources: dict[str, tuple[str, str]]
) -> None:
    unit = AXES[judged][1]
    entries = sorted(
        (unit * value, entry.authors)
        for entry in row.published
        if (value := getattr(entry, judged)) is not None
    )
    width = float(np.ptp(axes.get_xlim()))
    for place, (value, authors) in enumerate(entries):
        initials, colour = sources[authors]
        axes.plot(value, height, "D", color=colour, markersize=3.6, fillstyle="none")
        following = entries[place + 1][0] if place + 1 < len(entries) else math.inf
        # Without room before the next one, the colour alone tells the source.
        if (following - value) / width * PANEL > LETTER * (2 + len(initials)):
            axes.annotate(
                initials, (value, height), xytext=(3.5, 0), textcoords="offset points",
                color=colour, fontsize=style.SMALL_SIZE, va="center_baseline", ha="left",
            )  # fmt: skip


def _label(pair: Sequence[Axes], rows: Sequence[Score], found: Comparison) -> None:
    left, right = pair
    first = rows[0]
    trivial = "no label at all" if first.multi_label else "commonest class"
    left.set_yticks(
        range(len(rows)),
        [
            f"{shorten(row.model, NAME_LENGTH)}\n"
            f"{shorten(row.recipe, NAME_LENGTH)}, n = {row.seeds}"
            for row in rows
        ],
        fontsize=6.5,
    )
    panels.entitle(left, first.dataset, first, found)
    panels.stamp(right, first, found)
    right.set_title(
        f"n = {first.images:,} test images; one image = {panels.one_image(first)} points; "
        f"{trivial}: {percent(first.trivial_accuracy)}",
        loc="right",
        fontsize=style.TEXT_SIZE,
        weight="normal",
        color=style.GREY,
    )


def _legend(axes: Axes, sources: dict[str, tuple[str, str]], found: Comparison) -> None:
    """Give the axes empty lines that carry the legend's entries."""
    axes.plot([], [], "o-", color=style.BLUE, markersize=4.2, label=f"mean with {found.interval}")
    axes.plot([], [], "|", color=style.GREY, markersize=5, label="one seed")
    axes.plot(
        [], [], color=style.BLACK, linestyle=(0, (4, 2)), linewidth=0.9,
        label="trivial: AUC 0.5; one answer to all images",
    )  # fmt: skip
    for name, (initials, colour) in sources.items():
        axes.plot(
            [], [], "D", color=colour, markersize=3.6, fillstyle="none",
            label=f"{initials}: published, {name}",
        )  # fmt: skip
