"""Commands for a person: label one's own images, watch a run, write the schema."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from medlabel import params as parameters
from medlabel.commands.state import State
from medlabel.errors import MedlabelError

MB = 1_000_000


def label(
    images: Annotated[
        Path,
        typer.Argument(help="Folder (with its subfolders), .zip, list (.csv, .parquet) or file."),
    ],
    classes: Annotated[
        str | None,
        typer.Option(help='Names, such as "chest x-ray, breast ultrasound", or a YAML file.'),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("labels"),
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Folder, file in one, MODEL:TAG or MODEL:FILE of open_clip, or hub id ORG/NAME; "
            "the default teacher if not given."
        ),
    ] = None,
    corrections: Annotated[
        Path | None, typer.Option(help="CSV of what a person checked; its labels win.")
    ] = None,
    audit: Annotated[
        int | None, typer.Option(min=1, help="Let chance choose so many images to check.")
    ] = None,
    by_label: Annotated[
        bool, typer.Option("--by-label", help="Make folders by label, of links.")
    ] = False,
    weigh: Annotated[
        bool, typer.Option("--weigh", help="Weigh sentences by how they tell the images apart.")
    ] = False,
    window: Annotated[
        str, typer.Option(help="Intensities shown, where there are more than 8 bits: LOW,HIGH.")
    ] = "auto",
    volumes: Annotated[str, typer.Option(help="Volumes become slices or projection.")] = "slices",
    batch_size: Annotated[int, typer.Option(min=1, help="Images a forward pass.")] = 64,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads and processes; all if not given.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Write labels even where they are refused.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that a person changed; a copy is kept.")
    ] = False,
    words: Annotated[Path | None, typer.Option(hidden=True)] = None,
    target: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Label images by words alone; needs no params.yaml and no training."""
    from medlabel.annotation import classes as naming
    from medlabel.annotation import label as labelling
    from medlabel.data.reading import windows
    from medlabel.data.reading.page import Reading

    sentences = naming.read(classes, words)
    if target is not None:
        raise MedlabelError(
            f"--target {target}: replaced by --out FOLDER, which holds labels.csv and more."
        )
    cores = threads or _cores()
    labelling.label(
        labelling.Request(
            images=images,
            out=out,
            sentences=sentences,
            encoder=encoder,
            reading=Reading(windows.parse(window), volumes),  # type: ignore[arg-type]
            batch_size=batch_size,
            precision=precision,
            device=device,
            threads=cores,
            workers=cores,
            corrections=corrections,
            audit=audit,
            by_label=by_label,
            weigh=weigh,
            anyway=anyway,
            force=force,
        )
    )


def _cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def doctor(as_json: AsJson = False) -> None:
    """Look at what labelling needs on this machine; each lack comes with its remedy."""
    import json
    from dataclasses import asdict

    from medlabel.annotation import health

    findings = health.examine()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in findings], indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(one.told() for one in findings))
    if any(one.verdict == "missing" for one in findings):
        raise typer.Exit(1)


def status(as_json: AsJson = False) -> None:
    """Show what is kept for this user: teachers, embedded images, disk."""
    import json

    from medlabel.annotation import health

    found = health.kept()
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{found['folder']}: {found['bytes'] / MB:.0f} MB")
    for name, size in found["encoders"].items():
        typer.echo(f"  teacher {name}: {size / MB:.0f} MB")
    typer.echo(f"  {found['images']} embedded images: {found['images_bytes'] / MB:.0f} MB")


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
