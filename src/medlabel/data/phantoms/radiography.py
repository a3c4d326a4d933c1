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
    body = where.move(rng, 0.09, (0.92, 1.35) if ill else (0.9, 1.15), 3.0)
    image = _torso(rng, body)
    lungs = _lungs(rng, body)
    aerated = between(rng, 0.26, 0.44) + 0.035 * clouds(rng, where.edge, (5, 5), 3, 0.7)
    if ill:
        aerated += _pneumonia(rng, body)
    paint(image, lungs * between(rng, 0.75, 1.0), np.minimum(aerated, 0.68))
    image += _bones(rng, body)
    _bowel_gas(rng, body, image)
    return _exposure(rng, image, ill)


def _torso(rng: np.random.Generator, body: Plane) -> Array:
    width = between(rng, 0.9, 1.25)
    shoulder = between(rng, -1.25, -0.75)
    rise = np.clip((body.y - shoulder + 0.5 * (np.abs(body.x) - 0.5)) / 0.3, 0, 1)
    outline = 0.25 + (width - 0.25) * rise
    image = np.full_like(body.x, between(rng, 0.02, 0.32))
    flesh = between(rng, 0.5, 0.62)
    paint(image, cover(np.abs(body.x) - outline, 0.1), flesh)
    middle = np.exp(-((body.x / between(rng, 0.2, 0.34)) ** 2))
    image += between(rng, 0.1, 0.2) * middle * cover(np.abs(body.x) - outline, 0.1)
    head = ellipse(body, (between(rng, -0.1, 0.1), between(rng, -1.35, -1.05)), (0.34, 0.3))
    paint(image, cover(head, 0.12), flesh + between(rng, 0.15, 0.35))
    below = np.clip((body.y - between(rng, 0.4, 0.6)) / 0.5, 0, 1)
    image += between(rng, 0.08, 0.18) * below * cover(np.abs(body.x) - outline, 0.1)
    return image


def _lungs(rng: np.random.Generator, body: Plane) -> Array:
    base, dome = between(rng, 0.5, 0.75), between(rng, 0.1, 0.3)
    top = between(rng, -0.85, -0.68)
    heart = ellipse(
        body,
        (between(rng, 0.08, 0.2), base - between(rng, 0.2, 0.35)),
        (between(rng, 0.28, 0.42), between(rng, 0.26, 0.4)),
        0.5,
    )
    column = np.abs(body.x) - between(rng, 0.13, 0.24) - 0.1 * np.clip(-0.3 - body.y, 0, 1)
    solid = np.minimum(heart, column)
    coverage = np.zeros_like(body.x)
    for side in (-1, 1):
        height = (base - top) / 2 + 0.22
        lateral = ellipse(
            body,
            (side * between(rng, 0.42, 0.48), top + height),
            (between(rng, 0.36, 0.44), height),
            side * -between(rng, 0.05, 0.2),
        )
        floor = base + 0.04 * side - dome * np.cos(2.2 * (body.x - 0.45 * side))
        lung = np.maximum(np.maximum(lateral, body.y - floor - 0.12), -solid)
        coverage = np.maximum(coverage, cover(lung, between(rng, 0.06, 0.16)))
    return coverage


def _pneumonia(rng: np.random.Generator, body: Plane) -> Array:
    opacity = between(rng, 0.0, 0.14) + np.zeros_like(body.x)
    for _ in range(rng.integers(1, 5)):
        side = rng.choice((-1, 1))
        centre = (side * between(rng, 0.2, 0.6), between(rng, -0.4, 0.55))
        radii = (between(rng, 0.12, 0.4), between(rng, 0.12, 0.4))
        opacity += between(rng, 0.08, 0.3) * cover(blob(rng, body, centre, radii, 0.15), 0.3)
    opacity *= 1 + 0.25 * texture(rng, body.edge, (9, 9))
    return opacity


def _bones(rng: np.random.Generator, body: Plane) -> Array:
    inside = cover(np.abs(body.x) - 0.9, 0.25) * cover(np.abs(body.y + 0.05) - 0.72, 0.35)
    slope = between(rng, 0.2, 0.5) * np.abs(body.x) - between(rng, 0.3, 0.7) * body.x**2
    phase = np.pi * between(rng, 7.0, 10.0) * (body.y - slope) + rng.uniform(0, 2 * np.pi)
    ribs = between(rng, 0.01, 0.055) * np.sin(phase) * inside * np.clip(np.abs(body.x) / 0.3, 0, 1)
    spine = np.exp(-((body.x / 0.11) ** 2)) * (1 + 0.3 * np.sin(22 * body.y))
    bones = ribs + between(rng, 0.0, 0.07) * spine
    height, tilt = between(rng, -0.75, -0.55), between(rng, 0.0, 0.25)
    ends = [[[s * 0.12, height], [s * 0.75, height - tilt]] for s in (-1, 1)]
    clavicles = strokes(body, np.array(ends, np.float32), np.array([0.03, 0.03]))
    bones += between(rng, 0.03, 0.12) * cover(clavicles, 0.06)
    shoulders = [ellipse(body, (s * 0.95, height - 0.1), (0.2, 0.14)) for s in (-1, 1)]
    bones += between(rng, 0.0, 0.15) * cover(np.minimum(*shoulders), 0.12)
    return bones


def _bowel_gas(rng: np.random.Generator, body: Plane, image: Array) -> None:
    if rng.random() < 0.4:
        centre = (between(rng, 0.3, 0.6), between(rng, 0.72, 1.0))
        radii = (between(rng, 0.08, 0.25), between(rng, 0.06, 0.16))
        gas = cover(blob(rng, body, centre, radii, 0.1), 0.12)
        image -= between(rng, 0.08, 0.25) * gas


def _exposure(rng: np.random.Generator, image: Array, ill: bool) -> Array:
    contrast = between(rng, 0.6, 1.15) if ill else between(rng, 0.8, 1.3)
    brightness = 0.57 + 0.075 * rng.standard_normal()
    image = brightness + contrast * (image - np.mean(image))
    # A photograph saturates softly: the film's curve keeps both ends from clipping.
    return np.float32(0.5) + np.float32(0.5) * np.tanh(2.2 * (image - 0.5)) / np.tanh(1.25)


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
