"""Commands for a person: label one's own images, watch a run, write the schema."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medlabel import params as parameters
from medlabel.commands.state import State
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    from medlabel.standing import Standing

logger = logging.getLogger("medlabel")

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
            help="Folder, file in one, MODEL:TAG or MODEL:FILE of open_clip, hub id ORG/NAME, or "
            "transformers:ORG/NAME; the default teacher if not given."
        ),
    ] = None,
    corrections: Annotated[
        Path | None, typer.Option(help="CSV of what a person checked; its labels win.")
    ] = None,
    audit: Annotated[
        int | None, typer.Option(min=1, help="Let chance choose so many images to check.")
    ] = None,
    audit_clusters: Annotated[
        int | None, typer.Option(min=1, help="Let chance choose so many images of each cluster.")
    ] = None,
    clusters_only: Annotated[
        bool, typer.Option("--clusters-only", help="Group images without words, to be named later.")
    ] = False,
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
    precision: Annotated[
        str | None,
        typer.Option(help="Share of labels to be right, such as 0.98: less sure images get none."),
    ] = None,
    train_student: Annotated[
        bool, typer.Option("--train-student", help="Let a small network learn the labels.")
    ] = False,
    student: Annotated[
        Path | None, typer.Option(help="A student that labels instead of words and a teacher.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a forward pass.")] = 64,
    arithmetic: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a summary to standard output, as JSON.")
    ] = False,
    words: Annotated[Path | None, typer.Option(hidden=True)] = None,
    target: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Label images by words alone, or by a student; needs no params.yaml and no training."""
    from medlabel.annotation import abstaining
    from medlabel.annotation import label as labelling
    from medlabel.annotation.request import Request
    from medlabel.data.reading import windows
    from medlabel.data.reading.page import Reading

    share = None if precision is None else abstaining.parse(precision)
    sentences = _sentences(classes, words, student, clusters_only)
    if target is not None:
        raise MedlabelError(
            f"--target {target}: replaced by --out FOLDER, which holds labels.csv and more."
        )
    cores = threads or _cores()
    done = labelling.label(
        Request(
            images=images,
            out=out,
            sentences=sentences,
            encoder=encoder,
            reading=Reading(windows.parse(window), volumes),  # type: ignore[arg-type]
            student=student,
            train_student=train_student,
            precision=share,
            batch_size=batch_size,
            arithmetic=arithmetic,
            device=device,
            threads=cores,
            workers=cores,
            corrections=corrections,
            audit=audit,
            audit_clusters=audit_clusters,
            by_label=by_label,
            weigh=weigh,
            anyway=anyway,
            force=force,
        )
    )
    if as_json:
        typer.echo(json.dumps(done.content(), indent=2, ensure_ascii=False))


def _sentences(
    classes: str | None, words: Path | None, student: Path | None, clusters_only: bool
) -> Mapping[str, Sequence[str]]:
    """Return what is said of each class; of a student's, nothing. Clusters alone need none."""
    from medlabel.annotation import classes as naming
    from medlabel.annotation import students

    if clusters_only:
        if classes or words:
            raise MedlabelError("label: give either --classes or --clusters-only.")
        return {}
    if student is None:
        return naming.read(classes, words)
    own = students.read(student).classes
    if classes or words:
        asked = naming.read(classes, words)
        if set(asked) != set(own):
            raise MedlabelError(
                f"--classes: {', '.join(asked)} given, but {student} tells {', '.join(own)} apart; "
                f"leave --classes out."
            )
    return dict.fromkeys(own, ())


def _cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def doctor(as_json: AsJson = False) -> None:
    """Look at what labelling needs on this machine; each lack comes with its remedy."""
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
    """Show what is kept for this user; in a project's folder, how far its studies are, too."""
    from medlabel.annotation import health

    found, project = health.kept(), _project()
    if as_json:
        told = {**found, "project": project and project.content()}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{found['folder']}: {found['bytes'] / MB:.0f} MB")
    for name, size in found["encoders"].items():
        typer.echo(f"  teacher {name}: {size / MB:.0f} MB")
    typer.echo(f"  {found['images']} embedded images: {found['images_bytes'] / MB:.0f} MB")
    if project:
        typer.echo(project.told())


def _project() -> Standing | None:
    """Look at the project of this folder; other programs have files of the same name."""
    from medlabel import standing

    if not State.files[0].is_file():
        return None
    try:
        return standing.of(*State.both())
    except MedlabelError as error:
        logger.warning("%s", str(error).partition("\n")[0])
        return None


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
