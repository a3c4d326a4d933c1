"""Figure: how good a teacher may be for its student still to help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel.errors import MedlabelError
from medlabel.report import style
from medlabel.report.results import Checkpoint, Crossing, Study, read_study
from medlabel.report.text import percent, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = 76.0  # mm, the width that labels above a panel share
LETTER = 1.5  # mm, a digit at the size of those labels


def draw(study: Path, targets: Sequence[Path]) -> None:
    """Draw the student's accuracy, and its gain, against its teacher's accuracy.

    Parameters
    ----------
    study
        Means and intervals of each checkpoint, as `medlabel study` wrote them.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When the file is missing or damaged, or holds no checkpoint.
    """
    found = read_study(study)
    if not found.curve:
        raise MedlabelError(
            f"{study}: curve: expected at least one checkpoint, found none; run `medlabel study` "
            f"again."
        )
    with style.house():
        figure = style.sheet(
            88,
            f"Where a student helps its teacher: {readable(found.mixture)}",
            f"{_tell_crossing(found)} Points: one teacher each, mean over seeds "
            f"({found.curve_seeds}) of {found.test_images:,} held-out images, with "
            f"{found.interval} in both directions. Always the commonest class: "
            f"{percent(found.trivial_accuracy)}.",
            phantom=found.phantom,
        )
        accuracy, gain = figure.subplots(1, 2)
        _draw_accuracy(accuracy, found)
        _draw_gain(gain, found)
        handles, labels = accuracy.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        style.save(figure, targets)


def _tell_crossing(study: Study) -> str:
    if study.crossing is None:
        helped = sum(point.gain > 0 for point in study.curve)
        return (
            f"No crossing was found: the student is better than its teacher for {helped} of the "
            f"{len(study.curve)} teachers."
        )
    return (
        f"The student stops helping where its teacher reaches "
        f"{percent(study.crossing.teacher_accuracy)} ({study.interval} "
        f"{_interval(study.crossing)}; {study.crossing.basis})."
    )


def _interval(crossing: Crossing) -> str:
    return f"{100 * crossing.low:.1f} to {percent(crossing.high)}"


def _draw_accuracy(axes: Axes, study: Study) -> None:
    x = _Values(study.curve, "teacher_accuracy")
    y = _Values(study.curve, "student_accuracy")
    xlim, ylim = _limits(x), _limits(y, x)
    axes.set(
        title="Student's accuracy",
        xlabel="Teacher's accuracy (%)",
        ylabel="Student's accuracy (%)",
        xlim=xlim,
        ylim=ylim,
    )
    ends = np.array(xlim)
    axes.fill_between(
        ends, ends, max(ylim[1], xlim[1]), color=style.SKY, alpha=0.18, linewidth=0,
        label="student better than its teacher",
    )  # fmt: skip
    axes.plot(ends, ends, color=style.BLACK, linewidth=0.9, label="student equal to its teacher")
    _draw_points(axes, study.curve, x, y)
    if study.crossing:
        at = 100 * study.crossing.teacher_accuracy
        axes.plot(at, at, marker="D", markersize=6, color=style.VERMILLION, fillstyle="none")
    _draw_crossing(axes, study)


def _draw_gain(axes: Axes, study: Study) -> None:
    x = _Values(study.curve, "teacher_accuracy")
    y = _Values(study.curve, "gain")
    ylim = _limits(y, zero=True)
    axes.set(
        title="Gain",
        xlabel="Teacher's accuracy (%)",
        ylabel="Student \N{MINUS SIGN} teacher (percentage points)",
        xlim=_limits(x),
        ylim=ylim,
    )
    axes.axhspan(0, max(ylim[1], 0), color=style.SKY, alpha=0.18, linewidth=0)
    axes.axhline(0, color=style.BLACK, linewidth=0.9)
    _draw_points(axes, study.curve, x, y)
    _draw_crossing(axes, study)


class _Values:
    """One quantity of the checkpoints with its interval, in per cent."""

    def __init__(self, curve: Sequence[Checkpoint], name: str) -> None:
        self.mean = self._column(curve, name)
        self.low = self._column(curve, f"{name}_low")
        self.high = self._column(curve, f"{name}_high")

    @staticmethod
    def _column(curve: Sequence[Checkpoint], name: str) -> np.ndarray:
        return np.array([100 * getattr(point, name) for point in curve])

    @property
    def errors(self) -> np.ndarray:
        """Lengths of the error bars, (2, n): below and above the mean."""
        return np.maximum([self.mean - self.low, self.high - self.mean], 0)


def _limits(*values: _Values, zero: bool = False) -> tuple[float, float]:
    low = min(float(each.low.min()) for each in values)
    high = max(float(each.high.max()) for each in values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = max(0.06 * (high - low), 0.5)
    return low - margin, high + margin


def _draw_points(axes: Axes, curve: Sequence[Checkpoint], x: _Values, y: _Values) -> None:
    order = np.argsort(x.mean, kind="stable")
    axes.plot(x.mean[order], y.mean[order], color=style.BLUE, linewidth=0.7, alpha=0.6)
    axes.errorbar(
        x.mean, y.mean, xerr=x.errors, yerr=y.errors, fmt="o", color=style.BLUE,
        markersize=3.5, elinewidth=0.9, label=f"one teacher, with the {_named(curve)} above it",
    )  # fmt: skip
    _label_above(axes, [point.name for point in curve], x.mean, y.mean)


def _named(curve: Sequence[Checkpoint]) -> str:
    return "name" if any(point.step is None for point in curve) else "step of its training"


def _draw_crossing(axes: Axes, study: Study) -> None:
    if study.crossing is None:
        return
    low, high = 100 * study.crossing.low, 100 * study.crossing.high
    axes.axvspan(low, high, color=style.VERMILLION, alpha=0.12, linewidth=0)
    axes.axvline(
        100 * study.crossing.teacher_accuracy,
        color=style.VERMILLION,
        linewidth=0.9,
        linestyle=(0, (4, 2)),
        label=f"crossing: {percent(study.crossing.teacher_accuracy)} "
        f"({study.interval} {_interval(study.crossing)})",
    )


def _label_above(axes: Axes, labels: Sequence[str], x: np.ndarray, y: np.ndarray) -> None:
    """Write a label above the panel for each point, with a line down to it."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across, up = (x - left) / (right - left), (y - bottom) / (top - bottom)
    room = (max(map(len, labels)) * LETTER + 1.5) / PANEL
    upright = room * len(labels) > 1
    spread_out = spread(across, 3.0 / PANEL if upright else room)
    for label, place, fx, fy in zip(labels, spread_out, across, up, strict=True):
        axes.plot(
            [place, fx, fx],
            [1.045, 1.0, fy],
            transform=axes.transAxes,
            color=style.GREY,
            linewidth=0.4,
            clip_on=False,
            zorder=1,
        )
        axes.text(
            place,
            1.055,
            label,
            transform=axes.transAxes,
            fontsize=style.SMALL_SIZE,
            ha="center",
            va="bottom",
            rotation=90 if upright else 0,
        )
    axes.set_title(axes.get_title(loc="left"), pad=32 if upright else 19)


def spread(places: np.ndarray, gap: float) -> np.ndarray:
    """Move places apart until neighbours are `gap` away, in their order, within [0, 1].

    Parameters
    ----------
    places
        Wanted places as fractions of a width, (n,).
    gap
        Least distance; where n labels do not fit at this distance, they share the width evenly.
    """
    if len(places) == 1:
        return places.copy()
    gap = min(gap, 1 / (len(places) - 1))
    order = np.argsort(places, kind="stable")
    slots = gap * np.arange(len(places))
    # Without its slot, each place only has to be no smaller than the one before it.
    free = np.clip(_pool_adjacent(places[order] - slots), 0, 1 - slots[-1])
    moved = np.empty_like(places)
    moved[order] = free + slots
    return moved


def _pool_adjacent(values: np.ndarray) -> np.ndarray:
    """Return the closest non-decreasing sequence (least squares; pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean = (before * count + mean * size) / (count + size)
            size += count
        blocks.append((mean, size))
    return np.concatenate([np.full(size, mean) for mean, size in blocks])
