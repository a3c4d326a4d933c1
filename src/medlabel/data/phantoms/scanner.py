"""What scanners add: noise, blur, ringing, uneven sensitivity, contrast; all by MONAI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medlabel.data.phantoms.canvas import Array

if TYPE_CHECKING:
    from monai.transforms.compose import Compose

PROBABILITY = 0.25


def build() -> Compose:
    """Return MONAI's transforms, for arrays (C, H, W) or (C, D, H, W) between 0 and 1."""
    from monai.transforms.compose import Compose
    from monai.transforms.intensity.array import (
        RandAdjustContrast,
        RandBiasField,
        RandGaussianNoise,
        RandGaussianSmooth,
        RandGibbsNoise,
    )

    blur = (0.25, 0.7)  # standard deviation in pixels
    return Compose(
        [
            RandBiasField(prob=PROBABILITY, degree=2, coeff_range=(0.0, 0.15)),
            RandGaussianSmooth(blur, blur, blur, prob=PROBABILITY),
            RandGibbsNoise(prob=PROBABILITY, alpha=(0.2, 0.5)),
            RandAdjustContrast(prob=PROBABILITY, gamma=(0.75, 1.35)),
            RandGaussianNoise(prob=PROBABILITY, std=0.03),
        ]
    )


def apply(transforms: Compose, image: Array, rng: np.random.Generator, colour: bool) -> Array:
    """Apply `transforms`, seeded by `rng`, to an image between 0 and 1.

    Parameters
    ----------
    transforms
        As `build` returns them; their random state is set.
    image
        (H, W), (D, H, W), or (H, W, 3) where `colour`.
    rng
        Source of the seed.
    colour
        Whether the last axis holds RGB.

    Returns
    -------
    Array
        float32 of the same shape, clipped to 0 to 1.
    """
    transforms.set_random_state(seed=int(rng.integers(2**31)))
    channels = np.moveaxis(image, -1, 0) if colour else image[np.newaxis]
    changed = np.clip(np.asarray(transforms(np.clip(channels, 0, 1)), np.float32), 0, 1)
    return np.moveaxis(changed, 0, -1) if colour else changed[0]
