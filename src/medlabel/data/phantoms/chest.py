"""Frontal chest X-rays, of children above all: clear lungs, or an opacity in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    path,
    strokes,
)

SIDES = (-1, 1)  # left and right of the image
DENSEST = 0.97  # share of a lung's air that an opacity takes at most


@dataclass(frozen=True)
class _Chest:
    """Where the lungs lie.

    Attributes
    ----------
    body
        The plane, as the body sees it.
    lungs
        Coverage of the air, of the lung at each of `SIDES`.
    middle
        `x` of the spine: not 0 where the body is turned.
    mediastinum
        Half its width.
    top, base
        `y` of the lungs' ends.
    """

    body: Plane
    lungs: tuple[Array, Array]
    middle: float
    mediastinum: float
    top: float
    base: float

    def depth(self, part: float) -> float:
        """Return the `y` at a part of the lungs' height, from 0 at the top to 1 at the base."""
        return self.top + part * (self.base - self.top)


def chest(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a frontal chest X-ray; pneumonia takes the air from parts of the lungs.

    Body, framing and exposure are drawn alike for both findings: only the lungs tell them apart.
    The opacity has random numbers of its own, so that one state of `rng` gives the same chest,
    clear or ill.
    """
    disease = rng.spawn(1)[0]
    body = where.move(rng, 0.09, (0.85, 1.3), 4.0).warp(rng, 3, between(rng, 0.0, 0.06))
    image = _torso(rng, body)
    anatomy = _anatomy(rng, body)
    lungs = np.maximum(*anatomy.lungs)
    air = lungs * (1 - np.clip(_vessels(rng, anatomy), -0.3, 0.8))
    depth = between(rng, 0.24, 0.46)
    if finding == "pneumonia":
        air *= 1 - np.clip(_opacity(disease, anatomy), 0, DENSEST)
    image -= depth * air
    image += _bones(rng, anatomy, lungs)
    _tube(rng, body, image)
    _bowel_gas(rng, body, image)
    return _exposure(rng, image)


def _torso(rng: np.random.Generator, body: Plane) -> Array:
    """Air around, flesh, and what adds up to more of it: mediastinum, abdomen, jaw, head, arms."""
    side = np.abs(body.x)
    level = between(rng, 0.5, 0.62)
    slope = np.clip(side - between(rng, 0.15, 0.3), 0, 0.7) * between(rng, 0.15, 0.7)
    outline = np.maximum(
        side - between(rng, 0.86, 1.2) - 0.08 * body.y, between(rng, -1.25, -0.8) + slope - body.y
    )
    flesh = cover(outline, between(rng, 0.08, 0.22))
    image = np.full_like(body.x, between(rng, -0.05, 0.25))
    if rng.random() < 0.4:
        for turned in SIDES:
            centre = (between(rng, 1.0, 1.3), between(rng, -0.9, 0.3))
            radii = (between(rng, 0.15, 0.3), between(rng, 0.6, 1.1))
            arm = ellipse(Plane(turned * body.x, body.y), centre, radii, between(rng, -0.3, 0.6))
            paint(image, cover(arm, 0.15), level - between(rng, 0.0, 0.15))
    middle = between(rng, 0.06, 0.2) * np.exp(-((side / between(rng, 0.2, 0.36)) ** 2.5))
    below = between(rng, 0.05, 0.2) * np.clip((body.y - between(rng, 0.3, 0.5)) / 0.5, 0, 1)
    wall = between(rng, -0.06, 0.06) * np.clip(side - 0.5, 0, 0.5)
    paint(image, flesh, level + middle + below + wall)
    centre = (between(rng, -0.15, 0.15), between(rng, -1.4, -1.0))
    head = ellipse(body, centre, (between(rng, 0.3, 0.42), between(rng, 0.22, 0.32)))
    paint(image, cover(head, 0.15), level + between(rng, 0.1, 0.32))
    jaw = cover(ellipse(body, (0, between(rng, -1.2, -0.85)), (0.9, 0.35)), 0.3)
    image += 0.05 * jaw * clouds(rng, body.edge, (8, 8), 3, 0.9)
    return image


def _anatomy(rng: np.random.Generator, body: Plane) -> _Chest:
    """Two fields that widen downwards, less heart, mediastinum (in children wide) and diaphragm."""
    middle = between(rng, -0.06, 0.06)
    base, top = between(rng, 0.42, 0.75), between(rng, -0.88, -0.6)
    dome, lean = between(rng, 0.12, 0.3), between(rng, 0.18, 0.42)
    breadth, apart = between(rng, 0.24, 0.36), between(rng, 0.4, 0.5)
    heart = ellipse(
        body,
        (between(rng, 0.04, 0.16) + middle, base - between(rng, 0.16, 0.3)),
        (between(rng, 0.27, 0.48), between(rng, 0.26, 0.4)),
        between(rng, 0.2, 0.7),
    )
    mediastinum = between(rng, 0.1, 0.28)
    column = np.abs(body.x - middle - 0.02 * body.y) - mediastinum
    solid = np.minimum(heart, column - 0.06 * np.clip(body.y + 0.3, 0, 1))
    softness = between(rng, 0.05, 0.16)

    def lung(side: int) -> Array:
        height = between(rng, 0.85, 1.05)
        radius = breadth * between(rng, 0.92, 1.08) * (1 + 2 * side * middle)
        centre = (side * apart + middle, top + height)
        field = ellipse(body, centre, (radius, height), -side * lean)
        floor = base + 0.05 * side + 0.14 - dome * np.cos(2.6 * (body.x - 0.38 * side))
        return cover(np.maximum(np.maximum(field, 0.8 * (body.y - floor)), -solid), softness)

    return _Chest(body, (lung(SIDES[0]), lung(SIDES[1])), middle, mediastinum, top, base)


def _vessels(rng: np.random.Generator, anatomy: _Chest) -> Array:
    """Share of the air that vessels take: most at the hila, where they are thickest."""
    body = anatomy.body
    taken = 0.06 * clouds(rng, body.edge, (6, 6), 4, 0.75)
    for side in SIDES:
        away = (body.x - anatomy.middle - side * (anatomy.mediastinum + 0.06)) / 0.36
        fall = np.exp(-0.9 * (away**2 + ((body.y - anatomy.depth(0.55)) / 0.45) ** 2))
        branches = between(rng, 0.1, 0.25) * clouds(rng, body.edge, (8, 8), 3, 0.8)
        taken += fall * (between(rng, 0.1, 0.3) + branches)
    return taken


def _opacity(rng: np.random.Generator, anatomy: _Chest) -> Array:
    """Share of the air that pneumonia takes, from hardly any to all: 0 to a little above 1."""
    form = list(FORMS)[rng.choice(len(FORMS), p=list(FORMS.values()))]
    share = between(rng, 0.25, 1.0) * form(rng, anatomy)
    mottled: Array = share * (1 + 0.2 * clouds(rng, anatomy.body.edge, (6, 6), 3, 0.8))
    return mottled


def _one_lung(rng: np.random.Generator, anatomy: _Chest) -> Array:
    return cover(-rng.choice(SIDES) * anatomy.body.x, 0.2)


def _outer_zones(rng: np.random.Generator, anatomy: _Chest) -> Array:
    side = np.abs(anatomy.body.x - anatomy.middle)
    return cover(between(rng, 0.3, 0.6) - side, between(rng, 0.1, 0.5))


def _patches(rng: np.random.Generator, anatomy: _Chest) -> Array:
    """Soft patches in one lung or in both, on a veil."""
    opacity = np.full_like(anatomy.body.x, between(rng, 0.0, 0.5))
    sides = SIDES if rng.random() < 0.6 else (rng.choice(SIDES),)
    for _ in range(rng.integers(1, 4)):
        away, radius = rng.choice(sides) * between(rng, 0.15, 0.6), between(rng, 0.2, 0.5)
        centre = (anatomy.middle + away, anatomy.depth(between(rng, 0.2, 1.0)))
        patch = blob(rng, anatomy.body, centre, (radius, radius * between(rng, 0.6, 1.6)), 0.15)
        opacity += cover(patch, between(rng, 0.3, 0.8))
    return opacity


# Each with its share. Opacities around the hila are left out: what a pretrained tower sees of them
# it also sees in a wide mediastinum (docs/methods.md).
FORMS: dict[Callable[[np.random.Generator, _Chest], Array], float] = {
    _one_lung: 4 / 6,
    _outer_zones: 1 / 6,
    _patches: 1 / 6,
}


def _bones(rng: np.random.Generator, anatomy: _Chest, lungs: Array) -> Array:
    """Return the added brightness of ribs, spine, clavicles and shoulders."""
    body = anatomy.body
    side = np.abs(body.x - anatomy.middle)
    half = Plane(side, body.y)
    bones = _ribs(rng, half, lungs)
    rows = between(rng, 18.0, 30.0)
    spine = np.exp(-(((body.x - 0.3 * anatomy.middle) / 0.11) ** 2)) * (
        1 + 0.4 * np.sin(rows * body.y)
    )
    bones += between(rng, 0.0, 0.08) * spine
    height, tilt = anatomy.top + between(rng, -0.02, 0.2), between(rng, -0.1, 0.3)
    clavicle = np.array([[[0.1, height], [0.8, height - tilt]]])
    bones += between(rng, 0.02, 0.12) * cover(strokes(half, clavicle, np.array([0.03])), 0.07)
    shoulder = ellipse(
        half, (between(rng, 0.8, 1.0), height + between(rng, -0.15, 0.15)), (0.22, 0.2)
    )
    bones += between(rng, 0.0, 0.14) * cover(shoulder, 0.2)
    centre = (between(rng, 0.68, 0.9), height + between(rng, 0.2, 0.5))
    scapula = ellipse(half, centre, (0.14, 0.4), between(rng, -0.3, 0.3))
    bones += between(rng, 0.0, 0.08) * cover(scapula, 0.15)
    return bones


def _ribs(rng: np.random.Generator, half: Plane, lungs: Array) -> Array:
    """Posterior ribs arch downwards from the spine; anterior ones, fainter, rise towards it."""
    frequency, strength = np.pi * between(rng, 4.5, 7.5), between(rng, 0.02, 0.1)
    arch = between(rng, 0.1, 0.8) * half.x - between(rng, 0.0, 0.5) * half.x**2
    phases = rng.uniform(0, 2 * np.pi, 2)
    posterior = np.sin(frequency * (half.y - arch) + phases[0]) + between(rng, -0.3, 0.2)
    rise = half.y + between(rng, 0.4, 0.9) * half.x
    anterior = np.sin(0.9 * frequency * rise + phases[1]) * np.clip((half.x - 0.3) / 0.3, 0, 1)
    cage = cover(half.x - 0.95, 0.3) * cover(np.abs(half.y + 0.1) - 0.75, 0.4)
    cage *= np.clip((half.x - 0.1) / 0.25, 0, 1)
    seen = np.clip(posterior, 0, 2) * (0.35 + 0.65 * lungs)
    ribs: Array = strength * cage * (seen + between(rng, 0.0, 0.5) * np.clip(anterior, 0, 1))
    return ribs


def _tube(rng: np.random.Generator, body: Plane, image: Array) -> None:
    """Lay a line, a tube or an electrode's lead across some chests."""
    if rng.random() < 0.3:
        points = [
            (between(rng, -1, 1), -1.1),
            (between(rng, -0.6, 0.6), between(rng, -0.6, 0.0)),
            (between(rng, -0.6, 0.6), between(rng, 0.0, 1.1)),
        ]
        tube = strokes(body, path(np.array(points)), np.array([0.012, 0.012]))
        image += between(rng, 0.05, 0.2) * cover(tube, 0.03)


def _bowel_gas(rng: np.random.Generator, body: Plane, image: Array) -> None:
    if rng.random() < 0.4:
        centre = (between(rng, 0.15, 0.6), between(rng, 0.72, 1.0))
        radii = (between(rng, 0.08, 0.25), between(rng, 0.06, 0.18))
        image -= between(rng, 0.08, 0.28) * cover(blob(rng, body, centre, radii, 0.1), 0.12)


def _exposure(rng: np.random.Generator, image: Array) -> Array:
    contrast = between(rng, 0.6, 1.3)
    exposed = rng.normal(0.54, 0.08) + contrast * (image - np.mean(image))
    # The film's curve saturates softly at both ends.
    film: Array = 0.5 + 0.5 * np.tanh(2.1 * (exposed - 0.5)) / np.tanh(1.25)
    return film
