"""The vision transformer for volumes with the head of its source."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medlabel.networks.classifier import Classifier
from medlabel.networks.vit3d import WIDTH, ViT3D, require_patches
from medlabel.params import Network


class Perceptron(Classifier):
    """A last layer behind layer norm and one hidden layer."""

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__(hidden, outputs)
        inner = nn.Linear(width, hidden)
        self.hidden = nn.Sequential(nn.LayerNorm(width), inner, nn.GELU())
        for layer in (self, inner):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, width) to logits (n, outputs)."""
        return super().forward(self.hidden(features))


class PooledViT3D(ViT3D):
    """`ViT3D` that answers from the mean over its patches along with its class token.

    Abdalla 2024, section on ViT3D: the pooled vector and the class token pass a perceptron with
    layer norm. Whether they are summed or concatenated and how wide the perceptron is stands
    nowhere: here they are concatenated, and its hidden layer is as wide as a token.
    """

    def __init__(self, channels: int, outputs: int, size: int) -> None:
        super().__init__(channels, outputs, size)
        self.head = Perceptron(2 * WIDTH, WIDTH, outputs)

    def features(self, volumes: Tensor) -> Tensor:
        """Return the class token beside the mean of the patches, (n, 2 WIDTH)."""
        tokens = self.tokens(volumes)
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make ``vit3d_pooled``; as `registry.build`."""
    require_patches(str(network), size)
    return PooledViT3D(channels, outputs, size)
