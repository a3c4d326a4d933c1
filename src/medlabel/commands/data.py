"""Commands that download, draw and list images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medlabel.commands.state import State, Threads, chosen
from medlabel.data import catalogue

Mixture = Annotated[str, typer.Argument(help="A mixture of params.yaml.")]


def fetch(
    file: Annotated[str, typer.Argument(help="MedMNIST's file: breastmnist, breastmnist_224.")],
    target: Annotated[
        Path | None, typer.Option(help="The .npz to write; data/raw/FILE.npz if not given.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Edge in pixels or voxels, if FILE does not say it.")
    ] = None,
) -> None:
    """Download one official file, or copy it from a mirror, and check it."""
    from medlabel.data import medmnist

    params, layout = State.both()
    flag, edge = medmnist.parse(file)
    edge = size or edge
    medmnist.fetch(
        flag,
        edge,
        target or Path(layout.raw(catalogue.file_stem(flag, edge))),
        Path(params.folders.data) / "cache" / "raw",
        params.data,
    )


Size = Annotated[
    int | None, typer.Option(min=14, max=512, help="Edge; phantoms.size if not given.")
]


def phantoms(size: Size = None, threads: Threads = 1) -> None:
    """Draw captioned phantoms of every flat kind."""
    _draw(size, threads, *catalogue.FLAT_PHANTOMS)


def vessels(size: Size = None) -> None:
    """Draw vessels in 3-D, half of them with an aneurysm."""
    _draw(size, 1, "phantom_vessel3d")


def _draw(size: int | None, threads: int, *kinds: str) -> None:
    from medlabel.data import phantoms as drawing

    params, layout = State.both()
    settings = params.phantoms.model_copy(update={"size": size or params.phantoms.size})
    drawing.write_all(
        [
            (
                kind,
                Path(layout.phantoms(kind, settings.size)),
                Path(layout.captions(kind, settings.size)),
                settings.volumes if catalogue.is_volumetric(kind) else settings.counts,
                settings,
            )
            for kind in kinds
        ],
        params.seed,
        threads,
    )


def captions(
    file: Annotated[str, typer.Argument(help="MedMNIST's file: pneumoniamnist, pathmnist_224.")],
) -> None:
    """Put the labels of an official file into words: a caption for every image."""
    from medlabel.data import captions as grammar

    params, layout = State.both()
    grammar.write(file, Path(layout.raw(file)), Path(layout.said(file)), params.seed)


def pool(mixture: Mixture) -> None:
    """List every image that a mixture may draw, and find duplicates."""
    from medlabel.data import mixtures

    params, layout = State.both()
    part = chosen(mixture, params.mixtures, "mixtures")
    archives = {name: Path(path) for name, path in layout.archives(part).items()}
    target = Path(layout.pool(mixture))
    mixtures.write_pool(mixture, part, archives, target, params.seed)
    mixtures.write_audit(target, part, archives, Path(layout.duplicates(mixture)))
