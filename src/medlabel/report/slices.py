"""Figure of volumes: slices and projections, before and after augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from medlabel.evaluate.results import StudyResult, grouped
from medlabel.params import Recipe
from medlabel.randomness import torch_seed
from medlabel.report import style
from medlabel.report.sources import Source
from medlabel.report.text import continued, shorten, titled

Volume = npt.NDArray[np.float32]

LABELS = 2  # volumes of a file: without and with the finding
VIEWS = ("axis 1", "axis 2", "axis 3", "maximum")
DRAWS = 16  # of which the one that changes the volume most is shown
GAP = 2.5  # mm
SPACE = 0.6  # mm between images
MARGIN = 24.0  # mm, names of the lines
HEADING = 12.0  # mm
TILE = (style.TWO_COLUMNS - MARGIN - 2 * GAP) / (LABELS * len(VIEWS)) - SPACE


def draw(study: StudyResult, sources: Sequence[Source], targets: Sequence[Path]) -> None:
    """Draw a volume of each of two labels, as read and augmented as each recipe does it."""
    files = grouped(sources, lambda one: one.cell.images)
    lines = {name: _lines(group) for name, group in files.items()}
    heights = {name: HEADING + len(some) * (TILE + SPACE) + GAP for name, some in lines.items()}
    with style.sheet(
        targets,
        sum(heights.values()),
        f"Volumes: {continued(study.title)}",
        f"Training volumes. Of each (grey: 0 to 1) the slice with the highest mean along each "
        f"axis, and the maximum projection along the first. Augmentations are random, each "
        f"applied with probability 1/2; shown is the one of {DRAWS} draws that changes the "
        f"volume most.",
        phantom=study.phantom,
        by_hand=True,
    ) as figure:
        top = sum(heights.values())
        for name, group in files.items():
            _draw_file(figure, group[0], lines[name], top)
            top -= heights[name]


def _lines(group: Sequence[Source]) -> dict[str, Recipe | None]:
    """Name each line of a file, with the recipe that augments it: equal ones once."""
    found: dict[str, Recipe | None] = {"as read": None}
    known: list[Sequence[str]] = [[]]
    for source in group:
        recipe = source.settings.recipe
        if recipe.augmentations not in known:
            known.append(recipe.augmentations)
            found[source.cell.recipe] = recipe
    return found


def _draw_file(figure: Figure, source: Source, lines: dict[str, Recipe | None], top: float) -> None:
    images = next(iter(source.archives().values()))
    phantom, edge = source.found.phantom, images.size
    heading = f"{titled(source.cell.images, phantom)}, {edge} × {edge} × {edge} voxels"
    colour = style.VERMILLION if phantom else style.BLACK
    style.write(figure, GAP, top - 3.5, heading, weight="bold", fontsize=8, color=colour)
    for number, name in enumerate(lines):
        middle = top - HEADING - (number + 0.5) * (TILE + SPACE)
        style.write(figure, GAP, middle, shorten(name, 18), va="center")
    labels = images.labels["train"][:, 0]
    for place, label in enumerate(np.unique(labels)[:LABELS]):
        rows = np.flatnonzero(labels == label)
        row = int(rows[len(rows) // 2])
        volume = images.images["train"][row].astype(np.float32) / 255
        left = MARGIN + place * (len(VIEWS) * (TILE + SPACE) + GAP)
        name = f"{shorten(source.found.classes[label], 30)} (label {label}), image {row}"
        style.write(figure, left, top - 7.3, name, fontsize=style.SMALL_SIZE, weight="bold")
        for number, recipe in enumerate(lines.values()):
            changed = volume if recipe is None else augmented(volume, recipe, source)
            bottom = top - HEADING - (number + 1) * (TILE + SPACE)
            for column, picture in enumerate(views(changed)):
                x = left + column * (TILE + SPACE)
                style.show(figure, x, bottom, TILE, picture)
        for column, text in enumerate(VIEWS):
            x, y = left + column * (TILE + SPACE), top - HEADING + 1.2
            style.write(figure, x, y, text, fontsize=style.SMALL_SIZE, color=style.GREY)


def augmented(volume: Volume, recipe: Recipe, source: Source) -> Volume:
    """Return the draw of a recipe's augmentations that changes a volume most."""
    import torch

    from medlabel.training import augment

    number = torch_seed(source.params.seed, "report", source.cell.images, source.cell.recipe)
    apply = augment.transform(recipe.augmentations, recipe, True, len(volume), number)
    before = torch.from_numpy(np.ascontiguousarray(volume[np.newaxis]))
    draws = [apply(before.clone()) for _ in range(DRAWS)]
    most = max(draws, key=lambda after: float((after - before).abs().mean()))
    return np.asarray(most[0].numpy(), dtype=np.float32)


def views(volume: Volume) -> list[npt.NDArray[np.uint8]]:
    """Return the fullest slice along each axis and the maximum projection, RGB (H, W, 3)."""
    slices = [
        volume.take(int(np.moveaxis(volume, axis, 0).mean(axis=(1, 2)).argmax()), axis=axis)
        for axis in range(3)
    ]
    pixels = (
        np.rint(255 * one.clip(0, 1)).astype(np.uint8) for one in (*slices, volume.max(axis=0))
    )
    return [np.repeat(one[..., np.newaxis], 3, axis=-1) for one in pixels]
