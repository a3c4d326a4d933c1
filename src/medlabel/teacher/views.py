"""Views of a phantom: how else the same thing could have been photographed.

Contrast and resolution vary more between real images than anatomy does, and drawn images vary in
neither as scanners do (Billot et al. 2023 vary both at random).
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from medlabel.data.pixels import Pixels

TURN = 10.0  # degrees, either way
ZOOM = (0.75, 1.1)  # of the edge that is seen
SHIFT = 0.15  # of the half edge, either way
GAMMA = 0.4  # natural logarithm, either way
CONTRAST = (0.6, 1.3)
BRIGHTNESS = 0.12


def view(images: Pixels, number: int, rng: np.random.Generator) -> Pixels:
    """Return a view of each image.

    Parameters
    ----------
    images
        uint8 of shape (n, H, W) or (n, H, W, 3).
    number
        View 0 is the images themselves; all others differ by their random numbers alone.
    rng
        Draws zoom, turn, shift, gamma, contrast and brightness, anew for each image.

    Returns
    -------
    ndarray
        uint8 of the same shape.
    """
    if number == 0:
        return images
    given = torch.from_numpy(np.ascontiguousarray(images)).float() / 255
    channels = given[:, None] if given.ndim == 3 else given.permute(0, 3, 1, 2)
    moved = functional.grid_sample(
        channels,
        functional.affine_grid(_affine(len(images), rng), list(channels.shape), False),
        padding_mode="reflection",
        align_corners=False,
    )
    gamma = np.exp(rng.uniform(-GAMMA, GAMMA, len(images)))
    contrast = rng.uniform(*CONTRAST, len(images))
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS, len(images))
    a, b, c = (_column(values) for values in (gamma, contrast, brightness))
    seen = ((moved.clamp(0, 1) ** a - 0.5) * b + 0.5 + c).clamp(0, 1)
    rounded = (seen * 255).round().byte()
    last = rounded[:, 0] if given.ndim == 3 else rounded.permute(0, 2, 3, 1)
    return np.ascontiguousarray(last.numpy())


def _affine(count: int, rng: np.random.Generator) -> torch.Tensor:
    turn = np.deg2rad(rng.uniform(-TURN, TURN, count))
    zoom = rng.uniform(*ZOOM, count)
    matrix = np.zeros((count, 2, 3), np.float32)
    matrix[:, 0, 0] = matrix[:, 1, 1] = zoom * np.cos(turn)
    matrix[:, 1, 0] = zoom * np.sin(turn)
    matrix[:, 0, 1] = -matrix[:, 1, 0]
    matrix[:, :, 2] = rng.uniform(-SHIFT, SHIFT, (count, 2))
    return torch.from_numpy(matrix)


def _column(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).view(-1, 1, 1, 1)
