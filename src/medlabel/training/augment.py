"""What happens to training images on their way into the network: MONAI's transforms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from medlabel.training.apart import by_name

if TYPE_CHECKING:
    from medlabel.params import Recipe

SMOOTHING = 0.1  # of the edge: the width of the Gaussian that smooths elastic displacements
HALF = 0.5  # probability of each transform


@by_name
def transform(
    names: Sequence[str], strengths: Recipe, volumetric: bool, size: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """Make a random transform of one image.

    Each named transform is applied to an image with probability 1/2, in the order flip, rotate90,
    affine, elastic, noise, intensity; flips and quarter turns along and about each axis apart.

    Parameters
    ----------
    names
        Of `params.Augmentation`; those with a module of their own come last.
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
    made = _transforms(strengths, 3 if volumetric else 2, size)
    chosen = [one for name, each in made.items() if name in names for one in each]
    composed = Compose(chosen)
    composed.set_random_state(seed=seed % 2**32)

    def apply(image: Tensor) -> Tensor:
        changed: Tensor = composed(image)
        return changed.clamp(0, 1)

    return apply


def _transforms(strengths: Recipe, axes: int, size: int) -> dict[str, list[Any]]:
    """Make all transforms, in the order in which they are applied."""
    from monai.transforms.intensity import array as intensity
    from monai.transforms.spatial import array as spatial

    black: dict[str, Any] = {"prob": HALF, "padding_mode": "zeros"}
    affine = spatial.RandAffine(
        # About each axis in 3-D; the plane has one.
        rotate_range=[math.radians(strengths.rotation)] * (3 if axes == 3 else 1),
        translate_range=[strengths.translation * size] * axes,
        scale_range=[strengths.zoom] * axes,
        **black,
    )
    width, displacement = SMOOTHING * size, strengths.displacement * size
    elastic = (
        spatial.Rand3DElastic((width, width), (0, displacement), **black)
        if axes == 3
        # MONAI's 2-D field is drawn on a coarse grid, whose spacing smooths it.
        else spatial.Rand2DElastic((2 * width, 2 * width), (0, displacement * SMOOTHING), **black)
    )
    return {
        "flip": [spatial.RandFlip(HALF, axis) for axis in range(axes)],
        "rotate90": [
            spatial.RandRotate90(HALF, max_k=3, spatial_axes=plane)
            for plane in itertools.combinations(range(axes), 2)
        ],
        "affine": [affine],
        "elastic": [elastic],
        "noise": [intensity.RandGaussianNoise(HALF, std=strengths.noise)],
        "intensity": [intensity.RandScaleIntensity(strengths.intensity, prob=HALF)],
    }
