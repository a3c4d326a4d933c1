"""Colour photographs of lesions of the skin."""

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
    threads,
    tissue,
)

DETAILS = 0.5  # share of photographs that a lesion fills


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
    """Draw a dermatoscopic or close-up photograph: a lesion, furrows, pores, hairs, reflexes."""
    lesion = LESIONS[finding]
    ground = _complexion(rng)
    image = ground * _relief(rng, where)
    zoom = between(rng, 1.4, 3.0) if rng.random() < DETAILS else 1.0
    radius = zoom * between(rng, *lesion.radius)
    centre = tuple(0.15 * zoom * rng.standard_normal(2))
    bent = where.warp(rng, 5, 0.3 * lesion.roughness * radius)
    shape = blob(rng, bent, centre, (radius, radius * between(rng, 0.7, 1)), 0.7 * lesion.roughness)
    # Pigment takes away from the skin's own colour rather than replacing it.
    tint = between(rng, 0.0, 0.5) * (ground / ground.mean() - 1)
    edge, core = (colour(rng, shade, 0.05) * (1 + tint) for shade in (lesion.edge, lesion.core))
    mottling = 1 + lesion.mottling * clouds(rng, where.edge, (5, 5), 4, 0.8)
    inside = cover(shape, lesion.softness * zoom)
    paint(image, inside * between(rng, 0.75, 1.0), edge * mottling)
    depth = cover(shape + 0.5 * radius + 0.1 * (mottling - 1) * radius, 0.8 * radius)
    paint(image, depth * between(rng, 0.7, 1.0), core * mottling)
    _structures(rng, where, image, inside, lesion, zoom)
    _surface(rng, where, image)
    grain = clouds(rng, where.edge, (16, 16), 2, 0.8)
    image *= 1 + between(rng, 0.0, 0.1) * (0.3 + inside) * grain
    # Lamps and cameras differ in their white.
    image *= np.array([[[1]], [[between(rng, 0.85, 1.03)]], [[between(rng, 0.6, 1.1)]]])
    slope = 0.1 * rng.standard_normal(2)
    image *= 1 + slope[0] * where.x + slope[1] * where.y
    if rng.random() < 0.3:
        rim = between(rng, 1.0, 1.35)
        corners = ellipse(where, (0, 0), (rim, rim))
        paint(image, 1 - cover(corners, between(rng, 0.05, 0.6)), (0.06, 0.04, 0.04))
    return image


def _complexion(rng: np.random.Generator) -> Array:
    """Return a colour of skin under some light, (3, 1, 1): never as red as the fundus is."""
    red = between(rng, 0.5, 1.0)
    green = red * between(rng, 0.64, 0.86)
    blue = green * between(rng, 0.65, 1.08)
    return np.array([red, green, blue], np.float32)[:, np.newaxis, np.newaxis]


def _relief(rng: np.random.Generator, where: Plane) -> Array:
    """Return light on the skin, (edge, edge): uneven, with furrows between small plates."""
    turned = where.move(rng, 0.3, (0.8, 1.2), 180.0).warp(rng, 6, 0.03)
    first, second, _ = tissue(rng, turned, between(rng, 4, 11))
    furrows = between(rng, 0.0, 0.07) * cover(second - first - 0.05, 0.25)
    uneven = between(rng, 0.02, 0.06) * clouds(rng, where.edge, (6, 6), 4, 0.8)
    light: Array = 1 + uneven - furrows
    return light


def _structures(
    rng: np.random.Generator, where: Plane, image: Array, inside: Array, lesion: Lesion, zoom: float
) -> None:
    """Paint what dermatoscopy shows in a lesion: a net or globules of pigment, or vessels."""
    dark = 0.6 * np.asarray(lesion.core, np.float32)
    choice = rng.random()
    if choice < 0.35:
        first, second, _ = tissue(rng, where.warp(rng, 5, 0.03), between(rng, 7, 13) / zoom)
        net = cover(second - first - 0.08, 0.25)
        paint(image, inside * net * between(rng, 0.2, 0.6), dark)
    elif choice < 0.6:
        count = int(rng.integers(10, 40))
        centres, radii = rng.uniform(-1, 1, (count, 2)), zoom * rng.uniform(0.015, 0.05, count)
        globules = spots(where, centres, radii, 0.03)
        paint(image, inside * globules * between(rng, 0.3, 0.8), dark)
    elif choice < 0.75:
        lines = _curves(rng, int(rng.integers(3, 9)), 0.25 * zoom)
        red = threads(where, lines, np.full(len(lines), 0.008 * zoom), 0.025)
        paint(image, inside * red * 0.6, (0.65, 0.15, 0.18))


def _surface(rng: np.random.Generator, where: Plane, image: Array) -> None:
    """Paint what lies on the skin: pores, hairs, reflexes of the lamp in gel or on plates."""
    count = int(rng.integers(0, 60))
    places, radii = rng.uniform(-1, 1, (count, 2)), rng.uniform(0.008, 0.03, count)
    tone = between(rng, 0.4, 1.4) * image.mean((1, 2))
    paint(image, between(rng, 0.1, 0.4) * spots(where, places, radii, 0.025), tone)
    if rng.random() < 0.4:
        lines = _curves(rng, int(rng.integers(1, 14)), between(rng, 0.6, 1.8))
        hairs = threads(where, lines, np.full(len(lines), between(rng, 0.006, 0.02)), 0.025)
        shade = (0.13, 0.09, 0.08) if rng.random() < 0.8 else (0.85, 0.75, 0.6)
        paint(image, between(rng, 0.6, 0.9) * hairs, shade)
    if rng.random() < 0.4:
        count = int(rng.integers(2, 30))
        places = rng.uniform(-0.9, 0.9, 2) + 0.3 * rng.standard_normal((count, 2))
        shine = spots(where, places, rng.uniform(0.005, 0.04, count), 0.03)
        paint(image, between(rng, 0.4, 0.9) * shine, (1, 1, 1))


def _curves(rng: np.random.Generator, count: int, length: float) -> Array:
    """Return the segments (6 count, 2, 2) of `count` arcs somewhere in the image."""
    arcs = []
    for _ in range(count):
        angles = rng.uniform(0, 2 * np.pi) + np.linspace(0, 0.5 * rng.standard_normal(), 7)
        steps = length / 6 * np.stack([np.cos(angles), np.sin(angles)], 1)
        arcs.append(path(rng.uniform(-1, 1, 2) + steps.cumsum(0) - steps.sum(0) / 2))
    return np.concatenate(arcs)
