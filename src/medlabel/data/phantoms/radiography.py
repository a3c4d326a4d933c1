"""Projection X-rays of the hand."""

from __future__ import annotations

import numpy as np

from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    between,
    cover,
    ellipse,
    paint,
    path,
    strokes,
    texture,
)

FINGERS = ("thumb", "index", "middle", "ring", "little")
# Root of the metacarpal, direction in degrees from upright, lengths of the bones outwards.
RAYS = {
    "thumb": ((-0.18, 0.48), -48.0, (0.28, 0.24, 0.18)),
    "index": ((-0.13, 0.34), -14.0, (0.42, 0.28, 0.17, 0.12)),
    "middle": ((-0.03, 0.32), -3.0, (0.42, 0.31, 0.20, 0.13)),
    "ring": ((0.07, 0.34), 8.0, (0.38, 0.28, 0.19, 0.13)),
    "little": ((0.16, 0.38), 20.0, (0.33, 0.22, 0.14, 0.11)),
}


def hand(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a hand X-ray; a fracture is a shaft with a gap, its far end out of line."""
    body = where.move(rng, 0.07, (0.85, 1.2), 12.0)
    if rng.random() < 0.5:
        body = Plane(-body.x, body.y)
    bones = _skeleton(rng)
    lines = bones.copy()
    image = np.full_like(body.x, between(rng, 0.02, 0.14))
    palm = ellipse(body, (-0.01, 0.22), (0.27, 0.34))
    forearm = np.array([[[0.0, 0.6], [0.0, 1.5]]], np.float32)
    fingers = strokes(body, lines[5:], np.full(len(lines) - 5, 0.075, np.float32))
    flesh = np.minimum(np.minimum(palm, fingers), strokes(body, forearm, np.array([0.2])))
    paint(image, cover(flesh, 0.06), between(rng, 0.22, 0.4))
    if finding == "fracture":
        bones = _broken(rng, bones)
    skeleton = strokes(body, bones, np.full(len(bones), between(rng, 0.032, 0.045), np.float32))
    for x, y in ((-0.1, 0.48), (0.0, 0.46), (0.1, 0.48), (-0.06, 0.57), (0.05, 0.57)):
        skeleton = np.minimum(skeleton, ellipse(body, (x, y), (0.055, 0.05)))
    for x in (-0.09, 0.1):
        shaft = np.array([[[x, 0.7], [x * 0.9, 1.5]]], np.float32)
        skeleton = np.minimum(skeleton, strokes(body, shaft, np.array([0.07])))
    level = between(rng, 0.65, 0.95) + 0.08 * texture(rng, where.edge, (8, 8))
    # The cortex absorbs more than the marrow: the rim of each bone is brighter.
    paint(image, cover(skeleton, 0.03), level - 0.15 * cover(skeleton + 0.035, 0.03))
    gradient = between(rng, -0.06, 0.06) * where.x + between(rng, -0.06, 0.06) * where.y
    return image + gradient


def _skeleton(rng: np.random.Generator) -> Array:
    spread = between(rng, 0.5, 1.4)
    bones = []
    for finger in FINGERS:
        root, degrees, lengths = RAYS[finger]
        joint = np.array(root) + 0.01 * rng.standard_normal(2)
        angle = np.deg2rad(degrees * spread + 3 * rng.standard_normal())
        for length in lengths:
            angle += np.deg2rad(4) * rng.standard_normal()
            step = np.array([np.sin(angle), -np.cos(angle)])
            bones.append([joint + 0.025 * step, joint + (length - 0.025) * step])
            joint = joint + length * step
    return np.array(bones, np.float32)


def _broken(rng: np.random.Generator, bones: Array) -> Array:
    which = int(rng.integers(len(bones)))
    start, end = bones[which]
    middle = start + between(rng, 0.35, 0.65) * (end - start)
    along = (end - start) / np.linalg.norm(end - start)
    aside = between(rng, 0.03, 0.07) * rng.choice((-1, 1)) * along[::-1] * (1, -1)
    halves = path(np.array([start, middle - 0.03 * along]))
    rest = path(np.array([middle + 0.04 * along + 0.5 * aside, end + aside]))
    return np.concatenate([np.delete(bones, which, 0), halves, rest]).astype(np.float32)
