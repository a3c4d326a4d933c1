"""Figure of one cell: what the student gains on its teacher, repeat by repeat."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from medlabel.evaluate.results import CellResult, Estimate, Metric, StudyResult
from medlabel.report import style
from medlabel.report.text import ARMS, METRICS, MINUS, p_value, percent, points

COMPARED: tuple[Metric, ...] = ("accuracy", "f1")


def draw(study: StudyResult, targets: Sequence[Path]) -> None:
    """Draw the differences in accuracy and F1, and beside them every arm's own accuracy."""
    cell = study.cells[0]
    told = (
        f"{' '.join(_tell(study, metric) for metric in COMPARED)} Both judged on the same "
        f"{cell.test_images:,} held-out images of {cell.images} a seed; teacher {cell.encoder}."
    )
    with style.sheet(targets, 82, study.title, told, phantom=study.phantom) as figure:
        gains, absolute = figure.subplots(1, 2, width_ratios=(1, 1.6))
        _draw_gains(gains, cell)
        _draw_arms(absolute, cell, study.interval)
        style.legend(figure, 3)


def _tell(study: StudyResult, metric: Metric) -> str:
    gain = study.cells[0].gains[metric]
    return (
        f"{METRICS[metric][0]}: mean difference {points(gain.mean)} percentage points "
        f"({study.interval} {points(gain.low)} to {points(gain.high)}; "
        f"sign-flip test, {p_value(gain.holm_p)} after Holm)."
    )


def _draw_gains(axes: Axes, cell: CellResult) -> None:
    labels = []
    for place, metric in enumerate(COMPARED):
        gain = cell.gains[metric]
        _draw_box(axes, place, gain, style.BLUE)
        labels.append(
            f"{METRICS[metric][0]}: {points(gain.mean)}\n"
            f"{gain.wins} wins, {gain.ties} ties,\n{gain.losses} losses"
        )
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set(title=f"Gain ({cell.repeats})", ylabel=f"Student {MINUS} teacher (percentage points)")
    _name_boxes(axes, labels)


def _draw_arms(axes: Axes, cell: CellResult, interval: str) -> None:
    labels = []
    for place, (arm, found) in enumerate(cell.arms.items()):
        accuracy = found["accuracy"]
        _draw_box(axes, place, accuracy, style.ARM_COLOURS[arm])
        labels.append("\n".join([*textwrap.wrap(ARMS[arm], 12), percent(accuracy.mean)]))
    axes.axhline(
        100 * cell.trivial_accuracy, color=style.BLACK, linestyle=(0, (4, 2)), linewidth=0.9,
        label=f"always the commonest class: {percent(cell.trivial_accuracy)}",
    )  # fmt: skip
    axes.plot([], [], "o", color=style.GREY, markersize=2.4, label="one repeat")
    axes.plot([], [], "D", color=style.BLACK, markersize=3, label=f"mean with {interval}")
    axes.set(
        title=f"Accuracy of each arm ({cell.repeats})", ylabel="Accuracy on held-out images (%)"
    )
    _name_boxes(axes, labels)


def _name_boxes(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.55, len(labels) - 0.45)
    axes.grid(visible=False, axis="x")


def _draw_box(axes: Axes, place: float, estimate: Estimate, colour: str) -> None:
    values = 100 * np.concatenate(estimate.values)
    axes.plot(
        place - 0.3 + 0.2 * style.jitter(len(values)), values, linestyle="", marker="o",
        markersize=2.4, markeredgewidth=0, color=colour, alpha=0.6,
    )  # fmt: skip
    thin = {"linewidth": 0.8}
    axes.boxplot(
        values, positions=[place], widths=0.26, showfliers=False, manage_ticks=False,
        patch_artist=True, boxprops={"facecolor": colour, "alpha": 0.35, **thin},
        medianprops={"color": style.BLACK, "linewidth": 1.0}, whiskerprops=thin, capprops=thin,
    )  # fmt: skip
    mean, low, high = 100 * estimate.mean, 100 * estimate.low, 100 * estimate.high
    axes.vlines(place + 0.28, low, high, color=style.BLACK, linewidth=1.1)
    axes.plot(place + 0.28, mean, marker="D", markersize=3, color=style.BLACK)
