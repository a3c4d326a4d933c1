"""Figure of named cells: their scores and gains side by side, beside the published values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from medlabel.evaluate.results import Arm, CellResult, Estimate, Metric, StudyResult
from medlabel.report import style
from medlabel.report.text import ARMS, CHANCE_AUC, METRICS, MINUS, heading, percent, shorten, titled

ARM = 2.6  # mm, the height of an arm in a line
BETWEEN = 3.6  # mm, between lines
AROUND = 17.0  # mm, a panel's title, ticks and label
LEGEND = 10.0  # mm
NAME_LENGTH = 34
PARTS = ("encoder", "prompts", "labelling", "network", "recipe")
PANEL = 66.0  # mm, about the width of a panel
LETTER = 1.5  # mm
SOURCES = (style.VERMILLION, style.PURPLE, style.GREEN, style.ORANGE, style.SKY)
DASHES = (0, (4, 2))
HOLLOW: dict[str, Any] = {"color": style.GREY, "markersize": 2.6, "fillstyle": "none", "alpha": 0.7}
Sources = dict[str, tuple[str, str]]  # initials and colour of each source of values made alike


def draw(study: StudyResult, targets: Sequence[Path]) -> None:
    """Draw a line for each cell: its arms' accuracy and its gain, or its AUC and accuracy.

    Cells of the same images share a panel; where no two do, all real ones share one.
    """
    groups = list(_groups(study))
    heights = [sum(_height(cell) for cell in cells) for _, cells in groups]
    sources = _sources(study)
    body = sum(heights) + AROUND * len(heights) + LEGEND
    with style.sheet(targets, body, study.title, _explain(study), phantom=study.phantom) as figure:
        grid = figure.subplots(len(groups), 2, sharey="row", squeeze=False, height_ratios=heights)
        for (left, right), (name, cells) in zip(grid, groups, strict=True):
            _draw_panel(left, cells, "accuracy" if study.taught else "auc", sources, gain=False)
            _draw_panel(right, cells, "accuracy", sources, gain=study.taught)
            _label(left, right, name, cells, study)
        _legend(grid[0, 0], study, sources)
        style.legend(figure, 3)


def _groups(study: StudyResult) -> Iterator[tuple[str, list[CellResult]]]:
    """Divide the cells into panels, each under the name of its images."""
    by_images = study.by_images
    if any(len(cells) > 1 for cells in by_images.values()) or len(by_images) == 1:
        yield from by_images.items()
        return
    for phantom in (False, True):
        if cells := [cell for cell in study.cells if cell.phantom == phantom]:
            yield "", cells


def _explain(study: StudyResult) -> str:
    told = (
        f"Mean with its {study.interval}, {study.resamples:,} resamples; n beside each name. "
        f"Overlapping intervals are not progress, nor is a difference of a few images."
    )
    if any(cell.published for cell in study.cells):
        told += (
            " Filled diamonds: published values made alike; hollow ones: of the same dataset and "
            "network, but made otherwise, for orientation alone."
        )
    return told


def _height(cell: CellResult) -> float:
    return BETWEEN + ARM * max(2, len(cell.arms))


def _sources(study: StudyResult) -> Sources:
    names = dict.fromkeys(one.authors for cell in study.cells for one in cell.published if one.like)
    return {
        name: (_initials(name), SOURCES[place % len(SOURCES)]) for place, name in enumerate(names)
    }


def _initials(source: str) -> str:
    names = source.removesuffix(source.rpartition(" ")[2] if source[-1:].isdigit() else "")
    return "".join(word[0] for word in names.split() if word[0].isupper())


def _draw_panel(
    axes: Axes, cells: Sequence[CellResult], metric: Metric, sources: Sources, gain: bool
) -> None:
    unit = METRICS[metric][2]
    trivial = [
        0.0 if gain else CHANCE_AUC if metric == "auc" else cell.trivial_accuracy for cell in cells
    ]
    every = unit * np.array([*_values(cells, metric, gain), *trivial])
    margin = 0.04 * np.ptp(every) + 0.002 * unit
    axes.set(
        xlabel=f"Gain: student {MINUS} teacher (percentage points)" if gain else heading(metric),
        xlim=(every.min() - margin, every.max() + 1.5 * margin),
        ylim=(sum(map(_height, cells)), 0),
    )
    top = 0.0
    for cell, known in zip(cells, trivial, strict=True):
        height = _height(cell)
        if top:
            axes.axhline(top, color="#E4E4E4", linewidth=0.5)
        axes.plot(
            [unit * known] * 2, [top, top + height], color=style.BLACK,
            linestyle="solid" if gain else DASHES, linewidth=0.9,
        )  # fmt: skip
        shown = _shown(cell, metric, gain)
        for line, (one, colour) in enumerate(shown, start=1):
            _draw_estimate(axes, top + line * (height / (len(shown) + 1)), one, unit, colour)
        _draw_published(axes, top + 0.8 * height, cell, metric, sources)
        top += height
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _shown(cell: CellResult, metric: Metric, gain: bool) -> list[tuple[Estimate, str]]:
    if gain:
        return [(cell.gains[metric], style.BLUE)]
    return [(found[metric], style.ARM_COLOURS[arm]) for arm, found in cell.arms.items()]


def _values(cells: Sequence[CellResult], metric: Metric, gain: bool) -> Iterator[float]:
    for cell in cells:
        for one, _ in _shown(cell, metric, gain):
            yield from (one.low, one.high, *np.ravel(one.values))
        yield from (one.scores[metric].value for one in cell.published if metric in one.scores)


def _draw_estimate(axes: Axes, y: float, one: Estimate, unit: float, colour: str) -> None:
    values = unit * np.ravel(one.values)
    if len(values) > 1:
        axes.plot(
            values, np.full(len(values), y), "|", color=colour, alpha=0.45, markersize=3.6,
            markeredgewidth=0.7,
        )  # fmt: skip
    axes.hlines(y, unit * one.low, unit * one.high, color=colour, linewidth=1.4)
    axes.plot(unit * one.mean, y, marker="o", markersize=3.8, color=colour)


def _draw_published(
    axes: Axes, y: float, cell: CellResult, metric: Metric, sources: Sources
) -> None:
    unit, published = METRICS[metric][2], cell.published
    known = [(unit * one.scores[metric].value, one) for one in published if metric in one.scores]
    for value, one in known:
        if not one.like:
            axes.plot(value, y, "D", **HOLLOW)
    alike = sorted((value, one.authors) for value, one in known if one.like)
    width = float(np.ptp(axes.get_xlim()))
    for place, (value, authors) in enumerate(alike):
        initials, colour = sources[authors]
        axes.plot(value, y, "D", color=colour, markersize=3.6)
        following = alike[place + 1][0] if place + 1 < len(alike) else math.inf
        # Without room before the next one, the colour alone tells the source.
        if (following - value) / width * PANEL > LETTER * (2 + len(initials)):
            axes.annotate(
                initials, (value, y), xytext=(3.5, 0), textcoords="offset points",
                color=colour, fontsize=style.SMALL_SIZE, va="center_baseline", ha="left",
            )  # fmt: skip


def _label(
    left: Axes, right: Axes, name: str, cells: Sequence[CellResult], study: StudyResult
) -> None:
    first = cells[0]
    ends = np.cumsum([_height(cell) for cell in cells])
    middles = ends - [_height(cell) / 2 for cell in cells]
    names = _told_apart(cells) if name else [cell.label for cell in cells]
    labels = [
        f"{shorten(one, NAME_LENGTH)}\n{cell.repeats}"
        for one, cell in zip(names, cells, strict=True)
    ]
    left.set_yticks(middles, labels, fontsize=6.5)
    title = titled(name, first.phantom)
    style.entitle(left, title, drawn=first.phantom, all_drawn=study.phantom)
    if first.phantom and not study.phantom:
        style.stamp(right)
    if len({(cell.images, cell.test_images) for cell in cells}) == 1:
        told = (
            f"{first.test_images:,} test images; one image = {100 / first.test_images:.2g} "
            f"points; trivial {percent(first.trivial_accuracy)}"
        )
        right.set_title(
            told, loc="right", fontsize=style.TEXT_SIZE, weight="normal", color=style.GREY
        )


def _told_apart(cells: Sequence[CellResult]) -> list[str]:
    """Name the cells of a panel by what they differ in."""
    differing = [part for part in PARTS if len({getattr(cell, part) for cell in cells}) > 1]
    return [
        ", ".join(str(getattr(cell, part)) for part in differing) or cell.name for cell in cells
    ]


def _legend(axes: Axes, study: StudyResult, sources: Sources) -> None:
    """Give the axes empty lines that carry the legend's entries."""
    arms: dict[Arm, None] = dict.fromkeys(arm for cell in study.cells for arm in cell.arms)
    for arm in arms:
        axes.plot([], [], "o-", color=style.ARM_COLOURS[arm], markersize=3.8, label=ARMS[arm])
    axes.plot([], [], "|", color=style.GREY, markersize=5, label="one repeat")
    trivial = f"trivial: {'' if study.taught else 'AUC 0.5; '}one answer to all images"
    axes.plot([], [], color=style.BLACK, linestyle=DASHES, linewidth=0.9, label=trivial)
    for name, (initials, colour) in sources.items():
        label = f"{initials}: published, {name}"
        axes.plot([], [], "D", color=colour, markersize=3.6, label=label)
    if any(not one.like for cell in study.cells for one in cell.published):
        axes.plot([], [], "D", label="published, made otherwise", **HOLLOW)
