"""Ultrasound of the breast."""

from __future__ import annotations

import numpy as np

from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    between,
    blob,
    clouds,
    cover,
    ellipse,
    texture,
)


def breast(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a B-mode image: skin above, layers of fat, gland and muscle, speckle throughout.

    A benign mass is a smooth oval wider than tall with enhancement behind it; a malignant one is
    irregular, as tall as wide, and casts a shadow (BI-RADS lexicon). One state of `rng` gives the
    same breast with any finding, and both masses at the same place.
    """
    disease = rng.spawn(1)[0]
    beam = Plane(where.x, where.y + between(rng, -0.1, 0.1) * where.x)
    bent = beam.warp(rng, 3, between(rng, 0.01, 0.09))
    echo = _layers(rng, bent)
    echo *= np.exp(between(rng, 0.08, 0.26) * clouds(rng, where.edge, (8, 4), 3, 0.8))
    if rng.random() < 0.3:
        echo = _cavities(rng, bent, echo)
    shade = _transmission(rng, where)
    if finding != "normal":
        echo, behind = _mass(disease, bent, echo, finding == "malignant mass")
        shade *= behind
    rows = int(rng.integers(22, 36))
    speckle = np.exp(between(rng, 0.06, 0.2) * texture(rng, where.edge, (rows, rows // 2)))
    signal = echo * shade * speckle * between(rng, 0.9, 1.4)
    # Scanners compress the range of echoes: nothing comes out fully white.
    compressed: Array = 0.8 * np.tanh(signal / 0.8)
    return compressed


def _layers(rng: np.random.Generator, bent: Plane) -> Array:
    """Echo strength by depth: interfaces at random depths, each layer with its own level."""
    depth = (bent.y + 1) / 2
    count = int(rng.integers(4, 8))
    skin = between(rng, 0.03, 0.08)
    depths = np.concatenate([[0.0, skin], np.sort(rng.uniform(skin, 0.8, count))])
    levels = np.concatenate([[between(rng, 0.55, 0.95)], rng.uniform(0.32, 0.72, count + 1)])
    rows, columns = int(rng.integers(12, 20)), int(rng.integers(1, 5))
    streaks = between(rng, 0.03, 0.11) * texture(rng, bent.edge, (rows, columns))
    echo: Array = np.interp(depth, depths, levels) + streaks
    return np.maximum(echo, 0.02)


def _transmission(rng: np.random.Generator, where: Plane) -> Array:
    """Loss of signal with depth, and the shadows that run down from poor contact."""
    depth = (where.y + 1) / 2
    loss = 1 / (1 + (depth / between(rng, 0.4, 0.9)) ** between(rng, 1.8, 4.0))
    bands = texture(rng, where.edge, (1, int(rng.integers(2, 8))))
    shadows = np.exp(between(rng, 0.1, 0.9) * np.minimum(bands, 0.5) * depth)
    transmitted: Array = loss * shadows
    return transmitted


def _mass(
    rng: np.random.Generator, bent: Plane, echo: Array, malignant: bool
) -> tuple[Array, Array]:
    """Paint a mass into the echoes; also return the factor on the signal from behind it."""
    centre = (between(rng, -0.5, 0.5), between(rng, -0.5, 0.15))
    if malignant:
        width = between(rng, 0.2, 0.55)
        height = width * between(rng, 0.65, 1.3)
        shape = blob(rng, bent, centre, (width, height), 0.1, lobes=8)
        shape += 0.03 * texture(rng, bent.edge, (12, 12))
        softness, level = between(rng, 0.15, 0.4), between(rng, 0.08, 0.3)
        gain = between(rng, -1.8, 0.1)
    else:
        width = between(rng, 0.1, 0.5)
        height = width * between(rng, 0.35, 0.75)
        shape = ellipse(bent, centre, (width, height), between(rng, -0.25, 0.25))
        softness, level = between(rng, 0.06, 0.18), between(rng, 0.02, 0.34)
        gain = between(rng, 0.3, 1.8)
    inside = cover(shape, softness)
    rim = between(rng, 0.0, 0.2) * cover(np.abs(shape) - 0.03, 0.1)
    beyond = np.clip((bent.y - centre[1] + 0.3 * height) / (1.5 * height), 0, 1)
    column = cover(np.abs(bent.x - centre[0]) - 0.9 * width, 0.6 * width + 0.15) * beyond
    echoes = level * (1 + 0.3 * clouds(rng, bent.edge, (8, 8), 2, 0.8))
    return (echo + rim) * (1 - inside) + echoes * inside, np.exp(gain * column)


def _cavities(rng: np.random.Generator, bent: Plane, echo: Array) -> Array:
    """Ducts and vessels: small dark ovals near the surface."""
    for _ in range(rng.integers(1, 4)):
        centre = (between(rng, -0.9, 0.9), between(rng, -0.8, 0.0))
        radii = (between(rng, 0.06, 0.2), between(rng, 0.03, 0.09))
        echo = echo * (1 - 0.85 * cover(ellipse(bent, centre, radii), 0.08))
    return echo
