"""Figure: what the images look like, with their true classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medlabel.data import archive, mixtures
from medlabel.params import Mixture
from medlabel.report import style
from medlabel.report.sources import Source
from medlabel.report.text import readable, shorten

ROWS, COLUMNS = 4, 8
PANELS = 2  # side by side
CLASSES = 12  # the first ones
GAP = 4.0  # mm
HEADING = 8.0  # mm


def draw(source: Source, targets: Sequence[Path]) -> None:
    """Draw 32 training images of each class, evenly spaced over all there are."""
    mixture, opened = source.mixture, source.archives()
    each = _of_mixture(source, mixture) if mixture else _of_file(source, opened)
    classes = list(each)[:CLASSES]
    projection = mixture.projection if mixture else None
    pictures = [
        archive.pixels(opened, _spaced(table), 3, projection=projection) for _, _, table in classes
    ]
    edge = " × ".join(map(str, pictures[0].shape[1:3]))
    panel = (style.TWO_COLUMNS - GAP * (PANELS + 1)) / PANELS
    grid = panel * ROWS / COLUMNS
    body = -(-len(classes) // PANELS) * (grid + HEADING) + GAP
    with style.sheet(
        targets,
        body,
        f"Training images, with their true classes: {readable(source.cell.images)}",
        f"Up to {ROWS * COLUMNS} of each class, evenly spaced over all n; {edge} pixels.",
        phantom=source.found.phantom,
        by_hand=True,
    ) as figure:
        for index, (name, origin, table) in enumerate(classes):
            line, column = divmod(index, PANELS)
            left, top = GAP + column * (panel + GAP), body - line * (grid + HEADING)
            heading = f"{shorten(name, 30)}  (n = {len(table):,})"
            style.write(figure, left, top - 4.0, heading, weight="bold", fontsize=8)
            style.write(figure, left, top - HEADING + 1.2, origin, color=style.GREY, fontsize=6.5)
            style.show(
                figure, left, top - HEADING - grid, panel, montage(pictures[index]), height=grid
            )


def _of_mixture(source: Source, mixture: Mixture) -> Iterator[tuple[str, str, pd.DataFrame]]:
    table = mixtures.read_pool(Path(source.layout.pool_of(source.cell.images)))
    for entry in mixture.classes:
        labels = "" if entry.labels is None else f", labels {', '.join(map(str, entry.labels))}"
        mine = table[(table["role"] == "train") & (table["class"] == entry.name)]
        drawn = "a STAND-IN for " if entry.dataset in mixture.stand_ins else ""
        yield entry.name, f"from {drawn}{entry.dataset}{labels}", mine


def _of_file(
    source: Source, opened: dict[str, archive.Archive]
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    ((dataset, images),) = opened.items()
    labels = images.labels["train"]
    for label, name in enumerate(source.found.classes):
        carries = labels[:, label] == 1 if images.multi_label else labels[:, 0] == label
        rows = np.flatnonzero(carries)
        table = pd.DataFrame({"dataset": dataset, "split": "train", "row": rows})
        if len(rows):
            yield name, f"label {label}", table


def _spaced(table: pd.DataFrame) -> pd.DataFrame:
    count = min(len(table), ROWS * COLUMNS)
    return table.iloc[np.linspace(0, len(table) - 1, count).round().astype(int)]


def montage(images: np.ndarray) -> np.ndarray:
    """Lay up to 32 images, uint8 (n, H, W, 3), out in 4 rows of 8, white where there is none."""
    count, height, width, _ = images.shape
    gap = max(1, height // 14)
    tiles = np.full((ROWS * COLUMNS, height + gap, width + gap, 3), 255, dtype=np.uint8)
    tiles[:count, :height, :width] = images
    rows = tiles.reshape(ROWS, COLUMNS, height + gap, width + gap, 3).swapaxes(1, 2)
    return rows.reshape(ROWS * (height + gap), COLUMNS * (width + gap), 3)[:-gap, :-gap]
