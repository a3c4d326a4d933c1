"""Figure: which classes the teacher takes for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.params import Mixture
from medlabel.report import style
from medlabel.report.text import percent, readable, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME_LENGTH = 22


def draw(pseudolabels: Path, mixture: Mixture, encoder: str, targets: Sequence[Path]) -> None:
    """Draw the teacher's confusion matrix over all held-out images of the pool.

    Parameters
    ----------
    pseudolabels
        The teacher's labels, as `medlabel pseudolabel` wrote them.
    mixture
        Names the classes.
    encoder
        Names the teacher.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When the file is missing or damaged, or holds no held-out image.
    """
    table = files.read_parquet(pseudolabels, "pseudolabel", ["role", "label", "pseudolabel"])
    test = table[table["role"] == "test"]
    if test.empty:
        raise MedlabelError(
            f"{pseudolabels}: expected images with the role test, found none; run `medlabel "
            f"pseudolabel` again."
        )
    classes = [entry.name for entry in mixture.classes]
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (test["label"].to_numpy(), test["pseudolabel"].to_numpy()), 1)
    few = len(classes) <= 3
    with style.house():
        figure = style.sheet(
            66 if few else 34 + 14 * len(classes),
            f"The teacher's confusion matrix: {readable(mixture.name)}",
            f"Teacher {encoder} on all n = {counts.sum():,} images of the pool's test role: "
            f"accuracy {percent(np.trace(counts) / counts.sum())}; always the commonest class: "
            f"{percent(counts.sum(axis=1).max() / counts.sum())}. Counts, and per cent of the "
            f"true class.",
            phantom=mixture.phantom,
            width=style.ONE_COLUMN if few else style.TWO_COLUMNS,
        )
        _draw_matrix(figure.subplots(), counts, [shorten(name, NAME_LENGTH) for name in classes])
        style.save(figure, targets)


def _draw_matrix(axes: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    # A class without held-out images has no percentages: its row is left empty.
    shares = np.divide(100 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    picture = axes.pcolormesh(shares[::-1], cmap="Blues", vmin=0, vmax=100, edgecolors="white")
    middle = [place + 0.5 for place in range(len(names))]
    for row, column in np.ndindex(counts.shape):
        axes.text(
            middle[column],
            middle[len(names) - 1 - row],
            f"{counts[row, column]:,}\n{shares[row, column]:.1f} %",
            ha="center",
            va="center",
            color="white" if shares[row, column] > 55 else style.BLACK,
        )
    slanted = len(names) > 3
    axes.set_xticks(
        middle, names, rotation=25 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_yticks(
        middle[::-1], [f"{n}\n(n = {t:,})" for n, t in zip(names, totals[:, 0], strict=True)]
    )
    axes.set(xlabel="Teacher's label", ylabel="True class")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    bar = axes.figure.colorbar(picture, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label("Share of the true class (%)")
    bar.outline.set_visible(False)
