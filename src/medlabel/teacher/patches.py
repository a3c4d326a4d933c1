"""What an image tower sees at every place of an image: maps of its middle, on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from medlabel.errors import MedlabelError


class Patches(nn.Module):
    """A trunk whose inner maps are brought to one grid and put side by side.

    Parameters
    ----------
    trunk
        Maps (n, 3, edge, edge) to features of the whole image.
    parts
        Names of its modules, whose outputs are maps: (n, channels, rows, columns).
    grid
        Edge of the grid. Finer maps are averaged, coarser ones interpolated bilinearly.
    edge
        Of the images, in pixels.

    Raises
    ------
    MedlabelError
        When the trunk has no such module, or its output is no map.
    """

    def __init__(self, trunk: nn.Module, parts: Sequence[str], grid: int, edge: int) -> None:
        super().__init__()
        self.trunk, self.parts, self.grid = trunk, tuple(parts), grid
        self.kept: dict[str, Any] = {}
        modules = dict(trunk.named_modules())
        for part in self.parts:
            if part not in modules:
                known = ", ".join(name for name in modules if 0 < len(name) < 12)
                raise MedlabelError(
                    f"parts: {part!r} given, which the tower does not have; it has {known}."
                )
            modules[part].register_forward_hook(self._keeping(part))
        # Looked at once, so that a traced network has no choice left.
        device = next(trunk.parameters()).device
        with torch.inference_mode():
            trunk(torch.zeros(1, 3, edge, edge, device=device))
        self.edges = {part: _edge(part, self.kept[part]) for part in self.parts}

    def _keeping(self, part: str) -> Any:
        def keep(_module: nn.Module, _given: Any, output: Any) -> None:
            self.kept[part] = output

        return keep

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 (n, channels of all parts, grid, grid) of images (n, 3, edge, edge)."""
        self.trunk(images)
        return torch.cat([self._fitted(part, self.kept[part]) for part in self.parts], dim=1)

    def _fitted(self, part: str, found: torch.Tensor) -> torch.Tensor:
        if self.edges[part] > self.grid:
            return functional.adaptive_avg_pool2d(found, self.grid)
        if self.edges[part] < self.grid:
            return functional.interpolate(
                found, size=(self.grid, self.grid), mode="bilinear", align_corners=False
            )
        return found


def _edge(part: str, found: Any) -> int:
    if not isinstance(found, torch.Tensor) or found.ndim != 4:
        raise MedlabelError(
            f"parts: {part!r} given, which gives no maps (n, channels, rows, columns); a "
            f"convolutional part of the tower allowed."
        )
    return int(found.shape[-1])
