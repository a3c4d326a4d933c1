"""Where phantoms show what they show: masks of organs and findings.

An artist draws from a stream of random numbers. Here its anatomy is called again, on the same
stream and in the same order, and what it would paint is kept as a mask: images stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medlabel.data import phantoms
from medlabel.data.phantoms import (
    abdomen,
    brain,
    chest,
    fundus,
    microscopy,
    photography,
    ultrasound,
)
from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    average_down,
    between,
    blob,
    colour,
    cover,
    ellipse,
    oversampling,
    plane,
)
from medlabel.data.phantoms.captions import caption
from medlabel.randomness import stream

__all__ = ["REGIONS", "Located", "locate"]

Coverage: TypeAlias = dict[str, Array]
Locator: TypeAlias = Callable[[np.random.Generator, str, Plane], Coverage]
INSIDE = 0.5  # coverage from which a pixel belongs to a region
OUTSIDE = 9.0  # a distance that is in no region
BRIGHT = 1e3  # echoes beside which those of a mass are none
FAINTEST = 35.0  # HU by which a lesion of the liver is darker than it, at least


@dataclass(frozen=True)
class Located:
    """Where images of one kind show its regions.

    Attributes
    ----------
    findings
        What each image shows, as `phantoms.draw` has it.
    masks
        By region: bool (n, size, size); nothing where an image does not show it.
    """

    findings: list[str]
    masks: dict[str, NDArray[np.bool_]]


def locate(kind: str, count: int, size: int, seed: int, purpose: str) -> Located:
    """Find the regions of the phantoms that `phantoms.draw` draws for the same arguments.

    Parameters
    ----------
    kind
        A key of `REGIONS`.
    count
        Number of images.
    size
        Edge in pixels.
    seed, purpose
        Of the series.

    Raises
    ------
    KeyError
        When the kind has no regions.
    """
    regions, locator = _LOCATED[kind]
    factor = oversampling(size)
    findings, masks = [], {region: np.zeros((count, size, size), bool) for region in regions}
    for index in range(count):
        finding, rng = _state(kind, seed, purpose, index)
        for region, coverage in locator(rng, finding, plane(size * factor)).items():
            masks[region][index] = average_down(coverage, factor) >= INSIDE
        findings.append(finding)
    return Located(findings, masks)


def _state(kind: str, seed: int, purpose: str, index: int) -> tuple[str, np.random.Generator]:
    """Return the finding of an image, and the stream as its artist is given it."""
    recipe = phantoms._KINDS[kind]
    choices = list(recipe.findings)
    if recipe.paired:
        subject, which = divmod(index, len(choices))
        return choices[which], stream(seed, "subject", kind, purpose, subject)
    rng = stream(seed, "phantom", kind, purpose, index)
    finding = choices[rng.integers(len(choices))]
    caption(rng, kind, finding)
    return finding, rng


def _chest(rng: np.random.Generator, finding: str, where: Plane) -> Coverage:
    """Find the lungs, and where pneumonia is half as dense as in its densest part at least."""
    disease = rng.spawn(1)[0]
    body = where.move(rng, 0.09, (0.85, 1.3), 4.0).warp(rng, 3, between(rng, 0.0, 0.06))
    chest._torso(rng, body)
    anatomy = chest._anatomy(rng, body)
    lungs = np.maximum(*anatomy.lungs)
    if finding == "normal":
        return {"lungs": lungs}
    taken = lungs * np.clip(chest._opacity(disease, anatomy), 0, chest.DENSEST)
    return {"lungs": lungs, "pneumonia": taken / taken.max()}


def _breast(rng: np.random.Generator, finding: str, where: Plane) -> Coverage:
    disease = rng.spawn(1)[0]
    beam = Plane(where.x, where.y + between(rng, -0.1, 0.1) * where.x)
    bent = beam.warp(rng, 3, between(rng, 0.01, 0.09))
    if finding == "normal":
        return {}
    tissue = np.full_like(bent.x, BRIGHT)
    echo, _ = ultrasound._mass(disease, bent, tissue, finding == "malignant mass")
    return {"mass": 1 - echo / BRIGHT}


def _brain(rng: np.random.Generator, finding: str, where: Plane) -> Coverage:
    zoom = between(rng, 0.55, 1.1)
    head = where.move(rng, 0.07, (zoom, zoom), 7.0)
    if rng.random() < 0.5:
        head = Plane(-head.x, head.y)
    head = head.warp(rng, 3, 0.025).warp(rng, 7, between(rng, 0.0, 0.02))
    cut = (brain._axial, brain._axial, brain._coronal, brain._sagittal)[int(rng.integers(4))]
    anatomy = cut(rng, head)
    levels = brain._levels(rng)
    image = np.zeros_like(head.x)
    if rng.random() >= brain.STRIPPED:
        brain._outside(rng, image, anatomy, levels, zoom)
    brain._parenchyma(rng, head, image, anatomy, levels, zoom)
    outline = np.minimum(anatomy.cerebrum, anatomy.cerebellum)
    found = {"brain": cover(np.minimum(outline, anatomy.stem), 0.03)}
    if finding == "tumour":
        found["tumour"] = cover(outline, 0.04) * cover(_tumour(rng, head, outline), 0.05)
    return found


def _tumour(rng: np.random.Generator, head: Plane, outline: Array) -> Array:
    """Return the signed distance to the tumour without its oedema."""
    places = (head.edge * rng.random((30, 2))).astype(int)
    row, column = min(places, key=lambda place: max(outline[tuple(place)], -0.12))
    centre = (float(head.x[row, column]), float(head.y[row, column]))
    radius = between(rng, 0.12, 0.28)
    return blob(rng, head, centre, (radius, radius * between(rng, 0.7, 1.0)), 0.08)


def _abdomen(rng: np.random.Generator, finding: str, where: Plane) -> Coverage:
    detail = rng.random() < abdomen.DETAILS
    zoom = between(rng, 1.2, 2.8) if detail else between(rng, 0.85, 1.15)
    body = where.move(rng, 0.25 * zoom if detail else 0.05, (zoom, zoom), 3.0)
    body = body.warp(rng, 3, 0.02)
    if rng.random() < 0.1:
        body = Plane(-body.x, body.y)
    # Attenuation does not decide where organs lie, but takes its part of the stream.
    if rng.random() < 0.65:
        rng.random()
    organs = abdomen._Organs(*rng.random(4))
    cuts = (abdomen._axial,) * 3 + (abdomen._coronal, abdomen._sagittal)
    liver = cuts[int(rng.integers(5))](rng, body, np.zeros_like(body.x), organs)
    found = {"liver": cover(liver, abdomen.EDGE)}
    if finding == "liver lesion":
        darker = np.zeros_like(body.x)
        abdomen._lesions(rng, body, darker, liver, 0.0)
        found["lesion"] = np.clip(-darker / FAINTEST, 0, 1)
    return found


def _retina(rng: np.random.Generator, finding: str, where: Plane) -> Coverage:
    detail = rng.random() < fundus.DETAILS
    eye = fundus._pose(rng, detail).eye(where)
    fundus._ground(rng)
    fundus._illumination(rng, where, eye)
    disc = (between(rng, 0.38, 0.55), between(rng, -0.08, 0.08))
    rng.random(3)  # place and depth of the macula
    size = between(rng, 0.11, 0.16)
    shape = ellipse(eye, disc, (size, size * between(rng, 1.0, 1.2)))
    return {"optic disc": cover(shape, 0.05)}


def _blood(rng: np.random.Generator, finding: str, where: Plane) -> Coverage:
    slide = colour(rng, (0.93, 0.83, 0.76), 0.03)
    image = np.broadcast_to(slide, (3, *where.x.shape)).copy()
    radius = microscopy.BLOOD_CELLS[finding].radius * between(rng, 0.85, 1.15)
    centre = (between(rng, -0.1, 0.1), between(rng, -0.1, 0.1))
    microscopy._red_cells(rng, where, image, centre, radius)
    body = blob(rng, where, centre, (radius, radius * between(rng, 0.88, 1.0)), 0.04)
    return {"cell": cover(body, 0.06)}


def _skin(rng: np.random.Generator, finding: str, where: Plane) -> Coverage:
    lesion = photography.LESIONS[finding]
    photography._complexion(rng)
    photography._relief(rng, where)
    zoom = between(rng, 1.4, 3.0) if rng.random() < photography.DETAILS else 1.0
    radius = zoom * between(rng, *lesion.radius)
    centre = tuple(0.15 * zoom * rng.standard_normal(2))
    bent = where.warp(rng, 5, 0.3 * lesion.roughness * radius)
    shape = blob(rng, bent, centre, (radius, radius * between(rng, 0.7, 1)), 0.7 * lesion.roughness)
    return {"lesion": cover(shape, lesion.softness * zoom)}


_LOCATED: Mapping[str, tuple[tuple[str, ...], Locator]] = {
    "phantom_chest": (("lungs", "pneumonia"), _chest),
    "phantom_breast": (("mass",), _breast),
    "phantom_brain": (("brain", "tumour"), _brain),
    "phantom_abdomen": (("liver", "lesion"), _abdomen),
    "phantom_retina": (("optic disc",), _retina),
    "phantom_blood": (("cell",), _blood),
    "phantom_skin": (("lesion",), _skin),
}

REGIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {kind: regions for kind, (regions, _) in _LOCATED.items()}
)
