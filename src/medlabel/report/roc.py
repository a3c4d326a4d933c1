"""Figure of official files: receiver operating characteristic of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from medlabel.evaluate import scores
from medlabel.evaluate.results import StudyResult, grouped
from medlabel.report import style
from medlabel.report.sources import Source
from medlabel.report.text import MINUS, continued, shorten, titled, with_interval

GRID = np.linspace(0, 1, 201)  # false-positive rates at which curves are averaged
CELLS = 8  # in one panel at most
ACROSS = 2  # panels
SQUARE = 68.0  # mm
LEFT, BELOW, ABOVE = 13.0, 11.0, 7.0  # mm, a panel's labels and title
ENTRY = 6.2  # mm, two lines of a legend
NAME_LENGTH = 40
LINES: tuple[tuple[str, Any], ...] = (
    (style.BLUE, "solid"),
    (style.VERMILLION, (0, (5, 1.2))),
    (style.BLACK, (0, (1.2, 1.2))),
    (style.GREEN, (0, (5, 1.2, 1.2, 1.2))),
    (style.ORANGE, "solid"),
    (style.PURPLE, (0, (5, 1.2))),
    (style.SKY, (0, (5, 1.2, 1.2, 1.2))),
    (style.GREY, (0, (1.2, 1.2))),
)


def draw(study: StudyResult, sources: Sequence[Source], targets: Sequence[Path]) -> None:
    """Draw a panel for each file, more where it has many cells, and in them a line a cell.

    Lines are means over seeds and, with several classes or labels, over each of them against the
    rest: vertical averaging, after Fawcett, An introduction to ROC analysis, Pattern Recognition
    Letters 27 (2006) 861-874. The area under a line is therefore the mean of the areas.
    """
    groups = [
        ours[at : at + CELLS]
        for ours in grouped(sources, lambda one: one.cell.images).values()
        for at in range(0, len(ours), CELLS)
    ]
    lines = [groups[at : at + ACROSS] for at in range(0, len(groups), ACROSS)]
    heights = [ABOVE + SQUARE + BELOW + ENTRY * max(map(len, line)) + ABOVE / 2 for line in lines]
    with style.sheet(
        targets,
        sum(heights),
        f"ROC curves on the test split: {continued(study.title)}",
        f"Mean over n seeds by vertical averaging; band: lowest to highest seed. With two "
        f"classes: of class 1; with more, and with several labels an image: mean of each "
        f"against the rest. AUC: mean over seeds with its {study.interval}.",
        phantom=study.phantom,
        by_hand=True,
    ) as figure:
        top = sum(heights)
        for line, height in zip(lines, heights, strict=True):
            for column, group in enumerate(line):
                left = LEFT + column * style.TWO_COLUMNS / ACROSS
                axes = style.place(figure, left, top - ABOVE - SQUARE, SQUARE, SQUARE)
                _draw_panel(axes, group, study)
            top -= height


def _draw_panel(axes: Axes, group: Sequence[Source], study: StudyResult) -> None:
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.6)
    for source, (colour, dashes) in zip(group, LINES, strict=False):
        rates = curves(source)
        if len(rates) > 1:
            low, high = rates.min(axis=0), rates.max(axis=0)
            axes.fill_between(GRID, low, high, color=colour, alpha=0.15, linewidth=0)
        found = source.found
        auc = with_interval("auc", found.arms[found.trained]["auc"])
        label = f"{shorten(found.name, NAME_LENGTH)}\nn = {found.seeds}: AUC {auc}"
        axes.plot(GRID, rates.mean(axis=0), color=colour, linestyle=dashes, label=label)
    axes.set(
        xlabel=f"False-positive rate (1 {MINUS} specificity)",
        ylabel="True-positive rate (sensitivity)",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
    )
    first = group[0].found
    title = titled(f"{first.images}, n = {first.test_images:,} test images", first.phantom)
    style.entitle(axes, title, drawn=first.phantom, all_drawn=study.phantom)
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -BELOW / SQUARE), borderaxespad=0,
        fontsize=style.SMALL_SIZE, handlelength=3.2, labelspacing=0.45,
    )  # fmt: skip


def curves(source: Source) -> scores.Floats:
    """Return each seed's true-positive rates at the false-positive ones of `GRID`, (seeds, 201)."""
    found = []
    for _, one in source.predictions().groupby("seed"):
        labels, given = (
            one[[name for name in one.columns if name.startswith(prefix)]].to_numpy()
            for prefix in ("label_", "p_")
        )
        asked = scores.questions(source.found.task, labels, given)
        found.append(np.mean([rates_of(truth, answers) for truth, answers in asked], axis=0))
    return np.array(found)


def rates_of(
    positive: npt.NDArray[np.bool_], answers: npt.NDArray[np.floating[Any]]
) -> scores.Floats:
    """Return the true-positive rate at each false-positive rate of `GRID`.

    `positive` says whether each image is of the class, (n,), and both kinds occur; images of equal
    scores, `answers`, (n,), are told apart by chance, on a straight line.
    """
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(positive, answers)
    # Where the curve rises vertically, interpolation takes its upper end: the best that is
    # reached at that rate. At 0 the curve itself begins at its lower end.
    rates = np.interp(GRID, false, true)
    rates[0] = 0.0
    return np.asarray(rates, dtype=np.float64)
