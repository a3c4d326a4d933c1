"""An image tower of five blocks of convolution and pooling, known to timm by its names.

Importing this module is what makes timm know them. Encoders' folders hold the names, so what they
stand for stays as it is: another network gets other names.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import nn

FILTERS = (16, 32, 64, 96, 128)
KERNEL, POOLING = 3, 2
LARGEST_GRID = 16  # of images of 512 pixels
NAME = "medlabel_five_blocks_{}"


class FiveBlocks(nn.Module):
    """Five blocks of one convolution, ReLU and max-pooling, whose last maps are flattened.

    Parameters
    ----------
    grid
        Rows and columns of the last maps, as `grid_of` gives them.

    Notes
    -----
    Carminati 2023, who gives neither kernels nor filters: here 3×3 and `FILTERS`. Convolutions are
    padded and pooling keeps what is left over at an edge, because five unpadded blocks need images
    of 94 pixels at least.
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        channels = (3, *FILTERS)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, KERNEL, padding=KERNEL // 2),
                    nn.ReLU(),
                    nn.MaxPool2d(POOLING, ceil_mode=True),
                )
                for before, after in zip(channels, FILTERS, strict=False)
            )
        )
        self.num_features = FILTERS[-1] * grid * grid
        self.default_cfg: dict[str, Any] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map float32 (n, 3, edge, edge) to (n, `num_features`)."""
        maps: torch.Tensor = self.blocks(images)
        return maps.flatten(1)

    def reset_classifier(self, num_classes: int) -> None:
        """Do nothing, because there is no classifier: open_clip asks for 0 classes."""


def grid_of(edge: int) -> int:
    """Return rows of the last maps of images of an edge in pixels."""
    for _ in FILTERS:
        edge = -(-edge // POOLING)
    return edge


def name_of(edge: int) -> str:
    """Return the name under which timm knows the network for images of an edge in pixels."""
    return NAME.format(grid_of(edge))


def _register(grid: int) -> None:
    def build(**_of_timm: Any) -> FiveBlocks:
        return FiveBlocks(grid)

    build.__name__ = NAME.format(grid)
    register_model(build)


for _grid in range(1, LARGEST_GRID + 1):
    _register(_grid)
