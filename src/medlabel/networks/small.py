"""Small convolutional networks: those that params.yaml makes, and a wider one."""

from __future__ import annotations

from torch import nn

from medlabel.networks.classifier import cannot_take
from medlabel.networks.images_last import ImagesLast
from medlabel.params import Network

SMALLEST_WIDE = 4  # pixels that leave one after the last pooling


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make a network; as `registry.build`."""
    if isinstance(network, str):
        return _wide(channels, outputs, size)
    return _plain(network, channels, outputs, size)


def _plain(network: Network, channels: int, outputs: int, size: int) -> nn.Module:
    """Make blocks of convolution, pooling and ReLU, then dropout before each linear layer.

    The capstone's network is channels (10, 20), kernels (3, 4), hidden (250, 50): at 28 pixels the
    blocks give 500 features.
    """
    layers: list[nn.Module] = []
    edge, width = size, channels
    for outgoing, kernel in zip(network.channels, network.kernels, strict=True):
        layers += [nn.Conv2d(width, outgoing, kernel_size=kernel), nn.MaxPool2d(2), nn.ReLU()]
        edge, width = (edge - kernel + 1) // 2, outgoing
        if edge < 1:
            raise cannot_take("cnn", size, "its blocks leave no pixel")
    layers.append(nn.Flatten())
    features = width * edge**2
    for hidden in network.hidden:
        layers += [nn.Dropout(network.dropout), nn.Linear(features, hidden), nn.ReLU()]
        features = hidden
    return ImagesLast(*layers, nn.Dropout(network.dropout), nn.Linear(features, outputs))


def _wide(channels: int, outputs: int, size: int) -> nn.Module:
    """Make a network of 128 k parameters whose normalisation does not depend on the batch."""
    if size < SMALLEST_WIDE:
        raise cannot_take("wide_cnn", size, f"at least {SMALLEST_WIDE} pixels expected")

    def block(inputs: int, outgoing: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outgoing, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(8, outgoing),
            nn.ReLU(),
        ]

    return nn.Sequential(
        *block(channels, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        nn.MaxPool2d(2),
        *block(64, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, outputs),
    )
