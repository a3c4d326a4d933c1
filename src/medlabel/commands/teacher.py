"""Commands of the teacher: train or adopt an encoder, embed images and words, label."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medlabel import layout as layouts
from medlabel import params as parameters
from medlabel.commands.state import State, Threads, chosen
from medlabel.data import catalogue
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    from medlabel.data.pixels import Pixels
    from medlabel.teacher import sources

CALIBRATING, CALIBRATING_EDGE = 2, 28  # phantoms a kind, and their edge in pixels
Encoder = Annotated[str, typer.Argument(help="An encoder of params.yaml.")]


def pretrain(
    encoder: Encoder,
    run: Annotated[int, typer.Option(min=0, help="Which of its pretrainings.")] = 0,
    threads: Threads = 1,
) -> None:
    """Train an encoder on captioned phantoms: a small CLIP, or the heads of a locked tower."""
    params, layout = State.both()
    part = chosen(encoder, params.encoders, "encoders")
    if isinstance(part, parameters.Locked):
        _train_heads(encoder, part, params, layout, threads)
        return
    if not isinstance(part, parameters.Contrastive):
        raise MedlabelError(
            f"encoders.{encoder}: kind {part.kind} given; contrastive or locked expected."
        )
    training = importlib.import_module(f"medlabel.{part.module}")
    size = params.phantoms.size
    drawn = [(kind, size) for kind in catalogue.FLAT_PHANTOMS] if part.phantoms else []
    references = {
        step: parameters.EncoderReference(encoder, run, step) for step in part.checkpoints
    }
    start = part.start_of(run)
    training.pretrain(
        sources=_captioned(drawn, part.datasets, layout),
        folders={step: Path(layout.encoder(one)) for step, one in references.items()},
        settings=part,
        size=size,
        run=run,
        device=params.device,
        threads=threads,
        seed=params.seed,
        resume=Path(params.folders.data) / "cache" / "pretrain",
        start=None if start is None else Path(layout.encoder(start)),
    )


def _train_heads(
    encoder: str,
    part: parameters.Locked,
    params: parameters.Params,
    layout: layouts.Layout,
    threads: int,
) -> None:
    training = importlib.import_module(f"medlabel.{part.module}")
    training.train(
        sources=_sources(part, params, layout),
        folders={
            run: Path(layout.encoder(parameters.EncoderReference(encoder, run)))
            for run in range(part.pretrainings)
        },
        settings=part,
        seed=params.seed,
        device=params.device,
        threads=threads,
        cache=Path(params.folders.data) / "cache" / "features",
    )


def _sources(
    part: parameters.Locked, params: parameters.Params, layout: layouts.Layout
) -> list[sources.Source]:
    """Return what a locked tower learns words from: one's own images, or phantoms and others."""
    from medlabel.teacher import locked, own_tables, wordvectors

    if part.captioned is not None:
        tokenizer = wordvectors.Tokenizer(wordvectors.load().tokenizer, locked.CONTEXT_LENGTH)
        cache = Path(params.folders.data) / "cache" / "captioned"
        table = Path(part.captioned)
        return [own_tables.gather(table, part.edges[0], tokenizer, cache, params.seed)]
    return _captioned(params.phantoms_of(part), part.datasets, layout)


def _captioned(
    drawn: Sequence[tuple[str, int]],
    labelled: Sequence[parameters.Labelled],
    layout: layouts.Layout,
) -> list[sources.Source]:
    """Return phantoms, by kind and size, and official images."""
    from medlabel.data.captions import DESCRIBED
    from medlabel.teacher.sources import Source

    found = [
        Source(*one, Path(layout.phantoms(*one)), Path(layout.captions(*one))) for one in drawn
    ]
    for one in labelled:
        dataset, size = catalogue.parse(one.images)
        names = DESCRIBED[dataset].findings
        shown = None if one.labels is None else tuple(names[label] for label in one.labels)
        places = Path(layout.raw(one.images)), Path(layout.said(one.images))
        found.append(Source(dataset, size, *places, measured=True, findings=shown))
    return found


def adopt(
    encoder: Encoder,
    target: Annotated[
        Path | None, typer.Option(help="Folder to write; data/encoders/ENCODER if not given.")
    ] = None,
) -> None:
    """Bring a published model, or an encoder made elsewhere, into the project."""
    from medlabel.teacher import openai_archive

    params, layout = State.both()
    part = chosen(encoder, params.encoders, "encoders")
    if not isinstance(part, parameters.Published):
        raise MedlabelError(
            f"encoders.{encoder}: kind {part.kind} given; a published one expected."
        )
    if part.kind == "open_clip" and openai_archive.is_one(Path(part.pretrained or "")):
        raise MedlabelError(
            f"encoders.{encoder}.kind: open_clip given, but {part.pretrained} is OpenAI's own "
            f"file, a TorchScript archive: set it to openai."
        )
    folder = target or Path(layout.encoder(encoder))
    importlib.import_module(f"medlabel.{part.module}").adopt(part, folder)


def verify(
    what: Annotated[
        str,
        typer.Argument(help="Folder that pretrain or adopt wrote; or `capstone`, the whole study."),
    ],
    cores: Annotated[int, typer.Option(min=1, help="Of the study.")] = os.cpu_count() or 1,
) -> None:
    """Check an encoder's checksum, tensors and probe; or make the capstone's study and compare.

    An encoder needs no params.yaml. The study needs the project's folder and, unless all is there
    already, a network: its published numbers are then told one by one, each with ours, its
    interval, and whether the published one lies within.
    """
    from medlabel.evaluate import capstone
    from medlabel.teacher import verify as verifying

    if what == capstone.STUDY and not Path(what).is_dir():
        _verify_capstone(cores)
    else:
        verifying.verify(Path(what))


def _verify_capstone(cores: int) -> None:
    from medlabel.evaluate import capstone, published, results

    overlay = Path(capstone.OVERLAY)
    if not overlay.is_file():
        raise MedlabelError(
            f"{overlay}: no such file; run `medlabel verify {capstone.STUDY}` in the project's "
            f"folder."
        )
    made = [*["--quiet", "rules", "--configfile"], str(overlay), "--cores", str(cores)]
    command = [sys.executable, "-m", "snakemake", *made, "--", f"study_{capstone.STUDY}"]
    if subprocess.run(command, check=False).returncode:  # noqa: S603
        raise MedlabelError(
            f"study_{capstone.STUDY}: could not be made, for what is said above; the same command "
            f"goes on where it stopped."
        )
    State.files = [*State.files, overlay]
    _, layout = State.both()
    study = results.read(Path(layout.study(capstone.STUDY, "study.json")))
    for number in capstone.compare(study, published.read(Path(layouts.PUBLISHED))):
        typer.echo(number)


def export(
    encoder: Annotated[Path, typer.Argument(help="Folder that pretrain or adopt wrote.")],
    target: Annotated[Path, typer.Argument(help="New folder to write.")],
) -> None:
    """Write an encoder as a folder that open_clip loads without this package."""
    from medlabel.teacher import export as exporting

    exporting.export(encoder, target)


def embed(
    mixture: Annotated[str, typer.Argument(help="A mixture of params.yaml.")],
    encoder: Encoder,
    threads: Threads = 1,
) -> None:
    """Compute the embedding of every image of a mixture, once."""
    from medlabel.teacher import embed as embedding

    params, layout = State.both()
    part = chosen(mixture, params.mixtures, "mixtures")
    settings = chosen(encoder, params.encoders, "encoders")
    embedding.embed(
        references=_folders(params.teachers(encoder, mixture), layout),
        archives={name: Path(path) for name, path in layout.archives(part).items()},
        mixture=part,
        pool=Path(layout.pool(mixture)),
        target=Path(layout.embeddings(mixture, encoder)),
        settings=settings,
        cache=Path(params.folders.data) / "cache" / "embeddings",
        device=params.device,
        threads=threads,
        calibration=_calibration() if settings.precision == "int8" else (),
    )


def _calibration() -> list[Pixels]:
    """Draw a few phantoms of every flat kind, the same ones for every encoder and mixture."""
    from medlabel.data import phantoms

    drawn = (
        phantoms.draw(kind, CALIBRATING, CALIBRATING_EDGE, 0, "calibration", artefacts=True)
        for kind in catalogue.FLAT_PHANTOMS
    )
    return [one.images for one in drawn]


def _folders(
    references: list[parameters.EncoderReference], layout: layouts.Layout
) -> dict[str, Path]:
    return {str(one): Path(layout.encoder(one)) for one in references}


def words(
    encoder: Encoder,
    prompts: Annotated[str, typer.Argument(help="A prompt set of params.yaml.")],
    threads: Threads = 1,
) -> None:
    """Embed the words of every class."""
    from medlabel.teacher import words as embedding

    params, layout = State.both()
    chosen(prompts, params.prompts, "prompts")
    embedding.write(
        references=_folders(params.teachers(encoder), layout),
        sentences=params.labels_wanted(prompts),
        target=Path(layout.words(encoder, prompts)),
        device=params.device,
        threads=threads,
    )


def pseudolabel(
    images: Annotated[str, typer.Argument(help="A mixture, or a member of one.")],
    labels: Annotated[str, typer.Argument(help="ENCODER+PROMPTS+LABELLING.")],
) -> None:
    """Label every image of a mixture from embeddings and words."""
    from medlabel.labels import label

    params, layout = State.both()
    try:
        taught = parameters.Trained(images, labels, "", "").taught
    except ValueError as error:
        raise MedlabelError(f"labels: {labels!r} given; encoder+prompts+labelling expected.") from (
            error
        )
    if taught is None:
        raise MedlabelError("labels: true labels are not made by a teacher.")
    encoder, prompts, labelling = taught
    settings = chosen(labelling, params.labellings, "labellings")
    space = params.space_of(labelling)
    label.write(
        pool=Path(layout.pool_of(images)),
        embeddings=Path(layout.embeddings(parameters.pool_name(images), encoder.name)),
        words=Path(layout.words(encoder.name, prompts)),
        reference=str(encoder),
        mixture=chosen(images, params.every_mixture, "images"),
        settings=settings,
        target=Path(layout.labels(images, labels)),
        space=None
        if space is None
        else (Path(layout.embeddings(parameters.pool_name(images), space.name)), str(space)),
    )
