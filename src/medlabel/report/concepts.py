"""Figure and table of concepts that embeddings of captions and of images tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from medlabel import files
from medlabel.evaluate import statistics
from medlabel.evaluate.concepts import FROM
from medlabel.layout import CONCEPT_FILES
from medlabel.params import Params, names_phantoms
from medlabel.randomness import stream
from medlabel.report import style, table
from medlabel.report.text import percent, readable

SCORES, TABLES, *FIGURES = CONCEPT_FILES
LINE, EDGE = 9.0, 16.0  # mm, of an encoder and of the axis below
COLOURS = (style.BLUE, style.SKY, style.ORANGE)
MARKERS = ("o", "D", "s")
Shares = dict[tuple[str, str], tuple[float, float, float]]  # mean, low, high


def write(params: Params, name: str, found: pd.DataFrame, folder: Path) -> None:
    """Draw how often concepts are told and write the table.

    Parameters
    ----------
    params
        Of `name` in `concepts`, and of intervals.
    found
        As `medlabel.evaluate.concepts.judge` returns it.
    folder
        To write `CONCEPT_FILES` into.
    """
    settings, asked = params.concepts[name], params.statistics
    with files.replacing(folder / SCORES) as partial:
        found.to_csv(partial, index=False, lineterminator="\n")
    shares: Shares = {}
    for (reference, source), own in found.groupby(["encoder", "source"], sort=False):
        place = str(reference), str(source)
        right = own["right"].to_numpy(np.float64)
        random = stream(params.seed, "concepts", name, *place)
        ends = statistics.interval(right, asked.confidence, asked.resamples, random)
        shares[place] = (float(right.mean()), *ends)
    covered = percent(asked.confidence, 0)
    whole = found[found["source"] == FROM[-1]]
    commonest = whole.groupby("encoder")["concept"].value_counts(normalize=True).max()
    told = (
        f"{found['concepts'].iloc[0]} concepts: findings of kinds. Logistic regressions on frozen "
        f"embeddings of captions that name a finding, and of images. Accuracy with its {covered} "
        f"interval over images. Always the commonest concept: {percent(commonest)}."
    )
    table.write(settings.title, told, [_table(found, shares, covered)], folder / TABLES)
    _draw(settings.title, told, shares, settings.images, [folder / one for one in FIGURES])


def _table(found: pd.DataFrame, shares: Shares, covered: str) -> table.Table:
    sizes = found.groupby(["encoder", "source"]).size()
    rows = [
        {
            "Encoder": readable(reference),
            "Told from": source,
            "Images": f"{sizes[reference, source]:,}",
            "Right (%)": "{:.1f} ({:.1f} to {:.1f})".format(*(100 * one for one in share)),
        }
        for (reference, source), share in shares.items()
    ]
    note = (
        f"Part of the images to test on whose concept is told, with its {covered} interval (BCa "
        f"bootstrap over images). A caption that names no finding can tell the kind alone."
    )
    return table.Table("Concepts told", note, rows)


def _draw(title: str, told: str, shares: Shares, images: str, targets: list[Path]) -> None:
    encoders = list(dict.fromkeys(reference for reference, _ in shares))
    body = LINE * len(encoders) + EDGE
    phantom = names_phantoms(images)
    with style.sheet(targets, body, title, told, phantom=phantom) as figure:
        axes = figure.subplots()
        for number, (source, colour, marker) in enumerate(zip(FROM, COLOURS, MARKERS, strict=True)):
            values = 100 * np.array([shares[one, source] for one in encoders])
            axes.errorbar(
                values[:, 0],
                np.arange(len(encoders)) + 0.2 * (number - 1),
                xerr=np.abs(values[:, 1:] - values[:, :1]).T,
                fmt=marker,
                color=colour,
                ms=4,
                lw=1,
                label=source,
            )
        axes.set_yticks(range(len(encoders)), map(readable, encoders))
        axes.set(xlabel="Concepts told (%)", xlim=(0, 100), ylim=(len(encoders) - 0.5, -0.5))
        style.legend(figure, 3)
