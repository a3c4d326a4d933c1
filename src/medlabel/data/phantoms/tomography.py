"""Optical coherence tomography of the retina."""

from __future__ import annotations

import numpy as np

from medlabel.data.phantoms.canvas import (
    Array,
    Plane,
    between,
    cover,
    ellipse,
    paint,
    texture,
)

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
