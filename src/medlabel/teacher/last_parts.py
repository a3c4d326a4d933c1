"""A pretrained tower in two: what comes before its last parts, which stays, and these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from medlabel.errors import MedlabelError
from medlabel.params import Tuned
from medlabel.teacher import features
from medlabel.teacher.sources import Source

ALIKE = 1e-4  # of outputs of length 1: further apart, parts are not the last ones


class Before(nn.Module):
    """A trunk that also gives what its last parts get.

    Parameters
    ----------
    trunk
        Maps (n, 3, edge, edge) to (n, features).
    first
        Name of the first of the last parts.
    factor
        By which images are reduced before.
    """

    def __init__(self, trunk: nn.Module, first: str, factor: int) -> None:
        super().__init__()
        self.trunk, self.first, self.factor = trunk, first, factor

    def maps(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the first of the last parts gets, and the features (n, features)."""
        kept: list[torch.Tensor] = []

        def keep(_module: nn.Module, given: tuple[Any, ...]) -> None:
            kept.append(given[0])

        hook = self.trunk.get_submodule(self.first).register_forward_pre_hook(keep)
        try:
            found = self.trunk(images)
        finally:
            hook.remove()
        if not kept:
            raise _not_last(self.first)
        return kept[0], found

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features, then the maps behind one another: (n, features + values)."""
        seen = images if self.factor == 1 else functional.avg_pool2d(images, self.factor)
        maps, found = self.maps(seen)
        return torch.cat([found, maps.flatten(1)], dim=1)


class LastParts(nn.Module):
    """The last parts of a trunk of timm's, and what timm does behind them.

    Parameters
    ----------
    trunk
        Whose parts these are: training them changes it.
    parts
        Their names, in their order.
    edge
        In pixels.

    Raises
    ------
    MedlabelError
        When the trunk has no such parts, or they are not its last ones.
    """

    def __init__(self, trunk: nn.Module, parts: Sequence[str], edge: int) -> None:
        super().__init__()
        names = {name for name, _ in trunk.named_modules()}
        if unknown := [one for one in parts if one not in names]:
            first = ", ".join(one for one in names if 0 < len(one) < 12)
            raise MedlabelError(
                f"tuned.parts: {unknown[0]!r} given, which the tower does not have; it has "
                f"{', '.join(sorted(first.split(', ')))}."
            )
        if not hasattr(trunk, "forward_head"):
            raise MedlabelError(
                "tuned: given with a tower that is none of timm's; package, timm or random allowed."
            )
        self.parts = nn.ModuleList(trunk.get_submodule(one) for one in parts)
        self.head: Any = trunk.forward_head
        noise = np.random.default_rng(0).standard_normal((2, 3, edge, edge), np.float32)
        with torch.no_grad():
            maps, found = Before(trunk, parts[0], 1).maps(torch.from_numpy(noise))
            self.shape = tuple(maps.shape[1:])
            self.length = found.shape[1]
            again = self._through(maps, ", ".join(parts))
        unit = [functional.normalize(one, dim=-1) for one in (found, again)]
        if again.shape != found.shape or (unit[0] - unit[1]).abs().max() > ALIKE:
            raise _not_last(", ".join(parts))

    def _through(self, maps: torch.Tensor, parts: str) -> torch.Tensor:
        try:
            return self.forward(maps.flatten(1))
        except RuntimeError as error:  # of shapes
            raise _not_last(parts) from error

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return features (n, features), not normalised, of maps as `Before` gives them."""
        seen = maps.reshape(-1, *self.shape)
        for part in self.parts:
            seen = part(seen)
        found: torch.Tensor = self.head(seen)
        return found


def _not_last(parts: str) -> MedlabelError:
    return MedlabelError(
        f"tuned.parts: {parts} given, which are not the tower's last parts in their order; name "
        f"all from the first one to the end."
    )


class Reader(features.Extractor):
    """What `Before` gives of captioned images, computed once as features are.

    Parameters
    ----------
    tuned
        Which parts, and of how many images.
    others
        As `features.Extractor` has them.
    """

    def __init__(self, tuned: Tuned, *others: Any) -> None:
        super().__init__(*others)
        self.tuned = tuned

    def _chosen(self, source: Source, part: pd.DataFrame) -> pd.DataFrame:
        if source.measured:
            return part.groupby(["kind", "finding"], sort=False).head(self.tuned.images)
        return part.head(self.tuned.phantoms)

    def _sees(self) -> dict[str, Any]:
        return {
            "edges": [self.settings.edges[0], self.tuned.edge],
            "before": self.tuned.parts[0],
        }

    def _network(self) -> nn.Module:
        factor = self.settings.edges[0] // self.tuned.edge
        return Before(self.tower.trunk, self.tuned.parts[0], factor)
