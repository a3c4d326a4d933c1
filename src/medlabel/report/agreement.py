"""Figure and tables of two labellers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from medlabel import files
from medlabel.evaluate import agreement
from medlabel.evaluate.agreement import Labelled
from medlabel.layout import AGREEMENT_FILES
from medlabel.params import Agreement, Params, names_phantoms
from medlabel.randomness import stream
from medlabel.report import style, table
from medlabel.report.confusion import NAME_LENGTH, draw_matrix
from medlabel.report.text import NONE, percent, readable, shorten

SCORES, TABLES, *FIGURES = AGREEMENT_FILES
BODY = 62.0  # mm


def write(params: Params, name: str, labelled: Labelled, folder: Path) -> None:
    """Draw who says what, and write how far the two agree.

    Parameters
    ----------
    params
        Of `name` in `agreement`, and of intervals.
    labelled
        As `medlabel.evaluate.agreement.read` returns it.
    folder
        To write `AGREEMENT_FILES` into.
    """
    settings, classes = params.agreement[name], len(labelled.classes)
    counted = agreement.mistakes(labelled)
    with files.replacing(folder / SCORES) as partial:
        counted.to_csv(partial, index=False, float_format="%.3f", lineterminator="\n")
    random = stream(params.seed, "agreement", name)
    found = agreement.kappa(labelled.answers, classes, params.statistics, random)
    covered = percent(params.statistics.confidence, 0)
    told = _summary(settings, labelled, found, covered)
    shown = [_mistakes(counted), _reviews(settings, labelled)]
    table.write(settings.title, told, shown, folder / TABLES)
    _draw(settings, labelled, told, [folder / one for one in FIGURES])


def _summary(
    settings: Agreement, labelled: Labelled, kappa: tuple[float, float, float], covered: str
) -> str:
    agreed = float((labelled.answers[0] == labelled.answers[1]).mean())
    first, second = map(_readable, settings.labellers)
    return (
        f"First: {first}. Second: {second}. They agree on {percent(agreed)} of "
        f"{len(labelled.truth):,} images; Cohen's kappa {kappa[0]:.3f} ({covered} CI "
        f"{kappa[1]:.3f} to {kappa[2]:.3f}, bootstrap over images)."
    )


def _readable(labeller: str) -> str:
    return readable(labeller.replace("+", " + "))


def _mistakes(counted: pd.DataFrame) -> table.Table:
    rows = [
        {
            "True class": str(row["class"]),
            "Images": f"{row['images']:,}",
            "Both right": f"{row['both_right']:,}",
            "First alone right": f"{row['first_alone_right']:,}",
            "Second alone right": f"{row['second_alone_right']:,}",
            "Same mistake": f"{row['same_mistake']:,}",
            "Other mistakes of both": f"{row['other_mistakes']:,}",
            "Both wrong if independent": f"{row['expected_both_wrong']:.1f}",
        }
        for row in counted.to_dict("records")
    ]
    note = (
        "Images by true class. The last column: how many both would have wrong if they erred "
        "independently within a class; more than that is a mistake in common."
    )
    return table.Table("Who is right", note, rows)


def _reviews(settings: Agreement, labelled: Labelled) -> table.Table:
    reviewed, rows = settings.reviewed, []
    for turned, who in ((False, "first"), (True, "second")):
        own = _turned(labelled) if turned else labelled
        wrong = int((own.answers[0] != own.truth).sum())
        for order, part in agreement.found_first(own, reviewed).items():
            rows.append(
                {
                    "Mistakes of": who,
                    "Mistakes": f"{wrong:,}",
                    "Order": order.replace("the first", f"the {who}"),
                    "Found (%)": NONE if np.isnan(part) else f"{100 * part:.1f}",
                }
            )
    note = (
        f"Part of a labeller's mistakes among the {percent(reviewed, 0)} of the images that are "
        f"looked at first: those on which the two disagree, the other's surest first; its own "
        f"least sure ones; or any."
    )
    return table.Table("What to look at first", note, rows)


def _turned(labelled: Labelled) -> Labelled:
    return Labelled(labelled.classes, labelled.truth, labelled.answers[::-1], labelled.doubts[::-1])


def _draw(settings: Agreement, labelled: Labelled, told: str, targets: list[Path]) -> None:
    names = [shorten(one, NAME_LENGTH) for one in labelled.classes]
    counts = np.zeros((2, len(names), len(names)), int)
    right = (labelled.answers == labelled.truth).all(axis=0)
    for number, chosen in enumerate((np.ones_like(right), ~right)):
        np.add.at(counts[number], tuple(labelled.answers[:, chosen]), 1)
    phantom = names_phantoms(settings.images)
    body = BODY if len(names) <= 3 else 34 + 9 * len(names)
    with style.sheet(targets, body, settings.title, told, phantom=phantom) as figure:
        row = figure.subplots(1, 2)
        titles = ("All images", "Images that one of them has wrong")
        for axes, shown, title in zip(row, counts, titles, strict=True):
            picture = draw_matrix(axes, shown, names)
            axes.set(
                title=title, xlabel="Second says", ylabel="First says" if axes is row[0] else ""
            )
        style.colour_bar(figure, picture, row, "Share of what the first says (%)", pad=0.02)
