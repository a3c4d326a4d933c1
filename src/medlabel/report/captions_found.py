"""Figure: the captions that a few images find, the image's own among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from medlabel.evaluate.retrieval import LEVELS, Searched
from medlabel.report import style
from medlabel.report.text import readable, shorten

QUESTIONS = 6  # images whose captions are shown
ANSWERS = 5  # likest captions of each; its own comes after them where it is not among them
THUMBNAIL = 16.0  # mm
LINE = 3.1  # mm, of a caption
GAP = 4.0  # mm, between images
BARS = 34.0  # mm, of the longest bar
LEFT = 3.0  # mm
CUT = 84  # letters of a caption
OWN = "\N{CHECK MARK}"
# By how many of finding and kind a caption shares with an image: colour of the edge, of the face,
# hatching.
BARS_OF = (
    (style.BLACK, "white", ""),
    (style.ORANGE, "white", "//////"),
    (style.BLUE, style.BLUE, ""),
)


def spread(searched: Searched) -> list[int]:
    """Choose images evenly over kinds and findings: rows of `searched.images`."""
    many = len(searched.images)
    # Middles of equal parts: both ends would show the first and last finding twice as often.
    places = (np.arange(min(QUESTIONS, many)) + 0.5) * many / min(QUESTIONS, many)
    return [int(one) for one in places]


def answers(searched: Searched, reference: str, image: int) -> list[tuple[int, int]]:
    """Return the captions that an image finds first, and its own wherever it stands.

    Parameters
    ----------
    searched
        As `medlabel.evaluate.retrieval.search` returns it.
    reference
        An encoder of it.
    image
        Row of `searched.images`.

    Returns
    -------
    list of (int, int)
        Place, counted from 1, and column of `searched.captions`. Of captions that are equally
        alike the image's own comes last, as `medlabel.evaluate.retrieval.ranks` counts it.
    """
    own = searched.relevant["caption"][image]
    order: npt.NDArray[np.intp] = np.lexsort((own, -searched.similarity[reference][image]))
    best = [(place, int(caption)) for place, caption in enumerate(order[:ANSWERS], start=1)]
    place = int(np.flatnonzero(own[order])[0])
    return best if place < ANSWERS else [*best, (place + 1, int(order[place]))]


def draw(
    title: str,
    searched: Searched,
    chosen: Sequence[int],
    pictures: Sequence[npt.NDArray[np.uint8]],
    phantom: bool,
    targets: Sequence[Path],
) -> None:
    """Draw images beside the captions that the first encoder finds most like them.

    Parameters
    ----------
    title
        Of the search.
    searched
        As `medlabel.evaluate.retrieval.search` returns it.
    chosen
        Rows of `searched.images`.
    pictures
        RGB, uint8 (H, W, 3), one of each.
    phantom
        Whether all images are drawn.
    targets
        Files to write.
    """
    reference = next(iter(searched.similarity))
    found = [answers(searched, reference, image) for image in chosen]
    told = (
        f"Encoder {readable(reference)}; {len(chosen)} of {len(searched.images):,} images, at even "
        f"steps through kinds and findings. Right of each: its {ANSWERS} likest of "
        f"{len(searched.captions):,} captions, with place and cosine (all bars from zero, on one "
        f"scale). {OWN}: the caption written for it, put last where it is not among them. Blue "
        f"bar: the caption names the image's finding, or its kind and no finding; orange, hatched: "
        f"another finding of the kind; empty: another kind."
    )
    each = (ANSWERS + 1) * LINE + GAP
    longest = max(float(abs(searched.similarity[reference][list(chosen)]).max()), 1e-6)
    with style.sheet(
        targets,
        each * len(chosen),
        f"Captions found by images: {title}",
        told,
        phantom=phantom,
        by_hand=True,
    ) as figure:
        for line, (image, picture, listed) in enumerate(zip(chosen, pictures, found, strict=True)):
            top = each * (len(chosen) - line) - 1
            style.show(figure, LEFT, top - THUMBNAIL, THUMBNAIL, picture)
            rows = len(listed) * LINE
            x = LEFT + THUMBNAIL + 2
            width = style.TWO_COLUMNS - x - style.MARGIN
            axes = style.place(figure, x, top - rows, width, rows)
            axes.set(xlim=(0, width), ylim=(rows, 0))
            axes.set_axis_off()
            _list(axes, searched, reference, image, listed, longest)


def _list(
    axes: Axes,
    searched: Searched,
    reference: str,
    image: int,
    listed: Sequence[tuple[int, int]],
    longest: float,
) -> None:
    """Write captions a line each, in mm from the upper left of the axes, which count in mm."""
    for line, (place, caption) in enumerate(listed):
        y = (line + 0.5) * LINE
        cosine = float(searched.similarity[reference][image, caption])
        shares = sum(bool(searched.relevant[level][image, caption]) for level in LEVELS[1:])
        edge, face, hatch = BARS_OF[shares]
        axes.text(7, y, f"{place}.", ha="right", va="center", fontsize=style.SMALL_SIZE)
        axes.barh(
            y,
            BARS * max(cosine, 0) / longest,
            height=0.6 * LINE,
            left=8.5,
            color=face,
            edgecolor=edge,
            hatch=hatch,
            linewidth=0.7,
        )
        own = bool(searched.relevant["caption"][image, caption])
        said = f"{OWN} {searched.captions[caption]}" if own else searched.captions[caption]
        axes.text(BARS + 17, y, f"{cosine:.3f}", ha="right", va="center", fontsize=style.SMALL_SIZE)
        axes.text(
            BARS + 19,
            y,
            shorten(said, CUT),
            va="center",
            fontsize=style.SMALL_SIZE,
            weight="bold" if own else "normal",
        )
