"""Commands that score and draw; nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medlabel.commands.state import State, chosen
from medlabel.data import catalogue
from medlabel.layout import PUBLISHED

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


def contact_sheet() -> None:
    """Draw a few phantoms of every kind."""
    from medlabel.report import contact_sheet as sheet

    params, layout = State.both()
    sheet.draw(
        {kind: Path(layout.phantoms(kind, params.phantoms.size)) for kind in catalogue.PHANTOMS},
        [Path(params.folders.results) / f"phantoms{suffix}" for suffix in (".svg", ".png")],
    )
