"""Commands for a person: label one's own images, watch a run, write the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medlabel import params as parameters
from medlabel.commands.state import State, Threads
from medlabel.errors import MedlabelError

CAPSTONE_TEMPLATE = "This is a photo of the {}, and it's a type of organ"


def label(
    images: Annotated[Path, typer.Argument(help="Folder, searched with its subfolders.")],
    encoder: Annotated[Path, typer.Option(help="Folder that pretrain or adopt wrote.")],
    target: Annotated[Path, typer.Option(help="CSV to write: file, label, probabilities.")],
    classes: Annotated[
        str | None, typer.Option(help='Names of the classes: "chest, breast".')
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="YAML: templates, and words (descriptions by class), as in prompts."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a forward pass.")] = 64,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a target that exists.")] = False,
    threads: Threads = 1,
) -> None:
    """Label a folder of images by words alone; needs no params.yaml."""
    from medlabel.annotation import label as labelling

    labelling.label(
        images=images,
        folder=encoder,
        target=target,
        classes=sentences(classes, words),
        batch_size=batch_size,
        precision=precision,
        device=device,
        threads=threads,
        force=force,
    )


def sentences(classes: str | None, words: Path | None) -> dict[str, list[str]]:
    """Return what to say of each class.

    Raises
    ------
    MedlabelError
        When neither or both are given.
    """
    if (classes is None) == (words is None):
        raise MedlabelError('label: give either --classes "one, other" or --words FILE.')
    content: dict[str, Any] = {"templates": [CAPSTONE_TEMPLATE], "words": {}}
    if words is not None:
        content |= parameters.read_yaml(words)
    prompts = parameters.check(parameters.Prompts, content, str(words or "--classes"))
    names = [name.strip() for name in (classes or "").split(",") if name.strip()]
    names = names or list(prompts.words)
    return {name: prompts.sentences(name) for name in names}


def watch(
    once: Annotated[bool, typer.Option("--once", help="Show the state once and end.")] = False,
) -> None:
    """Show how far running jobs have come, from a second terminal."""
    from medlabel import watching

    params, _ = State.both()
    watching.watch(Path(params.folders.data) / "logs", once)


def schema(target: Annotated[Path, typer.Option(help="File to write.")]) -> None:
    """Write the JSON schema of params.yaml."""
    from medlabel.files import replacing

    with replacing(target) as partial:
        partial.write_text(parameters.schema(), encoding="utf-8")
