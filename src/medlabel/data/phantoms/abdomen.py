"""CT of the abdomen: axial, coronal and sagittal slices in Hounsfield units, seen in a window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    Point,
    between,
    blob,
    clouds,
    cover,
    ellipse,
    level_lines,
    paint,
    strokes,
    texture,
)

AIR, LUNG, FAT, MUSCLE, MARROW, CORTEX = -1000.0, -820.0, -100.0, 55.0, 220.0, 650.0  # HU
# Level and width in HU, and how often a slice is seen so.
WINDOWS = {
    "soft tissue": (40.0, 400.0, 0.5),
    "liver": (80.0, 200.0, 0.15),
    "wide": (0.0, 1000.0, 0.2),
    "bone": (350.0, 1800.0, 0.15),
}
DETAILS = 0.3  # share of slices that show a part of the body
EDGE = 0.025  # width of a border between tissues


class _Organs(NamedTuple):
    """Attenuation in HU, which a contrast agent raises in the organs that blood reaches."""

    liver: float
    spleen: float
    kidney: float
    vessel: float


def abdomen(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a CT slice of the abdomen; liver lesions are darker than the liver."""
    detail = rng.random() < DETAILS
    zoom = between(rng, 1.2, 2.8) if detail else between(rng, 0.85, 1.15)
    body = where.move(rng, 0.25 * zoom if detail else 0.05, (zoom, zoom), 3.0)
    body = body.warp(rng, 3, 0.02)
    if rng.random() < 0.1:
        body = Plane(-body.x, body.y)
    agent = between(rng, 0.0, 1.0) if rng.random() < 0.65 else 0.0
    organs = _Organs(
        between(rng, 45, 65) + 55 * agent,
        between(rng, 40, 55) + 75 * agent,
        between(rng, 25, 40) + 150 * agent,
        between(rng, 35, 50) + 240 * agent,
    )
    slice_ = np.full_like(body.x, AIR)
    cut = (_axial, _axial, _axial, _coronal, _sagittal)[int(rng.integers(5))]
    liver = cut(rng, body, slice_, organs)
    if finding == "liver lesion":
        _lesions(rng, body, slice_, liver, organs.liver)
    return _windowed(rng, where, slice_, zoom)


def _windowed(rng: np.random.Generator, where: Plane, slice_: Array, zoom: float) -> Array:
    """Add noise in HU; map the window to 0 to 1."""
    fine = min(round(45 / max(zoom, 1)), where.edge // 2)
    noise = between(rng, 4, 35) * texture(rng, where.edge, (fine, fine))
    names = list(WINDOWS)
    shares = [WINDOWS[name][2] for name in names]
    level, width, _ = WINDOWS[names[rng.choice(len(names), p=shares)]]
    level, width = level + 0.1 * width * rng.standard_normal(), width * between(rng, 0.8, 1.3)
    shown: Array = np.clip((slice_ + noise - level) / width + 0.5, 0, 1)
    return shown


def _axial(rng: np.random.Generator, body: Plane, slice_: Array, organs: _Organs) -> Array:
    """Paint a slice across the body, from the dome of the liver (height 0) to the pelvis (1)."""
    height = rng.random()
    width, depth = between(rng, 0.8, 0.97), between(rng, 0.52, 0.74)
    back = depth * between(rng, 0.75, 0.92)
    skin = np.maximum(ellipse(body, (0, 0), (width, depth)), 0.7 * (body.y - back))
    _table(rng, body, slice_, back)
    _wall(rng, body, slice_, skin, between(rng, 0.03, 0.16))
    inner = skin + between(rng, 0.16, 0.26)
    paint(slice_, cover(inner, EDGE), FAT)
    _bowel(
        rng, body, slice_, inner, int(rng.integers(3, 8) if height < 0.45 else rng.integers(8, 18))
    )
    liver = np.full_like(body.x, 9.0)
    if height < 0.25:
        for side in (-1, 1):
            lung = np.maximum(
                ellipse(body, (side * 0.45, 0.02), (0.42, between(rng, 0.4, 0.55))), inner - 0.04
            )
            paint(slice_, cover(lung, EDGE), LUNG)
    if height < 0.65:
        size = between(rng, 0.75, 1.1) * (1.1 - 0.6 * height)
        liver = blob(rng, body, (-0.38, -0.08), (0.5 * size, 0.46 * size), 0.06)
        liver = np.maximum(liver, inner + 0.01)
        _organ(rng, body, slice_, liver, organs.liver, organs.vessel)
        spleen = np.maximum(ellipse(body, (0.58, 0.12), (0.15, 0.3), 0.3), inner + 0.01)
        paint(slice_, cover(spleen, EDGE), organs.spleen)
        _stomach(rng, body, slice_, inner)
    if 0.25 < height < 0.8:
        for side in (-1, 1):
            centre = (side * between(rng, 0.34, 0.46), between(rng, 0.18, 0.3))
            _kidney(rng, body, slice_, centre, side, organs)
    if height > 0.8:
        for side in (-1, 1):
            wing = np.array([[[side * 0.3, 0.34], [side * 0.66, -0.02]]])
            iliac = np.maximum(strokes(body, wing, np.array([0.06])), inner - 0.06)
            _bone(slice_, iliac)
    if height < 0.75:
        _ribs(rng, body, slice_, inner)
    _back(rng, body, slice_, back, organs)
    return liver


def _table(rng: np.random.Generator, body: Plane, slice_: Array, back: float) -> None:
    if rng.random() < 0.7:
        curve = body.y - back - between(rng, 0.02, 0.08) + between(rng, 0.0, 0.25) * body.x**2
        board = np.maximum(np.abs(curve) - 0.015, np.abs(body.x) - between(rng, 0.6, 1.1))
        paint(slice_, cover(board, EDGE), between(rng, -600, 0))


def _wall(
    rng: np.random.Generator, body: Plane, slice_: Array, skin: Array, thickness: float
) -> None:
    """Skin, the fat beneath, and a ring of muscle."""
    cells = (8, 8)
    paint(slice_, cover(skin, EDGE), 20.0)
    paint(slice_, cover(skin + 0.02, EDGE), FAT + 10 * clouds(rng, body.edge, cells, 2, 0.7))
    muscle = MUSCLE - 60 * np.clip(texture(rng, body.edge, (10, 10)) - 0.8, 0, 1)
    paint(slice_, cover(skin + thickness, EDGE), muscle)


def _organ(
    rng: np.random.Generator, body: Plane, slice_: Array, shape: Array, level: float, vessel: float
) -> None:
    """Paint an organ with the branches of its vessels."""
    inside = cover(shape, EDGE)
    paint(slice_, inside, level + 4 * clouds(rng, body.edge, (9, 9), 2, 0.7))
    cells = int(rng.integers(4, 11))
    branches = level_lines(texture(rng, body.edge, (cells, cells)), 2 / body.edge)
    tree = cover(branches - 0.008, 0.03) * cover(shape + 0.08, 0.08)
    paint(slice_, 0.4 * tree * np.clip(texture(rng, body.edge, (5, 5)) + 0.3, 0, 1), vessel)


def _stomach(rng: np.random.Generator, body: Plane, slice_: Array, inner: Array) -> None:
    shape = blob(rng, body, (between(rng, 0.2, 0.4), -0.25), (0.28, between(rng, 0.14, 0.22)), 0.08)
    shape = np.maximum(shape, inner + 0.02)
    paint(slice_, cover(shape, EDGE), 45.0)
    paint(slice_, cover(shape + 0.03, EDGE), between(rng, 0, 200) if rng.random() < 0.3 else 15.0)
    level = -0.25 + between(rng, -0.12, 0.12)
    paint(slice_, cover(np.maximum(shape + 0.03, body.y - level), EDGE), AIR)


def _kidney(
    rng: np.random.Generator,
    body: Plane,
    slice_: Array,
    centre: Point,
    side: int,
    organs: _Organs,
    radii: Point = (0.12, 0.15),
) -> None:
    shape = ellipse(body, centre, radii, side * 0.3)
    paint(slice_, cover(shape - 0.06, 0.05), FAT)
    hilum = (centre[0] - side * 0.7 * radii[0], centre[1])
    shape = np.maximum(shape, -ellipse(body, hilum, (0.05, 0.04)))
    paint(slice_, cover(shape, EDGE), organs.kidney)
    medulla = between(rng, 0.5, 1.0) * organs.kidney
    paint(slice_, cover(shape + 0.045, 0.03), medulla)
    paint(slice_, cover(ellipse(body, hilum, (0.06, 0.05)), EDGE), between(rng, -80, 40))


def _bowel(rng: np.random.Generator, body: Plane, slice_: Array, inner: Array, count: int) -> None:
    """Loops with a wall, filled with fluid, stool or gas."""
    for _ in range(count):
        centre = (between(rng, -0.6, 0.6), between(rng, -0.5, 0.3))
        size = between(rng, 0.05, 0.14)
        loop = np.maximum(blob(rng, body, centre, (size, size * between(rng, 0.6, 1)), 0.08), inner)
        paint(slice_, cover(loop, EDGE), between(rng, 30, 90))
        filling = loop + between(rng, 0.015, 0.03)
        kind = rng.random()
        content = between(rng, 0, 30) if kind < 0.6 else between(rng, 100, 400)
        paint(slice_, cover(filling, EDGE), content if kind < 0.75 else -300.0)
        if kind > 0.7:
            top = body.y - centre[1] - between(rng, -0.5, 1.0) * size
            paint(slice_, cover(np.maximum(filling, top), EDGE), AIR)


def _ribs(rng: np.random.Generator, body: Plane, slice_: Array, inner: Array) -> None:
    """Cut ribs: short bright ovals along the wall, longer where they lie in the slice."""
    angle = np.arctan2(body.y, np.abs(body.x))
    count, phase = between(rng, 2.5, 5.0), rng.uniform(0, 2 * np.pi)
    along = np.cos(2 * np.pi * count * angle / np.pi * 2 + phase + 0.4 * np.sign(body.x))
    place = np.abs(inner - 0.05) - 0.03
    rib = np.maximum(place, 0.12 * (between(rng, -0.2, 0.6) - along))
    rib = np.maximum(rib, -0.35 - body.y)
    _bone(slice_, rib)


def _bone(slice_: Array, shape: Array) -> None:
    paint(slice_, cover(shape, EDGE), CORTEX)
    paint(slice_, cover(shape + 0.025, EDGE), MARROW)


def _back(
    rng: np.random.Generator, body: Plane, slice_: Array, back: float, organs: _Organs
) -> None:
    """Spine, the muscles beside it, and the great vessels before it."""
    side = Plane(np.abs(body.x), body.y)
    front = back - between(rng, 0.34, 0.42)
    erector = ellipse(side, (0.17, back - 0.12), (0.17, 0.11), -0.1)
    psoas = ellipse(side, (0.19, front + 0.08), (0.09, 0.11))
    streaks = MUSCLE - 90 * np.clip(texture(rng, body.edge, (12, 12)) - 0.7, 0, 1)
    paint(slice_, cover(np.minimum(erector, psoas), EDGE), streaks)
    _bone(slice_, ellipse(body, (0, front + 0.06), (0.14, 0.11)))
    arch = np.array(
        [
            [[0.1, front + 0.13], [0.1, front + 0.2]],
            [[0.1, front + 0.18], [between(rng, 0.2, 0.28), front + 0.19]],
            [[0.1, front + 0.2], [0.0, front + 0.27]],
            [[0.0, front + 0.26], [0.0, front + between(rng, 0.3, 0.4)]],
        ]
    )
    _bone(slice_, strokes(side, arch, np.array([0.03, 0.025, 0.03, 0.025])))
    paint(slice_, cover(ellipse(body, (0, front + 0.2), (0.065, 0.05)), EDGE), 25.0)
    size = between(rng, 0.05, 0.075)
    paint(slice_, cover(ellipse(body, (0.06, front - 0.1), (size, size)), EDGE), organs.vessel)
    cava = ellipse(body, (-0.1, front - 0.09), (size * 1.2, size * 0.8))
    paint(slice_, cover(cava, EDGE), 0.7 * organs.vessel + 15)


def _coronal(rng: np.random.Generator, body: Plane, slice_: Array, organs: _Organs) -> Array:
    """Paint a slice from side to side: lungs above, organs and loops, pelvis below."""
    front = rng.random()  # 0 at the spine, 1 at the belly
    half = between(rng, 0.58, 0.75) + 0.06 * np.cos(2.5 * body.y)
    skin = np.maximum(np.abs(body.x) - half, np.abs(body.y) - 1.25)
    _wall(rng, body, slice_, skin, between(rng, 0.03, 0.12))
    inner = skin + between(rng, 0.14, 0.2)
    paint(slice_, cover(inner, EDGE), FAT)
    _bowel(rng, Plane(body.x, body.y - 0.3), slice_, inner, int(rng.integers(6, 16)))
    side = Plane(np.abs(body.x), body.y)
    dome = between(rng, -0.75, -0.5)
    lung = np.maximum(np.maximum(inner - 0.03, body.y - dome - 0.35 * (body.x**2)), 0.1 - side.x)
    paint(slice_, cover(lung, EDGE), LUNG)
    paint(slice_, cover(ellipse(body, (0.1, dome - 0.2), (0.28, 0.2)), EDGE), organs.vessel)
    liver = blob(rng, body, (-0.3, dome + 0.34), (0.4, between(rng, 0.28, 0.42)), 0.06)
    liver = np.maximum(liver, np.maximum(inner + 0.01, dome + 0.02 - body.y))
    _organ(rng, body, slice_, liver, organs.liver, organs.vessel)
    spleen = np.maximum(ellipse(body, (0.45, dome + 0.28), (0.12, 0.2), -0.3), inner + 0.01)
    paint(slice_, cover(spleen, EDGE), organs.spleen)
    if front < 0.6:
        for left in (-1, 1):
            centre = (left * between(rng, 0.27, 0.36), dome + between(rng, 0.6, 0.75))
            _kidney(rng, body, slice_, centre, left, organs, (0.11, 0.2))
        psoas = strokes(side, np.array([[[0.12, -0.05], [0.3, 0.6]]]), np.array([0.08]))
        paint(slice_, cover(psoas, EDGE), MUSCLE)
        _vertebrae(rng, body.x, body.y, slice_)
        wing = strokes(side, np.array([[[0.2, 0.75], [0.5, 0.5]]]), np.array([0.05]))
        _bone(slice_, wing)
    else:
        _stomach(rng, Plane(body.x, body.y - dome - 0.5), slice_, inner)
    ribs = np.cos(2 * np.pi * body.y / between(rng, 0.15, 0.22) + 3 * np.sign(body.x))
    rib = np.maximum(np.abs(inner - 0.04) - 0.03, 0.06 * (0.1 - ribs))
    _bone(slice_, np.maximum(rib, body.y - between(rng, 0.0, 0.2)))
    return np.asarray(liver)


def _sagittal(rng: np.random.Generator, body: Plane, slice_: Array, organs: _Organs) -> Array:
    """Paint a slice from front (left) to back: the column of the spine, organs before it."""
    bulge = between(rng, 0.05, 0.2) * np.cos(1.6 * body.y)
    curve = body.x - 0.06 * np.cos(2.2 * body.y)
    skin = np.maximum(np.maximum(-body.x - 0.5 - bulge, curve - 0.55), np.abs(body.y) - 1.3)
    _wall(rng, body, slice_, skin, between(rng, 0.04, 0.12))
    inner = np.maximum(skin + between(rng, 0.12, 0.18), curve - 0.15)
    paint(slice_, cover(inner, EDGE), FAT)
    _bowel(rng, Plane(body.x + 0.15, body.y - 0.2), slice_, inner, int(rng.integers(5, 14)))
    dome = between(rng, -0.7, -0.45)
    lung = np.maximum(inner, body.y - dome - 0.6 * body.x**2)
    paint(slice_, cover(lung, EDGE), LUNG)
    liver = blob(rng, body, (-0.2, dome + 0.32), (0.34, 0.32), 0.06)
    liver = np.maximum(liver, np.maximum(inner + 0.01, dome + 0.02 - body.y))
    _organ(rng, body, slice_, liver, organs.liver, organs.vessel)
    aorta = np.maximum(np.abs(curve - 0.08) - between(rng, 0.03, 0.05), body.y - 0.4)
    paint(slice_, cover(aorta, EDGE), organs.vessel)
    _vertebrae(rng, curve - 0.26, body.y, slice_)
    spines = np.maximum(
        np.abs(curve - 0.45) - 0.05, 0.05 * (0.2 - np.cos(2 * np.pi * body.y / 0.2))
    )
    _bone(slice_, spines)
    return np.asarray(liver)


def _vertebrae(rng: np.random.Generator, x: Array, y: Array, slice_: Array) -> None:
    """Stack vertebral bodies with discs between them along x = 0."""
    height = between(rng, 0.16, 0.24)
    within = (y / height) % 1 - 0.5
    block = np.maximum(np.abs(x) - between(rng, 0.09, 0.12), height * (np.abs(within) - 0.38))
    disc = np.abs(x) - 0.1
    paint(slice_, cover(disc, EDGE), 80.0)
    _bone(slice_, block)


def _lesions(
    rng: np.random.Generator, body: Plane, slice_: Array, liver: Array, level: float
) -> None:
    """Paint metastases where the slice cuts the liver."""
    for _ in range(int(rng.integers(1, 5))):
        places = (body.edge * rng.random((30, 2))).astype(int)
        row, column = min(places, key=lambda place: max(liver[tuple(place)], -0.08))
        centre = (float(body.x[row, column]), float(body.y[row, column]))
        radius = between(rng, 0.04, 0.13)
        lesion = blob(rng, body, centre, (radius, radius * between(rng, 0.7, 1)), 0.06)
        inside = cover(np.maximum(lesion, liver), 0.04)
        paint(slice_, inside, level - between(rng, 35, 80))
