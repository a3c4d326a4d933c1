"""From uint8 images as read to what a network sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from medlabel.params import TrainingSettings
from medlabel.training import augment

SHAPES = ("adrenalmnist3d", "vesselmnist3d", "phantom_vessel3d")  # binary masks, not intensities
JUDGED_INTENSITY = 0.5
READY_PIXELS = 1 << 26  # float32 of a training set that is prepared once: 256 MiB


class Inputs:
    """The way of a training's images into its network, by its recipe.

    Two-dimensional images are scaled to [-1, 1], which is MedMNIST's normalisation to mean 0.5 and
    deviation 0.5; left in [0, 1], every input has the same sign, and the capstone's network at its
    rate of 0.001 hardly leaves chance from about every other initialisation. Volumes stay in
    [0, 1], and those of the shape datasets are scaled by a random factor in [0, 1] in training and
    by 0.5 when judged, as MedMNIST's own scripts do (Yang et al., MedMNIST v2, Scientific Data
    10:41, 2023).
    """

    def __init__(self, settings: TrainingSettings) -> None:
        """Choose the steps for the images and recipe of a training."""
        self.volumetric = settings.volumetric
        self.recipe = settings.recipe
        self.size = settings.size
        self.scaled = self.recipe.intensity_scaling and settings.dataset in SHAPES
        self.random = torch.Generator()
        self.augment: Callable[[Tensor], Tensor] | None = None

    def fixed(self, pixels: Tensor) -> bool:
        """Whether images look alike in every epoch and are few enough to be prepared once."""
        changing = self.recipe.augmentations or self.scaled or self.recipe.enlarge_to
        return not changing and pixels.numel() * self.recipe.channels <= READY_PIXELS

    def reseed(self, seed: int) -> None:
        """Start the random stream of augmentation and scaling anew."""
        self.random.manual_seed(seed)
        if self.recipe.augmentations:
            names, size = self.recipe.augmentations, self.size
            self.augment = augment.transform(names, self.recipe, self.volumetric, size, seed)

    def training(self, pixels: Tensor) -> Tensor:
        """Make a training batch.

        Maps uint8 of shape (n, H, W, 1 or 3) or (n, D, H, W) to float32 of shape (n, C, H, W) or
        (n, C, D, H, W), channels last in memory.
        """
        images = self._channels_first(pixels).to(torch.float32)
        if self.augment is not None:
            unit = images / 255
            images = torch.stack([self.augment(one) for one in unit.cpu()]).to(images.device) * 255
        if self.scaled:
            factors = torch.rand(len(images), generator=self.random).to(images.device)
            images = images * factors.view(-1, *[1] * (images.ndim - 1))
        return self._finish(images)

    def judging(self, pixels: Tensor) -> Tensor:
        """Make a batch to be judged; shapes as in `training`."""
        images = self._channels_first(pixels).to(torch.float32)
        return self._finish(images * JUDGED_INTENSITY if self.scaled else images)

    def _channels_first(self, pixels: Tensor) -> Tensor:
        return pixels.unsqueeze(1) if self.volumetric else pixels.permute(0, 3, 1, 2)

    def _finish(self, images: Tensor) -> Tensor:
        """Scale intensities from 0 to 255, enlarge, and repeat grey."""
        if self.recipe.enlarge_to is not None:
            edges = [self.recipe.enlarge_to] * (images.ndim - 2)
            images = F.interpolate(images, edges, mode="nearest")
        images = images / 255 if self.volumetric else (images / 127.5).sub_(1)
        if images.shape[1] != self.recipe.channels:
            images = images.expand(-1, self.recipe.channels, *[-1] * (images.ndim - 2))
        last = torch.channels_last_3d if self.volumetric else torch.channels_last
        return images.contiguous(memory_format=last)
