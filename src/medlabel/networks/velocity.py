"""A small U-Net that says how noise has to move to become an image of what words say."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8  # of channels that are normalised together
FREQUENCIES = 32  # of the time
CELL = 2  # edge of the squares of pixels that the network sees as one


class Velocity(nn.Module):
    """Maps noisy images, times and embeddings of sentences to velocities.

    Squares of 2 by 2 pixels are channels, so that all but the first and the last layer work on a
    quarter of the positions. Two scales of residual blocks, joined as in a U-Net (Ronneberger et
    al., MICCAI 2015); time and words scale and shift the channels of each block (FiLM: Perez et
    al., AAAI 2018).
    """

    def __init__(self, width: int, dimension: int) -> None:
        """Make a network of `width` channels for embeddings of length `dimension`."""
        super().__init__()
        told = 4 * width
        self.time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, told), nn.SiLU(), nn.Linear(told, told)
        )
        self.words = nn.Linear(dimension, told)
        self.first = nn.Conv2d(CELL**2, width, 3, padding=1)
        self.before = _Block(width, width, told)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.ModuleList([_Block(2 * width, 2 * width, told) for _ in range(2)])
        self.up = nn.Conv2d(2 * width, 4 * width, 1)
        self.after = _Block(2 * width, width, told)
        self.norm = nn.GroupNorm(GROUPS, width)
        self.last = nn.Conv2d(width, CELL**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor, times: Tensor, words: Tensor) -> Tensor:
        """Return velocities of the images' shape.

        Parameters
        ----------
        images
            float32 (n, 1, H, W), H and W multiples of 4.
        times
            float32 (n,), from 0 (noise) to 1 (image).
        words
            float32 (n, dimension).
        """
        told = F.silu(self.time(_waves(times)) + self.words(words))
        wide = self.before(self.first(F.pixel_unshuffle(images, CELL)), told)
        deep = self.down(wide)
        for block in self.middle:
            deep = block(deep, told)
        wide = self.after(torch.cat([F.pixel_shuffle(self.up(deep), 2), wide], dim=1), told)
        return F.pixel_shuffle(self.last(F.silu(self.norm(wide))), CELL)


class _Block(nn.Module):
    """Two convolutions beside a short way round them."""

    def __init__(self, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(GROUPS, one) for one in (inputs, outputs)])
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(one, outputs, 3, padding=1) for one in (inputs, outputs)]
        )
        self.told = nn.Linear(told, 2 * outputs)
        self.short = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, values: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
        inner = self.convolutions[0](F.silu(self.norms[0](values)))
        inner = self.norms[1](inner) * (1 + scale) + shift
        found: Tensor = self.short(values) + self.convolutions[1](F.silu(inner))
        return found


def _waves(times: Tensor) -> Tensor:
    """Spread times over waves of many lengths, (n, 2 x FREQUENCIES)."""
    rates = torch.exp(torch.linspace(0, math.log(100), FREQUENCIES, device=times.device))
    phases = times[:, None] * rates * math.pi
    return torch.cat([phases.sin(), phases.cos()], dim=1)
