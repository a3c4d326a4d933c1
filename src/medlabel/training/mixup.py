"""Mixing images in pairs (Zhang et al., *mixup*, ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medlabel.training.losses import Loss


@dataclass(frozen=True)
class Pairs:
    """How the images of a batch are mixed.

    Attributes
    ----------
    share
        Of an image itself; its partner has the rest.
    partners
        Of each image, int64 (n,).
    """

    share: float
    partners: Tensor

    @classmethod
    def draw(cls, alpha: float, count: int, random: np.random.Generator) -> Pairs:
        """Pair `count` images at random, with a share from Beta(alpha, alpha)."""
        share = float(random.beta(alpha, alpha))
        return cls(share, torch.from_numpy(random.permutation(count)))

    def images(self, seen: Tensor) -> Tensor:
        """Return images (n, ...) mixed with their partners."""
        return self.share * seen + (1 - self.share) * seen[self.partners.to(seen.device)]

    def loss(
        self, measure: Loss, logits: Tensor, targets: Tensor, importance: Tensor | None
    ) -> Tensor:
        """Return the loss against both targets, by their shares."""
        others = self.partners.to(logits.device)
        weighed = None if importance is None else importance[others]
        own = measure(logits, targets, importance)
        return self.share * own + (1 - self.share) * measure(logits, targets[others], weighed)
