"""What scanners add: noise, blur, ringing, uneven sensitivity, contrast; all by MONAI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medlabel.data.phantoms.canvas import Array

if TYPE_CHECKING:
    from monai.transforms.transform import RandomizableTransform

PROBABILITY = 0.25  # of each artefact
BLUR = (0.25, 0.7)  # standard deviation in pixels
MARGIN = 3  # pixels that the transforms may see beyond the border


def artefacts() -> list[RandomizableTransform]:
    """Return MONAI's transforms of images (C, H, W) or (C, D, H, W) between 0 and 1."""
    from monai.transforms.intensity.array import (
        RandAdjustContrast,
        RandBiasField,
        RandGaussianNoise,
        RandGaussianSmooth,
        RandGibbsNoise,
    )

    return [
        RandBiasField(prob=1.0, degree=2, coeff_range=(-0.12, 0.12)),
        RandGaussianSmooth(BLUR, BLUR, BLUR, prob=1.0),
        RandGibbsNoise(prob=1.0, alpha=(0.2, 0.5)),
        RandAdjustContrast(prob=1.0, gamma=(0.75, 1.35)),
        RandGaussianNoise(prob=1.0, std=0.03),
    ]


def degrade(
    image: Array, transforms: Sequence[RandomizableTransform], rng: np.random.Generator
) -> Array:
    """Apply each of `transforms` with a chance of `PROBABILITY`.

    Parameters
    ----------
    image
        (C, H, W) or (C, D, H, W); values beyond 0 to 1 are clipped first.
    transforms
        As `artefacts` returns them; their random states are set.
    rng
        Source of choices and seeds.

    Returns
    -------
    Array
        float32 of the same shape, between 0 and 1.
    """
    # MONAI's blur takes what lies outside for black; repeating the border avoids a dark frame.
    space = [(0, 0)] + [(MARGIN, MARGIN)] * (image.ndim - 1)
    changed = np.pad(np.clip(image, 0, 1).astype(np.float32), space, mode="edge")
    # Choosing here rather than by `prob` spares seeding and calling what would do nothing.
    for transform in transforms:
        if rng.random() < PROBABILITY:
            transform.set_random_state(seed=int(rng.integers(2**31)))
            changed = transform(changed)
    inside = (slice(None), *[slice(MARGIN, -MARGIN)] * (image.ndim - 1))
    return np.clip(np.asarray(changed, np.float32)[inside], 0, 1)
