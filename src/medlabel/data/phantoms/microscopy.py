"""Stained slides: blood cells and tissue of the colon."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    between,
    blob,
    clouds,
    colour,
    cover,
    ellipse,
    paint,
    texture,
    tissue,
)

Colour: TypeAlias = tuple[float, float, float]


class BloodCell(NamedTuple):
    """Appearance of a cell under the May-Grünwald-Giemsa stain.

    Attributes
    ----------
    radius
        Of the cell; the image reaches from -1 to 1.
    cytoplasm, granules
        Colours.
    density
        Strength of the granules, 0 to 1.
    lobes
        Parts of the nucleus.
    nucleus
        Radius of each part.
    spread
        Distance of the parts from the centre.
    """

    radius: float
    cytoplasm: Colour
    granules: Colour
    density: float
    lobes: int
    nucleus: float
    spread: float


# The eight classes of BloodMNIST, in the order of its labels.
BLOOD_CELLS = {
    "basophil": BloodCell(0.50, (0.70, 0.55, 0.75), (0.28, 0.14, 0.42), 0.9, 2, 0.26, 0.15),
    "eosinophil": BloodCell(0.56, (0.88, 0.66, 0.60), (0.85, 0.42, 0.34), 0.8, 2, 0.22, 0.22),
    "erythroblast": BloodCell(0.40, (0.66, 0.60, 0.78), (0.5, 0.45, 0.7), 0.1, 1, 0.24, 0.0),
    "immature granulocyte": BloodCell(
        0.64, (0.72, 0.62, 0.80), (0.55, 0.36, 0.62), 0.4, 1, 0.42, 0.1
    ),
    "lymphocyte": BloodCell(0.44, (0.68, 0.70, 0.88), (0.6, 0.6, 0.8), 0.1, 1, 0.37, 0.0),
    "monocyte": BloodCell(0.66, (0.68, 0.66, 0.78), (0.55, 0.5, 0.68), 0.3, 2, 0.32, 0.16),
    "neutrophil": BloodCell(0.56, (0.86, 0.72, 0.76), (0.75, 0.55, 0.65), 0.4, 4, 0.16, 0.24),
    "platelet": BloodCell(0.16, (0.62, 0.48, 0.70), (0.42, 0.25, 0.55), 0.7, 0, 0.0, 0.0),
}


def blood(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a blood smear: one cell of the class in the middle, red cells around it."""
    slide = colour(rng, (0.93, 0.83, 0.76), 0.03)
    image = np.broadcast_to(slide, (3, *where.x.shape)).copy()
    cell = BLOOD_CELLS[finding]
    radius = cell.radius * between(rng, 0.85, 1.15)
    centre = (between(rng, -0.1, 0.1), between(rng, -0.1, 0.1))
    _red_cells(rng, where, image, centre, radius)
    body = blob(rng, where, centre, (radius, radius * between(rng, 0.88, 1.0)), 0.04)
    paint(image, cover(body, 0.06), colour(rng, cell.cytoplasm, 0.03))
    grains = np.clip(texture(rng, where.edge, (20, 20)) + 0.2, 0, 1)
    paint(image, cell.density * grains * cover(body, 0.06), colour(rng, cell.granules, 0.03))
    if cell.lobes:
        nucleus = _nucleus(rng, where, cell, centre)
        chromatin = 1 + 0.12 * texture(rng, where.edge, (12, 12))
        purple = colour(rng, (0.36, 0.16, 0.48), 0.04)
        paint(image, cover(nucleus, 0.06), purple * chromatin)
    return image


def _red_cells(
    rng: np.random.Generator,
    where: Plane,
    image: Array,
    avoid: tuple[float, float],
    clearance: float,
) -> None:
    shade = colour(rng, (0.84, 0.64, 0.60), 0.03)
    radius = between(rng, 0.3, 0.38)
    for x, y in rng.uniform(-1.1, 1.1, (int(rng.integers(4, 14)), 2)):
        if np.hypot(x - avoid[0], y - avoid[1]) < clearance + 0.7 * radius:
            continue
        disc = ellipse(where, (x, y), (radius, radius * between(rng, 0.85, 1)))
        paint(image, cover(disc, 0.05), shade)
        paint(image, 0.5 * cover(disc + 0.6 * radius, 0.25), shade + 0.12)


def _nucleus(
    rng: np.random.Generator, where: Plane, cell: BloodCell, centre: tuple[float, float]
) -> Array:
    start, arc = rng.uniform(0, 2 * np.pi), between(rng, 0.9, 1.3)
    nearest = np.full_like(where.x, np.inf)
    for lobe in range(cell.lobes):
        angle = start + arc * lobe
        x = centre[0] + cell.spread * float(np.cos(angle))
        y = centre[1] + cell.spread * float(np.sin(angle))
        size = cell.nucleus * between(rng, 0.9, 1.1)
        nearest = np.minimum(nearest, blob(rng, where, (x, y), (size, size * 0.85), 0.06, 4))
    return nearest


# How much darker, in red, green and blue, fibres are than the ground between them.
FIBRE_STAIN = np.array([0.08, 0.14, 0.06], np.float32)[:, np.newaxis, np.newaxis]


class Tissue(NamedTuple):
    """Appearance of tissue under haematoxylin and eosin.

    Attributes
    ----------
    ground, second
        Colours between which the ground varies.
    nuclei
        Cells along a length of 1 (half the image); 0 for none.
    size
        Radius of a nucleus in parts of its cell.
    stretch
        Length of cells and fibres over their width.
    fibres
        Strength of the streaks.
    glands
        Glands along a length of 1; 0 for none.
    disorder
        How far shapes are bent.
    """

    ground: Colour
    second: Colour
    nuclei: float
    size: float
    stretch: float
    fibres: float
    glands: float
    disorder: float


# The nine classes of PathMNIST (NCT-CRC-HE-100K), in the order of its labels.
TISSUES = {
    "adipose": Tissue((0.92, 0.88, 0.91), (0.95, 0.92, 0.94), 0, 0, 1, 0.0, 0, 0.05),
    "background": Tissue((0.92, 0.90, 0.92), (0.94, 0.92, 0.93), 0, 0, 1, 0.0, 0, 0.02),
    "debris": Tissue((0.78, 0.58, 0.74), (0.60, 0.42, 0.66), 5, 0.2, 1, 0.1, 0, 0.2),
    "lymphocytes": Tissue((0.72, 0.58, 0.78), (0.66, 0.50, 0.74), 8, 0.48, 1, 0.0, 0, 0.03),
    "mucus": Tissue((0.80, 0.74, 0.84), (0.90, 0.86, 0.90), 2, 0.12, 2, 0.7, 0, 0.15),
    "smooth muscle": Tissue((0.82, 0.58, 0.76), (0.74, 0.50, 0.70), 3, 0.2, 4, 0.5, 0, 0.05),
    "normal mucosa": Tissue((0.80, 0.62, 0.78), (0.84, 0.70, 0.82), 7, 0.25, 1, 0.0, 1.3, 0.05),
    "cancer-associated stroma": Tissue(
        (0.84, 0.62, 0.76), (0.74, 0.52, 0.72), 4, 0.25, 3, 0.4, 0, 0.2
    ),
    "adenocarcinoma": Tissue((0.66, 0.48, 0.70), (0.58, 0.40, 0.64), 6, 0.42, 1, 0.1, 0.9, 0.25),
}


def colon(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a patch of colon histology of one of nine tissues."""
    kind = TISSUES[finding]
    field = where.move(rng, 0.5, (0.8, 1.25), 180.0).warp(rng, 3, kind.disorder)
    grain = Plane(field.x, field.y / kind.stretch)
    stain = between(rng, -0.04, 0.04)
    ground = colour(rng, kind.ground, 0.025) + stain
    second = colour(rng, kind.second, 0.025) + stain
    mix = np.clip(0.5 + 0.4 * clouds(rng, where.edge, (5, 5), 3, 0.7), 0, 1)
    image: Array = ground + mix * (second - ground)
    purple = colour(rng, (0.38, 0.22, 0.52), 0.03) + stain
    if kind.fibres:
        phase = 2 * np.pi * between(rng, 2.5, 4.5) * field.x + 1.5 * mix
        paint(image, kind.fibres * np.clip(np.sin(phase), 0, 1), second - FIBRE_STAIN)
    if kind.glands:
        _glands(rng, field, image, kind, purple)
    if kind.nuclei:
        gap, _, identity = tissue(rng, grain, kind.nuclei)
        nuclei = cover(gap - kind.size * (0.7 + 0.6 * identity), 0.15)
        paint(image, 0.9 * nuclei, purple)
    if finding == "adipose":
        first, other, _ = tissue(rng, field, between(rng, 1.0, 1.8))
        paint(image, cover(other - first - 0.1, 0.12), colour(rng, (0.80, 0.55, 0.72), 0.03))
    return image


def _glands(
    rng: np.random.Generator, field: Plane, image: Array, kind: Tissue, purple: Array
) -> None:
    gap, _, identity = tissue(rng, field, kind.glands)
    outline = gap - 0.38 - 0.1 * identity
    paint(image, 0.75 * cover(np.abs(outline) - 0.06, 0.08), purple)
    paint(image, cover(outline + 0.08, 0.1), (0.84, 0.74, 0.86))
    paint(image, cover(outline + 0.25, 0.1), (0.93, 0.90, 0.94))
