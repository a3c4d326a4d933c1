"""How images are brought to an image tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medlabel.data.pixels import Pixels
from medlabel.errors import MedlabelError


@dataclass(frozen=True)
class Preprocessing:
    """What the image tower expects of an image, as open_clip's configuration states it.

    Attributes
    ----------
    size
        Height and width in pixels.
    mean, std
        Of each of the three channels, for intensities from 0 to 1.
    interpolation
        ``"bicubic"`` or ``"bilinear"``.
    resize_mode
        ``"shortest"`` (the shorter edge fits, the centre is cropped), ``"longest"`` (the longer
        edge fits, the rest is padded) or ``"squash"`` (both edges fit).
    fill
        Intensity of padding, 0 to 255.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    resize_mode: str
    fill: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Preprocessing:
        """Read the ``preprocess_cfg`` of open_clip's configuration."""
        size = entry["size"]
        height, width = (size, size) if isinstance(size, int) else size
        return cls(
            size=(int(height), int(width)),
            mean=tuple(entry["mean"]),
            std=tuple(entry["std"]),
            interpolation=entry["interpolation"],
            resize_mode=entry["resize_mode"],
            fill=entry["fill_color"],
        )


def preprocess(images: Pixels, expected: Preprocessing) -> torch.Tensor:
    """Resize, crop and normalise a batch as open_clip's own transform does image by image.

    Parameters
    ----------
    images
        uint8 of shape (n, H, W) for grey or (n, H, W, 3) for RGB.
    expected
        What the image tower expects.

    Returns
    -------
    Tensor
        float32 of shape (n, 3, height, width).

    Notes
    -----
    Resampling is Pillow's algorithm in torch: separable, antialiased, on 8-bit intensities, each
    pass rounded to 8 bits. Grey is resampled once and becomes three channels in the normalisation.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    channels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    mean = torch.tensor(expected.mean).view(1, 3, 1, 1)
    deviation = torch.tensor(expected.std).view(1, 3, 1, 1)
    return (_fit(channels, expected).float().div_(255.0) - mean).div_(deviation)


def _fit(images: torch.Tensor, expected: Preprocessing) -> torch.Tensor:
    wanted = _resized(images.shape[-2:], expected)
    if tuple(images.shape[-2:]) != wanted:
        images = torch.nn.functional.interpolate(
            images, size=wanted, mode=_mode(expected), antialias=True
        )
    return _cropped_or_padded(images, expected)


def _mode(expected: Preprocessing) -> str:
    if expected.interpolation not in ("bicubic", "bilinear"):
        raise MedlabelError(
            f"open_clip_config.json: preprocess_cfg.interpolation: expected bicubic or bilinear, "
            f"found {expected.interpolation!r}; set it to the one that the encoder was trained "
            f"with."
        )
    return expected.interpolation


def _resized(edges: Sequence[int], expected: Preprocessing) -> tuple[int, int]:
    height, width = edges
    if expected.resize_mode == "squash":
        return expected.size
    if expected.resize_mode == "longest":
        scale = max(height / expected.size[0], width / expected.size[1])
        return max(1, round(height / scale)), max(1, round(width / scale))
    # torchvision's rule for the longer edge: truncated, not rounded.
    if height <= width:
        return expected.size[0], int(expected.size[0] * width / height)
    return int(expected.size[1] * height / width), expected.size[1]


def _cropped_or_padded(images: torch.Tensor, expected: Preprocessing) -> torch.Tensor:
    if tuple(images.shape[-2:]) == expected.size:
        return images
    from torchvision.transforms.functional import center_crop, pad

    height, width = images.shape[-2:]
    missing = [max(want - has, 0) for want, has in zip(expected.size, (height, width), strict=True)]
    if any(missing):
        top, left = missing[0] // 2, missing[1] // 2
        edges = [left, top, missing[1] - left, missing[0] - top]
        images = pad(images, edges, fill=expected.fill)
    cropped: torch.Tensor = center_crop(images, list(expected.size))
    return cropped
