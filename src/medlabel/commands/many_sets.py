"""Commands of one model for many sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medlabel import fingerprint
from medlabel.commands.state import State, chosen
from medlabel.layout import PUBLISHED
from medlabel.networks.names import module_of
from medlabel.params.recipes import APART

if TYPE_CHECKING:
    from medlabel.data.many_sets import Numbering
    from medlabel.report.many_sets import Ran

Entry = Annotated[str, typer.Argument(help="An entry of many_sets in params.yaml.")]


def stand_in(
    dataset: Annotated[str, typer.Argument(help="A flat official set, such as pathmnist.")],
    size: Annotated[int, typer.Option(help="Edge in pixels.")] = 28,
) -> None:
    """Draw a STAND-IN in the shape of an official file, with its labels."""
    from medlabel.data import stand_ins
    from medlabel.data.stand_ins import facts, repeated

    params, layout = State.both()
    chosen(dataset, dict.fromkeys(stand_ins.STAND_INS), "stand_in")
    counts, drawings = params.phantoms.stand_ins.model_dump(), params.phantoms.stand_in_drawings
    target = Path(layout.stand_in(dataset, size))
    if drawings is None:
        stand_ins.write(dataset, target, counts, size, params.seed)
    else:
        repeated.write(dataset, target, counts, drawings, size, params.seed)
    facts.write(dataset, size, target)


def pool_sets(name: Entry) -> None:
    """List all images of the sets that one model learns."""
    from medlabel.data import mixtures

    params, layout = State.both()
    many = chosen(name, params.many_sets, "many_sets")
    archives = {one: Path(path) for one, path in layout.sets_of(many).items()}
    target = Path(layout.many_sets_data(name, "pool.parquet"))
    mixtures.write_pool(name, many.mixture, archives, target, params.seed)


def embed_sets(
    name: Entry,
    encoder: Annotated[str, typer.Argument(help="An encoder, or its checkpoint.")],
) -> None:
    """Embed all images of the sets that one model learns."""
    from medlabel.params import EncoderReference
    from medlabel.teacher import embed

    params, layout = State.both()
    many = chosen(name, params.many_sets, "many_sets")
    settings = chosen(EncoderReference.parse(encoder).name, params.encoders, "encoders")
    embed.embed(
        references={encoder: Path(layout.encoder(encoder))},
        archives={one: Path(path) for one, path in layout.sets_of(many).items()},
        mixture=many.mixture,
        pool=Path(layout.many_sets_data(name, "pool.parquet")),
        target=Path(layout.many_sets_data(name, f"embeddings/{encoder}.parquet")),
        settings=settings,
        cache=Path(params.folders.data) / "cache" / "embeddings",
        device=params.device,
        threads=settings.threads,
    )


def train_sets(
    name: Entry, model: Annotated[str, typer.Argument(help="One of its models.")]
) -> None:
    """Train one model for many sets, and let it answer for all their images."""
    from medlabel.training import many_sets_job as job

    params, layout = State.both()
    many = chosen(name, params.many_sets, "many_sets")
    learner = chosen(model, many.models, f"many_sets.{name}.models")
    seen = learner.encoder
    given = job.Files(
        {one: Path(path) for one, path in layout.sets_of(many).items()},
        Path(layout.many_sets_data(name, "pool.parquet")),
        Path(layout.many_sets_data(name, f"embeddings/{seen}.parquet")) if seen else None,
        Path(params.folders.data) / "cache" / "many_sets" / name / f"{model}.pt",
    )
    folder = Path(layout.many_sets_data(name, f"models/{model}"))
    apart = [APART[one] for one in params.recipes[learner.recipe].apart]
    code = fingerprint.of("training.many_sets_job", module_of(learner.network or ""), *apart)
    job.run(params, name, model, given, folder, code)


def many_sets(name: Entry) -> None:
    """Score the models of many sets, and draw them beside one another."""
    from medlabel.data.many_sets import Numbering
    from medlabel.evaluate import published
    from medlabel.report import many_sets as drawing

    params, layout = State.both()
    many = chosen(name, params.many_sets, "many_sets")
    numbering = Numbering(tuple(many.sets))
    models = {
        model: _ran(layout.many_sets_data(name, f"models/{model}"), numbering)
        for model in many.models
    }
    table = published.read(Path(PUBLISHED))
    beside = table[table["dataset"] == many.published] if many.published else table[:0]
    drawing.write(params, name, models, beside, Path(layout.many_sets(name, "")))


def _ran(folder: str, numbering: Numbering) -> Ran:
    from medlabel import files
    from medlabel.evaluate import many_sets as evaluation
    from medlabel.report.many_sets import Ran

    record = files.read_json(Path(folder, "run.json"), "train_sets")
    return Ran(evaluation.read(Path(folder, "predictions.parquet"), numbering), record)
