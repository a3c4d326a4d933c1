"""Figures and tables of labellings side by side on folders without a label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from medlabel import files
from medlabel.layout import WITHOUT_LABELS_FILES
from medlabel.params import Params, WithoutLabels
from medlabel.report import foretold, style, table
from medlabel.report.text import NONE, readable, signed

SCORES, TABLES, *FIGURES = WITHOUT_LABELS_FILES
FOLDER = ["encoder", "content", "size", "share", "draw"]
POINT = 0.01
ROWS, PANEL = 2, 42.0  # of panels, mm each
LINES = 6  # labellings whose lines are drawn
LOOKS = (
    (style.BLACK, "o"),
    (style.BLUE, "s"),
    (style.ORANGE, "^"),
    (style.GREEN, "D"),
    (style.VERMILLION, "v"),
    (style.PURPLE, "P"),
)


def write(params: Params, name: str, found: pd.DataFrame, costs: pd.DataFrame, to: Path) -> None:
    """Draw labellings side by side and write their tables.

    Parameters
    ----------
    params
        Of `name` in `without_labels`.
    found
        As `medlabel.evaluate.without_labels.compute` returns it.
    costs
        Seconds by labelling and number of images: ``labelling``, ``images``, ``seconds``.
    to
        Folder to write `WITHOUT_LABELS_FILES` into.
    """
    asked = params.without_labels[name]
    with files.replacing(to / SCORES) as partial:
        found.to_csv(partial, index=False, float_format="%.5g", lineterminator="\n")
    plain = compared(found, asked)
    order = list(_ranks(plain).index)
    shown = [_table(plain, asked, costs), _by_content(plain, asked, order)]
    judged = found.dropna(subset=["estimate"])
    if not judged.empty:
        shown += foretold.tables(judged, asked)
    table.write(asked.title, _told(plain, asked), shown, to / TABLES)
    gains, shares, estimates = (
        [to / one for one in FIGURES if one.startswith(what)]
        for what in ("gain", "shares", "estimates")
    )
    _draw_gains(plain, asked, order, gains)
    _draw_shares(plain, asked, order, shares)
    foretold.draw(judged, asked, estimates)


def compared(found: pd.DataFrame, asked: WithoutLabels) -> pd.DataFrame:
    """Leave folders without unnamed images; add ranks, and gains over the first labelling.

    Returns
    -------
    DataFrame
        With ``words`` (the first labelling's share of right labels), ``gain`` and ``rank`` (1 is
        the best of the folder, equal ones share their mean).
    """
    named = [name for name, content in asked.contents.items() if not content.unnamed]
    plain = found[found["content"].isin(named)].copy()
    first = plain[plain["labelling"] == asked.labellings[0]].set_index(FOLDER)["right"]
    plain["words"] = first.loc[pd.MultiIndex.from_frame(plain[FOLDER])].to_numpy()
    plain["gain"] = plain["right"] - plain["words"]
    plain["rank"] = plain.groupby(FOLDER)["right"].rank(ascending=False)
    return plain


def _ranks(plain: pd.DataFrame) -> pd.Series:
    return plain.groupby("labelling")["rank"].mean().sort_values()


def _folders(plain: pd.DataFrame, asked: WithoutLabels) -> int:
    return len(plain) // len(asked.labellings)


def _told(plain: pd.DataFrame, asked: WithoutLabels) -> str:
    kinds = "drawn images (PHANTOMS)" if asked.drawn else "real images"
    return (
        f"{_folders(plain, asked):,} folders of {kinds}: {len(asked.encoders)} encoders x "
        f"{plain['content'].nunique()} contents x {len(asked.shares)} class shares x "
        f"{len(asked.sizes)} sizes, {asked.draws} of each sort. No labelling sees a label."
    )


def _table(plain: pd.DataFrame, asked: WithoutLabels, costs: pd.DataFrame) -> table.Table:
    rows = []
    refused = plain["verdict"] == "refused" if "verdict" in plain else plain["gain"] > np.inf
    largest = costs[costs["images"] == costs["images"].max()].set_index("labelling")["seconds"]
    for name, rank in _ranks(plain).items():
        mine = plain["labelling"] == name
        own, kept = plain[mine], plain[mine & ~refused]
        judged = name in asked.judged
        rows.append(
            {
                "Labelling": readable(str(name)),
                "Mean rank": f"{rank:.2f}",
                "Right (%)": f"{100 * own['right'].mean():.1f}",
                "Held out (%)": f"{100 * own['held_out'].mean():.1f}",
                "Lowest (%)": f"{100 * own['right'].min():.1f}",
                "Mean gain": signed(100 * own["gain"].mean(), 1),
                "Worst gain": signed(100 * own["gain"].min(), 1),
                "Worst gain where not refused": signed(100 * kept["gain"].min(), 1)
                if judged
                else NONE,
                "Folders over a point below (%)": f"{100 * (own['gain'] < -POINT).mean():.1f}",
                "Seconds": f"{largest[name]:.2f}" if name in largest else NONE,
            }
        )
    note = (
        f"Ranks among {len(asked.labellings)} labellings in each folder, 1 the best. Right: labels "
        f"of the images learnt from; held out: of other images, in the folder's shares. Gains over "
        f"{readable(asked.labellings[0])}, in points. Seconds for {costs['images'].max():,} images "
        f"of three classes, one thread (`bench/labellings.py`)."
    )
    return table.Table("Labellings", note, rows)


def _by_content(plain: pd.DataFrame, asked: WithoutLabels, order: Sequence[str]) -> table.Table:
    means = plain.groupby(["encoder", "content", "labelling"])["right"].mean()
    rows = [
        {
            "Encoder": readable(encoder),
            "Content": readable(content),
            **{readable(one): f"{100 * means[encoder, content, one]:.1f}" for one in order},
        }
        for encoder in asked.encoders
        for content in plain["content"].unique()
    ]
    note = "Right labels (%), mean over class shares, sizes and draws; best mean rank first."
    return table.Table("Right labels by encoder and content", note, rows)


def _draw_gains(
    plain: pd.DataFrame, asked: WithoutLabels, order: Sequence[str], targets: Sequence[Path]
) -> None:
    others = [one for one in order if one != asked.labellings[0]]
    columns = -(-len(others) // ROWS)
    told = (
        f"{_told(plain, asked)} A point a folder: gain over {readable(asked.labellings[0])} in "
        f"percentage points. Best mean rank first."
    )
    title = f"What labellings gain: {asked.title}"
    with style.sheet(targets, PANEL * ROWS + 8, title, told, phantom=asked.drawn) as figure:
        panels = figure.subplots(ROWS, columns, sharex=True, sharey=True, squeeze=False)
        for axes, name in zip(panels.flat, others, strict=False):
            own = plain[plain["labelling"] == name]
            for encoder, (colour, marker) in zip(asked.encoders, LOOKS[1:], strict=False):
                one = own[own["encoder"] == encoder]
                axes.plot(
                    100 * one["words"], 100 * one["gain"], marker, ms=2, alpha=0.6, mew=0,
                    color=colour, label=readable(encoder),
                )  # fmt: skip
            axes.axhline(0, color=style.BLACK, linewidth=0.6)
            mean = f"mean {signed(100 * own['gain'].mean(), 1)}"
            axes.text(0.04, 0.06, mean, transform=axes.transAxes)
            axes.set_title(readable(name))
        for axes in panels.flat[len(others) :]:
            axes.set_axis_off()
        for axes in panels.flat[: len(others)][-columns:]:
            axes.tick_params(labelbottom=True)
        for axes in panels[:, 0]:
            axes.set_ylabel("Gain (points)")
        for axes in panels[-1]:
            axes.set_xlabel(f"{readable(asked.labellings[0])} (%)")
        style.legend(figure, len(asked.encoders))


def _draw_shares(
    plain: pd.DataFrame, asked: WithoutLabels, order: Sequence[str], targets: Sequence[Path]
) -> None:
    first = asked.labellings[0]
    best = [first, *[one for one in order if one != first][: LINES - 1]]
    told = (
        f"{_told(plain, asked)} Mean over contents and sizes. {readable(first)} and the "
        f"{len(best) - 1} of the best mean rank."
    )
    title = f"Right labels by class share: {asked.title}"
    with style.sheet(targets, 62, title, told, phantom=asked.drawn) as figure:
        panels = figure.subplots(1, len(asked.encoders), sharey=True, squeeze=False)[0]
        for axes, encoder in zip(panels, asked.encoders, strict=True):
            _shares(axes, plain[plain["encoder"] == encoder], best, asked)
            axes.set_title(readable(encoder))
            axes.set_xlabel("First class (% of folder)")
        panels[0].set_ylabel("Right labels (%)")
        style.legend(figure, LINES)


def _shares(axes: Axes, own: pd.DataFrame, best: Sequence[str], asked: WithoutLabels) -> None:
    for name, (colour, marker) in zip(best, LOOKS, strict=False):
        means = own[own["labelling"] == name].groupby("share")["right"].mean()
        axes.plot(
            range(len(means)), 100 * means, marker=marker, ms=3, color=colour, label=readable(name)
        )
    axes.set_xticks(range(len(asked.shares)), [f"{100 * one:g}" for one in sorted(asked.shares)])
