"""Commands that score and draw; nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medlabel.commands.state import State, chosen
from medlabel.data import catalogue
from medlabel.layout import PUBLISHED
from medlabel.params import pool_name

Study = Annotated[str, typer.Argument(help="A study of params.yaml.")]


def evaluate(study: Study) -> None:
    """Score a study: intervals, paired tests, published values."""
    from medlabel.evaluate import study as evaluation

    params, layout = State.both()
    chosen(study, params.studies, "studies")
    evaluation.write(params, study, layout, Path(PUBLISHED))


def report(study: Study) -> None:
    """Draw a study's figures, write its tables and its page."""
    from medlabel.report import report as reporting

    params, layout = State.both()
    chosen(study, params.studies, "studies")
    reporting.write(params, study, layout, Path(PUBLISHED))


def metrics() -> None:
    """Gather the headline numbers of the default studies in one small file."""
    from medlabel.evaluate import metrics as gathering

    params, layout = State.both()
    gathering.write(params, layout)


def few_labels(
    name: Annotated[str, typer.Argument(help="A learning curve of params.yaml.")],
) -> None:
    """Learn from a few true labels on frozen embeddings, and draw what a label is worth."""
    from medlabel.evaluate import few_labels as learning
    from medlabel.report import few_labels as drawing

    params, layout = State.both()
    curve = chosen(name, params.few_labels, "few_labels")
    pool = pool_name(curve.images)
    inputs = learning.Inputs(
        Path(layout.pool(pool)),
        Path(layout.embeddings(pool, curve.reference.name)),
        Path(layout.words(curve.reference.name, curve.prompts)),
        {one: Path(layout.labels(curve.images, curve.labels(one))) for one in curve.labellings},
    )
    mixture = params.every_mixture[curve.images]
    found = learning.compute(inputs, str(curve.reference), mixture, curve, params.seed)
    drawing.write(params, name, found, Path(layout.curve(name, "")))


def contact_sheet() -> None:
    """Draw a few phantoms of every kind."""
    from medlabel.report import contact_sheet as sheet

    params, layout = State.both()
    sheet.draw(
        {kind: Path(layout.phantoms(kind, params.phantoms.size)) for kind in catalogue.PHANTOMS},
        [Path(params.folders.results) / f"phantoms{suffix}" for suffix in (".svg", ".png")],
    )
