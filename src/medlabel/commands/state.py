"""The parameters that the options before a command select."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from medlabel import layout as layouts
from medlabel import params as parameters
from medlabel.errors import MedlabelError

T = TypeVar("T")
Threads = Annotated[int, typer.Option(min=1, help="CPU threads for torch.")]


class State:
    """Parameter files and overrides, read when a command asks for them."""

    files: list[Path]
    overrides: list[str]

    @classmethod
    def both(cls) -> tuple[parameters.Params, layouts.Layout]:
        """Return the parameters, checked, and where their files lie."""
        found = parameters.read(cls.files, cls.overrides)
        return found, layouts.of(found)


def chosen(name: str, parts: Mapping[str, T], what: str) -> T:
    """Return the part of a name.

    Raises
    ------
    MedlabelError
        When there is none.
    """
    if name not in parts:
        raise MedlabelError(f"{what}: {name!r} given, one of {', '.join(parts)} expected.")
    return parts[name]
