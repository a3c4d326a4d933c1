"""Figures and tables of segmentation: how well words find regions, and what that looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medlabel import files
from medlabel.data import catalogue
from medlabel.data.pixels import with_channels
from medlabel.evaluate import statistics
from medlabel.evaluate.segmentation import ANSWERS, EXAMPLES, LEARNT, UNSEEN, Example, Found
from medlabel.layout import SEGMENTATION_FILES
from medlabel.params import Params
from medlabel.randomness import stream
from medlabel.report import style, table
from medlabel.report.text import CHANCE_AUC, NONE, percent, readable, shorten

SCORES, TABLES, *FIGURES = SEGMENTATION_FILES
ALL = "mean over regions"
METRICS = {"dice": "Dice", "iou": "IoU", "auc": "AUC of pixels"}
DRAWN = ("dice", "auc")
COLOURS = dict(
    zip(ANSWERS, (style.BLUE, style.SKY, style.ORANGE, style.GREY, style.PURPLE), strict=True)
)
MARKERS = dict(zip(ANSWERS, ("o", "D", "s", "^", "x"), strict=True))
LINE, AROUND, LEGEND = 10.0, 22.0, 11.0  # mm
TILE, GAP, CAPTION, HEADING = 19.5, 1.5, 3.0, 4.0  # mm
LETTERS = 20  # of a caption above a tile


@dataclass(frozen=True)
class Share:
    """A mean over images with its interval."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        """Write it as tables have it."""
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


Shares = dict[tuple[str, str, str], Share]  # metric, region, answers


def write(params: Params, name: str, found: Found, folder: Path) -> None:
    """Draw how well regions are found and write the tables.

    Parameters
    ----------
    params
        Of `name` in `segmentation`, and of intervals.
    found
        As `medlabel.evaluate.segmentation.judge` returns it.
    folder
        To write `SEGMENTATION_FILES` into.
    """
    settings, asked = params.segmentation[name], params.statistics
    with files.replacing(folder / SCORES) as partial:
        found.scores.to_csv(partial, index=False, float_format="%.4f", lineterminator="\n")
    shares = _shares(params, name, found.scores)
    covered, sizes = percent(asked.confidence, 0), " and ".join(map(str, settings.sizes))
    told = (
        f"{settings.images.test} test phantoms of each kind, at {sizes} pixels; those that show "
        f"the region are scored. Head on the encoder {readable(settings.encoder)}, learnt from "
        f"{settings.images.train} phantoms of each kind and size. Means with {covered} intervals "
        f"over images."
    )
    tables = [_table(shares, metric, covered) for metric in METRICS]
    table.write(settings.title, told, [*tables, _false_alarms(found.scores)], folder / TABLES)
    targets = [folder / one for one in FIGURES]
    _draw(settings.title, told, shares, targets[:2])
    _show(
        f"{settings.title}: the first test images that show each",
        "Each image with the outline of its region (orange), and how surely each place is of what "
        "the words above say: words that were learnt, words of another region, words that no "
        "training saw. Dark 0, bright 1.",
        found.regions,
        targets[2:4],
        phantom=True,
    )
    _show(
        "Images whose regions nobody drew, as the same head sees them",
        "The first test images of two labels. No claim is made: there is no mask to tell whether "
        "a map is right, and the head learnt from drawings alone.",
        found.shown,
        targets[4:],
        phantom=all(catalogue.is_phantom(catalogue.parse(s.images)[0]) for s in settings.shown),
    )


def _named(scores: pd.DataFrame) -> pd.Series[str]:
    return scores["kind"].str.removeprefix("phantom_") + ": " + scores["region"]


def _shares(params: Params, name: str, scores: pd.DataFrame) -> Shares:
    """Return the means; an image drawn at several sizes counts once."""
    present = scores[scores["present"]]
    asked, shares = params.statistics, Shares()
    for metric in METRICS:
        means = present.groupby(["answers", _named(present).rename("named"), "row"], sort=False)[
            metric
        ].mean()
        for answers, own in means.dropna().groupby(level="answers", sort=False):
            random = stream(params.seed, "segmentation", name, metric, str(answers))
            drawn = []
            for region, each in own.groupby(level="named", sort=False):
                values = each.to_numpy()
                ends = statistics.interval(values, asked.confidence, asked.resamples, random)
                shares[metric, str(region), str(answers)] = Share(
                    float(values.mean()), *ends, len(values)
                )
                chosen = random.integers(len(values), size=(asked.resamples, len(values)))
                drawn.append(values[chosen].mean(1))
            ends = statistics.percentiles(np.mean(drawn, axis=0), asked.confidence)
            by_region = own.groupby(level="named").mean()
            shares[metric, ALL, str(answers)] = Share(float(by_region.mean()), *ends, len(own))
    return shares


def _regions(shares: Shares) -> list[str]:
    """Return the names of regions, their mean last."""
    names = list(dict.fromkeys(region for _, region, _ in shares if region != ALL))
    return [*names, ALL]


def _table(shares: Shares, metric: str, covered: str) -> table.Table:
    rows = [
        {
            "Region": region,
            "Images": f"{shares[metric, region, LEARNT].count:,}",
            **{
                answers[0].upper() + answers[1:]: str(shares[metric, region, answers])
                for answers in ANSWERS
            },
        }
        for region in _regions(shares)
    ]
    thresholds = (
        "Words that no training saw, and those of another region, have the threshold of the "
        "learnt ones; several phrases are averaged."
    )
    note = (
        f"Mean with its {covered} interval (BCa bootstrap over images; that of the mean over "
        f"regions: percentiles, images resampled within regions). "
        + ("No threshold is in it." if metric == "auc" else thresholds)
    )
    return table.Table(METRICS[metric], note, rows)


def _false_alarms(scores: pd.DataFrame) -> table.Table:
    absent = scores[~scores["present"]]
    rows = []
    for region in _named(scores).drop_duplicates():
        own = absent[_named(absent) == region]
        shown = own[own["answers"] == LEARNT]
        rows.append(
            {
                "Region": region,
                "Images without it": str(shown["row"].nunique()),
                **{
                    answers[0].upper() + answers[1:]: _marked(own[own["answers"] == answers])
                    for answers in (LEARNT, UNSEEN)
                },
            }
        )
    note = (
        "Part of the pixels (%) that are taken for the region, in test phantoms of the kind that "
        "do not show it."
    )
    return table.Table("Where there is nothing to find", note, rows)


def _marked(own: pd.DataFrame) -> str:
    return f"{100 * own['marked'].mean():.1f}" if len(own) else NONE


def _draw(title: str, told: str, shares: Shares, targets: Sequence[Path]) -> None:
    regions = _regions(shares)
    body = LINE * len(regions) + AROUND + LEGEND
    with style.sheet(targets, body, title, told, phantom=True) as figure:
        panels = figure.subplots(1, len(DRAWN), sharey=True)
        for axes, metric in zip(panels, DRAWN, strict=True):
            for number, answers in enumerate(ANSWERS):
                _draw_answers(axes, shares, metric, answers, regions, number)
            axes.set(xlabel=METRICS[metric], ylim=(len(regions) - 0.5, -0.5))
            axes.axhline(len(regions) - 1.5, color=style.GREY, linewidth=0.6)
        panels[0].set_xlim(0, 1)
        panels[1].axvline(
            CHANCE_AUC, color=style.BLACK, linestyle=(0, (4, 2)), linewidth=0.9, label="chance"
        )
        labels = [
            region if region == ALL else f"{region}, n = {shares['dice', region, LEARNT].count}"
            for region in regions
        ]
        panels[0].set_yticks(range(len(regions)), labels)
        style.legend(figure, 3)


def _draw_answers(
    axes: Axes, shares: Shares, metric: str, answers: str, regions: Sequence[str], number: int
) -> None:
    own = [shares[metric, region, answers] for region in regions]
    means = np.array([one.mean for one in own])
    ends = np.array([(one.mean - one.low, one.high - one.mean) for one in own]).T
    axes.errorbar(
        means,
        np.arange(len(regions)) + 0.15 * (number - (len(ANSWERS) - 1) / 2),
        xerr=np.maximum(ends, 0),
        fmt=MARKERS[answers],
        color=COLOURS[answers],
        ms=3.5,
        lw=1,
        label=answers,
    )


def _show(
    title: str, told: str, examples: Sequence[Example], targets: Sequence[Path], *, phantom: bool
) -> None:
    """Show `EXAMPLES` images a line, each beside its maps."""
    lines = [examples[at : at + EXAMPLES] for at in range(0, len(examples), EXAMPLES)]
    height = HEADING + CAPTION + TILE + GAP
    with style.sheet(
        targets, height * len(lines) + 3, title, told, phantom=phantom, by_hand=True
    ) as figure:
        for number, line in enumerate(lines):
            top = height * (len(lines) - number) + 2
            style.write(figure, 3, top - 3, line[0].title, fontsize=style.TEXT_SIZE, weight="bold")
            for place, example in enumerate(line):
                left = 3 + place * (style.TWO_COLUMNS - 4) / EXAMPLES
                _show_one(figure, left, top - HEADING - CAPTION - TILE, example)


def _show_one(figure: Figure, left: float, bottom: float, example: Example) -> None:
    axes = style.place(figure, left, bottom, TILE, TILE)
    axes.imshow(with_channels(example.image[None], 3)[0], interpolation="none")
    if example.mask is not None:
        axes.contour(example.mask, levels=[0.5], colors=style.ORANGE, linewidths=0.9)
    axes.set_axis_off()
    for column, (words, heat) in enumerate(example.maps.items(), start=1):
        x = left + column * (TILE + GAP)
        said = shorten(words, LETTERS)
        style.write(figure, x, bottom + TILE + 0.7, said, fontsize=style.SMALL_SIZE)
        panel = style.place(figure, x, bottom, TILE, TILE)
        panel.imshow(heat, cmap="cividis", vmin=0, vmax=1, interpolation="none")
        panel.set_axis_off()
