"""Commands that score and draw; nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medlabel.commands.state import State, chosen
from medlabel.data import catalogue
from medlabel.layout import PUBLISHED
from medlabel.params import pool_name

if TYPE_CHECKING:
    from medlabel.evaluate.retrieval import Inputs
    from medlabel.layout import Layout
    from medlabel.params import Mixture, Params
    from medlabel.params.retrieval import Searched

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


def without_labels(
    name: Annotated[str, typer.Argument(help="An entry of without_labels in params.yaml.")],
) -> None:
    """Label folders without a label in every way, and draw how right that is and is said to be."""
    import pandas as pd

    from medlabel.evaluate import without_labels as labelling
    from medlabel.report import without_labels as drawing

    params, layout = State.both()
    asked = chosen(name, params.without_labels, "without_labels")
    used = {str(one): one.name for one in asked.references}
    inputs = labelling.Inputs(
        {one: Path(layout.pool(one)) for one in asked.mixtures},
        {
            (images, reference): Path(layout.embeddings(images, encoder))
            for images in asked.mixtures
            for reference, encoder in used.items()
        },
        {
            (reference, content.prompts): Path(layout.words(encoder, content.prompts))
            for reference, encoder in used.items()
            for content in asked.contents.values()
        },
    )
    found = labelling.compute(inputs, asked, params.labellings, params.seed)
    costs = pd.read_csv(asked.costs)
    drawing.write(params, name, found, costs, Path(layout.without_labels(name, "")))


def retrieval(
    name: Annotated[str, typer.Argument(help="A search of params.yaml.")],
) -> None:
    """Search images by captions and captions by images, and draw what was found."""
    from medlabel.evaluate import retrieval as searching
    from medlabel.report import retrieval as drawing

    params, layout = State.both()
    asked = chosen(name, params.retrieval, "retrieval")
    mixture, inputs = _searched(asked, params, layout)
    found = searching.search(inputs, mixture, params.seed, params.device)
    archives = {dataset: Path(path) for dataset, path in layout.archives(mixture).items()}
    drawing.write(params, name, found, archives, Path(layout.retrieval(name, "")))


def concepts(
    name: Annotated[str, typer.Argument(help="An entry of concepts in params.yaml.")],
) -> None:
    """Tell concepts by classifiers on embeddings of captions and of images."""
    from medlabel.evaluate import concepts as telling
    from medlabel.report import concepts as drawing

    params, layout = State.both()
    asked = chosen(name, params.concepts, "concepts")
    mixture, inputs = _searched(asked, params, layout)
    found = telling.judge(inputs, mixture, asked.strength, params.seed, params.device)
    drawing.write(params, name, found, Path(layout.concepts(name, "")))


def _searched(asked: Searched, params: Params, layout: Layout) -> tuple[Mixture, Inputs]:
    """Return a mixture, and where its captioned images lie as encoders see them."""
    from medlabel.evaluate.retrieval import Inputs as Files

    mixture, pool = params.every_mixture[asked.images], pool_name(asked.images)
    used = {str(one): one for one in asked.references}
    return mixture, Files(
        Path(layout.pool(pool)),
        {dataset: Path(path) for dataset, path in layout.captions_of(mixture).items()},
        {text: Path(layout.embeddings(pool, one.name)) for text, one in used.items()},
        {text: Path(layout.encoder(one)) for text, one in used.items()},
    )


def agreement(
    name: Annotated[str, typer.Argument(help="A comparison of two labellers in params.yaml.")],
) -> None:
    """Tell how far two labellers agree, what both have wrong, and what to look at first."""
    from medlabel.evaluate import agreement as comparing
    from medlabel.params.agreement import is_table
    from medlabel.report import agreement as drawing

    params, layout = State.both()
    asked = chosen(name, params.agreement, "agreement")
    tables = [one for one in asked.labellers if is_table(one)]
    found = comparing.read(
        Path(layout.pool_of(asked.images)),
        {
            one: Path(one if one in tables else layout.labels(asked.images, one))
            for one in asked.labellers
        },
        params.every_mixture[asked.images].class_names,
        tables,
    )
    drawing.write(params, name, found, Path(layout.agreement(name, "")))


def compared(
    name: Annotated[str, typer.Argument(help="A comparison of encoders in params.yaml.")],
) -> None:
    """Put the encoders of a study side by side: scores, calibration, cost."""
    from medlabel.report import compared as drawing

    params, layout = State.both()
    asked = chosen(name, params.compared, "compared")
    drawing.write(
        asked, Path(layout.study(asked.study, "study.json")), Path(layout.compared(name, ""))
    )


def segmentation(
    name: Annotated[str, typer.Argument(help="An entry of segmentation in params.yaml.")],
) -> None:
    """Find regions of phantoms by words, and draw how well that works."""
    from medlabel.evaluate import segmentation as finding
    from medlabel.report import segmentation as drawing

    params, layout = State.both()
    asked = chosen(name, params.segmentation, "segmentation")
    series = asked.series
    inputs = finding.Inputs(
        Path(layout.encoder(asked.reference)),
        {one: Path(layout.phantoms(*one)) for one in series},
        {one: Path(layout.captions(*one)) for one in series},
        [Path(path) for one in asked.shown for path in layout.archives(one.images).values()],
    )
    engine = params.encoders[asked.reference.name].runtime
    found = finding.judge(inputs, asked, params.seed, params.device, engine)
    drawing.write(params, name, found, Path(layout.segmentation(name, "")))


def contact_sheet() -> None:
    """Draw a few phantoms of every kind."""
    from medlabel.report import contact_sheet as sheet

    params, layout = State.both()
    sheet.draw(
        {kind: Path(layout.phantoms(kind, params.phantoms.size)) for kind in catalogue.PHANTOMS},
        [Path(params.folders.results) / f"phantoms{suffix}" for suffix in (".svg", ".png")],
    )
