"""Figure: what the images look like, before and after the augmentations of the recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.data import archive
from medlabel.errors import MedlabelError
from medlabel.params import Recipe
from medlabel.randomness import torch_seed
from medlabel.report import style
from medlabel.report.benchmark import comparison, panels
from medlabel.report.benchmark.comparison import Comparison, Run, Score
from medlabel.report.text import readable, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Image = npt.NDArray[np.float32]

CLASSES = 4  # of a 2-D dataset at most
LABELS = 2  # of a volumetric one: without and with the finding
VIEWS = ("axis 1", "axis 2", "axis 3", "maximum")
DRAWS = 16  # of which the one that changes the image most is shown
GAP = 2.5  # mm
SPACE = 0.6  # mm between images
MARGIN = 20.0  # mm, names of the lines
HEADING = 12.0  # mm
TALLEST = 18.4  # mm, an image's edge at most
PITCH = 39.0  # mm, from one class of 2-D images to the next


@dataclass(frozen=True)
class Shown:
    """One dataset of the figure.

    Attributes
    ----------
    row
        Any of the benchmark's rows on it.
    images
        Its archive.
    recipes
        Those of its rows that augment, each set of augmentations once.
    """

    row: Score
    images: archive.Archive
    recipes: list[Recipe]

    @property
    def stages(self) -> list[tuple[str, list[str], Recipe | None]]:
        """Name of each line, the augmentations in it, and the recipe that says how strong."""
        found: list[tuple[str, list[str], Recipe | None]] = [("as read", [], None)]
        names = dict.fromkeys(name for recipe in self.recipes for name in recipe.augmentations)
        for name in names:
            first = next(recipe for recipe in self.recipes if name in recipe.augmentations)
            found.append((name, [name], first))
        if len(names) > 1:
            most = max(self.recipes, key=lambda recipe: len(recipe.augmentations))
            found.append(("together", list(most.augmentations), most))
        return found


def draw(
    results: Path,
    runs: Mapping[str, Sequence[Path]],
    archives: Mapping[str, Path],
    seed: int,
    targets: Sequence[Path],
) -> None:
    """Draw a training image of each class, as read, after each augmentation, and after all.

    Volumes are shown by three orthogonal slices and a maximum projection, one volume for each of
    two labels; where no dataset holds volumes, images of up to four classes are shown instead.

    Parameters
    ----------
    results
        The JSON file that `medlabel compare` wrote.
    runs
        Folders of the runs by the row's name: their records tell the recipes.
    archives
        File of each dataset to show.
    seed
        Root of the random augmentations.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, no archive is of a compared dataset, or a class has no
        training image.
    """
    found = comparison.read(results)
    shown = _choose(found, comparison.read_runs(found, runs), archives)
    tiles = [_tile(one) for one in shown]
    heights = [
        HEADING + len(one.stages) * (tile + SPACE) for one, tile in zip(shown, tiles, strict=True)
    ]
    augmented = any(one.recipes for one in shown)
    with style.house():
        figure = style.sheet(
            sum(heights) + GAP * len(shown),
            f"{'Augmentation' if augmented else 'Images'} of the benchmark: "
            f"{readable(found.preset)}",
            _explain(shown, augmented),
            phantom=found.phantom,
            by_hand=True,
        )
        top = sum(heights) + GAP * len(shown)
        for one, tile, height in zip(shown, tiles, heights, strict=True):
            _draw_dataset(figure, one, tile, top, seed)
            top -= height + GAP
        style.save(figure, targets)


def _choose(
    found: Comparison, runs: Mapping[str, Sequence[Run]], archives: Mapping[str, Path]
) -> list[Shown]:
    rows = {name: rows for name, rows in found.datasets.items() if name in archives}
    if not rows:
        raise MedlabelError(
            f"archives: expected one of {', '.join(found.datasets)}, found "
            f"{', '.join(archives) or 'none'}; give --archive for a dataset of the benchmark."
        )
    volumes = {name: group for name, group in rows.items() if group[0].volumetric}
    return [
        Shown(
            group[0],
            archive.read(archives[name], name),
            _augmenting([runs[row.name][0].record.settings for row in group]),
        )
        for name, group in (volumes or rows).items()
    ]


def _augmenting(recipes: Sequence[Recipe]) -> list[Recipe]:
    found: dict[frozenset[str], Recipe] = {}
    for recipe in recipes:
        if recipe.augmentations:
            found.setdefault(frozenset(recipe.augmentations), recipe)
    return list(found.values())


def _columns(one: Shown) -> int:
    """Return how many images stand in a line."""
    volumetric = one.images.volumetric
    classes = min(len(one.row.classes), LABELS if volumetric else CLASSES)
    return classes * (len(VIEWS) if volumetric else 1)


def _tile(one: Shown) -> float:
    return min(TALLEST, (style.TWO_COLUMNS - MARGIN - 2 * GAP) / _columns(one) - SPACE)


def _explain(shown: Sequence[Shown], augmented: bool) -> str:
    volumetric = shown[0].images.volumetric
    views = (
        "Of each volume (grey: 0 to 1) the slice with the highest mean along each axis, chosen "
        "anew after each change, and the maximum projection along the first axis."
        if volumetric
        else "Intensities from 0 to 1."
    )
    if not augmented:
        return f"Training images; the recipes change none of them. {views}"
    return (
        f"Training images before and after augmentation. {views} Each augmentation is "
        f"random and applied with probability 1/2; shown is the one of {DRAWS} draws that changes "
        f"the image most."
    )


def _draw_dataset(figure: Figure, one: Shown, tile: float, top: float, seed: int) -> None:
    edge = " × ".join([str(one.images.size)] * (3 if one.images.volumetric else 2))
    unit = "voxels" if one.images.volumetric else "pixels"
    heading = panels.titled(f"{one.row.dataset}, {edge} {unit}", one.row)
    style.write(
        figure, GAP, top - 3.5, heading, weight="bold", fontsize=8, color=panels.colour(one.row)
    )
    for line, (name, _, _) in enumerate(one.stages):
        middle = top - HEADING - (line + 0.5) * (tile + SPACE)
        style.write(figure, GAP, middle, name, fontsize=style.TEXT_SIZE, va="center")
    across = len(VIEWS) if one.images.volumetric else 1
    width = across * (tile + SPACE) + GAP if one.images.volumetric else PITCH
    for label in range(_columns(one) // across):
        _draw_class(figure, one, label, tile, (MARGIN + label * width, top), seed)


def _draw_class(
    figure: Figure, one: Shown, label: int, tile: float, corner: tuple[float, float], seed: int
) -> None:
    """Draw the columns of one class; `corner` is the upper left one, in mm."""
    left, top = corner
    row = _example(one, label)
    name = f"{shorten(one.row.classes[label], 34 if one.images.volumetric else 18)} (label {label})"
    heading = f"{name}, training image {row}" if one.images.volumetric else name
    columns = VIEWS if one.images.volumetric else (f"image {row}",)
    style.write(figure, left, top - 7.3, heading, fontsize=style.SMALL_SIZE, weight="bold")
    for column, text in enumerate(columns):
        x, y = left + column * (tile + SPACE), top - HEADING + 1.2
        style.write(figure, x, y, text, fontsize=style.SMALL_SIZE, color=style.GREY)
    image = _unit(one.images, row)
    for line, (stage, names, recipe) in enumerate(one.stages):
        y = top - HEADING - (line + 1) * (tile + SPACE)
        changed = image if recipe is None else _changed(one, image, names, recipe, seed, stage)
        for column, picture in enumerate(_pictures(changed)):
            axes = style.place(figure, left + column * (tile + SPACE), y, tile, tile)
            style.show(axes, picture)


def _example(one: Shown, label: int) -> int:
    """Return the middle one of the training images of a class, or that carry a label."""
    labels = one.images.labels["train"]
    carries = labels[:, label] == 1 if one.images.multi_label else labels[:, 0] == label
    rows = np.flatnonzero(carries)
    if not len(rows):
        raise MedlabelError(
            f"{one.images.path}: train_labels: expected images of every class, found none of "
            f"{label} ({one.row.classes[label]}); delete the file and run `medlabel fetch` again."
        )
    return int(rows[len(rows) // 2])


def _unit(images: archive.Archive, row: int) -> Image:
    """Return a training image as float32 (C, H, W) or (1, D, H, W) in [0, 1]."""
    image = images.images["train"][row].astype(np.float32) / 255
    return np.moveaxis(image, -1, 0) if images.channels == 3 else image[np.newaxis]


def _changed(
    one: Shown, image: Image, names: Sequence[str], recipe: Recipe, seed: int, stage: str
) -> Image:
    """Return the draw of an augmentation that changes the image most."""
    import torch

    from medlabel.benchmark import augment

    number = torch_seed(seed, "benchmark_report", one.row.dataset, stage)
    apply = augment.transform(names, recipe, one.images.volumetric, one.images.size, number)
    before = torch.from_numpy(np.ascontiguousarray(image))
    draws = [apply(before.clone()) for _ in range(DRAWS)]
    most = max(draws, key=lambda after: float((after - before).abs().mean()))
    return np.asarray(most.numpy(), dtype=np.float32)


def _pictures(image: Image) -> list[npt.NDArray[np.uint8]]:
    """Return what is shown of an image, RGB (H, W, 3): itself, or the views of a volume."""
    if image.ndim == 3:
        return [_rgb(np.moveaxis(image, 0, -1))]
    volume = image[0]
    slices = [
        volume.take(int(np.moveaxis(volume, axis, 0).mean(axis=(1, 2)).argmax()), axis=axis)
        for axis in range(3)
    ]
    return [_rgb(view[..., np.newaxis]) for view in (*slices, volume.max(axis=0))]


def _rgb(image: Image) -> npt.NDArray[np.uint8]:
    pixels = np.rint(255 * image.clip(0, 1)).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
