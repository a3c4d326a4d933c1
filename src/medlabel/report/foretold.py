"""What was foretold of labels without a label, beside how right they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from medlabel.params import WithoutLabels
from medlabel.report import style, table
from medlabel.report.text import MINUS, NONE, continued, readable

NEAR = 0.05  # of the truth
BAD, GOOD = 0.8, 0.95  # shares of right labels
EDGES = (0, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
VERDICTS = {
    "trusted": (style.GREEN, "o"),
    "check": (style.ORANGE, "^"),
    "refused": (style.VERMILLION, "v"),
}
WAYS = {
    "estimate": "ours",
    "mean_confidence": "mean confidence",
    "nuclear_norm": "nuclear norm",
    "atc": "ATC, a threshold a class, learnt on phantoms",
}
PREVALENT = (0.05, 0.2, 0.5)
BODY = 66.0  # mm


def tables(judged: pd.DataFrame, asked: WithoutLabels) -> list[table.Table]:
    """Return tables of estimates beside their rivals, and of verdicts.

    Parameters
    ----------
    judged
        Rows of `medlabel.evaluate.without_labels.compute` that have an estimate.
    asked
        Their entry of `without_labels`.
    """
    plain, unnamed = split(judged, asked)
    return [_ways(plain), _verdicts(plain, unnamed)]


def split(judged: pd.DataFrame, asked: WithoutLabels) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return folders of named classes alone, and those with images that no name stands for."""
    some = [name for name, content in asked.contents.items() if content.unnamed]
    chosen = judged["content"].isin(some)
    return judged[~chosen], judged[chosen]


def _ways(plain: pd.DataFrame) -> table.Table:
    rows = []
    for (encoder, labelling), own in plain.groupby(["encoder", "labelling"], sort=False):
        for way, called in WAYS.items():
            if own[way].isna().all():
                continue
            off = (own[way] - own["right"]).abs()
            shares = {
                f"at {share:.0%}": f"{100 * (off <= NEAR)[own['share'] == share].mean():.0f}"
                if (own["share"] == share).any()
                else NONE
                for share in PREVALENT
            }
            rows.append(
                {
                    "Encoder": readable(str(encoder)),
                    "Labels": readable(str(labelling)),
                    "Foretold by": called,
                    "Off by (points)": f"{100 * off.mean():.1f}",
                    "Within 5 points (%)": f"{100 * (off <= NEAR).mean():.0f}",
                    **shares,
                    "Rank correlation": _correlation(own[way], own["right"]),
                }
            )
    note = (
        f"{len(plain):,} labellings of folders. Off by: mean distance of the estimate from the "
        "share of right labels. At: within 5 points in folders with that share of the first class."
    )
    return table.Table("Accuracy without labels", note, rows)


def _correlation(foretold: pd.Series, right: pd.Series) -> str:
    """Return Spearman's; none where either is the same in all folders."""
    if min(foretold.nunique(), right.nunique()) == 1:
        return NONE
    return f"{foretold.corr(right, 'spearman'):.2f}".replace("-", MINUS)


def _verdicts(plain: pd.DataFrame, unnamed: pd.DataFrame) -> table.Table:
    rows = []
    for (encoder, labelling), own in plain.groupby(["encoder", "labelling"], sort=False):
        bad, good = own["right"] < BAD, own["right"] > GOOD
        inside = (own["low"] <= own["right"]) & (own["right"] <= own["high"])
        doubted = own["verdict"] != "trusted"
        same = (unnamed["labelling"] == labelling) & (unnamed["encoder"] == encoder)
        others = unnamed[same]
        rows.append(
            {
                "Encoder": readable(str(encoder)),
                "Labels": readable(str(labelling)),
                "Folders": f"{len(own):,}",
                "In the 90 % interval (%)": f"{100 * inside.mean():.0f}",
                "Below 80 %": f"{bad.sum():,}",
                "of them doubted (%)": _share(doubted[bad]),
                "Above 95 %": f"{good.sum():,}",
                "of them doubted, wrongly (%)": _share(doubted[good]),
                "Unnamed images set aside (%)": _share(others["aside"]),
                "others set aside (%)": _share(others["wrongly_aside"]),
            }
        )
    note = "Doubted: refused, or to be checked. Set aside: said to fit no class that is named."
    return table.Table("Verdicts", note, rows)


def _share(values: pd.Series) -> str:
    return f"{100 * values.mean():.1f}" if len(values) else NONE


def draw(judged: pd.DataFrame, asked: WithoutLabels, targets: Sequence[Path]) -> None:
    """Draw estimates against the truth by encoder, and verdicts by the truth."""
    plain, _ = split(judged, asked)
    told = (
        f"{len(plain):,} labellings of folders ({', '.join(map(readable, asked.judged))}), none "
        f"with unnamed images. Grey: within 5 points. Right: verdicts by "
        f"the share of right labels, and how many labellings have that."
    )
    title = f"What is known without a label: {continued(asked.title)}"
    with style.sheet(targets, BODY, title, told, phantom=asked.drawn) as figure:
        widths = [*[1.0] * len(asked.encoders), 1.3]
        *clouds, bars = figure.subplots(1, len(widths), width_ratios=widths)
        low = 100 * min(plain["estimate"].min(), plain["right"].min()) - 2
        for axes, encoder in zip(clouds, asked.encoders, strict=True):
            _cloud(axes, plain[plain["encoder"] == encoder], low)
            axes.set_title(readable(encoder))
        clouds[0].set_ylabel("Right labels (%)")
        _bars(bars, plain)
        style.legend(figure, 3)


def _cloud(axes: Axes, own: pd.DataFrame, low: float) -> None:
    line = np.array([low, 102])
    axes.fill_between(line, line - 100 * NEAR, line + 100 * NEAR, color=style.GREY, alpha=0.2, lw=0)
    for verdict, (colour, marker) in VERDICTS.items():
        some = own[own["verdict"] == verdict]
        axes.plot(
            100 * some["estimate"], 100 * some["right"], marker, ms=2.5, alpha=0.6, mew=0,
            color=colour, label=verdict,
        )  # fmt: skip
    axes.set(xlabel="Estimated (%)", xlim=(low, 102), ylim=(low, 102))
    axes.set_aspect("equal", adjustable="box")


def _bars(axes: Axes, plain: pd.DataFrame) -> None:
    places = np.digitize(plain["right"], EDGES[1:-1])
    counts = pd.crosstab(places, plain["verdict"]).reindex(
        index=range(len(EDGES) - 1), columns=list(VERDICTS), fill_value=0
    )
    total = counts.sum(axis=1)
    below = np.zeros(len(counts))
    for verdict, (colour, _) in VERDICTS.items():
        share = (100 * counts[verdict] / total.clip(lower=1)).to_numpy()
        axes.bar(range(len(counts)), share, bottom=below, color=colour, width=0.8)
        below += share
    names = [f"{100 * end:g}\n({n})" for end, n in zip(EDGES[1:], total, strict=True)]
    axes.set_xticks(range(len(counts)), names, fontsize=style.SMALL_SIZE)
    axes.set(
        title="Verdicts (labellings)",
        xlabel="Right labels, up to (%)",
        ylabel="Folders (%)",
        ylim=(0, 100),
    )
