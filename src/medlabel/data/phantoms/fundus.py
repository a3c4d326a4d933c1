"""Colour photographs of the fundus of the eye: whole fields and details."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    Point,
    between,
    clouds,
    cover,
    ellipse,
    paint,
    path,
    spots,
    texture,
    threads,
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
    "moderate retinopathy": Retinopathy(8, 3, 6, 0),
    "severe retinopathy": Retinopathy(12, 10, 12, 0),
    "proliferative retinopathy": Retinopathy(10, 8, 10, 4),
}

DETAILS = 0.5  # share of photographs that show a part of the field
# The macula, the optic disc, any other place: where they lie, and the spread of views around.
SIGHTS = ((-0.2, 0.05, 0.15), (0.46, 0.0, 0.15), (0.0, 0.0, 0.4))
SIGHT_SHARES = (0.3, 0.2, 0.5)
STEP = 0.08  # length of a piece of vessel; the field has radius 1
FOVEA = 0.13  # radius without vessels


class _Pose(NamedTuple):
    """Where the camera sees the eye.

    Attributes
    ----------
    zoom
        Magnification; at 1 the field fills the image.
    gaze
        Point of the eye in the middle of the image.
    mirror
        -1 for a left eye.
    """

    zoom: float
    gaze: Point
    mirror: float

    def eye(self, where: Plane) -> Plane:
        """Coordinates of the eye at every pixel."""
        return Plane(
            (self.mirror * where.x / self.zoom + self.gaze[0]).astype(np.float32),
            (where.y / self.zoom + self.gaze[1]).astype(np.float32),
        )

    def place(self, points: Array) -> Array:
        """Return points (..., 2) of the eye as points of the image."""
        return (points - self.gaze) * (self.mirror * self.zoom, self.zoom)


def retina(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a fundus photograph: optic disc, macula, trees of vessels, signs of the grade."""
    detail = rng.random() < DETAILS
    pose = _pose(rng, detail)
    eye = pose.eye(where)
    ground = _ground(rng)
    image = ground * _illumination(rng, where, eye)
    disc = (between(rng, 0.38, 0.55), between(rng, -0.08, 0.08))
    macula = ellipse(eye, (disc[0] - between(rng, 0.6, 0.75), 0.05), (1, 1)) + 1
    pigment = ground * np.array([[[0.6]], [[0.4]], [[0.4]]])
    paint(image, cover(macula - 0.15, 0.3) * between(rng, 0.0, 0.5), pigment)
    paint(image, cover(macula - 0.05, 0.12) * between(rng, 0.1, 0.6), pigment)
    _optic_disc(rng, eye, image, disc)
    blood = ground * np.array([[[0.78]], [[0.45]], [[0.5]]]) * between(rng, 0.8, 1.15)
    _vessels(rng, where, image, blood, disc, pose)
    _signs(rng, where, image, GRADES[finding], blood, pose)
    if not detail:
        radius = between(rng, 0.92, 1.3) if rng.random() < 0.8 else 1.6
        field = ellipse(where, (0, 0), (radius, radius))
        paint(image, 1 - cover(field, between(rng, 0.02, 0.06)), (0.01, 0.01, 0.01))
    return image


def _pose(rng: np.random.Generator, detail: bool) -> _Pose:
    mirror = float(rng.choice((-1, 1)))
    if not detail:
        return _Pose(between(rng, 0.9, 1.1), tuple(0.05 * rng.standard_normal(2)), mirror)
    x, y, spread = SIGHTS[rng.choice(len(SIGHTS), p=SIGHT_SHARES)]
    gaze = (x + spread * float(rng.standard_normal()), y + spread * float(rng.standard_normal()))
    return _Pose(between(rng, 1.4, 4.2), gaze, mirror)


def _ground(rng: np.random.Generator) -> Array:
    """Return the colour of the fundus, (3, 1, 1): pale salmon to orange to dark brown."""
    red = 0.98 - 0.55 * rng.random() ** 2
    green = red * between(rng, 0.26, 0.55)
    blue = green * between(rng, 0.2, 0.8)
    return np.array([red, green, blue], np.float32)[:, np.newaxis, np.newaxis]


def _illumination(rng: np.random.Generator, where: Plane, eye: Plane) -> Array:
    """Return light and pigment, (3, edge, edge): falls off outwards, mottled by the choroid."""
    shift_x, shift_y = 0.2 * rng.standard_normal(2)
    out = (eye.x - shift_x) ** 2 + (eye.y - shift_y) ** 2
    shading = 1 - between(rng, 0.0, 0.4) * out
    shading += between(rng, 0.01, 0.05) * clouds(rng, where.edge, (4, 4), 4, 0.65)
    ribbons = np.abs(clouds(rng, where.edge, (9, 9), 2, 0.5))
    tessellation = between(rng, 0.0, 0.08) * (ribbons - 0.8)
    light: Array = np.stack([shading, shading + tessellation, shading + tessellation])
    return np.maximum(light, 0.1)


def _optic_disc(rng: np.random.Generator, eye: Plane, image: Array, disc: Point) -> None:
    size = between(rng, 0.11, 0.16)
    shape = ellipse(eye, disc, (size, size * between(rng, 1.0, 1.2)))
    pale = np.array([0.97, between(rng, 0.65, 0.9), between(rng, 0.35, 0.7)])
    paint(image, 0.5 * cover(shape - 0.05, 0.15), pale)
    paint(image, 0.9 * cover(shape, 0.05), pale)
    paint(
        image, 0.7 * cover(shape + between(rng, 0.4, 0.7) * size, 0.06), np.minimum(pale + 0.12, 1)
    )


def _vessels(
    rng: np.random.Generator, where: Plane, image: Array, blood: Array, disc: Point, pose: _Pose
) -> None:
    """Veins, then arteries: narrower, lighter, with a reflex of light along the middle."""
    macula = (disc[0] - 0.68, 0.05)
    thickness = between(rng, 0.8, 1.3)
    softness = max(0.007 * pose.zoom, 0.015)
    strength = between(rng, 0.4, 0.95)
    for width, tone in ((0.019, 0.85), (0.014, 1.1)):
        lines, widths = _trees(rng, disc, macula, thickness * width)
        lines, widths = pose.place(lines), widths * pose.zoom
        paint(image, strength * threads(where, lines, widths, softness), blood * tone)
        if pose.zoom > 1.5:
            thick = widths > 0.5 * widths.max()
            reflex = threads(where, lines[thick], 0.2 * widths[thick], softness)
            paint(image, between(rng, 0.0, 0.4) * reflex, np.minimum(1.5 * blood + 0.1, 1))


def _trees(
    rng: np.random.Generator, disc: Point, macula: Point, width: float
) -> tuple[Array, Array]:
    """Arcades above and below the macula and twigs to the nose: segments and half widths."""
    lines: list[Array] = []
    widths: list[Array] = []
    for vertical in (-1, 1):
        for reach in (-1.5, 0.55):
            along = np.linspace(0, 1, 22 if reach < 0 else 10)
            bow = between(rng, 0.4, 0.65)
            x = disc[0] + reach * along**1.5
            y = disc[1] + vertical * bow * np.sin(np.minimum(along * 2.4, 2.0))
            trunk = np.stack([x, y], 1) + 0.004 * rng.standard_normal((len(x), 2)).cumsum(0)
            thick = width * np.linspace(1, 0.5, len(trunk) - 1)
            lines.append(path(trunk))
            widths.append(thick)
            for joint in rng.choice(np.arange(2, len(trunk) - 1), 4 if reach < 0 else 2, False):
                heading = np.arctan2(*(trunk[joint + 1] - trunk[joint])[::-1])
                _branch(rng, lines, widths, trunk[joint], heading, thick[joint] * 0.7, macula, 1)
    _macular_twigs(rng, lines, widths, macula, width)
    return np.concatenate(lines).astype(np.float32), np.concatenate(widths).astype(np.float32)


def _macular_twigs(
    rng: np.random.Generator, lines: list[Array], widths: list[Array], macula: Point, width: float
) -> None:
    """Grow fine vessels from all sides towards the macula, which they do not reach."""
    for _ in range(int(rng.integers(5, 12))):
        away = np.linspace(between(rng, 0.3, 0.6), between(rng, FOVEA, 0.25), 7)
        angle = rng.uniform(0, 2 * np.pi) + 0.12 * rng.standard_normal(7).cumsum()
        points = np.stack([away * np.cos(angle), away * np.sin(angle)], 1) + macula
        lines.append(path(points))
        widths.append(width * between(rng, 0.15, 0.4) * np.linspace(1, 0.5, 6))


def _branch(
    rng: np.random.Generator,
    lines: list[Array],
    widths: list[Array],
    start: Array,
    heading: float,
    width: float,
    macula: Point,
    generation: int,
) -> None:
    """Grow a branch that leaves a vessel sidewards, wanders, and branches again."""
    heading += (1 if rng.random() < 0.5 else -1) * between(rng, 0.4, 1.1)
    drift = 0.05 * rng.standard_normal()
    turns = drift + 0.2 * rng.standard_normal(rng.integers(3, 8))
    headings = heading + turns.cumsum()
    wander = STEP * np.stack([np.cos(headings), np.sin(headings)], axis=1).cumsum(axis=0)
    points = np.concatenate([start[np.newaxis], start + wander])
    aside = points[1:] - macula
    near = (aside * aside).sum(axis=1) < FOVEA**2
    points = points[: 1 + int(near.argmax())] if near.any() else points
    if len(points) < 2:
        return
    lines.append(path(points))
    widths.append(width * (1 - 0.6 * np.arange(len(points) - 1) / max(len(points) - 2, 1)))
    for joint in points[1:-1:2] if generation < 3 else ():
        finer = width * between(rng, 0.3, 0.7)
        _branch(rng, lines, widths, joint, headings[-1], finer, macula, generation + 1)


def _signs(
    rng: np.random.Generator,
    where: Plane,
    image: Array,
    grade: Retinopathy,
    blood: Array,
    pose: _Pose,
) -> None:
    # A detail is taken for its signs: they lie within the image, as large as its zoom makes them.
    scale = min(pose.zoom, 2.0)
    yellow = (0.97, between(rng, 0.75, 0.92), between(rng, 0.35, 0.6))
    appearances = (
        (grade.microaneurysms, 0.012, blood * 0.8),
        (grade.haemorrhages, 0.035, blood * 0.7),
        (grade.exudates, 0.022, yellow),
    )
    for most, radius, shade in appearances:
        count = int(np.ceil(rng.integers((most + 1) // 2, most + 1) / pose.zoom))
        angles, away = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.1, 0.85, count)
        centres = np.stack([away * np.cos(angles), away * np.sin(angles)], 1)
        radii = scale * radius * rng.uniform(0.6, 1.5, count)
        # A patch is several overlapping spots, so that none is a circle.
        around = np.repeat(centres, 3, 0) + 0.7 * np.repeat(radii, 3)[:, None] * rng.uniform(
            -1, 1, (3 * count, 2)
        )
        patches = spots(where, around, np.repeat(radii, 3) * 0.8, 0.03)
        paint(image, between(rng, 0.6, 0.9) * patches, shade)
    for _ in range(grade.new_vessels):
        steps = 0.06 * rng.standard_normal((9, 2)).cumsum(0) + rng.uniform(-0.6, 0.6, 2)
        tangle = threads(where, path(steps), np.full(8, 0.008 * scale), 0.02)
        paint(image, 0.9 * tangle, blood)
    image += 0.008 * texture(rng, where.edge, (30, 30))
