"""Projection X-rays: the chest and the hand."""

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
    paint,
    path,
    strokes,
    texture,
)


def chest(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a frontal chest X-ray; pneumonia is an opacity of one lung or a haze over both."""
    ill = finding == "pneumonia"
    body = where.move(rng, 0.09, (0.92, 1.3) if ill else (0.9, 1.15), 3.0)
    image = _torso(rng, body)
    lungs = _lungs(rng, body)
    aerated = between(rng, 0.18, 0.38) + 0.035 * clouds(rng, where.edge, (5, 5), 3, 0.7)
    aerated += 0.1 * np.exp(-((body.x / 0.45) ** 2) - ((body.y - 0.05) / 0.5) ** 2)
    if ill:
        aerated += _pneumonia(rng, body)
    paint(image, lungs * between(rng, 0.8, 1.0), np.minimum(aerated, image + 0.05))
    image += _bones(rng, body, lungs)
    _bowel_gas(rng, body, image)
    return _exposure(rng, image, ill)


def _torso(rng: np.random.Generator, body: Plane) -> Array:
    """Air around, flesh, and what adds up to more of it: mediastinum, abdomen, head, arms."""
    side = np.abs(body.x)
    slope = np.clip(side - between(rng, 0.2, 0.35), 0, 0.6) * between(rng, 0.2, 0.7)
    outline = np.maximum(
        side - between(rng, 0.84, 1.15) - 0.1 * body.y, between(rng, -1.5, -0.85) + slope - body.y
    )
    flesh = cover(outline, between(rng, 0.06, 0.16))
    level = between(rng, 0.48, 0.6)
    image = np.full_like(body.x, between(rng, 0.0, 0.22))
    if rng.random() < 0.5:
        arms = ellipse(Plane(side, body.y), (1.2, between(rng, -0.3, 0.6)), (0.2, 0.9))
        paint(image, cover(arms, 0.12), level - 0.08)
    middle = between(rng, 0.08, 0.2) * np.exp(-((body.x / between(rng, 0.25, 0.42)) ** 2))
    below = between(rng, 0.08, 0.18) * np.clip((body.y - between(rng, 0.3, 0.5)) / 0.5, 0, 1)
    paint(image, flesh, level + middle + below)
    head = ellipse(body, (between(rng, -0.15, 0.15), between(rng, -1.4, -1.0)), (0.38, 0.26))
    paint(image, cover(head, 0.15), level + between(rng, 0.12, 0.35))
    return image


def _lungs(rng: np.random.Generator, body: Plane) -> Array:
    """Coverage of the air: two fields that widen downwards, less heart and diaphragm."""
    base, dome = between(rng, 0.45, 0.72), between(rng, 0.1, 0.3)
    top = between(rng, -0.85, -0.62)
    lean, breadth = between(rng, 0.14, 0.32), between(rng, 0.32, 0.4)
    heart = ellipse(
        body,
        (between(rng, 0.08, 0.2), base - between(rng, 0.15, 0.3)),
        (between(rng, 0.3, 0.46), between(rng, 0.26, 0.38)),
        0.5,
    )
    column = np.abs(body.x - 0.03 * body.y) - between(rng, 0.14, 0.22)
    solid = np.minimum(heart, column - 0.08 * np.clip(body.y + 0.3, 0, 1))
    softness = between(rng, 0.1, 0.2)
    coverage = np.zeros_like(body.x)
    for side in (-1, 1):
        height = between(rng, 0.85, 1.0)
        centre = (side * between(rng, 0.44, 0.5), top + height)
        field = ellipse(body, centre, (breadth, height), -side * lean)
        floor = base + 0.04 * side + 0.14 - dome * np.cos(2.6 * (body.x - 0.38 * side))
        lung = np.maximum(np.maximum(field, 0.8 * (body.y - floor)), -solid)
        coverage = np.maximum(coverage, cover(lung, softness))
    return coverage


def _pneumonia(rng: np.random.Generator, body: Plane) -> Array:
    """Return the added opacity: a haze, stronger at one side and the bases, and patches."""
    tilt = between(rng, -0.12, 0.12) * body.x + between(rng, 0.0, 0.12) * body.y
    opacity = np.clip(between(rng, 0.0, 0.16) + tilt, 0, 1)
    for _ in range(rng.integers(1, 4)):
        centre = (rng.choice((-1, 1)) * between(rng, 0.2, 0.6), between(rng, -0.3, 0.55))
        radii = (between(rng, 0.15, 0.45), between(rng, 0.15, 0.45))
        patch = blob(rng, body, centre, radii, 0.15)
        opacity += between(rng, 0.04, 0.26) * cover(patch, between(rng, 0.25, 0.6))
    hazy: Array = opacity * (1 + 0.25 * texture(rng, body.edge, (9, 9)))
    return hazy


def _bones(rng: np.random.Generator, body: Plane, lungs: Array) -> Array:
    """Return the added brightness of ribs, spine, clavicles and shoulders."""
    side = np.abs(body.x)
    inside = np.clip(lungs + 0.4 * cover(side - 0.85, 0.3) * cover(np.abs(body.y) - 0.6, 0.5), 0, 1)
    slope = between(rng, 0.3, 0.9) * side - between(rng, 0.3, 0.7) * body.x**2
    phase = np.pi * between(rng, 7.0, 10.0) * (body.y - slope) + rng.uniform(0, 2 * np.pi)
    bones: Array = between(rng, 0.01, 0.05) * np.sin(phase) * inside * np.clip(side / 0.35, 0, 1)
    spine = np.exp(-((body.x / 0.12) ** 2)) * (1 + 0.3 * np.sin(22 * body.y))
    bones += between(rng, 0.0, 0.05) * spine
    height, tilt = between(rng, -0.78, -0.55), between(rng, -0.05, 0.25)
    half = Plane(side, body.y)
    clavicle = np.array([[[0.12, height], [0.78, height - tilt]]])
    bones += between(rng, 0.02, 0.1) * cover(strokes(half, clavicle, np.array([0.03])), 0.08)
    shoulder = ellipse(half, (0.95, height - 0.1), (0.22, 0.16))
    bones += between(rng, 0.0, 0.15) * cover(shoulder, 0.2)
    return bones


def _bowel_gas(rng: np.random.Generator, body: Plane, image: Array) -> None:
    if rng.random() < 0.4:
        centre = (between(rng, 0.3, 0.6), between(rng, 0.72, 1.0))
        radii = (between(rng, 0.08, 0.25), between(rng, 0.06, 0.16))
        image -= between(rng, 0.08, 0.25) * cover(blob(rng, body, centre, radii, 0.1), 0.12)


def _exposure(rng: np.random.Generator, image: Array, ill: bool) -> Array:
    contrast = between(rng, 0.55, 1.1) if ill else between(rng, 0.85, 1.3)
    exposed = rng.normal(0.557, 0.075) + contrast * (image - np.mean(image))
    # The film's curve saturates softly at both ends.
    film: Array = 0.5 + 0.5 * np.tanh(2.1 * (exposed - 0.5)) / np.tanh(1.25)
    return film


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
