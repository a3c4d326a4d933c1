"""The last layer, and how a network says that it cannot take images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medlabel.errors import MedlabelError


class Classifier(nn.Linear):
    """Last layer in float32: in bfloat16 its logits would tie, and ties cost AUC."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, features) to logits (n, outputs)."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.to(self.weight.dtype))


def cannot_take(name: str, size: int, reason: str) -> MedlabelError:
    """Return the error of images that are too small, or of a size that a network cannot divide."""
    return MedlabelError(
        f"network {name}: cannot take images with an edge of {size}: {reason}; take larger images, "
        f"set enlarge_to in the recipe, or choose another network."
    )
