"""Slices: CT of the abdomen, optical coherence tomography of the retina."""

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
    texture,
)


def abdomen(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw an axial CT slice in a soft-tissue window; liver lesions are darker than the liver."""
    body = where.move(rng, 0.04, (0.85, 1.08), 3.0)
    contrast = between(rng, 0.0, 0.25)
    image = np.full_like(body.x, 0.01)
    width, height = between(rng, 0.84, 0.96), between(rng, 0.6, 0.74)
    skin = ellipse(body, (0, 0), (width, height))
    fat = between(rng, 0.2, 0.3)
    paint(image, cover(skin, 0.03), fat)
    wall = ellipse(body, (0, 0.02), (width - between(rng, 0.05, 0.16), height - 0.1))
    paint(image, cover(wall, 0.04), 0.5)
    paint(image, cover(wall + 0.07, 0.05), fat + 0.05)
    loops = clouds(rng, where.edge, (6, 6), 2, 0.5)
    paint(image, cover(wall + 0.12, 0.05) * cover(0.3 - loops, 0.5), 0.48 + 0.4 * contrast)
    liver_level = between(rng, 0.54, 0.66) + 0.3 * contrast
    liver = blob(rng, body, (-0.4, -0.12), (0.42, 0.36), 0.06)
    paint(image, cover(np.maximum(liver, wall + 0.07), 0.04), liver_level)
    stomach = np.maximum(blob(rng, body, (0.3, -0.28), (0.26, 0.17), 0.08), wall + 0.08)
    paint(image, cover(stomach, 0.04), 0.45)
    paint(image, cover(np.maximum(stomach + 0.03, body.y + 0.28), 0.03), 0.02)
    spleen = np.maximum(ellipse(body, (0.6, 0.1), (0.13, 0.26), 0.3), wall + 0.07)
    paint(image, cover(spleen, 0.04), liver_level + 0.04)
    for side in (-1, 1):
        centre = (side * between(rng, 0.32, 0.4), between(rng, 0.2, 0.3))
        kidney = ellipse(body, centre, (0.12, 0.15), side * 0.3)
        paint(image, cover(kidney, 0.03), 0.55 + contrast)
        paint(image, cover(kidney + 0.08, 0.05), 0.45 + contrast)
        paint(image, cover(ellipse(body, (side * 0.2, 0.5), (0.16, 0.1)), 0.05), 0.5)
    paint(image, cover(ellipse(body, (0.03, 0.16), (0.06, 0.06)), 0.03), 0.55 + 1.4 * contrast)
    spine = np.minimum(
        ellipse(body, (0, 0.34), (0.14, 0.11)), ellipse(body, (0, 0.55), (0.04, 0.12))
    )
    paint(image, cover(spine, 0.03), between(rng, 0.8, 0.95))
    paint(image, cover(ellipse(body, (0, 0.48), (0.05, 0.04)), 0.03), 0.45)
    if finding == "liver lesion":
        _lesions(rng, body, image, liver_level)
    return image + 0.03 * texture(rng, where.edge, (24, 24)) * cover(skin, 0.03)


def _lesions(rng: np.random.Generator, body: Plane, image: Array, liver_level: float) -> None:
    for _ in range(rng.integers(1, 5)):
        centre = (between(rng, -0.62, -0.22), between(rng, -0.32, 0.08))
        radius = between(rng, 0.05, 0.14)
        lesion = blob(rng, body, centre, (radius, radius * 0.9), 0.06)
        paint(image, cover(lesion, 0.05), liver_level - between(rng, 0.15, 0.35))


# Depth of each boundary below the inner surface of the retina, in parts of its thickness, and
# the reflectivity of the layer that begins there.
RETINAL_LAYERS = ((0.0, 0.72), (0.16, 0.42), (0.34, 0.52), (0.46, 0.26), (0.72, 0.34), (0.84, 0.55))


MACULAR_FINDINGS = (
    "choroidal neovascularisation",
    "diabetic macular oedema",
    "drusen",
    "normal",
)


def macula(rng: np.random.Generator, finding: str, where: Plane) -> Array:
    """Draw a cross-section of the macula.

    Choroidal neovascularisation lifts the pigment epithelium over a bright mass, diabetic macular
    oedema fills the retina with dark cysts, drusen are bumps of the epithelium.
    """
    eye = where.move(rng, 0.05, (0.9, 1.15), 5.0)
    thickness = between(rng, 0.34, 0.48) * (1.3 if finding == "diabetic macular oedema" else 1.0)
    pit = between(rng, 0.1, 0.24) * np.exp(-(((eye.x - between(rng, -0.2, 0.2)) / 0.24) ** 2))
    bottom = between(rng, -0.05, 0.4) - between(rng, 0.0, 0.2) * eye.x**2
    bump = _epithelial_bumps(rng, eye, finding)
    surface = bottom - thickness - 0.6 * bump
    if finding != "diabetic macular oedema":
        surface = surface + pit
    depth = (eye.y - surface) / np.maximum(bottom - bump - surface, 0.08)
    below = eye.y - bottom
    image = np.full_like(eye.x, between(rng, 0.02, 0.1))
    for start, level in RETINAL_LAYERS:
        paint(image, cover(start - depth, 0.08), level * between(rng, 0.85, 1.15))
    epithelium = cover(np.abs(below + bump) - 0.025, 0.04)
    paint(
        image,
        cover(-below - bump, 0.03),
        between(rng, 0.5, 0.7) * np.exp(-3.0 * np.maximum(below, 0)),
    )
    if finding == "choroidal neovascularisation":
        paint(image, cover(-below - bump, 0.03) * cover(below, 0.05), between(rng, 0.5, 0.75))
    paint(image, epithelium, between(rng, 0.85, 1.0))
    if finding == "diabetic macular oedema":
        _cysts(rng, eye, image, bottom - 0.5 * thickness)
    speckle = np.exp(between(rng, 0.1, 0.25) * texture(rng, where.edge, (40, 40)))
    scan: Array = image * speckle + between(rng, 0.0, 0.04)
    return scan


def _epithelial_bumps(rng: np.random.Generator, eye: Plane, finding: str) -> Array:
    count, width, height = {
        "drusen": (int(rng.integers(3, 8)), 0.06, 0.06),
        "choroidal neovascularisation": (1, 0.3, 0.22),
    }.get(finding, (0, 1.0, 0.0))
    bumps = np.zeros_like(eye.x)
    for _ in range(count):
        centre, scale = between(rng, -0.6, 0.6), between(rng, 0.7, 1.3)
        bumps += height * scale * np.exp(-(((eye.x - centre) / (width * scale)) ** 2))
    return bumps


def _cysts(rng: np.random.Generator, eye: Plane, image: Array, middle: Array) -> None:
    level = float(middle.mean())
    for _ in range(rng.integers(2, 7)):
        centre = (between(rng, -0.45, 0.45), level + 0.06 * float(rng.standard_normal()))
        radii = (between(rng, 0.05, 0.14), between(rng, 0.05, 0.13))
        paint(image, cover(ellipse(eye, centre, radii), 0.04), between(rng, 0.03, 0.12))
