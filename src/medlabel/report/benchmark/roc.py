"""Figure: receiver operating characteristic of every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medlabel.errors import MedlabelError
from medlabel.report import style
from medlabel.report.benchmark import comparison, panels
from medlabel.report.benchmark.comparison import Comparison, Run, Score
from medlabel.report.text import readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

GRID = np.linspace(0, 1, 201)  # false-positive rates at which curves are averaged
ROWS = 8  # in one panel at most
ACROSS = 2  # panels
SQUARE = 68.0  # mm
LEFT, BELOW, ABOVE = 13.0, 11.0, 7.0  # mm, a panel's labels and title
ENTRY = 6.2  # mm, two lines of a legend
NAME_LENGTH = 26
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


def draw(results: Path, runs: Mapping[str, Sequence[Path]], targets: Sequence[Path]) -> None:
    """Draw a panel for each dataset, more where it has many rows, and in them a line a row.

    Lines are means over seeds and, with several classes or labels, over each of them against the
    rest: vertical averaging, after Fawcett, An introduction to ROC analysis, Pattern Recognition
    Letters 27 (2006) 861-874. The area under a line is therefore the mean of the areas.

    Parameters
    ----------
    results
        The JSON file that `medlabel compare` wrote.
    runs
        Folders of the runs by the row's name.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or the runs are not those that were compared.
    """
    found = comparison.read(results)
    read = comparison.read_runs(found, runs)
    groups = list(_groups(found))
    lines = [groups[at : at + ACROSS] for at in range(0, len(groups), ACROSS)]
    heights = [
        ABOVE + SQUARE + BELOW + ENTRY * max(len(rows) for _, rows in line) + ABOVE / 2
        for line in lines
    ]
    with style.house():
        figure = style.sheet(
            sum(heights),
            f"ROC curves on the test split: {readable(found.preset)}",
            f"Mean over n seeds by vertical averaging; band: lowest to highest seed. With two "
            f"classes: of class 1; with more, and with several labels an image: mean of each "
            f"against the rest. AUC: mean over seeds [{found.interval}].",
            phantom=found.phantom,
            by_hand=True,
        )
        top = sum(heights)
        for line, height in zip(lines, heights, strict=True):
            for column, (title, rows) in enumerate(line):
                left = LEFT + column * style.TWO_COLUMNS / ACROSS
                axes = style.place(figure, left, top - ABOVE - SQUARE, SQUARE, SQUARE)
                _draw_panel(axes, rows, read)
                panels.entitle(axes, title, rows[0], found)
                axes.legend(
                    loc="upper left", bbox_to_anchor=(0, -BELOW / SQUARE), borderaxespad=0,
                    fontsize=style.SMALL_SIZE, handlelength=3.2, labelspacing=0.45,
                )  # fmt: skip
            top -= height
        style.save(figure, targets)


def _groups(found: Comparison) -> Iterator[tuple[str, list[Score]]]:
    for dataset, rows in found.datasets.items():
        parts = -(-len(rows) // ROWS)
        for part in range(parts):
            number = f" ({part + 1} of {parts})" if parts > 1 else ""
            title = f"{dataset}{number}, n = {rows[0].images:,} test images"
            yield title, rows[part * ROWS : (part + 1) * ROWS]


def _draw_panel(axes: Axes, rows: Sequence[Score], runs: Mapping[str, Sequence[Run]]) -> None:
    axes.set_axis_on()
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.6)
    for row, (colour, dashes) in zip(rows, LINES, strict=False):
        rates = np.array([run_curve(run, row) for run in runs[row.name]])
        if len(rates) > 1:
            low, high = rates.min(axis=0), rates.max(axis=0)
            axes.fill_between(GRID, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            GRID,
            rates.mean(axis=0),
            color=colour,
            linestyle=dashes,
            label=f"{panels.named(row, NAME_LENGTH)}\n"
            f"n = {row.seeds}: AUC {panels.with_interval(row.metrics['auc'])}",
        )
    axes.set(
        xlabel="False-positive rate (1 \N{MINUS SIGN} specificity)",
        ylabel="True-positive rate (sensitivity)",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
    )


def run_curve(run: Run, row: Score) -> Floats:
    """Return a run's true-positive rate at each false-positive rate of `GRID`.

    Parameters
    ----------
    run
        Its predictions are read.
    row
        Says how many classes or labels there are.

    Returns
    -------
    numpy.ndarray
        float64 (len(GRID),).

    Raises
    ------
    MedlabelError
        When the predictions are missing, damaged or of other classes, or a class is absent.
    """
    table = run.predictions()
    count = len(row.classes)
    scores = [f"p_{index}" for index in range(count)]
    labels = [f"label_{index}" for index in range(count if row.multi_label else 1)]
    path = run.folder / "predictions.parquet"
    if missing := [name for name in (*labels, *scores) if name not in table.columns]:
        raise MedlabelError(
            f"{path}: expected columns for {count} classes, but {missing[0]} is missing; delete "
            f"the file and run `medlabel benchmark` again."
        )
    truth, given = table[labels].to_numpy(), table[scores].to_numpy()
    judged = (1,) if count == 2 and not row.multi_label else range(count)
    curves = []
    for index in judged:
        positive = truth[:, index] == 1 if row.multi_label else truth[:, 0] == index
        if positive.all() or not positive.any():
            raise MedlabelError(
                f"{path}: expected test images with and without class {index}, found one kind "
                f"alone; delete the file and run `medlabel benchmark` again."
            )
        curves.append(rates_of(positive, given[:, index]))
    return np.asarray(np.mean(curves, axis=0), dtype=np.float64)


def rates_of(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating[Any]]) -> Floats:
    """Return the true-positive rate at each false-positive rate of `GRID`.

    Parameters
    ----------
    positive
        Whether each image is of the class, (n,); both kinds occur.
    scores
        Of each image, (n,); images of equal scores are told apart by chance, on a straight line.
    """
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(positive, scores)
    # Where the curve rises vertically, interpolation takes its upper end: the best that is
    # reached at that rate. At 0 the curve itself begins at its lower end.
    rates = np.interp(GRID, false, true)
    rates[0] = 0.0
    return np.asarray(rates, dtype=np.float64)
