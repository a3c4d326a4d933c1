"""STAND-INS for OrganA, OrganC and OrganSMNIST: eleven shapes in three views, of no real body."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    between,
    blob,
    clouds,
    cover,
    ellipse,
    paint,
    spots,
)


class Organ(NamedTuple):
    """How an organ looks in the window of soft tissue, 0 to 1.

    Attributes
    ----------
    radii
        Half the breadth and height in the axial view; the image reaches from -1 to 1.
    level, core
        Brightness of the organ, and of what is inside: marrow, the pelvis of a kidney.
    around
        Brightness of its surroundings.
    rough
        Of the outline: standard deviation of the relative radius.
    side
        Where the bright wall of the body is: -1 left, 1 right, 0 on neither side.
    vessels
        Bright spots inside.
    """

    radii: tuple[float, float]
    level: float
    core: float
    around: float
    rough: float
    side: int
    vessels: int


# In the order of the labels; left organs lie on the right of the image.
ORGANS = (
    Organ((0.55, 0.50), 0.45, 0.45, 0.25, 0.01, 0, 0),
    Organ((0.34, 0.34), 0.95, 0.60, 0.50, 0.02, 1, 0),
    Organ((0.34, 0.34), 0.95, 0.60, 0.50, 0.02, -1, 0),
    Organ((0.68, 0.60), 0.70, 0.80, 0.05, 0.04, 0, 0),
    Organ((0.36, 0.46), 0.72, 0.40, 0.25, 0.04, 1, 0),
    Organ((0.36, 0.46), 0.72, 0.40, 0.25, 0.04, -1, 0),
    Organ((0.85, 0.68), 0.60, 0.60, 0.35, 0.10, -1, 5),
    Organ((0.60, 0.80), 0.04, 0.04, 0.55, 0.05, 1, 9),
    Organ((0.60, 0.80), 0.04, 0.04, 0.55, 0.05, -1, 9),
    Organ((0.66, 0.24), 0.52, 0.52, 0.28, 0.16, 0, 0),
    Organ((0.34, 0.62), 0.65, 0.65, 0.30, 0.06, 1, 0),
)
WALL = 0.75  # brightness


def axial(rng: np.random.Generator, label: int, where: Plane) -> Array:
    """Draw an organ from below; float (edge, edge)."""
    return _organ(rng, ORGANS[label], where, (1.0, 1.0))


def coronal(rng: np.random.Generator, label: int, where: Plane) -> Array:
    """Draw an organ from the front: higher than from below."""
    return _organ(rng, ORGANS[label], where, (0.85, 1.35))


def sagittal(rng: np.random.Generator, label: int, where: Plane) -> Array:
    """Draw an organ from the side: narrower, and neither left nor right."""
    organ = ORGANS[label]._replace(side=0)
    return _organ(rng, organ, where, (0.65, 1.2))


def _organ(
    rng: np.random.Generator, organ: Organ, where: Plane, view: tuple[float, float]
) -> Array:
    body = where.move(rng, 0.06, (0.85, 1.2), 8.0)
    image = np.full_like(body.x, organ.around) + 0.05 * clouds(rng, body.edge, (5, 5), 3, 0.8)
    if organ.side:
        paint(image, cover(between(rng, 0.7, 0.85) - organ.side * body.x, 0.15), WALL)
    across, down = (radius * part for radius, part in zip(organ.radii, view, strict=True))
    form = blob(rng, Plane(body.x / across, body.y / down), (0, 0), (1, 1), organ.rough, 4)
    inside = cover(form, 0.15)
    level = organ.level + between(rng, -0.06, 0.06)
    paint(image, inside, level + 0.02 * clouds(rng, body.edge, (8, 8), 2, 0.8))
    core = ellipse(body, (0, 0), (0.5 * across, 0.5 * down))
    paint(image, cover(core, 0.1), organ.core + between(rng, -0.05, 0.05))
    if organ.vessels:
        centres = rng.uniform(-0.7, 0.7, (organ.vessels, 2)) * (across, down)
        radii = rng.uniform(0.03, 0.08, organ.vessels)
        paint(image, inside * spots(where, centres, radii, 0.06), level + 0.3)
    return np.clip(image, 0, 1)
