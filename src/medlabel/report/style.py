"""The house style of all figures: colours, type, title, phantom mark, and how they are saved.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by readers with
any of the common kinds of colour vision. Sizes suit a page of two columns: 180 mm across both, 88
mm across one, and no letter smaller than 6 points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from medlabel.errors import MedlabelError
from medlabel.files import replacing
from medlabel.report.text import PHANTOM_MARK

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
_METADATA: dict[str, Any] = {
    ".svg": {"Date": None, "Creator": "medlabel"},
    ".png": {"Software": None},
}
_STAMP: dict[str, Any] = {
    "weight": "bold",
    "color": VERMILLION,
    "ha": "center",
    "va": "center",
    "in_layout": False,
}


@contextmanager
def sheet(
    targets: Sequence[Path],
    body: float,
    title: str,
    subtitle: str,
    *,
    phantom: bool,
    width: float = TWO_COLUMNS,
    by_hand: bool = False,
) -> Iterator[Figure]:
    """Give an empty figure in the house style to draw in, and save it in the end.

    Equal figures give equal bytes: they start from matplotlib's own defaults, not from a reader's
    matplotlibrc, and neither dates nor software versions are written.

    The figure is `width` mm wide, and `body` mm high below its title and subtitle, which are
    wrapped. In one laid out `by_hand` the caller puts every part at its place (`place`, `write`,
    `show`). One of a `phantom` is stamped as drawn rather than measured.

    Raises
    ------
    MedlabelError
        When a target ends neither in .svg nor in .png.
    """
    for target in targets:
        if target.suffix not in _METADATA:
            raise MedlabelError(
                f"{target}: expected a figure to end in {' or '.join(_METADATA)}, found "
                f"{target.suffix or 'no suffix'!r}."
            )
    with mpl.rc_context({**mpl.rcParamsDefault, **_SETTINGS, "backend": "agg"}):
        figure = _titled(body, title, subtitle, phantom, width, by_hand)
        yield figure
        # Laid out once, all formats have their parts at the same places.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for target in targets:
            with replacing(target) as partial:
                figure.savefig(partial, dpi=DPI, metadata=_METADATA[target.suffix])


def _titled(
    body: float, title: str, subtitle: str, phantom: bool, width: float, by_hand: bool
) -> Figure:
    figure = Figure(figsize=(width * MM, body * MM))
    FigureCanvasAgg(figure)
    parts = [(title, TITLE_SIZE, "bold", BLACK), (subtitle, TEXT_SIZE, "normal", GREY)]
    lines = [
        (line, size, weight, colour)
        for text, size, weight, colour in parts
        for line in _wrap(figure, text, size, weight)
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
        size = 0.36 * min(width, 1.6 * height)
        figure.text(
            0.5, 0.45, "PHANTOM", fontsize=size, alpha=0.13, rotation=25, zorder=100, **_STAMP
        )
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


def entitle(axes: Axes, title: str, *, drawn: bool, all_drawn: bool, **properties: Any) -> None:
    """Give a panel its title; one of drawn images is marked, and stamped where others are real."""
    axes.set_title(title, color=VERMILLION if drawn else BLACK, **properties)
    if drawn and not all_drawn:
        stamp(axes)


def stamp(axes: Axes) -> None:
    """Stamp a panel as drawn rather than measured, where the figure as a whole is not."""
    axes.text(
        0.5, 0.5, "PHANTOM", transform=axes.transAxes, fontsize=16, alpha=0.2, zorder=3, **_STAMP
    )


def place(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Add axes at a place in mm from the lower left, to a figure laid out by hand."""
    across, up = figure.get_size_inches() / MM
    return figure.add_axes((x / across, y / up, width / across, height / up))


def write(figure: Figure, x: float, y: float, text: str, **properties: Any) -> None:
    """Write text at a place in mm from the lower left of the figure."""
    across, up = figure.get_size_inches() / MM
    figure.text(x / across, y / up, text, **properties)


def show(
    figure: Figure, x: float, y: float, width: float, image: np.ndarray, height: float | None = None
) -> None:
    """Show an RGB image, uint8 (H, W, 3), pixel by pixel, at a place in mm; square by default."""
    axes = place(figure, x, y, width, height or width)
    axes.set_axis_off()
    # "none" leaves the SVG its original pixels; "nearest" would resample them to 72 dpi.
    axes.imshow(image, interpolation="none", aspect="equal")


def colour_bar(
    figure: Figure, picture: ScalarMappable, axes: Iterable[Axes], label: str, **properties: Any
) -> None:
    """Put the scale of a picture's colours beside some axes."""
    bar = figure.colorbar(picture, ax=list(axes), fraction=0.03, **properties)
    bar.set_label(label)
    bar.outline.set_visible(False)


def legend(figure: Figure, columns: int) -> None:
    """Write one legend below all panels, with each of their entries once."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns)


def jitter(count: int) -> np.ndarray:
    """Return `count` offsets in [-0.5, 0.5) that spread evenly, the same ones every time.

    They are the multiples of the golden ratio modulo 1, a sequence of low discrepancy.
    """
    golden = (np.sqrt(5) - 1) / 2
    return np.asarray((np.arange(1, count + 1) * golden) % 1 - 0.5)
