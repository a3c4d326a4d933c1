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
    irregular, as tall as wide, and casts a shadow (BI-RADS lexicon).
    """
    beam = Plane(where.x, where.y + between(rng, -0.12, 0.12) * where.x)
    bent = beam.warp(rng, 3, between(rng, 0.02, 0.12))
    echo = _layers(rng, bent)
    echo *= np.exp(between(rng, 0.15, 0.4) * clouds(rng, where.edge, (7, 4), 3, 0.75))
    shade = _transmission(rng, where)
    if finding != "normal":
        echo, behind = _mass(rng, bent, echo, finding == "malignant mass")
        shade *= behind
    elif rng.random() < 0.3:
        echo = _cavities(rng, bent, echo)
    grain = int(rng.integers(22, 36))
    speckle = np.exp(between(rng, 0.15, 0.32) * texture(rng, where.edge, (grain, grain * 2 // 3)))
    return echo * shade * speckle * between(rng, 0.7, 1.15)


def _layers(rng: np.random.Generator, bent: Plane) -> Array:
    """Echo strength by depth: interfaces at random depths, each layer with its own level."""
    depth = (bent.y + 1) / 2
    count = int(rng.integers(4, 8))
    depths = np.concatenate([[0.0, between(rng, 0.03, 0.1)], np.sort(rng.uniform(0.1, 0.8, count))])
    levels = np.concatenate([[between(rng, 0.5, 0.85)], rng.uniform(0.32, 0.72, count + 1)])
    echo = np.interp(depth, depths, levels).astype(np.float32)
    rows = int(rng.integers(12, 20))
    streaks = texture(rng, bent.edge, (rows, int(rng.integers(2, 5))))
    return echo + np.float32(between(rng, 0.02, 0.1)) * streaks


def _transmission(rng: np.random.Generator, where: Plane) -> Array:
    """Loss of signal with depth, and the shadows that run down from poor contact."""
    depth = (where.y + 1) / 2
    reach = between(rng, 0.5, 1.3)
    loss = 1 / (1 + (np.maximum(depth, 0) / reach) ** between(rng, 2.5, 6.0))
    bands = texture(rng, where.edge, (1, int(rng.integers(3, 8))))
    return np.float32(loss) * np.exp(between(rng, 0.0, 0.6) * np.minimum(bands, 0.5) * depth)


def _mass(
    rng: np.random.Generator, bent: Plane, echo: Array, malignant: bool
) -> tuple[Array, Array]:
    centre = (between(rng, -0.5, 0.5), between(rng, -0.45, 0.2))
    width = between(rng, 0.18, 0.5)
    height = width * (between(rng, 0.7, 1.3) if malignant else between(rng, 0.4, 0.75))
    if malignant:
        shape = blob(rng, bent, centre, (width, height), 0.2, lobes=9)
        shape += 0.04 * texture(rng, bent.edge, (14, 14))
        softness, level = between(rng, 0.1, 0.3), between(rng, 0.06, 0.22)
    else:
        shape = ellipse(bent, centre, (width, height), between(rng, -0.25, 0.25))
        softness, level = between(rng, 0.05, 0.12), between(rng, 0.02, 0.32)
    inside = cover(shape, softness)
    rim = cover(np.abs(shape) - 0.03, 0.08) * between(rng, 0.0, 0.25)
    beyond = np.clip((bent.y - centre[1]) / height, 0, 1)
    column = cover(np.abs(bent.x - np.float32(centre[0])) - 0.85 * width, 0.25) * beyond
    strength = between(rng, -2.0, -0.4) if malignant else between(rng, -0.2, 0.8)
    return echo * (1 - inside) + level * inside + rim * (1 - inside), np.exp(strength * column)


def _cavities(rng: np.random.Generator, bent: Plane, echo: Array) -> Array:
    """Ducts and vessels: small dark ovals near the surface."""
    for _ in range(rng.integers(1, 4)):
        centre = (between(rng, -0.9, 0.9), between(rng, -0.8, 0.0))
        radii = (between(rng, 0.06, 0.2), between(rng, 0.03, 0.09))
        echo = echo * (1 - 0.85 * cover(ellipse(bent, centre, radii), 0.08))
    return echo
