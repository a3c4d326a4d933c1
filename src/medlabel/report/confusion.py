"""Figure of one cell: which classes are taken for which, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from medlabel.evaluate.results import CellResult, StudyResult
from medlabel.report import style
from medlabel.report.text import ARMS, percent, readable, shorten

NAME_LENGTH = 18


def draw(study: StudyResult, cell: CellResult, targets: Sequence[Path]) -> None:
    """Draw the confusion matrices of a cell's teacher and of what was trained."""
    classes = len(cell.classes)
    name = "" if cell.label == cell.images else f"{cell.label}. "
    with style.sheet(
        targets,
        (66 if classes <= 3 else 34 + 9 * classes) if len(cell.confusion) > 1 else 70,
        f"Which classes are taken for which: {readable(cell.images)}",
        f"{name}Held-out images, summed over {cell.repeats}: counts, and per cent of "
        f"the true class. Always the commonest class: {percent(cell.trivial_accuracy)}.",
        phantom=cell.phantom,
    ) as figure:
        row = figure.subplots(1, len(cell.confusion), squeeze=False)[0]
        names = [shorten(name, NAME_LENGTH) for name in cell.classes]
        for axes, (arm, counts) in zip(row, cell.confusion.items(), strict=True):
            accuracy = cell.arms[arm]["accuracy"].mean
            picture = draw_matrix(axes, np.array(counts), names)
            axes.set(title=f"{ARMS[arm].capitalize()}: accuracy {percent(accuracy)}")
            axes.set(xlabel="Answer", ylabel="True class" if axes is row[0] else "")
        style.colour_bar(figure, picture, row, "Share of the true class (%)", pad=0.02)


def draw_matrix(axes: Axes, counts: np.ndarray, names: Sequence[str]) -> QuadMesh:
    """Draw counts (classes, classes), with their shares of each row."""
    totals = counts.sum(axis=1, keepdims=True)
    # A class without held-out images has no percentages: its row is left empty.
    shares = np.divide(100 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    picture = axes.pcolormesh(shares[::-1], cmap="Blues", vmin=0, vmax=100, edgecolors="white")
    middle = [place + 0.5 for place in range(len(names))]
    size = style.TEXT_SIZE if len(names) <= 4 else style.SMALL_SIZE - 0.5 * (len(names) > 8)
    for row, column in np.ndindex(counts.shape):
        share = shares[row, column]
        axes.text(
            middle[column], middle[len(names) - 1 - row],
            f"{counts[row, column]:,}\n{share:.1f} %", ha="center", va="center", fontsize=size,
            color="white" if share > 55 else style.BLACK,
        )  # fmt: skip
    slanted = len(names) > 3
    axes.set_xticks(
        middle, names, rotation=25 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_yticks(
        middle[::-1], [f"{n}\n(n = {t:,})" for n, t in zip(names, totals[:, 0], strict=True)]
    )
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return picture
