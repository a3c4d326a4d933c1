"""Commands that make SYNTHETIC images and tell what they are worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medlabel.commands.state import State, chosen
from medlabel.params import pool_name

if TYPE_CHECKING:
    from medlabel.generation.run import Source
    from medlabel.layout import Layout
    from medlabel.params import Params

Name = Annotated[str, typer.Argument(help="An entry of generation in params.yaml.")]


def generate(name: Name) -> None:
    """Learn to make images of words from captioned ones, and make SYNTHETIC ones."""
    from medlabel.generation import run

    params, layout = State.both()
    asked = chosen(name, params.generation, "generation")
    run.write(
        _source(asked.images, params, layout),
        _source(asked.judged, params, layout),
        Path(layout.encoder(asked.reference)),
        asked,
        Path(layout.generated(name, "")),
        params.seed,
        params.device,
    )


def generation(name: Name) -> None:
    """Tell what SYNTHETIC images are worth: classifiers that learn from them, copies, filling."""
    from medlabel.generation import classifiers
    from medlabel.report import generation as drawing

    params, layout = State.both()
    asked = chosen(name, params.generation, "generation")
    found = classifiers.judge(
        _source(asked.images, params, layout),
        _source(asked.judged, params, layout),
        Path(layout.generated(name, "")),
        asked,
        params.networks[asked.network],
        params.seed,
        params.device,
    )
    drawing.write(params, name, found, Path(layout.generation(name, "")))


def _source(images: str, params: Params, layout: Layout) -> Source:
    from medlabel.generation.run import Source as Files

    mixture = params.every_mixture[images]
    return Files(
        mixture,
        Path(layout.pool(pool_name(images))),
        {dataset: Path(path) for dataset, path in layout.archives(mixture).items()},
        {dataset: Path(path) for dataset, path in layout.captions_of(mixture).items()},
    )
