"""The command line: it gathers the commands and turns expected failures into one line.

Heavy packages are imported inside the commands, so that ``medlabel --help`` answers at once.
"""

from __future__ import annotations

import atexit
import gc
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from medlabel import __version__
from medlabel.commands import (
    data,
    generation,
    many_sets,
    product,
    results,
    students,
    teacher,
    training,
)
from medlabel.commands.state import State
from medlabel.errors import MedlabelError

app = typer.Typer(
    help="Label medical images without a human labeller, and measure how well that works.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

STEPS = (
    data.fetch,
    data.phantoms,
    data.vessels,
    data.captions,
    data.pool,
    teacher.pretrain,
    teacher.adopt,
    teacher.embed,
    teacher.words,
    teacher.pseudolabel,
    training.train,
    generation.generate,
    results.evaluate,
    results.report,
    results.metrics,
    results.few_labels,
    results.without_labels,
    results.retrieval,
    results.agreement,
    results.concepts,
    results.compared,
    results.segmentation,
    many_sets.stand_in,
    many_sets.pool_sets,
    many_sets.embed_sets,
    many_sets.train_sets,
    many_sets.many_sets,
    generation.generation,
    results.contact_sheet,
)

# Objects, and rounds, before garbage is looked for. With Python's own numbers a fifth of the time
# of a large folder goes into looking through all that is known of its files, again and again.
GARBAGE = (100_000, 50, 100)
PERSONAL = (product.label, product.doctor, product.status, product.watch)
ENCODERS = (teacher.verify, teacher.export)

for command in (*PERSONAL, *ENCODERS, *STEPS, product.schema):
    app.command(name=command.__name__)(command)
app.command(name="export-student")(students.export_student)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def configure(
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
    overlay: Annotated[
        list[Path] | None, typer.Option(help="Overlay such as config/demo.yaml; repeatable.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="key.path=value; repeatable.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Select the parameters for the command that follows."""
    State.files = [params, *(overlay or [])]
    State.overrides = list(override or [])


def main() -> None:
    """Run the command line; an expected failure is one line and status 1."""
    gc.set_threshold(*GARBAGE)
    atexit.register(gc.freeze)  # at the end there is no use in looking once more
    logging.getLogger("medlabel").setLevel(logging.INFO)
    logging.basicConfig(
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    try:
        app(prog_name="medlabel")
    except MedlabelError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"medlabel: error: {line}\n")
        sys.exit(1)
