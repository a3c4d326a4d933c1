"""What happens to training images on their way into the network: MONAI's transforms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from medlabel.params import Recipe

SMOOTHING = 0.1  # of the edge: the width of the Gaussian that smooths elastic displacements
HALF = 0.5  # probability of each transform


def transform(
    names: Sequence[str], strengths: Recipe, volumetric: bool, size: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """Make a random transform of one image.

    Each named transform is applied to an image with probability 1/2, in the order flip, rotate90,
    affine, elastic, noise, intensity; flips and quarter turns along and about each axis apart.

    Parameters
    ----------
    names
        Of `params.Augmentation`.
    strengths
        The recipe, for how much each transform may change.
    volumetric
        Whether images have three dimensions.
    size
        Edge of the images in pixels or voxels.
    seed
        The same seed gives the same transforms to the same sequence of images.

    Returns
    -------
    callable
        Takes and returns float32 of shape (C, H, W) or (C, D, H, W), intensities in [0, 1]. What
        comes in from outside the image is black.
    """
    from monai.data.meta_obj import set_track_meta
    from monai.transforms.compose import Compose

    # Without it each transform records its history for an inverse that nobody asks for.
    set_track_meta(False)
    axes = 3 if volumetric else 2
    chosen = [one for name in ORDER if name in names for one in ORDER[name](strengths, axes, size)]
    composed = Compose(chosen)
    composed.set_random_state(seed=seed % 2**32)

    def apply(image: Tensor) -> Tensor:
        changed: Tensor = composed(image)
        return changed.clamp(0, 1)

    return apply


def _flip(strengths: Recipe, axes: int, size: int) -> list[Any]:
    from monai.transforms.spatial.array import RandFlip

    return [RandFlip(prob=HALF, spatial_axis=axis) for axis in range(axes)]


def _rotate90(strengths: Recipe, axes: int, size: int) -> list[Any]:
    from monai.transforms.spatial.array import RandRotate90

    planes = itertools.combinations(range(axes), 2)
    return [RandRotate90(prob=HALF, max_k=3, spatial_axes=plane) for plane in planes]


def _affine(strengths: Recipe, axes: int, size: int) -> list[Any]:
    from monai.transforms.spatial.array import RandAffine

    return [
        RandAffine(
            prob=HALF,
            # About each axis in 3-D; the plane has one.
            rotate_range=[math.radians(strengths.rotation)] * (3 if axes == 3 else 1),
            translate_range=[strengths.translation * size] * axes,
            scale_range=[strengths.zoom] * axes,
            padding_mode="zeros",
        )
    ]


def _elastic(strengths: Recipe, axes: int, size: int) -> list[Any]:
    from monai.transforms.spatial.array import Rand2DElastic, Rand3DElastic

    width, displacement = SMOOTHING * size, strengths.displacement * size
    if axes == 3:
        return [
            Rand3DElastic(
                sigma_range=(width, width),
                magnitude_range=(0, displacement),
                prob=HALF,
                padding_mode="zeros",
            )
        ]
    # MONAI's 2-D field is drawn on a coarse grid, whose spacing smooths it.
    return [
        Rand2DElastic(
            spacing=(2 * width, 2 * width),
            magnitude_range=(0, displacement * SMOOTHING),
            prob=HALF,
            padding_mode="zeros",
        )
    ]


def _noise(strengths: Recipe, axes: int, size: int) -> list[Any]:
    from monai.transforms.intensity.array import RandGaussianNoise

    return [RandGaussianNoise(prob=HALF, std=strengths.noise)]


def _intensity(strengths: Recipe, axes: int, size: int) -> list[Any]:
    from monai.transforms.intensity.array import RandScaleIntensity

    return [RandScaleIntensity(factors=strengths.intensity, prob=HALF)]


ORDER: dict[str, Callable[[Recipe, int, int], list[Any]]] = {
    "flip": _flip,
    "rotate90": _rotate90,
    "affine": _affine,
    "elastic": _elastic,
    "noise": _noise,
    "intensity": _intensity,
}
