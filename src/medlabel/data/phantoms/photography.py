"""Colour photographs: the fundus of the eye and lesions of the skin."""

from __future__ import annotations

from typing import NamedTuple

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
    path,
    spots,
    strokes,
    texture,
)


class Retinopathy(NamedTuple):
    """How many of each sign a grade of diabetic retinopathy shows, at most."""

    microaneurysms: int
    haemorrhages: int
    exudates: int
    new_vessels: int


# The International Clinical Diabetic Retinopathy scale, in the order of RetinaMNIST's labels.
GRADES = {
    "no retinopathy": Retinopathy(0, 0, 0, 0),
    "mild retinopathy": Retinopathy(5, 0, 0, 0),
    "moderate retinopathy": Retinopathy(8, 3, 4, 0),
    "severe retinopathy": Retinopathy(12, 10, 8, 0),
    "proliferative retinopathy": Retinopathy(10, 8, 8, 4),
}


def retina(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a fundus photograph: optic disc, macula, arcades of vessels, signs of the grade."""
    eye = where.move(rng, 0.03, (0.9, 1.02), 5.0)
    if rng.random() < 0.5:
        eye = Plane(-eye.x, eye.y)
    ground = colour(rng, (0.72, 0.36, 0.16), 0.07)
    shading = 1 - between(rng, 0.1, 0.4) * (eye.x**2 + eye.y**2)
    shading += 0.05 * clouds(rng, where.edge, (4, 4), 3, 0.6)
    image = ground * shading
    disc = (between(rng, 0.38, 0.52), between(rng, -0.08, 0.08))
    macula = ellipse(eye, (disc[0] - between(rng, 0.62, 0.75), 0.05), (0.16, 0.16))
    paint(image, cover(macula, 0.3) * 0.45, ground * 0.4)
    blood = ground * np.array([0.62, 0.4, 0.4], np.float32)[:, np.newaxis, np.newaxis]
    lines, widths = _arcades(rng, disc)
    paint(image, cover(strokes(eye, lines, widths), 0.04) * 0.85, blood)
    paint(
        image, cover(ellipse(eye, disc, (0.13, 0.15)), 0.06), colour(rng, (0.95, 0.75, 0.45), 0.04)
    )
    _signs(rng, where, image, GRADES[finding], blood)
    field = ellipse(where, (0, 0), (between(rng, 0.94, 1.1),) * 2)
    paint(image, 1 - cover(field, 0.04), (0.01, 0.01, 0.01))
    return image


def _arcades(rng: np.random.Generator, disc: tuple[float, float]) -> tuple[Array, Array]:
    """Four main vessels that arch from the disc, each with two branches."""
    lines, widths = [], []
    for vertical in (-1, 1):
        for reach in (-1.3, 0.5):
            along = np.linspace(0, 1, 5)
            bow = between(rng, 0.45, 0.65)
            x = disc[0] + reach * along**1.6
            y = disc[1] + vertical * bow * np.sin(np.minimum(along * 2.2, 1.9))
            trunk = np.stack([x, y], 1) + 0.015 * rng.standard_normal((5, 2))
            lines.append(path(trunk))
            widths.append(np.linspace(0.03, 0.014, 4))
            for joint in rng.choice((2, 3), 1 + rng.integers(2), replace=False):
                end = trunk[joint] + (reach * 0.15, vertical * between(rng, -0.35, 0.35))
                lines.append(path(np.stack([trunk[joint], end])))
                widths.append(np.array([0.012]))
    return np.concatenate(lines).astype(np.float32), np.concatenate(widths).astype(np.float32)


def _signs(
    rng: np.random.Generator, field: Plane, image: Array, grade: Retinopathy, blood: Array
) -> None:
    appearances = (
        (grade.microaneurysms, 0.022, blood * 0.8),
        (grade.haemorrhages, 0.07, blood * 0.6),
        (grade.exudates, 0.045, (0.95, 0.85, 0.45)),
    )
    for most, radius, shade in appearances:
        count = int(rng.integers((most + 1) // 2, most + 1))
        angles, away = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.15, 0.8, count)
        centres = np.stack([away * np.cos(angles), away * np.sin(angles)], 1)
        paint(image, spots(field, centres, radius * rng.uniform(0.7, 1.4, count), 0.03), shade)
    for _ in range(grade.new_vessels):
        steps = 0.08 * rng.standard_normal((6, 2)).cumsum(0) + rng.uniform(-0.5, 0.5, 2)
        tangle = strokes(field, path(steps), np.full(5, 0.01))
        paint(image, cover(tangle, 0.03), blood)


class Lesion(NamedTuple):
    """Appearance of a skin lesion: colours, size, outline, structure."""

    edge: tuple[float, float, float]
    core: tuple[float, float, float]
    radius: tuple[float, float]
    roughness: float
    mottling: float
    softness: float


# The seven classes of DermaMNIST (HAM10000), in the order of its labels.
LESIONS = {
    "actinic keratosis": Lesion(
        (0.72, 0.46, 0.42), (0.80, 0.60, 0.52), (0.4, 0.7), 0.12, 0.12, 0.35
    ),
    "basal cell carcinoma": Lesion(
        (0.74, 0.48, 0.48), (0.66, 0.40, 0.42), (0.3, 0.55), 0.1, 0.1, 0.2
    ),
    "benign keratosis": Lesion(
        (0.60, 0.42, 0.34), (0.50, 0.36, 0.28), (0.35, 0.7), 0.08, 0.12, 0.12
    ),
    "dermatofibroma": Lesion((0.66, 0.45, 0.40), (0.82, 0.66, 0.60), (0.3, 0.5), 0.05, 0.05, 0.3),
    "melanoma": Lesion((0.38, 0.25, 0.24), (0.18, 0.13, 0.16), (0.45, 0.85), 0.22, 0.22, 0.15),
    "melanocytic nevus": Lesion(
        (0.52, 0.34, 0.27), (0.40, 0.25, 0.20), (0.25, 0.6), 0.05, 0.06, 0.2
    ),
    "vascular lesion": Lesion(
        (0.60, 0.18, 0.22), (0.45, 0.08, 0.16), (0.25, 0.5), 0.07, 0.06, 0.12
    ),
}


def skin(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a dermatoscopic photograph: a lesion on skin, sometimes hairs and dark corners."""
    lesion = LESIONS[finding]
    ground = colour(rng, (0.80, 0.60, 0.55), 0.06)
    relief = 1 + 0.03 * clouds(rng, where.edge, (6, 6), 3, 0.8)
    image = ground * relief
    radius = between(rng, *lesion.radius)
    centre = tuple(0.12 * rng.standard_normal(2))
    bent = where.warp(rng, 6, 0.15 * lesion.roughness)
    shape = blob(rng, bent, centre, (radius, radius * between(rng, 0.7, 1)), lesion.roughness)
    edge, core = colour(rng, lesion.edge, 0.04), colour(rng, lesion.core, 0.04)
    mottling = 1 + lesion.mottling * clouds(rng, where.edge, (5, 5), 3, 0.8)
    paint(image, cover(shape, lesion.softness), edge * mottling)
    depth = cover(shape + 0.5 * radius + 0.1 * (mottling - 1) * radius, 0.8 * radius)
    paint(image, depth, core * mottling)
    if rng.random() < 0.3:
        _hairs(rng, where, image)
    corners = ellipse(where, (0, 0), (1.3, 1.3))
    paint(image, 0.8 * (1 - cover(corners, 0.5)) * (rng.random() < 0.35), (0.08, 0.05, 0.05))
    return image


def _hairs(rng: np.random.Generator, where: Plane, image: Array) -> None:
    ends = rng.uniform(-1.2, 1.2, (int(rng.integers(2, 7)), 2, 2)).astype(np.float32)
    hairs = strokes(where, ends, np.full(len(ends), 0.008, np.float32))
    paint(image, 0.8 * cover(hairs, 0.03), (0.15, 0.1, 0.09))
    image += 0.01 * texture(rng, where.edge, (9, 9))
