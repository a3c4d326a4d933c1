"""Figure and table of learning curves: what a label is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from medlabel import files
from medlabel.evaluate import statistics
from medlabel.evaluate.results import Metric
from medlabel.labels import few
from medlabel.layout import CURVE_FILES
from medlabel.params import FewLabels, Params, names_phantoms
from medlabel.randomness import stream
from medlabel.report import style, table
from medlabel.report.text import METRICS, NONE, heading, percent, readable

COLOURS = (style.BLUE, style.GREEN, style.PURPLE, style.SKY, style.BLACK)
MARKERS = ("o", "s", "^", "D", "v")
WITHOUT = (style.VERMILLION, style.ORANGE, style.GREY)
SHOWN: dict[Metric, int] = {"accuracy": 1, "auc": 3}  # with decimals
BODY = 75.0  # mm
SCORES, TABLES, *CURVES = CURVE_FILES
Intervals = dict[tuple[str, int], tuple[float, float, float]]  # mean, low, high


def write(params: Params, name: str, found: pd.DataFrame, folder: Path) -> None:
    """Draw the curves and write their tables.

    Parameters
    ----------
    params
        Of the curve `name` in `few_labels`, and of intervals.
    found
        As `medlabel.evaluate.few_labels.compute` returns it.
    folder
        To write `CURVE_FILES` into.
    """
    settings = params.few_labels[name]
    with files.replacing(folder / SCORES) as partial:
        found.to_csv(partial, index=False, float_format="%.6f", lineterminator="\n")
    known = {metric: _intervals(found, metric, params, name) for metric in SHOWN}
    covered = percent(params.statistics.confidence, 0)
    _draw(settings, covered, known, [folder / name for name in CURVES])
    shown = [_table(found, covered, known)]
    table.write(settings.title, _summary(settings, known), shown, folder / TABLES)


def _intervals(found: pd.DataFrame, metric: str, params: Params, name: str) -> Intervals:
    asked, known = params.statistics, {}
    for (method, count), own in found.groupby(["method", "labels_a_class"], sort=False)[metric]:
        place = str(method), int(str(count))
        values = own.to_numpy(np.float64)
        random = stream(params.seed, "few labels", name, metric, *place)
        known[place] = (
            float(values.mean()),
            *statistics.interval(values, asked.confidence, asked.resamples, random),
        )
    return known


def _draw(
    settings: FewLabels, covered: str, known: dict[Metric, Intervals], targets: Sequence[Path]
) -> None:
    told = (
        f"Mean over {settings.draws} draws of the labelled images, with its {covered} interval. "
        f"Embeddings of {settings.encoder}, which are not trained. Horizontal lines: labels by the "
        f"same encoder that took no label."
    )
    phantom = names_phantoms(settings.images)
    with style.sheet(targets, BODY, settings.title, told, phantom=phantom) as figure:
        for axes, (metric, intervals) in zip(figure.subplots(1, 2), known.items(), strict=True):
            _panel(axes, settings, metric, intervals)
        style.legend(figure, 4)


def _panel(axes: Axes, settings: FewLabels, metric: Metric, intervals: Intervals) -> None:
    unit = METRICS[metric][2]
    for method, colour, marker in zip(settings.methods, COLOURS, MARKERS, strict=False):
        values = unit * np.array([intervals[method, count] for count in settings.counts])
        axes.fill_between(
            settings.counts, values[:, 1], values[:, 2], color=colour, alpha=0.15, lw=0
        )
        axes.plot(
            settings.counts, values[:, 0], marker=marker, ms=3, color=colour, label=readable(method)
        )
    for name, colour in zip(settings.labellings, WITHOUT, strict=False):
        label = f"{readable(name)}: no label"
        axes.axhline(unit * intervals[name, 0][0], color=colour, linestyle="--", label=label)
    axes.set(xscale="log", xlabel="True labels a class", ylabel=heading(metric))
    axes.set_xticks(settings.counts, [f"{one:,}" for one in settings.counts], rotation=45)
    axes.minorticks_off()


def _summary(settings: FewLabels, known: dict[Metric, Intervals]) -> str:
    intervals, lines = known["accuracy"], []
    alone = [method for method in settings.methods if method not in few.WITH_WORDS]
    for name in settings.labellings:
        own = intervals[name, 0][0]
        enough = [
            count
            for count in settings.counts
            if max(intervals[method, count][0] for method in alone) > own
        ]
        needed = f"{enough[0]:,} a class" if enough else "more than were tried"
        lines.append(
            f"Without a label, {readable(name)} has {100 * own:.1f} % of the held-out images "
            f"right; the best method that learns from labels alone needs {needed} to have more."
        )
    return " ".join(lines)


def _table(found: pd.DataFrame, covered: str, known: dict[Metric, Intervals]) -> table.Table:
    sizes = found.groupby(["method", "labels_a_class"], sort=False)["labels"].max()
    rows = [
        {
            "Method": readable(method),
            "Labels a class": f"{count:,}" if count else NONE,
            "Labels": f"{sizes[method, count]:,}",
            **{
                heading(metric): "{0:.{3}f} ({1:.{3}f} to {2:.{3}f})".format(
                    *(METRICS[metric][2] * one for one in known[metric][method, count]), decimals
                )
                for metric, decimals in SHOWN.items()
            },
        }
        for method, count in known["accuracy"]
    ]
    note = (
        f"Mean over the draws ({covered} CI over draws, BCa bootstrap). Labelled images of a draw "
        "grow: those of 4 a class are among those of 8. Scores are on the held-out images of the "
        "draw."
    )
    return table.Table("Scores by number of labels", note, rows)
