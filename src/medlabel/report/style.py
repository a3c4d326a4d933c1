"""The house style of all figures: colours, type, title, phantom mark, and how they are saved.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by readers with
any of the common kinds of colour vision. Sizes suit a page of two columns: 180 mm across both, 88
mm across one, and no letter smaller than 6 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medlabel.errors import MedlabelError
from medlabel.files import replacing
from medlabel.report.text import PHANTOM_MARK, titled

TWO_COLUMNS = 180.0  # mm
ONE_COLUMN = 88.0  # mm
MM = 1 / 25.4  # inch
DPI = 200

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#6E6E6E"
ARM_COLOURS = {"teacher": ORANGE, "student": BLUE, "permuted": GREY, "true": GREEN}

TITLE_SIZE = 9.0  # points
TEXT_SIZE = 7.0
SMALL_SIZE = 6.0
LINE_SPACING = 1.35
MARGIN = 2.5  # mm

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": TEXT_SIZE,
    "axes.titlesize": 8.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": TEXT_SIZE,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": TEXT_SIZE,
    "ytick.labelsize": TEXT_SIZE,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "legend.fontsize": TEXT_SIZE,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
    "mathtext.default": "regular",
    "svg.fonttype": "none",
    "svg.hashsalt": "medlabel",
}


def house() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn and saved in the house style.

    It starts from matplotlib's own defaults, so that a reader's matplotlibrc changes no byte.
    """
    return mpl.rc_context({**mpl.rcParamsDefault, **_SETTINGS, "backend": "agg"})


def sheet(
    body: float,
    title: str,
    subtitle: str,
    *,
    phantom: bool,
    width: float = TWO_COLUMNS,
    by_hand: bool = False,
) -> Figure:
    """Return an empty figure under its title, with room for axes below.

    Parameters
    ----------
    body
        Height below the title in mm.
    title, subtitle
        Wrapped to the width of the figure.
    phantom
        Stamp the figure as drawn rather than measured.
    width
        In mm.
    by_hand
        The caller puts every part at its place (`place`, `write`); otherwise axes are laid out
        automatically.
    """
    figure = Figure(figsize=(width * MM, body * MM))
    FigureCanvasAgg(figure)
    lines = [(line, TITLE_SIZE, "bold", BLACK) for line in _wrap(figure, title, TITLE_SIZE, "bold")]
    lines += [
        (line, TEXT_SIZE, "normal", GREY) for line in _wrap(figure, subtitle, TEXT_SIZE, "normal")
    ]
    if phantom:
        lines.insert(0, (PHANTOM_MARK, TITLE_SIZE, "bold", VERMILLION))
    header = MARGIN + sum(_line_height(size) for _, size, _, _ in lines) + MARGIN / 2
    height = body + header
    figure.set_size_inches(width * MM, height * MM)
    if not by_hand:
        figure.set_layout_engine("constrained", rect=(0, 0, 1, body / height))
    top = height - MARGIN
    for line, size, weight, colour in lines:
        figure.text(
            MARGIN / width, top / height, line, fontsize=size, weight=weight, color=colour, va="top"
        )
        top -= _line_height(size)
    if phantom:
        _watermark(figure, width, height)
    return figure


def _line_height(points: float) -> float:
    return points / 72 / MM * LINE_SPACING


def _wrap(figure: Figure, text: str, points: float, weight: str) -> list[str]:
    probe = figure.text(0, 0, "", fontsize=points, weight=weight)
    room = figure.bbox.width - 2 * MARGIN * MM * figure.dpi
    lines: list[str] = []
    for word in text.replace(" %", "\N{NO-BREAK SPACE}%").split(" "):
        probe.set_text(f"{lines[-1]} {word}" if lines else word)
        if lines and probe.get_window_extent().width <= room:
            lines[-1] = probe.get_text()
        else:
            lines.append(word)
    probe.remove()
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _watermark(figure: Figure, width: float, height: float) -> None:
    figure.text(
        0.5,
        0.45,
        "PHANTOM",
        fontsize=0.36 * min(width, 1.6 * height),
        weight="bold",
        color=VERMILLION,
        alpha=0.13,
        rotation=25,
        ha="center",
        va="center",
        zorder=100,
        in_layout=False,
    )


def entitle(axes: Axes, name: str, *, drawn: bool, all_drawn: bool, **properties: Any) -> None:
    """Give a panel its title; one of drawn images is marked, and stamped where others are real."""
    axes.set_title(titled(name, drawn), color=VERMILLION if drawn else BLACK, **properties)
    if drawn and not all_drawn:
        stamp(axes)


def stamp(axes: Axes) -> None:
    """Stamp a panel as drawn rather than measured, where the figure as a whole is not."""
    axes.text(
        0.5,
        0.5,
        "PHANTOM",
        transform=axes.transAxes,
        fontsize=16,
        weight="bold",
        color=VERMILLION,
        alpha=0.2,
        ha="center",
        va="center",
        zorder=3,
        in_layout=False,
    )


def place(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Add axes for an image at a place in mm from the lower left, of a figure laid out by hand."""
    across, up = figure.get_size_inches() / MM
    axes = figure.add_axes((x / across, y / up, width / across, height / up))
    axes.set_axis_off()
    return axes


def write(figure: Figure, x: float, y: float, text: str, **properties: Any) -> None:
    """Write text at a place in mm from the lower left of the figure."""
    across, up = figure.get_size_inches() / MM
    figure.text(x / across, y / up, text, **properties)


def show(axes: Axes, image: np.ndarray) -> None:
    """Show an RGB image, uint8 (H, W, 3), pixel by pixel: nothing is smoothed."""
    # "none" leaves the SVG its original pixels; "nearest" would resample them to 72 dpi.
    axes.imshow(image, interpolation="none", aspect="equal")


def jitter(count: int) -> np.ndarray:
    """Return `count` offsets in [-0.5, 0.5) that spread evenly, the same ones every time.

    They are the multiples of the golden ratio modulo 1, a sequence of low discrepancy.
    """
    golden = (np.sqrt(5) - 1) / 2
    return np.asarray((np.arange(1, count + 1) * golden) % 1 - 0.5)


def save(figure: Figure, targets: Sequence[Path]) -> None:
    """Save a figure to each target, in the format that its suffix names.

    Equal figures give equal bytes: neither dates nor software versions are written.

    Raises
    ------
    MedlabelError
        When a target ends neither in .svg nor in .png.
    """
    metadata = {
        ".svg": {"Date": None, "Creator": "medlabel"},
        ".png": {"Software": None},
    }
    for target in targets:
        if target.suffix not in metadata:
            raise MedlabelError(
                f"{target}: expected a figure to end in {' or '.join(metadata)}, found "
                f"{target.suffix or 'no suffix'!r}."
            )
    # Laid out once, all formats have their parts at the same places.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for target in targets:
        with replacing(target) as partial:
            figure.savefig(partial, dpi=DPI, metadata=metadata[target.suffix])
