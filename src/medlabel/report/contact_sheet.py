"""Figure: phantoms of each kind beside real images, to see how alike they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from medlabel.data import archive, catalogue
from medlabel.data.phantoms import FINDINGS
from medlabel.report import style
from medlabel.report.text import readable

# The real dataset that shows what a kind of phantom is drawn after.
COUNTERPARTS = {
    "phantom_chest": "pneumoniamnist",
    "phantom_breast": "breastmnist",
    "phantom_vessel3d": "vesselmnist3d",
}
DRAWN, REAL = 8, 4  # images a row
GAP = 5.0  # mm
SPACE = 0.7  # mm between images
HEADING = 4.4  # mm


def draw(
    phantom_files: Mapping[str, Path], real_files: Mapping[str, Path], targets: Sequence[Path]
) -> None:
    """Draw a row for each kind of phantom: phantoms at left, real images at right.

    The images come from the training splits and take turns over the labels. Volumes are shown as
    maximum projections along their first axis.

    Parameters
    ----------
    phantom_files
        The .npz of each kind, by its name in `catalogue.PHANTOMS`; the rows keep this order.
    real_files
        The .npz of real datasets by MedMNIST's flag; only those in `COUNTERPARTS` are shown.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or a target is neither .svg nor .png.
    """
    with style.house():
        tile = (style.TWO_COLUMNS - 3 * GAP - (DRAWN + REAL - 2) * SPACE) / (DRAWN + REAL)
        body = len(phantom_files) * (HEADING + tile + 1.0) + 6.0
        figure = style.sheet(
            body,
            "PHANTOM images beside real ones",
            "Left: phantoms, drawn by procedures and measured on nobody. Right: real images of "
            "MedMNIST, for the kinds that have a counterpart among the files at hand. Volumes are "
            "shown as maximum projections.",
            phantom=False,
        )
        figure.set_layout_engine("none")  # every axes is placed by hand
        right = 2 * GAP + DRAWN * tile + (DRAWN - 1) * SPACE
        heading = {"fontsize": 8, "weight": "bold", "va": "top"}
        style.write(figure, GAP, body, "PHANTOM – drawn", color=style.VERMILLION, **heading)
        style.write(figure, right, body, "REAL – measured", color=style.BLUE, **heading)
        for row, (kind, path) in enumerate(phantom_files.items()):
            top = body - 4.5 - row * (HEADING + tile + 1.0)
            drawn = archive.read(path, kind)
            _row(figure, drawn, FINDINGS[kind], (GAP, top), tile, DRAWN)
            flag = COUNTERPARTS.get(kind)
            if flag is not None and flag in real_files:
                real = archive.read(real_files[flag], flag)
                labels = catalogue.source(flag, real.size).labels
                _row(figure, real, labels, (right, top), tile, REAL)
        style.save(figure, targets)


def _row(
    figure: Figure,
    images: archive.Archive,
    labels: Sequence[str],
    corner: tuple[float, float],
    tile: float,
    count: int,
) -> None:
    """Draw images under a line that names them; `corner` is the upper left one, in mm."""
    left, top = corner
    size = " × ".join([str(images.size)] * (3 if images.volumetric else 2))
    name = readable(images.dataset.removeprefix("phantom_"))
    text = f"{name}, {size}:  {' | '.join(labels)}"
    style.write(figure, left, top - 3.0, text, fontsize=style.SMALL_SIZE)
    for column, image in enumerate(_turns(images, count)):
        x = left + column * (tile + SPACE)
        axes = style.place(figure, x, top - HEADING - tile, tile, tile)
        style.show(axes, image)


def _turns(images: archive.Archive, count: int) -> list[np.ndarray]:
    """Choose `count` training images whose labels rise, as evenly as their number allows."""
    labels = images.labels["train"][:, 0]
    known = np.unique(labels)
    wanted = known[np.linspace(0, len(known), count, endpoint=False).astype(int)]
    chosen = []
    for label in known:
        rows = np.flatnonzero(labels == label)
        share = min(len(rows), int((wanted == label).sum()))
        middles = (np.arange(share) + 0.5) * len(rows) / max(share, 1)
        chosen += [_flat(images, row) for row in rows[middles.astype(int)]]
    return chosen


def _flat(images: archive.Archive, row: int) -> np.ndarray:
    image = images.images["train"][row]
    if images.volumetric:
        image = image.max(axis=0)
    return image if images.channels == 3 else np.repeat(image[..., np.newaxis], 3, axis=-1)
