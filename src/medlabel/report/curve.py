"""Figure along teachers: how good one may be for its student still to help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from medlabel.evaluate.published import Taught
from medlabel.evaluate.results import Crossing, Estimate, StudyResult
from medlabel.params import EncoderReference
from medlabel.report import style
from medlabel.report.text import MINUS, percent

PANEL = 76.0  # mm, the width that labels above a panel share
LETTER = 1.5  # mm, a digit at the size of those labels


def draw(study: StudyResult, targets: Sequence[Path], published: Taught | None = None) -> None:
    """Draw the student's accuracy, and its gain, against its teacher's accuracy.

    A published teacher with its student is a star of its own.
    """
    first = study.cells[0]
    teacher, student = (
        _Values([cell.arms[arm]["accuracy"] for cell in study.cells])
        for arm in ("teacher", "student")
    )
    gains = _Values([cell.gains["accuracy"] for cell in study.cells])
    told = (
        f"{tell_crossing(study)} Large points: one teacher each, mean over {first.repeats}, "
        f"with {study.interval} in both directions; small points: one pretraining each. "
        f"{first.test_images:,} held-out images of {first.images} a seed. Always the commonest "
        f"class: {percent(first.trivial_accuracy)}."
    )
    if published:
        told += _tell_published(published, teacher, gains)
    labels = _labels(study)
    height = 84 + 0.36 * _room_above(labels)
    with style.sheet(targets, height, study.title, told, phantom=study.phantom) as figure:
        accuracy, gain = figure.subplots(1, 2)
        _draw_accuracy(accuracy, study, teacher, student, labels)
        _draw_gain(gain, study, teacher, gains, labels)
        if published:
            at = 100 * published.teacher
            _draw_published(accuracy, at, 100 * published.student, published)
            _draw_published(gain, at, 100 * published.gain, published)
        style.legend(figure, 2)


def _tell_published(published: Taught, teacher: _Values, gains: _Values) -> str:
    order, at = np.argsort(teacher.mean), 100 * published.teacher
    if not teacher.mean.min() <= at <= teacher.mean.max():
        return f" The published teacher ({at:.1f} %) lies outside the range of ours."
    here = float(np.interp(at, teacher.mean[order], gains.mean[order]))
    return (
        f" Where the published teacher stands ({at:.1f} %), the line through ours gives a gain of "
        f"{here:+.1f} points; published: {100 * published.gain:+.0f}."
    ).replace("-", MINUS)


def _draw_published(axes: Axes, x: float, y: float, published: Taught) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.plot(
        x, y, marker="*", markersize=8, color=style.VERMILLION, linestyle="none", zorder=4,
        label=f"published: {published.source} (its gain: mean of 30)",
    )  # fmt: skip
    axes.set(xlim=(min(left, x - 1), max(right, x + 1)), ylim=(min(bottom, y - 1), max(top, y + 1)))


def _labels(study: StudyResult) -> list[str]:
    """Tell teachers by their checkpoints where nothing else differs, else by their names."""
    references = [EncoderReference.parse(str(cell.encoder)) for cell in study.cells]
    if study.kind == "number":
        return [str(one.step) for one in references]
    return [str(one) for one in references]


def tell_crossing(study: StudyResult) -> str:
    """Say in a sentence where the student stops helping."""
    if study.crossing is None:
        helped = sum(cell.gains["accuracy"].mean > 0 for cell in study.cells)
        return (
            f"No crossing was found: the student is better than its teacher for {helped} of the "
            f"{len(study.cells)} teachers."
        )
    return (
        f"The student stops helping where its teacher reaches "
        f"{percent(study.crossing.teacher_accuracy)} ({study.interval} "
        f"{_interval(study.crossing)}, over those {percent(study.crossing.crossing_resamples)} of "
        f"resamples that cross)."
    )


def _interval(crossing: Crossing) -> str:
    return f"{100 * crossing.low:.1f} to {percent(crossing.high)}"


class _Values:
    """One quantity of the checkpoints with its interval, in per cent."""

    def __init__(self, estimates: Sequence[Estimate]) -> None:
        self.mean, self.low, self.high = (
            np.array([100 * getattr(one, name) for one in estimates])
            for name in ("mean", "low", "high")
        )
        # Of each checkpoint the mean of each pretraining.
        self.runs = [100 * np.mean(one.values, axis=1) for one in estimates]

    @property
    def errors(self) -> np.ndarray:
        """Lengths of the error bars below and above the mean, (2, n)."""
        return np.maximum([self.mean - self.low, self.high - self.mean], 0)

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest of all that is drawn."""
        every = np.concatenate([self.low, self.high, *self.runs])
        return float(every.min()), float(every.max())


def _draw_accuracy(
    axes: Axes, study: StudyResult, x: _Values, y: _Values, labels: Sequence[str]
) -> None:
    xlim, ylim = _limits(x.ends), _limits(y.ends, x.ends)
    axes.set(title="Student's accuracy", ylabel="Student's accuracy (%)", xlim=xlim, ylim=ylim)
    ends = np.array(xlim)
    axes.fill_between(
        ends, ends, max(ylim[1], xlim[1]), color=style.SKY, alpha=0.18, linewidth=0,
        label="student better than its teacher",
    )  # fmt: skip
    axes.plot(ends, ends, color=style.BLACK, linewidth=0.9, label="student equal to its teacher")
    _draw_points(axes, x, y, labels)
    if study.crossing:
        at = 100 * study.crossing.teacher_accuracy
        axes.plot(at, at, marker="D", markersize=6, color=style.VERMILLION, fillstyle="none")
    _draw_crossing(axes, study)


def _draw_gain(
    axes: Axes, study: StudyResult, x: _Values, y: _Values, labels: Sequence[str]
) -> None:
    ylim = _limits(y.ends, (0.0, 0.0))
    ylabel = f"Student {MINUS} teacher (percentage points)"
    axes.set(title="Gain", ylabel=ylabel, xlim=_limits(x.ends), ylim=ylim)
    axes.axhspan(0, max(ylim[1], 0), color=style.SKY, alpha=0.18, linewidth=0)
    axes.axhline(0, color=style.BLACK, linewidth=0.9)
    _draw_points(axes, x, y, labels)
    _draw_crossing(axes, study)


def _limits(*ends: tuple[float, float]) -> tuple[float, float]:
    low, high = min(one[0] for one in ends), max(one[1] for one in ends)
    margin = max(0.06 * (high - low), 0.5)
    return low - margin, high + margin


def _draw_points(axes: Axes, x: _Values, y: _Values, labels: Sequence[str]) -> None:
    axes.set_xlabel("Teacher's accuracy (%)")
    if len(x.runs[0]) > 1:
        axes.plot(
            np.concatenate(x.runs), np.concatenate(y.runs), "o", color=style.ORANGE,
            markersize=2.2, markeredgewidth=0, alpha=0.8, label="one pretraining of a teacher",
        )  # fmt: skip
    order = np.argsort(x.mean, kind="stable")
    axes.plot(x.mean[order], y.mean[order], color=style.BLUE, linewidth=0.7, alpha=0.6)
    axes.errorbar(
        x.mean, y.mean, xerr=x.errors, yerr=y.errors, fmt="o", color=style.BLUE,
        markersize=3.5, elinewidth=0.9, label="mean of a teacher, which is named above it",
    )  # fmt: skip
    _label_above(axes, labels, x.mean, y.mean)


def _draw_crossing(axes: Axes, study: StudyResult) -> None:
    if study.crossing is None:
        return
    low, high = 100 * study.crossing.low, 100 * study.crossing.high
    axes.axvspan(low, high, color=style.VERMILLION, alpha=0.12, linewidth=0)
    at = study.crossing.teacher_accuracy
    label = f"crossing: {percent(at)} ({study.interval} {_interval(study.crossing)})"
    axes.axvline(
        100 * at, color=style.VERMILLION, linewidth=0.9, linestyle=(0, (4, 2)), label=label
    )


def _label_above(axes: Axes, labels: Sequence[str], x: np.ndarray, y: np.ndarray) -> None:
    """Write a label above the panel for each point, with a line down to it."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across, up = (x - left) / (right - left), (y - bottom) / (top - bottom)
    upright = _upright(labels)
    spread_out = spread(across, 3.0 / PANEL if upright else _room(labels))
    for label, place, fx, fy in zip(labels, spread_out, across, up, strict=True):
        axes.plot(
            [place, fx, fx], [1.045, 1.0, fy], transform=axes.transAxes, color=style.GREY,
            linewidth=0.4, clip_on=False, zorder=1,
        )  # fmt: skip
        axes.text(
            place, 1.055, label, transform=axes.transAxes, fontsize=style.SMALL_SIZE, ha="center",
            va="bottom", rotation=90 if upright else 0,
        )  # fmt: skip
    axes.set_title(axes.get_title(loc="left"), pad=_room_above(labels))


def _room(labels: Sequence[str]) -> float:
    """Return the width of a label as a part of the panel's."""
    return (max(map(len, labels)) * LETTER + 1.5) / PANEL


def _upright(labels: Sequence[str]) -> bool:
    return _room(labels) * len(labels) > 1


def _room_above(labels: Sequence[str]) -> float:
    """Return the height of the labels in points, with their lines."""
    return 12 + 4.5 * max(map(len, labels)) if _upright(labels) else 19


def spread(places: np.ndarray, gap: float) -> np.ndarray:
    """Move places apart until neighbours are `gap` away, in their order, within [0, 1].

    Both are fractions of a width; where n places do not fit at this gap, they share the width
    evenly.
    """
    gap = min(gap, 1 / max(len(places) - 1, 1))
    order = np.argsort(places, kind="stable")
    slots = gap * np.arange(len(places))
    # Without its slot, each place only has to be no smaller than the one before it; of the two
    # ways to lift that, upwards and downwards, the middle moves all of them least.
    free = places[order] - slots
    lifted, lowered = np.maximum.accumulate(free), np.minimum.accumulate(free[::-1])[::-1]
    moved = np.empty_like(places)
    moved[order] = np.clip((lifted + lowered) / 2, 0, 1 - slots[-1]) + slots
    return moved
