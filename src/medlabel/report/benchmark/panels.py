"""What the benchmark's figures have in common: names, numbers, and the mark of phantom panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medlabel.report import style
from medlabel.report.benchmark.comparison import Comparison, Estimate, Score
from medlabel.report.text import MINUS, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STAMP = "PHANTOM"


def named(row: Score, length: int) -> str:
    """Return a row's model and recipe, each shortened to at most `length` characters."""
    return f"{shorten(row.model, length)} · {shorten(row.recipe, length)}"


def signed(value: float, decimals: int = 3) -> str:
    """Return a number with its sign, such as ``+0.012``; zero has none."""
    rounded = round(value, decimals)
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else ""
    return f"{sign}{abs(rounded):.{decimals}f}"


def with_interval(estimate: Estimate) -> str:
    """Return ``mean [low–high]`` with three decimals."""
    return f"{estimate.mean:.3f} [{estimate.low:.3f}–{estimate.high:.3f}]"


def one_image(row: Score) -> str:
    """Return what one test image is worth, in percentage points of accuracy."""
    return f"{100 / row.images:.2g}"


def entitle(axes: Axes, text: str, row: Score, comparison: Comparison, **properties: Any) -> None:
    """Give a panel its title, and a stamp where it needs one."""
    axes.set_title(titled(text, row), color=colour(row), **properties)
    stamp(axes, row, comparison)


def stamp(axes: Axes, row: Score, comparison: Comparison) -> None:
    """Stamp a panel as drawn rather than measured, where the figure as a whole is not."""
    if row.phantom and not comparison.phantom:
        axes.text(
            0.5,
            0.5,
            STAMP,
            transform=axes.transAxes,
            fontsize=16,
            weight="bold",
            color=style.VERMILLION,
            alpha=0.2,
            ha="center",
            va="center",
            zorder=0.5,
            in_layout=False,
        )


def titled(text: str, row: Score) -> str:
    """Return a title that begins with a dataset's name, with PHANTOM in capitals."""
    return f"{STAMP} {text.removeprefix('phantom_')}" if row.phantom else text


def colour(row: Score) -> str:
    """Return the colour of a dataset's title."""
    return style.VERMILLION if row.phantom else style.BLACK
