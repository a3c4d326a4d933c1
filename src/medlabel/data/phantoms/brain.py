"""MR of the head: axial, coronal and sagittal slices in many contrasts, whole or skull-stripped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    between,
    blob,
    clouds,
    cover,
    ellipse,
    level_lines,
    paint,
    path,
    strokes,
    texture,
)


class Levels(NamedTuple):
    """Grey levels of the tissues under one weighting, 0 to 1."""

    grey: float
    white: float
    fluid: float
    fat: float
    muscle: float
    tumour: float


T1_SHARE = 0.3  # of the weightings with a name: anatomy is mostly shown so
WEIGHTINGS = {
    "T1": Levels(0.60, 0.85, 0.20, 0.95, 0.45, 0.38),
    "T1 with contrast": Levels(0.42, 0.56, 0.12, 0.85, 0.40, 0.95),
    "T2": Levels(0.55, 0.36, 0.95, 0.60, 0.20, 0.80),
    "FLAIR": Levels(0.55, 0.42, 0.06, 0.60, 0.25, 0.90),
    "proton density": Levels(0.75, 0.62, 0.80, 0.60, 0.45, 0.85),
    "diffusion": Levels(0.40, 0.32, 0.95, 0.04, 0.04, 0.85),
}
# Contrast differs more between scanners than between tissues: some weightings are of no name
# (Billot et al., SynthSeg, Medical Image Analysis 86:102789, 2023).
RANDOM_WEIGHTINGS = 0.25
FAR = 9.0  # distance to what a slice misses
STRIPPED = 0.5  # share of slices without skull and scalp


@dataclass(frozen=True)
class _Anatomy:
    """What a slice cuts, as signed distances.

    Attributes
    ----------
    cerebrum
        The hemispheres with their folds.
    cerebellum, stem
        The hindbrain; `FAR` where the slice misses it.
    fissures
        Clefts that fluid fills.
    ventricles
        Chambers that fluid fills.
    nuclei
        Grey matter in the depth.
    bundle
        White matter without folds, such as the corpus callosum.
    vault
        Inside of the skull.
    flesh
        Skin of the head and neck.
    cavities
        Air, eyes and sinuses outside the vault.
    """

    cerebrum: Array
    cerebellum: Array
    stem: Array
    fissures: Array
    ventricles: Array
    nuclei: Array
    bundle: Array
    vault: Array
    flesh: Array
    cavities: Array


def brain(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw an MR slice of the head; a tumour has a rim and an oedema."""
    zoom = between(rng, 0.55, 1.1)
    head = where.move(rng, 0.07, (zoom, zoom), 7.0)
    if rng.random() < 0.5:
        head = Plane(-head.x, head.y)
    head = head.warp(rng, 3, 0.025).warp(rng, 7, between(rng, 0.0, 0.02))
    cut = (_axial, _axial, _coronal, _sagittal)[int(rng.integers(4))]
    anatomy = cut(rng, head)
    levels = _levels(rng)
    image = np.zeros_like(head.x)
    if rng.random() >= STRIPPED:
        _outside(rng, image, anatomy, levels, zoom)
    _parenchyma(rng, head, image, anatomy, levels, zoom)
    if finding == "tumour":
        inside = np.minimum(anatomy.cerebrum, anatomy.cerebellum)
        _tumour(rng, head, image, inside, levels)
    return _received(rng, where, image)


def _levels(rng: np.random.Generator) -> Levels:
    if rng.random() < RANDOM_WEIGHTINGS:
        grey, white, fluid, fat, muscle = rng.uniform((0.2, 0.2, 0, 0, 0), 1.0)
        # A finding that cannot be told from what surrounds it would be no finding.
        return Levels(grey, white, fluid, fat, muscle, (white + between(rng, 0.3, 0.7)) % 1)
    name = "T1" if rng.random() < T1_SHARE else str(rng.choice(list(WEIGHTINGS)))
    weighting = WEIGHTINGS[name]
    return Levels(*(level * between(rng, 0.85, 1.12) for level in weighting))


def _axial(rng: np.random.Generator, head: Plane) -> _Anatomy:
    """Cut across, from the base of the skull (height 0) to the vertex (1)."""
    height = between(rng, 0.05, 0.97)
    across = np.sqrt(1 - (max(abs(height - 0.4) - 0.12, 0) / 0.52) ** 2)
    width, length = between(rng, 0.66, 0.76) * across, between(rng, 0.84, 0.92) * across
    egg = Plane(head.x * (1 - 0.12 * head.y), head.y)
    vault = ellipse(egg, (0, 0), (width + 0.03, length + 0.03))
    side = Plane(np.abs(head.x), head.y)
    nowhere = np.full_like(head.x, FAR)
    flesh, cavities, cerebellum, stem = vault - between(rng, 0.13, 0.24), nowhere, nowhere, nowhere
    cerebrum = ellipse(egg, (0, 0), (width, length))
    if height < 0.3:
        vault = np.minimum(vault, ellipse(head, (0, 0.1), (0.66, 0.72)))
        temporal = ellipse(side, (0.4, between(rng, -0.15, 0.0)), (0.25, 0.34), -0.35)
        frontal = ellipse(side, (0.14, -0.52), (0.2, 0.28))
        cerebrum = np.minimum(temporal, frontal) if rng.random() < 0.7 else temporal
        cerebellum = ellipse(side, (0.22, 0.42), (0.34, 0.28), 0.3)
        stem = ellipse(head, (0, between(rng, 0.0, 0.1)), (0.18, 0.17))
        flesh = np.minimum(vault - 0.16, ellipse(head, (0, -0.3), (0.62, 0.7)))
        cavities = np.minimum(
            ellipse(side, (0.3, -0.72), (0.14, 0.16)),
            ellipse(side, (0.06, -0.75), (between(rng, 0.03, 0.09), 0.15)),
        )
    midline = np.abs(head.x) + 0.015 - 0.02 * np.clip(np.abs(head.y) - 0.35, 0, 0.5)
    fissures = np.maximum(midline, 0.25 - np.abs(head.y)) if height < 0.75 else midline
    ventricles, nuclei = nowhere, nowhere
    if 0.3 < height < 0.55:
        sylvian = np.array([[[0.74, -0.12], [0.45, between(rng, -0.1, 0.05)]]])
        fissures = np.minimum(fissures, strokes(side, sylvian, np.array([0.012])))
    size = between(rng, 0.55, 1.4)
    if 0.3 < height < 0.62:
        front = ellipse(side, (0.1, -0.24), (0.06 * size, 0.17), -0.35)
        back = ellipse(side, (0.2, 0.32), (0.055 * size, 0.18), 0.35)
        ventricles = np.minimum(np.minimum(front, back), np.maximum(midline, np.abs(head.y) - 0.12))
        thalamus = ellipse(side, (0.11, 0.1), (0.1, 0.13), -0.3)
        putamen = ellipse(side, (0.28, -0.06), (0.07, 0.2), 0.25)
        nuclei = np.minimum(thalamus, putamen)
    elif 0.3 < height < 0.8:
        ventricles = ellipse(side, (0.1, 0), (0.06 * size, between(rng, 0.2, 0.42)), -0.1)
    bundle = ellipse(head, (0, 0), (0.4 * across, 0.5 * across))
    return _Anatomy(
        cerebrum, cerebellum, stem, fissures, ventricles, nuclei, bundle, vault, flesh, cavities
    )


def _coronal(rng: np.random.Generator, head: Plane) -> _Anatomy:
    """Cut from ear to ear, from the forehead (depth 0) to the back (1)."""
    depth = between(rng, 0.08, 0.95)
    across = np.sqrt(1 - (max(abs(depth - 0.5) - 0.12, 0) / 0.42) ** 2)
    across = max(across, 0.35)
    side = Plane(np.abs(head.x), head.y)
    nowhere = np.full_like(head.x, FAR)
    cerebrum = ellipse(
        head, (0, -0.15), (between(rng, 0.64, 0.72) * across, between(rng, 0.54, 0.62) * across)
    )
    vault = ellipse(head, (0, -0.1), (0.74 * across + 0.03, 0.68 * across + 0.03))
    cerebellum, stem, ventricles, nuclei = nowhere, nowhere, nowhere, nowhere
    fissures = np.maximum(np.abs(head.x) - 0.006, head.y + between(rng, 0.15, 0.4) * across)
    if 0.28 < depth < 0.75:
        temporal = ellipse(side, (0.42, between(rng, 0.24, 0.34)), (0.25, 0.2), 0.3)
        cerebrum = np.minimum(cerebrum, temporal)
        inner = between(rng, 0.36, 0.48)
        sylvian = np.array([[[0.74, 0.05], [inner, 0.1]], [[inner, 0.1], [inner, 0.0]]])
        fissures = np.minimum(fissures, strokes(side, sylvian, np.array([0.014, 0.01])))
        size = between(rng, 0.6, 1.4)
        ventricles = ellipse(side, (0.11, -0.17), (0.05 * size, 0.14), 0.7)
        third = np.maximum(np.abs(head.x) - 0.012 * size, np.abs(head.y - 0.03) - 0.1)
        ventricles = np.minimum(ventricles, third)
        nuclei = np.minimum(
            ellipse(side, (0.12, 0.03), (0.09, 0.1)), ellipse(side, (0.29, 0.02), (0.07, 0.14), 0.3)
        )
        below = between(rng, 0.7, 1.0)
        stem = strokes(side, np.array([[[0.06, 0.15], [0.0, below]]]), np.array([0.1]))
        stem = np.maximum(stem, head.y - below)
    elif depth < 0.28:
        orbits = ellipse(side, (0.3 * across, 0.5 * across), (0.3 * across, 0.28 * across))
        cerebrum = np.maximum(cerebrum, -orbits)
    if depth > 0.6:
        low = between(rng, 0.36, 0.48) * max(across, 0.7)
        cerebellum = ellipse(side, (0.2 * across, low), (0.36 * across, 0.24 * across), 0.15)
    bundle = ellipse(head, (0, -0.1), (0.32 * across, 0.26 * across))
    neck = np.maximum(np.abs(head.x) - between(rng, 0.4, 0.6), -head.y)
    flesh = np.minimum(vault - between(rng, 0.12, 0.22), neck)
    cavities = ellipse(side, (0.2, between(rng, 0.75, 1.0)), (0.14, between(rng, 0.1, 0.25)))
    return _Anatomy(
        cerebrum, cerebellum, stem, fissures, ventricles, nuclei, bundle, vault, flesh, cavities
    )


def _sagittal(rng: np.random.Generator, head: Plane) -> _Anatomy:
    """Cut from nose to nape, in the middle or beside it."""
    aside = between(rng, 0, 1)
    nowhere = np.full_like(head.x, FAR)
    size = np.sqrt(1 - 0.55 * aside**2)
    cerebrum = ellipse(head, (0, -0.2), (0.82 * size, between(rng, 0.48, 0.56) * size))
    vault = ellipse(head, (0, -0.12), (0.92 * size, 0.68 * size))
    cerebellum = ellipse(head, (between(rng, 0.38, 0.5), 0.33), (0.29, 0.22), 0.3)
    stem, ventricles, nuclei, bundle = nowhere, nowhere, nowhere, nowhere
    fissures = nowhere
    if aside < 0.35:
        course = np.array([[0.02, 0.05], [0.08, 0.28], [0.14, 0.45], [0.2, 0.95]])
        widths = np.array([0.1, between(rng, 0.13, 0.17), 0.08])
        stem = strokes(head, path(course), widths)
        arch = np.array([[-0.34, 0.0], [-0.36, -0.12], [-0.15, -0.24], [0.12, -0.24], [0.3, -0.1]])
        bundle = strokes(head, path(arch), np.full(4, between(rng, 0.03, 0.05)))
        below = path(arch[1:] + np.array([0.02, 0.1]))
        ventricles = strokes(head, below, np.full(3, between(rng, 0.02, 0.07)))
        thalamus = ellipse(head, (-0.02, -0.03), (0.15, 0.1))
        nuclei = thalamus
        cerebrum = np.maximum(cerebrum, 0.12 - np.hypot(head.x - 0.05, 0.7 * (head.y - 0.2)) * 0.5)
    else:
        temporal = ellipse(head, (-0.12, between(rng, 0.16, 0.26)), (0.42, 0.2), -0.15)
        cerebrum = np.minimum(cerebrum, temporal)
        lean = between(rng, -0.1, 0.05)
        sylvian = np.array([[[-0.5, 0.1], [0.15, -0.08 + lean]]])
        fissures = strokes(head, sylvian, np.array([between(rng, 0.01, 0.03)]))
        bundle = ellipse(head, (0, -0.15), (0.5 * size, 0.2))
        if rng.random() < 0.5:
            ventricles = ellipse(head, (0.2, -0.05), (0.2, 0.05), 0.5)
    face = np.minimum(
        ellipse(head, (-0.55, between(rng, 0.4, 0.6)), (0.42, 0.6), 0.25),
        strokes(head, np.array([[[0.15, 0.4], [0.3, 1.8]]]), np.array([between(rng, 0.35, 0.55)])),
    )
    if aside < 0.4 and rng.random() < 0.7:
        nose = np.array([[[-0.8, 0.0], [-1.05, 0.42]]])
        face = np.minimum(face, strokes(head, nose, np.array([0.12])))
    flesh = np.minimum(vault - between(rng, 0.1, 0.2), face)
    cavities = np.minimum(
        ellipse(head, (-0.62, between(rng, 0.3, 0.45)), (0.2, 0.1)),
        strokes(head, np.array([[[-0.2, 0.5], [-0.1, 1.3]]]), np.array([0.06])),
    )
    return _Anatomy(
        cerebrum, cerebellum, stem, fissures, ventricles, nuclei, bundle, vault, flesh, cavities
    )


def _outside(
    rng: np.random.Generator, image: Array, anatomy: _Anatomy, levels: Levels, zoom: float
) -> None:
    """Skin, fat, muscle, air and bone around the fluid that the brain lies in."""
    cells = round(9 / zoom)
    mottling = clouds(rng, len(image), (cells, cells), 2, 0.7)
    inner = levels.muscle * (1 + 0.25 * mottling)
    paint(image, cover(anatomy.flesh, 0.03), levels.fat)
    paint(image, cover(anatomy.flesh + between(rng, 0.04, 0.09), 0.04), inner)
    # Fat lies between the muscles, and air and bone between those.
    paint(image, cover(anatomy.flesh + 0.06, 0.04) * cover(0.8 - mottling, 0.3), levels.fat)
    paint(image, cover(anatomy.flesh + 0.1, 0.04) * cover(mottling + 1.0, 0.3), 0.03)
    eyes = levels.fluid if rng.random() < 0.5 else 0.03
    paint(image, cover(np.maximum(anatomy.cavities, anatomy.flesh + 0.04), 0.04), eyes)
    bone = between(rng, 0.05, 0.1)
    paint(image, cover(anatomy.vault - bone, 0.02), 0.04)
    if rng.random() < 0.5:
        marrow = np.abs(anatomy.vault - 0.5 * bone) - 0.2 * bone
        paint(image, cover(marrow, 0.02), 0.5 * levels.fat)
    paint(image, cover(anatomy.vault, 0.02), levels.fluid)


def _parenchyma(
    rng: np.random.Generator,
    head: Plane,
    image: Array,
    anatomy: _Anatomy,
    levels: Levels,
    zoom: float,
) -> None:
    """Folded cortex over white matter, with fluid in all clefts."""
    soft = 0.025
    depth = -np.maximum(anatomy.cerebrum, -anatomy.fissures)
    sulci = level_lines(_folds(rng, head, zoom), 2 / (len(image) * zoom))
    reach, opening = between(rng, 0.08, 0.34), between(rng, 0.004, 0.03)
    below = np.minimum(depth, sulci + 1.5 * np.maximum(depth - reach, 0))
    below = np.where(anatomy.bundle < 0, np.minimum(depth, 0.3), below)
    thickness = between(rng, 0.035, 0.075)
    paint(image, cover(anatomy.cerebrum, soft), levels.fluid)
    paint(image, cover(opening - below, soft), levels.grey)
    paint(image, cover(opening + thickness - below, 1.5 * soft), levels.white)
    paint(image, cover(anatomy.stem, 0.03), 0.8 * levels.white + 0.2 * levels.grey)
    ripple = 0.6 * texture(rng, len(image), (round(7 / zoom),) * 2)
    folia = np.sin(2 * np.pi * anatomy.cerebellum / between(rng, 0.05, 0.08) + 2 * ripple)
    leaves = levels.grey + (0.3 + 0.3 * folia * ripple) * (levels.white - levels.grey)
    paint(image, cover(anatomy.cerebellum - 0.02, 0.02), levels.fluid)
    paint(image, cover(anatomy.cerebellum, 0.03), leaves)
    paint(image, cover(anatomy.cerebellum + 0.13, 0.06), levels.white)
    inside = cover(anatomy.cerebrum, soft)
    paint(image, inside * cover(anatomy.bundle, 0.04) * 0.6, levels.white)
    paint(image, inside * cover(anatomy.nuclei, 0.05), levels.grey)
    paint(image, inside * cover(anatomy.ventricles, 0.03), levels.fluid)
    relief = between(rng, 0.0, 0.06) * texture(rng, len(image), (round(14 / zoom),) * 2)
    image *= 1 + relief


def _folds(rng: np.random.Generator, head: Plane, zoom: float) -> Array:
    """Return a field that is 0 along the sulci: spokes of a wheel, bent, mixed with meanders."""
    edge = head.edge
    coarse, fine = round(5 / zoom), round(between(rng, 7, 12) / zoom)
    bend = texture(rng, edge, (coarse, coarse))
    meanders = texture(rng, edge, (fine, fine))
    angle = np.arctan2(head.y + 0.1, head.x)
    spokes = np.cos(int(rng.integers(6, 13)) * angle + 2.5 * bend)
    radial = between(rng, 0.0, 0.65)
    field: Array = radial * spokes + (1 - radial) * meanders
    return field


def _tumour(
    rng: np.random.Generator, head: Plane, image: Array, outline: Array, levels: Levels
) -> None:
    places = (head.edge * rng.random((30, 2))).astype(int)
    row, column = min(places, key=lambda place: max(outline[tuple(place)], -0.12))
    centre = (float(head.x[row, column]), float(head.y[row, column]))
    radius = between(rng, 0.12, 0.28)
    shape = blob(rng, head, centre, (radius, radius * between(rng, 0.7, 1.0)), 0.08)
    inside = cover(outline, 0.04)
    paint(image, inside * cover(shape - 0.1, 0.2) * 0.5, 0.5 * levels.tumour + 0.3)
    paint(image, inside * cover(shape, 0.05), levels.tumour)
    core = cover(shape + 0.45 * radius, 0.08) * between(rng, 0.0, 1.0)
    paint(image, inside * core, 0.15)


def _received(rng: np.random.Generator, where: Plane, image: Array) -> Array:
    """Uneven coils, the magnitude of complex noise, and a window."""
    slope_x, slope_y = 0.12 * rng.standard_normal(2)
    coil = 1 + slope_x * where.x + slope_y * where.y
    coil += between(rng, -0.1, 0.2) * (where.x**2 + where.y**2)
    noise = between(rng, 0.0, 0.05) ** 2 / 0.05
    cells = (int(rng.integers(20, 50)),) * 2
    real = image * np.maximum(coil, 0.2) + noise * texture(rng, where.edge, cells)
    magnitude = np.hypot(real, noise * texture(rng, where.edge, cells))
    # The window is set for the brightest tissue.
    shown = magnitude / np.maximum(np.quantile(magnitude, 0.99), 0.1)
    windowed: Array = between(rng, 0.75, 1.1) * shown ** between(rng, 0.7, 1.35)
    return windowed
