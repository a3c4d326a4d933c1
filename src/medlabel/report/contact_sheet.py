"""Figure: phantoms of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medlabel.data import archive
from medlabel.data.phantoms import FINDINGS
from medlabel.data.pixels import Pixels, projected, with_channels
from medlabel.report import style
from medlabel.report.text import readable

COLUMNS = 12  # images a line
GAP = 5.0  # mm
SPACE = 0.7  # mm between images
HEADING = 4.4  # mm


def draw(phantoms: Mapping[str, Path], targets: Sequence[Path]) -> None:
    """Draw a line of training images for each kind of phantom, in turns over the labels.

    `phantoms` gives the .npz of each kind by its name in `catalogue.PHANTOMS`, in the order of the
    lines.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or a target is neither .svg nor .png.
    """
    tile = (style.TWO_COLUMNS - 2 * GAP - (COLUMNS - 1) * SPACE) / COLUMNS
    body = len(phantoms) * (HEADING + tile + 1.0) + 2.0
    with style.sheet(
        targets,
        body,
        "Phantoms of every kind, by their findings",
        "Drawn by procedures and measured on nobody. Training images, in turns over the "
        "findings; volumes as maximum projections.",
        phantom=True,
        by_hand=True,
    ) as figure:
        for line, (kind, path) in enumerate(phantoms.items()):
            top = body - line * (HEADING + tile + 1.0)
            images = archive.read(path, kind)
            size = " × ".join([str(images.size)] * (3 if images.volumetric else 2))
            name = readable(kind.removeprefix("phantom_"))
            text = f"{name}, {size}:  {' | '.join(FINDINGS[kind])}"
            style.write(figure, GAP, top - 3.0, text, fontsize=style.SMALL_SIZE)
            for column, image in enumerate(_turns(images, COLUMNS)):
                left = GAP + column * (tile + SPACE)
                style.show(figure, left, top - HEADING - tile, tile, image)


def _turns(images: archive.Archive, count: int) -> Pixels:
    """Choose `count` training images whose labels rise, as evenly as their number allows."""
    labels = images.labels["train"][:, 0]
    known = np.unique(labels)
    wanted = known[np.linspace(0, len(known), count, endpoint=False).astype(int)]
    chosen: list[int] = []
    for label in known:
        rows = np.flatnonzero(labels == label)
        share = min(len(rows), int((wanted == label).sum()))
        middles = (np.arange(share) + 0.5) * len(rows) / max(share, 1)
        chosen.extend(rows[middles.astype(int)])
    pictures = images.images["train"][chosen]
    return with_channels(projected(pictures, "maximum") if images.volumetric else pictures, 3)
