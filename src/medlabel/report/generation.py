"""Figures and tables of SYNTHETIC images: what they look like, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import binomtest

from medlabel import files
from medlabel.data.pixels import Pixels
from medlabel.evaluate.generation import METRICS, NEAR, Nearest, Scored, nearest, score
from medlabel.generation.classifiers import ALONE, FILLED, Judged
from medlabel.layout import GENERATION_FILES
from medlabel.params import Params, names_phantoms
from medlabel.report import style, table
from medlabel.report.text import (
    CHANCE_AUC,
    NONE,
    change,
    heading,
    percent,
    readable,
    titled,
    value,
)

SCORES, TABLES, *FIGURES = GENERATION_FILES
SHOWN = 10  # images of a class
GAP = 3  # pixels between images
MARGIN, HEADING = 4.0, 9.0  # mm
PANELS = 2  # side by side
LINE, EDGE = 11.0, 22.0  # mm, of a question and of all around them
# The same for SYNTHETIC images in both panels.
COLOURS = (style.VERMILLION, style.BLUE, style.GREEN)
MARKERS = ("o", "s", "D")
DRAWN_AS = dict(zip(ALONE, zip(COLOURS, MARKERS, strict=True), strict=True)) | dict(
    zip(FILLED[::-1], zip(COLOURS, MARKERS, strict=True), strict=True)
)
LEGEND = 20.0  # mm
LOWEST = 0.45  # AUC shown, at least
CHANCE = "chance"
TOLD = "{} ({} to {})"  # a mean and its interval
ENDS = ("mean", "low", "high")


def write(params: Params, name: str, found: Judged, folder: Path) -> None:
    """Draw SYNTHETIC images and what they are worth, and write tables.

    Parameters
    ----------
    params
        Of `name` in `generation`, and of intervals.
    found
        As `medlabel.generation.classifiers.judge` returns it.
    folder
        To write `GENERATION_FILES` into.

    Raises
    ------
    MedlabelError
        When a group of a question has no held-out image.
    """
    settings = params.generation[name]
    alone, filled = (_scored(params, name, found, sorts) for sorts in (ALONE, FILLED))
    with files.replacing(folder / SCORES) as partial:
        _rows(alone, filled).to_csv(partial, index=False, lineterminator="\n")
    names = params.every_mixture[settings.images].class_names
    near = {one: _nearest(found, label) for label, one in enumerate(names)}
    title = f"SYNTHETIC: {settings.title}"
    phantom = names_phantoms(settings.images)
    told = (
        f"SYNTHETIC images, made by a network that learnt from captioned training images of "
        f"{titled(settings.images, phantom)}. Classifiers ({readable(settings.network)}, "
        f"{settings.seeds} seeds) are judged on held-out images of {readable(settings.judged)}."
    )
    covered = percent(params.statistics.confidence, 0)
    shown = [_table_alone(alone, covered), *_table_filled(filled, covered)]
    table.write(
        title, told, [*shown, _table_near(near, params.statistics.confidence)], folder / TABLES
    )
    targets = [folder / one for one in FIGURES]
    _draw_images(title, found, near, phantom, targets[:2])
    _draw_scores(title, f"{told} Bars: {covered} intervals.", alone, filled, phantom, targets[2:])


def _nearest(found: Judged, label: int) -> Nearest:
    images, held_out = found.synthetic.of(label).images, found.held_out.of(label).images
    return nearest(images, held_out, found.learnt.images)


def _scored(params: Params, name: str, found: Judged, sorts: Sequence[str]) -> list[Scored]:
    scored = []
    for question in params.generation[name].questions:
        own = [one for one in found.answers if one.question == question and one.taught in sorts]
        if own:
            scored += score(own, params.statistics, params.seed, name, sorts[0])
    return scored


def _rows(alone: list[Scored], filled: list[Scored]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "experiment": experiment,
                "question": one.answers.question,
                "learnt_from": one.answers.taught,
                "images": one.answers.images,
                "synthetic": one.answers.synthetic,
                "seed": seed,
                **{metric: round(float(one.values[metric][seed]), 6) for metric in METRICS},
            }
            for experiment, scored in (("alone", alone), ("filled", filled))
            for one in scored
            for seed in range(len(one.values[METRICS[0]]))
        ]
    )


def _table_alone(scored: list[Scored], covered: str) -> table.Table:
    rows = []
    for one in scored:
        if one.answers.taught == ALONE[0]:
            rows.append(_chance(one))
        rows.append(_cells(one, "more than SYNTHETIC", one.answers.taught == ALONE[0]))
    note = (
        f"Classifiers that learn from SYNTHETIC images alone, beside others that learn from as "
        f"many other images of each class. Means over seeds with {covered} intervals over "
        f"held-out images and seeds of classifiers; the chance of the one generator's training is "
        f"in none of them."
    )
    return table.Table("SYNTHETIC images alone", note, rows)


def _table_filled(scored: list[Scored], covered: str) -> list[table.Table]:
    if not scored:
        return []
    rows = [_cells(one, "more than oversampled", one.answers.taught == FILLED[0]) for one in scored]
    note = (
        f"All training images of the sets judged. The rarer class is drawn more often, left as it "
        f"is, or filled up with SYNTHETIC images until both classes have as many. "
        f"Means and differences, with {covered} intervals as above."
    )
    return [table.Table("Rare classes filled up with SYNTHETIC images", note, rows)]


def _chance(one: Scored) -> dict[str, str]:
    groups = one.answers.probabilities.shape[2]
    chance = dict(zip(METRICS, (CHANCE_AUC, 1 / groups), strict=True))
    cells = {"Question": readable(one.answers.question), "Learnt from": CHANCE}
    cells |= {"Images": NONE, "of them SYNTHETIC": NONE}
    for metric in METRICS:
        cells |= {heading(metric): value(metric, chance[metric])}
        cells |= {f"{heading(metric)}, more than SYNTHETIC": NONE}
    return cells


def _cells(one: Scored, gain: str, reference: bool) -> dict[str, str]:
    cells = {
        "Question": readable(one.answers.question),
        "Learnt from": one.answers.taught,
        "Images": f"{one.answers.images:,}",
        "of them SYNTHETIC": f"{one.answers.synthetic:,}",
    }
    for metric in METRICS:
        own, more = one.scores[metric], one.gains[metric]
        ends = (value(metric, part) for part in (own.mean, own.low, own.high))
        gains = (change(metric, part) for part in (more.mean, more.low, more.high))
        cells[heading(metric)] = TOLD.format(*ends)
        cells[f"{heading(metric)}, {gain}"] = NONE if reference else TOLD.format(*gains)
    return cells


def _table_near(near: dict[str, Nearest], confidence: float) -> table.Table:
    rows = []
    for name, one in near.items():
        many = len(one.synthetic)
        ends = binomtest(round(one.copied * many), many).proportion_ci(confidence, "wilson")
        rows.append(
            {
                "Class": readable(name),
                "SYNTHETIC": f"{many:,}",
                "held out": f"{len(one.held_out):,}",
                "median, SYNTHETIC": f"{np.median(one.synthetic):.1f}",
                "median, held out": f"{np.median(one.held_out):.1f}",
                "least, SYNTHETIC": f"{one.synthetic.min():.1f}",
                "least, held out": f"{one.held_out.min():.1f}",
                f"SYNTHETIC nearer than the nearest {percent(NEAR, 0)} held out (%)": TOLD.format(
                    *(f"{100 * part:.1f}" for part in (one.copied, ends.low, ends.high))
                ),
            }
        )
    note = (
        f"Distance to the nearest training image of any class: root mean square of the difference "
        f"of pixels, in grey values of 255. Copies would be much nearer than held-out images of "
        f"the same class. The last column has a {percent(confidence, 0)} interval (Wilson); it is "
        f"{percent(NEAR, 0)} where SYNTHETIC images are as near as held-out ones."
    )
    return table.Table("SYNTHETIC images and the nearest training images", note, rows)


def _draw_images(
    title: str, found: Judged, near: dict[str, Nearest], phantom: bool, targets: Sequence[Path]
) -> None:
    told = (
        f"Of each class the first {SHOWN} SYNTHETIC images, not chosen (above), and under each the "
        f"training image that is nearest to it, pixel by pixel (below). Distance: root mean square "
        f"of the difference, in grey values of 255."
    )
    panel = (style.TWO_COLUMNS - MARGIN * (PANELS + 1)) / PANELS
    grid = panel * 2 / SHOWN
    body = -(-len(near) // PANELS) * (grid + HEADING) + MARGIN
    with style.sheet(targets, body, title, told, phantom=phantom, by_hand=True) as figure:
        for label, (name, one) in enumerate(near.items()):
            line, column = divmod(label, PANELS)
            left, top = MARGIN + column * (panel + MARGIN), body - line * (grid + HEADING)
            said = f"{readable(name)}: SYNTHETIC, and the nearest training images"
            style.write(figure, left, top - 4, said, weight="bold", fontsize=7)
            medians = (float(np.median(part)) for part in (one.synthetic, one.held_out))
            said = "Median distance {:.1f}; of held-out images {:.1f}".format(*medians)
            style.write(figure, left, top - HEADING + 1.5, said, color=style.GREY, fontsize=6.5)
            made = found.synthetic.of(label).images[:SHOWN]
            lines = made, found.learnt.images[one.place[:SHOWN]]
            picture = np.concatenate([_line(part) for part in lines])
            style.show(figure, left, top - HEADING - grid, panel, picture, height=grid)


def _line(images: Pixels) -> Pixels:
    """Lay images, uint8 (n, H, W), side by side in RGB, white where there is none."""
    count, height, width = images.shape
    tiles = np.full((SHOWN, height + GAP, width + GAP), 255, np.uint8)
    tiles[:count, :height, :width] = images
    return np.repeat(tiles.swapaxes(0, 1).reshape(height + GAP, -1)[..., None], 3, axis=2)


def _draw_scores(
    title: str,
    told: str,
    alone: list[Scored],
    filled: list[Scored],
    phantom: bool,
    targets: Sequence[Path],
) -> None:
    panels = [("SYNTHETIC images alone", alone, ALONE), ("Rare classes filled up", filled, FILLED)]
    panels = [one for one in panels if one[1]]
    questions = len({one.answers.question for one in alone})
    with style.sheet(
        targets, LINE * questions + EDGE + LEGEND, title, told, phantom=phantom
    ) as figure:
        for axes, (name, scored, sorts) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            axes.set_title(name)
            _bars(axes, scored, sorts)


def _bars(axes: Axes, scored: list[Scored], sorts: Sequence[str]) -> None:
    questions = list(dict.fromkeys(one.answers.question for one in scored))
    metric = METRICS[0]
    for number, sort in enumerate(sorts):
        colour, marker = DRAWN_AS[sort]
        own = [one for one in scored if one.answers.taught == sort]
        if not own:
            continue
        ends = np.array([[getattr(one.scores[metric], end) for end in ENDS] for one in own])
        axes.errorbar(
            ends[:, 0],
            np.array([questions.index(one.answers.question) for one in own]) + 0.2 * (number - 1),
            xerr=np.abs(ends[:, 1:] - ends[:, :1]).T,
            fmt=marker,
            color=colour,
            ms=4,
            lw=1,
            label=sort,
        )
    held = {one.answers.question: len(one.answers.truth) for one in scored}
    names = [f"{readable(one)}\n(n = {held[one]:,})" for one in questions]
    axes.axvline(CHANCE_AUC, color=style.GREY, lw=0.8, ls="--", label="chance")
    axes.set_yticks(range(len(questions)), names)
    lowest = min(LOWEST, *(one.scores[metric].low - 0.02 for one in scored))
    axes.set(
        xlabel="AUC on held-out images", xlim=(lowest, 1.01), ylim=(len(questions) - 0.5, -0.5)
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=1)
