"""The command that trains: students and supervised networks alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medlabel import fingerprint
from medlabel.commands.state import State, Threads
from medlabel.errors import MedlabelError
from medlabel.layout import Layout
from medlabel.networks.names import placed
from medlabel.params import Params, Trained, TrainingSettings


def train(
    training: Annotated[str, typer.Argument(help="IMAGES/LABELS/NETWORK/RECIPE.")],
    block: Annotated[str, typer.Option(help="Seeds, first-last, such as 0000-0009.")],
    threads: Threads = 1,
) -> None:
    """Train a network on labels, once for each seed of a block, and judge it."""
    from medlabel.training import run

    params, layout = State.both()
    if training not in params.trainings:
        raise MedlabelError(f"{training}: no study of the parameters asks for this training.")
    trained = params.trainings[training]
    settings = params.training(trained)
    found = params.distilled(trained)
    taught = None if found is None else params.training(found)
    run.run(
        trained,
        _placed(settings, layout),
        block,
        {name: Path(path) for name, path in layout.archives(params.images(trained.images)).items()},
        Path(layout.pool_of(trained.images)) if settings.mixture else None,
        None
        if trained.pseudolabels is None
        else Path(layout.labels(trained.images, trained.pseudolabels)),
        [
            *source_weights(params, layout, params.start_of(trained), block),
            *tower_weights(layout, settings),
        ],
        None
        if taught is None
        else (_placed(taught, layout), source_weights(params, layout, found, block)),
        Path(layout.training(trained.name, block)),
        Path(layout.resume(trained.name, block)),
        params.device,
        threads,
        fingerprint.of(*settings.modules),
    )


def source_weights(
    params: Params, layout: Layout, source: Trained | None, block: str
) -> list[Path]:
    """Return the weights of the blocks of another training that hold the seeds of a block."""
    if source is None:
        return []
    first, last = map(int, block.split("-"))
    files = layout.blocks(params, source, last + 1, "weights.safetensors")
    return [Path(file) for file in files[first // params.recipes[source.recipe].seeds_per_job :]]


def tower_weights(layout: Layout, settings: TrainingSettings) -> list[Path]:
    """Return the files of the encoder whose image tower a network has; none of others."""
    if settings.tower is None:
        return []
    return [Path(file) for file in layout.encoder_files([settings.tower])]


def _placed(settings: TrainingSettings, layout: Layout) -> TrainingSettings:
    """Name the folder of the encoder whose tower a network has, as `registry.build` needs it."""
    if settings.tower is None:
        return settings
    network = placed(str(settings.network), layout.encoder(settings.tower))
    return settings.model_copy(update={"network": network})
