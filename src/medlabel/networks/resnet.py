"""ResNets in 2-D, and converted to 3-D."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from medlabel.networks.classifier import Classifier
from medlabel.networks.convolutions import Kind, convert
from medlabel.params import Network

SMALL = 64  # pixels: below, a stem that halves twice would leave little of an image


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make ``resnet18`` or ``resnet50``, or with ``_acs``, ``_2.5d`` or ``_3d`` one for volumes."""
    base, _, kind = str(network).partition("_")
    flat = resnet(base, channels, outputs, size, stem)
    return convert(flat, cast("Kind", kind)) if kind else flat


def resnet(name: str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make a 2-D ResNet with the stem that a recipe asks for."""
    from torchvision import models

    network: Any = models.get_model(name, weights=None)
    chosen = ("dense" if size < SMALL else "imagenet") if stem == "auto" else stem
    if chosen == "imagenet":
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    else:
        stride = 1 if chosen == "dense" else 2
        network.conv1 = nn.Conv2d(channels, 64, 3, stride=stride, padding=1, bias=False)
        network.maxpool = nn.Identity()
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.fc = Classifier(network.fc.in_features, outputs)
    return cast("nn.Module", network)
