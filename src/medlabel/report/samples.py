"""Figure: what the images look like, with their true classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel import files
from medlabel.data import archive
from medlabel.errors import MedlabelError
from medlabel.params import Mixture
from medlabel.report import style
from medlabel.report.text import readable, shorten

if TYPE_CHECKING:
    import pandas as pd

ROWS, COLUMNS = 4, 8
PANELS = 2  # side by side
GAP = 4.0  # mm
HEADING = 8.0  # mm


def draw(
    pool: Path,
    archives: Mapping[str, Path],
    mixture: Mixture,
    targets: Sequence[Path],
) -> None:
    """Draw 32 images of each class, evenly spaced over those the teacher is to label.

    Parameters
    ----------
    pool
        Table that `medlabel pool` wrote.
    archives
        File of each dataset of the mixture.
    mixture
        Names the classes.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or a class has no image.
    """
    columns = ["role", "dataset", "split", "row", "label"]
    table = files.read_parquet(pool, "pool", columns)
    table = table[table["role"] == "train"]
    opened = {dataset: archive.read(path, dataset) for dataset, path in archives.items()}
    chosen = [_spaced(table[table["label"] == label]) for label in range(len(mixture.classes))]
    counts = [int((table["label"] == label).sum()) for label in range(len(mixture.classes))]
    if 0 in counts:
        raise MedlabelError(
            f"{pool}: expected images of each class, found none of "
            f"{mixture.classes[counts.index(0)].name}; run `medlabel pool` again."
        )
    pictures = [archive.pixels(opened, images, channels=3) for images in chosen]
    with style.house():
        panel = (style.TWO_COLUMNS - GAP * (PANELS + 1)) / PANELS
        grid = panel * ROWS / COLUMNS
        stacked = -(-len(chosen) // PANELS)
        body = stacked * (grid + HEADING) + GAP
        figure = style.sheet(
            body,
            f"Images to be labelled, with their true classes: {readable(mixture.name)}",
            f"Up to {ROWS * COLUMNS} images of each class, evenly spaced over the pool's n "
            f"training images; {_edge(pictures)} pixels.",
            phantom=mixture.phantom,
            by_hand=True,
        )
        for index, images in enumerate(pictures):
            line, column = divmod(index, PANELS)
            left = GAP + column * (panel + GAP)
            top = body - line * (grid + HEADING)
            entry = mixture.classes[index]
            heading = f"{shorten(entry.name, 30)}  (n = {counts[index]:,})"
            style.write(figure, left, top - 4.0, heading, weight="bold", fontsize=8)
            source = f"from {entry.dataset}" + _labels(entry.labels)
            style.write(figure, left, top - HEADING + 1.2, source, color=style.GREY, fontsize=6.5)
            axes = style.place(figure, left, top - HEADING - grid, panel, grid)
            style.show(axes, montage(images))
        style.save(figure, targets)


def _spaced(table: pd.DataFrame) -> pd.DataFrame:
    count = min(len(table), ROWS * COLUMNS)
    return table.iloc[np.linspace(0, len(table) - 1, count).round().astype(int)]


def _edge(pictures: Sequence[np.ndarray]) -> str:
    height, width = pictures[0].shape[1:3]
    return f"{height} × {width}"


def _labels(labels: Sequence[int] | None) -> str:
    return "" if labels is None else f", labels {', '.join(map(str, labels))}"


def montage(images: np.ndarray) -> np.ndarray:
    """Lay images out in 4 rows of 8 with white gaps.

    Parameters
    ----------
    images
        uint8 (n, H, W, 3) with n up to 32.

    Returns
    -------
    numpy.ndarray
        uint8 (4 · (H + gap) - gap, 8 · (W + gap) - gap, 3); places without an image are white.
    """
    count, height, width, _ = images.shape
    gap = max(1, height // 14)
    tiles = np.full((ROWS * COLUMNS, height + gap, width + gap, 3), 255, dtype=np.uint8)
    tiles[:count, :height, :width] = images
    rows = tiles.reshape(ROWS, COLUMNS, height + gap, width + gap, 3).swapaxes(1, 2)
    return rows.reshape(ROWS * (height + gap), COLUMNS * (width + gap), 3)[:-gap, :-gap]
