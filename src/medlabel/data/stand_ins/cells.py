"""STAND-IN for TissueMNIST: a stained nucleus of one of eight looks, which no kidney has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medlabel.data.phantoms.canvas import Array, Plane, between, blob, cover, paint, texture


class Look(NamedTuple):
    """How the nucleus of a class looks.

    Attributes
    ----------
    radius
        The image reaches from -1 to 1.
    stretch
        Length over breadth.
    level
        Brightness, 0 to 1.
    grain
        Standard deviation of the texture.
    neighbours
        Other nuclei in view.
    """

    radius: float
    stretch: float
    level: float
    grain: float
    neighbours: int


# In the order of TissueMNIST's labels.
LOOKS = (
    Look(0.42, 1.0, 0.55, 0.02, 3),
    Look(0.36, 1.0, 0.80, 0.02, 5),
    Look(0.26, 2.2, 0.65, 0.02, 1),
    Look(0.20, 3.2, 0.85, 0.02, 0),
    Look(0.30, 1.0, 0.95, 0.10, 0),
    Look(0.50, 1.4, 0.60, 0.14, 1),
    Look(0.46, 1.0, 0.40, 0.10, 4),
    Look(0.30, 1.3, 0.70, 0.05, 8),
)


def cell(rng: np.random.Generator, label: int, where: Plane) -> Array:
    """Draw a nucleus of a class in the middle, others around it; float (edge, edge)."""
    look = LOOKS[label]
    image = np.full_like(where.x, between(rng, 0.05, 0.15))
    image += 0.02 * texture(rng, where.edge, (10, 10))
    for angle in rng.uniform(0, 2 * np.pi, look.neighbours):
        away = between(rng, 0.75, 1.1)
        _nucleus(rng, where, image, (away * np.cos(angle), away * np.sin(angle)), look, 0.7)
    _nucleus(rng, where, image, (between(rng, -0.1, 0.1), between(rng, -0.1, 0.1)), look, 1.0)
    return image


def _nucleus(
    rng: np.random.Generator,
    where: Plane,
    image: Array,
    centre: tuple[float, float],
    look: Look,
    dimmed: float,
) -> None:
    breadth = look.radius * between(rng, 0.8, 1.2)
    form = blob(rng, where, centre, (breadth * look.stretch, breadth), 0.05, 4)
    level = dimmed * (look.level + between(rng, -0.1, 0.1))
    chromatin = level + look.grain * texture(rng, where.edge, (12, 12))
    paint(image, cover(form, 0.1), chromatin)
