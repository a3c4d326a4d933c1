"""Pixels brought into one form: grey or colour, images of volumes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Projection = Literal["maximum"]

# ITU-R BT.601 luma in 16-bit fixed point, rounded as Pillow's convert("L") rounds it.
LUMA = (19595, 38470, 7471)
LUMA_HALF = 1 << 15
LUMA_BITS = 16


def with_channels(images: Pixels, channels: Literal[1, 3]) -> Pixels:
    """Bring grey and RGB images together.

    Parameters
    ----------
    images
        uint8 of shape (n, H, W) for grey or (n, H, W, 3) for RGB.
    channels
        1 turns RGB to grey by ITU-R BT.601 luma, bit for bit as Pillow's ``convert("L")``; 3
        repeats grey three times.

    Returns
    -------
    ndarray
        uint8 of shape (n, H, W) for 1 channel or (n, H, W, 3) for 3.
    """
    colour = images.ndim == 4
    if channels == 1 and colour:
        return luma(images)
    if channels == 3 and not colour:
        return np.broadcast_to(images[..., None], (*images.shape, 3))
    return images


def luma(images: Pixels) -> Pixels:
    """Turn RGB of shape (..., 3) to grey of shape (...)."""
    total = np.full(images.shape[:-1], LUMA_HALF, dtype=np.uint32)
    for channel, weight in enumerate(LUMA):
        total += np.multiply(images[..., channel], weight, dtype=np.uint32)
    return (total >> LUMA_BITS).astype(np.uint8)


def projected(volumes: Pixels, projection: Projection) -> Pixels:
    """Turn volumes of shape (n, D, H, W) into images of shape (n, H, W).

    ``maximum`` keeps the brightest voxel along depth (a maximum intensity projection).
    """
    found: Pixels = {"maximum": np.max}[projection](volumes, axis=1)
    return found
