"""From uint8 images as read to what a network sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medlabel.benchmark import augment
from medlabel.data.archive import Archive
from medlabel.params import Recipe

CHANNELS = 3  # grey is repeated, as MedMNIST's protocol has it: 2-D weights carry over
SHAPES = ("adrenalmnist3d", "vesselmnist3d", "phantom_vessel3d")  # binary masks, not intensities
JUDGED_INTENSITY = 0.5


@dataclass(frozen=True)
class Images:
    """One split, resident on the device that trains on it.

    Attributes
    ----------
    pixels
        uint8 of shape (n, H, W), (n, H, W, 3) or (n, D, H, W), as the archive has them.
    labels
        uint8 of shape (n, L).
    """

    pixels: Tensor
    labels: Tensor


def split_of(archive: Archive, split: str, device: torch.device) -> Images:
    """Put one split of an archive onto a device."""
    pixels, labels = (torch.from_numpy(part[split]) for part in (archive.images, archive.labels))
    return Images(pixels.to(device), labels.to(device, torch.uint8))


class Inputs:
    """The way of a dataset's images into a network, by a recipe.

    Two-dimensional images are normalised to mean 0.5 and deviation 0.5; volumes stay in [0, 1], and
    those of the shape datasets are scaled by a random factor in [0, 1] in training and by 0.5 when
    judged, as MedMNIST's own scripts do (Yang et al., MedMNIST v2, Scientific Data 10:41, 2023).
    """

    def __init__(self, dataset: str, volumetric: bool, recipe: Recipe) -> None:
        """Choose the steps for a dataset."""
        self.volumetric = volumetric
        self.recipe = recipe
        self.scaled = recipe.intensity_scaling and dataset in SHAPES
        self.random = torch.Generator()
        self.augment: Callable[[Tensor], Tensor] | None = None

    def reseed(self, seed: int) -> None:
        """Start the random stream of augmentation and scaling anew."""
        self.random.manual_seed(seed)
        if self.recipe.augmentations:
            names, size = self.recipe.augmentations, self.recipe.image_size
            self.augment = augment.transform(names, self.recipe, self.volumetric, size, seed)

    def training(self, pixels: Tensor) -> Tensor:
        """Make a training batch.

        Parameters
        ----------
        pixels
            uint8 of shape (n, H, W), (n, H, W, 3) or (n, D, H, W).

        Returns
        -------
        Tensor
            float32 of shape (n, 3, H, W) or (n, 3, D, H, W), channels last in memory.
        """
        images = self._unit(pixels)
        if self.augment is not None:
            images = torch.stack([self.augment(one) for one in images.cpu()]).to(images.device)
        if self.scaled:
            factors = torch.rand(len(images), generator=self.random).to(images.device)
            images = images * factors.view(-1, *[1] * (images.ndim - 1))
        return self._finish(images)

    def judging(self, pixels: Tensor) -> Tensor:
        """Make a batch to be judged; shapes as in `training`."""
        images = self._unit(pixels)
        return self._finish(images * JUDGED_INTENSITY if self.scaled else images)

    def _unit(self, pixels: Tensor) -> Tensor:
        """Give float32 in [0, 1] of shape (n, C, *edges)."""
        colour = pixels.ndim == 4 and not self.volumetric
        return (pixels.movedim(-1, 1) if colour else pixels.unsqueeze(1)).float() / 255

    def _finish(self, images: Tensor) -> Tensor:
        if self.recipe.enlarge_to is not None:
            edges = [self.recipe.enlarge_to] * (images.ndim - 2)
            images = F.interpolate(images, edges, mode="nearest")
        if not self.volumetric:
            images = (images - 0.5) / 0.5
        repeated = images.expand(-1, CHANNELS, *[-1] * (images.ndim - 2))
        last = torch.channels_last_3d if self.volumetric else torch.channels_last
        return repeated.contiguous(memory_format=last)
