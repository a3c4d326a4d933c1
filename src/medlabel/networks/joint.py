"""ResNet18 with ACS convolutions beside ViT3D."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from medlabel.networks import vit3d
from medlabel.networks.classifier import Classifier
from medlabel.networks.convolutions import convert
from medlabel.networks.resnet import resnet
from medlabel.params import Network


class Joint(nn.Module):
    """The features of both networks, concatenated before one linear layer (Abdalla 2024)."""

    def __init__(self, channels: int, outputs: int, size: int, stem: str) -> None:
        super().__init__()
        self.resnet = convert(resnet("resnet18", channels, outputs, size, stem), "acs")
        self.vit = vit3d.ViT3D(channels, outputs, size)
        del self.vit.head
        width = cast("nn.Linear", self.resnet.fc).in_features + vit3d.WIDTH
        self.resnet.fc = nn.Identity()
        self.fc = Classifier(width, outputs)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) to logits (n, outputs)."""
        features = [self.resnet(volumes).float(), self.vit.features(volumes).float()]
        logits: Tensor = self.fc(torch.cat(features, dim=1))
        return logits


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make the joint network; as `registry.build`."""
    vit3d.require_patches(str(network), size)
    return Joint(channels, outputs, size, stem)
