"""What scanners add: noise, blur, ringing, uneven sensitivity, contrast; all by MONAI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medlabel.data.phantoms.canvas import Array

if TYPE_CHECKING:
    from monai.transforms.transform import RandomizableTransform

PROBABILITY = 0.25  # of each artefact
BLUR = (0.25, 0.7)  # standard deviation: least in pixels, greatest in 28ths of the image
MARGIN = 3  # 28ths of the image that the transforms may see beyond the border


def artefacts(size: int) -> list[RandomizableTransform]:
    """Return MONAI's transforms of images (C, H, W) or (C, D, H, W) between 0 and 1.

    Parameters
    ----------
    size
        Edge in pixels. A large image may be as blurred as a small one enlarged.
    """
    from monai.transforms.intensity.array import (
        RandAdjustContrast,
        RandBiasField,
        RandGaussianNoise,
        RandGaussianSmooth,
        RandGibbsNoise,
    )

    blur = (BLUR[0], BLUR[1] * max(size / 28, 1))
    return [
        RandBiasField(prob=1.0, degree=2, coeff_range=(-0.12, 0.12)),
        RandGaussianSmooth(blur, blur, blur, prob=1.0),
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
    margin = max(round(MARGIN * image.shape[-1] / 28), MARGIN)
    space = [(0, 0)] + [(margin, margin)] * (image.ndim - 1)
    changed = np.pad(np.clip(image, 0, 1).astype(np.float32), space, mode="edge")
    # Choosing here rather than by `prob` spares seeding and calling what would do nothing.
    for transform in transforms:
        if rng.random() < PROBABILITY:
            transform.set_random_state(seed=int(rng.integers(2**31)))
            changed = transform(changed)
    inside = (slice(None), *[slice(margin, -margin)] * (image.ndim - 1))
    return np.clip(np.asarray(changed, np.float32)[inside], 0, 1)
