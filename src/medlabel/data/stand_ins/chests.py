"""STAND-IN for ChestMNIST: drawn chests with signs at the places of fourteen findings.

The chest is the clear one of `medlabel.data.phantoms.chest`; the signs are spots, veils and edges
that tell the findings apart. No radiologist would read one for the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlabel.data.phantoms import chest as clear
from medlabel.data.phantoms.canvas import Array, Plane, between, blob, clouds, cover

CHANCE = 0.15  # of each finding; in the official set from 0.002 to 0.18


class Sign(NamedTuple):
    """What a finding adds to a chest.

    Attributes
    ----------
    at
        `x` and `y` of its middle; the image reaches from -1 to 1.
    radii
        Half its breadth and height.
    added
        Brightness.
    mottled
        Standard deviation of its texture, as a share of the brightness.
    either
        Whether it may lie on the other side instead.
    """

    at: tuple[float, float]
    radii: tuple[float, float]
    added: float
    mottled: float
    either: bool


# In the order of ChestMNIST's labels.
SIGNS = {
    "atelectasis": Sign((0.35, 0.30), (0.40, 0.07), 0.35, 0.1, True),
    "cardiomegaly": Sign((0.10, 0.25), (0.55, 0.40), 0.30, 0.0, False),
    "effusion": Sign((0.50, 0.65), (0.40, 0.25), 0.45, 0.0, True),
    "infiltration": Sign((0.40, 0.00), (0.30, 0.45), 0.20, 0.8, True),
    "mass": Sign((0.40, -0.10), (0.22, 0.22), 0.50, 0.0, True),
    "nodule": Sign((0.45, -0.30), (0.09, 0.09), 0.55, 0.0, True),
    "pneumonia": Sign((0.40, 0.30), (0.28, 0.28), 0.30, 0.4, True),
    "pneumothorax": Sign((0.70, -0.35), (0.14, 0.50), -0.45, 0.0, True),
    "consolidation": Sign((0.40, -0.40), (0.32, 0.25), 0.45, 0.3, True),
    "edema": Sign((0.00, 0.00), (0.75, 0.40), 0.22, 0.5, False),
    "emphysema": Sign((0.00, 0.00), (0.80, 0.85), -0.22, 0.0, False),
    "fibrosis": Sign((0.45, 0.35), (0.35, 0.35), 0.25, 1.5, True),
    "pleural": Sign((0.78, 0.10), (0.08, 0.60), 0.40, 0.0, True),
    "hernia": Sign((-0.10, 0.50), (0.20, 0.20), -0.40, 0.0, False),
}


def findings(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw which findings a chest has, 0 or 1 for each of `SIGNS`."""
    return (rng.random(len(SIGNS)) < CHANCE).astype(np.uint8)


def chest(rng: np.random.Generator, present: NDArray[np.uint8], where: Plane) -> Array:
    """Draw a chest with the findings that are 1, in the order of `SIGNS`; float (edge, edge)."""
    image = clear.chest(rng, "normal", where)
    for has, sign in zip(present, SIGNS.values(), strict=True):
        if has:
            image += _added(rng, sign, where)
    return np.clip(image, 0, 1)


def _added(rng: np.random.Generator, sign: Sign, where: Plane) -> Array:
    side = rng.choice((-1, 1)) if sign.either else 1
    x, y = (place + between(rng, -0.05, 0.05) for place in sign.at)
    across, down = (radius * between(rng, 0.85, 1.15) for radius in sign.radii)
    local = Plane((where.x - side * x) / across, (where.y - y) / down)
    form = cover(blob(rng, local, (0, 0), (1, 1), 0.03, 4), 0.3)
    texture = 1 + sign.mottled * clouds(rng, where.edge, (10, 10), 2, 0.8)
    added: Array = sign.added * form * texture
    return added
