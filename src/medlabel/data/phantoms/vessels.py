"""Segmented brain arteries in three dimensions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medlabel.data.phantoms.canvas import Array, between

# In half edges of the volume, as in VesselMNIST3D, where an artery is 3 to 6 of 28 voxels thick.
RADIUS = (0.09, 0.19)
STEP = 0.06


def vessel(rng: np.random.Generator, finding: str, size: int) -> Array:
    """Draw a segment of artery with branches; an aneurysm is a sac on its wall.

    Returns
    -------
    Array
        float32 (1, size, size, size): 1 well inside, 0 well outside, 0.5 on the wall.
    """
    radius = between(rng, *RADIUS)
    trunk = _course(rng, np.zeros(3), _direction(rng), between(rng, 0.9, 2.5))
    balls = [_tapered(rng, trunk, radius)]
    for _ in range(rng.choice(3, p=(0.2, 0.45, 0.35))):
        joint = trunk[rng.integers(len(trunk))]
        branch = _course(rng, joint, _direction(rng), between(rng, 0.35, 1.1))
        balls.append(_tapered(rng, branch, radius * between(rng, 0.5, 0.95)))
    if finding == "aneurysm":
        balls.append(_sac(rng, trunk, radius))
    tree = np.concatenate(balls)
    lowest, highest = (tree[:, :3] - tree[:, 3:]).min(0), (tree[:, :3] + tree[:, 3:]).max(0)
    tree[:, :3] += 0.05 * rng.standard_normal(3) - (lowest + highest) / 2
    return _fill(tree, size)[np.newaxis]


def segment(occupancy: Array) -> Array:
    """Threshold at one half and keep the largest connected part, as VesselMNIST3D's meshes are.

    Returns
    -------
    Array
        float32 of the same shape, 0 or 1.
    """
    parts, _ = ndimage.label(occupancy[0] > 0.5, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=2)
    return np.asarray(parts == 1 + np.argmax(sizes[1:]), np.float32)[np.newaxis]


def _direction(rng: np.random.Generator) -> Array:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _course(rng: np.random.Generator, start: Array, heading: Array, length: float) -> Array:
    """Points (n, 3) along a smooth curve: an arc whose heading drifts."""
    steps = max(int(length / STEP), 3)
    aside = np.cross(heading, _direction(rng))
    angles = rng.normal(0, 1.6) * STEP * np.arange(steps)[:, np.newaxis]
    drift = 0.09 * rng.standard_normal((steps, 3)).cumsum(0)
    headings = np.cos(angles) * heading + np.sin(angles) * aside + drift
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    return np.concatenate([start[np.newaxis], start + STEP * headings.cumsum(0)])


def _tapered(rng: np.random.Generator, points: Array, radius: float) -> Array:
    """Balls (n, 4) along a course: position and radius, which narrows and wavers."""
    along = np.linspace(0, 1, len(points))
    waver = 1 + 0.1 * np.sin(2 * np.pi * (rng.uniform(1, 3) * along + rng.random()))
    radii = radius * (1 - between(rng, 0.0, 0.45) * along) * waver
    return np.column_stack([points, radii])


def _sac(rng: np.random.Generator, trunk: Array, radius: float) -> Array:
    """Two or three overlapping balls beside the trunk: a dome, sometimes with a bleb."""
    place = trunk[rng.integers(len(trunk) // 4, 3 * len(trunk) // 4 + 1)]
    size = radius * between(rng, 1.05, 1.8)
    side = _direction(rng)
    dome = place + (radius + 0.6 * size) * side
    neck = place + 0.8 * radius * side
    balls = [[*neck, 0.7 * size], [*dome, size]]
    if rng.random() < 0.4:
        balls.append([*(dome + 0.8 * size * _direction(rng)), 0.45 * size])
    return np.asarray(balls)


def _fill(balls: Array, size: int) -> Array:
    """Rasterise balls (n, 4) into (size, size, size), each within its own bounding box."""
    volume = np.zeros((size, size, size), np.float32)
    scaled = balls.astype(float) * (size / 2)
    for *centre, radius in scaled:
        middle = np.asarray(centre) + (size - 1) / 2
        low = np.maximum(np.floor(middle - radius - 1).astype(int), 0)
        high = np.minimum(np.ceil(middle + radius + 2).astype(int), size)
        if (high <= low).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        z, y, x = (
            (np.arange(a, b, dtype=np.float32) - np.float32(m)) ** 2
            for a, b, m in zip(low, high, middle, strict=True)
        )
        distance = np.sqrt(z[:, None, None] + y[:, None] + x)
        np.maximum(volume[box], np.clip(0.5 + radius - distance, 0, 1), out=volume[box])
    return volume
