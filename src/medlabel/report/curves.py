"""Figure: how the students train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from medlabel.params import Mixture
from medlabel.report import style
from medlabel.report.results import read_blocks
from medlabel.report.text import readable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = (
    "seed",
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "kept",
)
PARTS = {"train": ("training", style.BLUE), "validation": ("validation", style.ORANGE)}


def draw(
    curves: Sequence[Path],
    mixture: Mixture,
    encoder: str,
    epochs: int,
    confidence: float,
    targets: Sequence[Path],
) -> None:
    """Draw loss and accuracy by epoch, and at which epochs training ended.

    Parameters
    ----------
    curves
        Tables that `medlabel students` wrote, one a block of seeds.
    mixture
        Names the study.
    encoder
        The teacher whose labels the students are trained on.
    epochs
        At which training ends at the latest.
    confidence
        Share of the seeds that the bands hold.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged.
    """
    table = read_blocks(curves, COLUMNS)
    seeds = table["seed"].nunique()
    with style.house():
        figure = style.sheet(
            62,
            f"Training of the student on its teacher's labels: {readable(mixture.name)}",
            f"Teacher {encoder}; n = {seeds} seeds. Line: mean; band: central "
            f"{100 * confidence:g} % of the seeds. Both are over the seeds still training at an "
            f"epoch, whose number the right panel gives.",
            phantom=mixture.phantom,
        )
        loss, accuracy, ends = figure.subplots(1, 3)
        _draw_bands(loss, table, "loss", 1.0, confidence)
        loss.set(title="Loss", ylabel="Cross-entropy (nats)")
        loss.legend(loc="upper right")
        _draw_bands(accuracy, table, "accuracy", 100.0, confidence)
        accuracy.set(title="Accuracy", ylabel="Agreement with teacher's labels (%)")
        _draw_ends(ends, table, epochs)
        for axes in (loss, accuracy, ends):
            axes.set(xlabel="Epoch", xlim=(0.4, epochs + 0.6))
            axes.xaxis.get_major_locator().set_params(integer=True)
        style.save(figure, targets)


def _draw_bands(
    axes: Axes, table: pd.DataFrame, quantity: str, unit: float, confidence: float
) -> None:
    tail = (1 - confidence) / 2
    for part, (name, colour) in PARTS.items():
        by_epoch = (unit * table[f"{part}_{quantity}"]).groupby(table["epoch"])
        mean = by_epoch.mean()
        low, high = by_epoch.quantile(tail), by_epoch.quantile(1 - tail)
        axes.fill_between(mean.index, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(mean.index, mean, color=colour, label=name, marker="o", markersize=1.8)


def _draw_ends(axes: Axes, table: pd.DataFrame, epochs: int) -> None:
    every = np.arange(1, epochs + 1)
    training = table.groupby("epoch")["seed"].nunique().reindex(every, fill_value=0)
    kept = table.loc[table["kept"], "epoch"].value_counts().reindex(every, fill_value=0)
    last = table.groupby("seed")["epoch"].max()
    stopped = last[last < epochs].value_counts().reindex(every, fill_value=0)
    axes.step(every, training, where="mid", color=style.BLACK, label="still training")
    for shift, counts, colour, label in (
        (-0.2, kept, style.GREEN, "weights kept"),
        (+0.2, stopped, style.VERMILLION, f"stopped early ({stopped.sum()} in all)"),
    ):
        axes.bar(every + shift, counts, width=0.4, color=colour, label=label)
    seeds = int(training.max())
    axes.set_yticks(MaxNLocator(6, integer=True).tick_values(0, seeds))
    # The legend takes the room above the line, where no bar can be.
    axes.set(title="End of training", ylabel="Seeds", ylim=(0, 1.45 * seeds))
    axes.legend(loc="upper left")
