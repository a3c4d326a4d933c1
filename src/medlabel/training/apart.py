"""Augmentations that have a module of their own, so that a new one trains nothing else again."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any

from torch import Tensor

from medlabel.params import Recipe
from medlabel.params.recipes import APART

Change = Callable[[Tensor], Tensor]
Maker = Callable[[Sequence[str], Recipe, bool, int, int], Change]


def by_name(maker: Maker) -> Maker:
    """Let a maker of transforms, as `augment.transform`, know the names of `APART` too.

    Their modules have ``transform``, which takes a seed. They come after
    all others, one after the other. Without such a name the maker's own transform is returned.
    """

    @wraps(maker)
    def made(
        names: Sequence[str], strengths: Recipe, volumetric: bool, size: int, seed: int
    ) -> Change:
        first = maker([one for one in names if one not in APART], strengths, volumetric, size, seed)
        further = [_module(APART[one]).transform(seed) for one in APART if one in names]
        if not further:
            return first
        return lambda image: reduce(lambda seen, change: change(seen), [first, *further], image)

    return made


def _module(name: str) -> Any:
    return importlib.import_module(f"medlabel.{name}")
