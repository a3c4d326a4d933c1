"""All that a reader sees of a study, drawn in one process: figures, tables and the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from medlabel.evaluate import published
from medlabel.evaluate.results import StudyResult
from medlabel.layout import Layout
from medlabel.params import Params
from medlabel.progress import track
from medlabel.report import (
    boxplots,
    confusion,
    corrections,
    curve,
    intervals,
    matrix,
    page,
    roc,
    samples,
    slices,
    summary,
    table,
    tables,
    training,
)
from medlabel.report.sources import Source, gather

SUFFIXES = (".svg", ".png")

Draw = Callable[[Sequence[Path]], None]
Drawing = tuple[str, str, Draw]  # name, caption, function of the files to write


def write(params: Params, study: str, layout: Layout, published_table: Path) -> None:
    """Draw every figure of a study in SVG and PNG, then write its tables and its page.

    Parameters
    ----------
    params
        All parameters.
    study
        One of its studies, evaluated.
    layout
        Where everything lies; the folder of figures is emptied first.
    published_table
        Table of published values with their sources.

    Raises
    ------
    MedlabelError
        When an input is missing or damaged.
    """
    found, sources = gather(params, study, layout)
    folder = Path(layout.study(study, "figures"))
    shutil.rmtree(folder, ignore_errors=True)
    figures = {}
    drawings = [_main(found), *_more(found, sources)]
    for name, caption, draw in track(drawings, "draw figures", len(drawings)):
        targets = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
        draw(targets)
        figures[name] = targets[0], caption
    contents = tables.build(found, sources, published.read(published_table))
    markdown = Path(layout.study(study, "tables.md"))
    table.write(summary.title(found), summary.summarise(found), contents, markdown)
    page.write(found, sources, figures, contents, Path(layout.study(study, "report.html")))


def _main(study: StudyResult) -> Drawing:
    """Choose the study's own figure by its kind of axis."""
    if study.kind == "none" and study.taught:
        return (
            "boxplots",
            "What the student gains on its teacher, repeat by repeat; and each arm's own accuracy "
            "beside its controls.",
            lambda targets: boxplots.draw(study, targets),
        )
    if study.kind == "number":
        return (
            "curve",
            "The student's accuracy against its teacher's: above the line, and in the shaded part, "
            "the student helps.",
            lambda targets: curve.draw(study, targets),
        )
    if study.kind == "matrix":
        return (
            "matrix",
            "What the student gains on its teacher in every combination.",
            lambda targets: matrix.draw(study, targets),
        )
    return (
        "intervals",
        "Scores of every cell, each repeat and the mean with its interval. Overlapping intervals "
        "are not progress.",
        lambda targets: intervals.draw(study, targets),
    )


def _more(study: StudyResult, sources: Sequence[Source]) -> Iterator[Drawing]:
    """Give what is shown of images and training: of the first cell, or of all official files."""
    first = sources[0]
    of_first = "" if len(sources) == 1 else f" Of the first cell: {first.found.label}."
    official = [source for source in sources if source.mixture is None]
    if first.found.taught:
        yield (
            "corrections",
            f"Images that the teacher mislabelled and the student corrected, and the reverse."
            f"{of_first}",
            lambda targets: corrections.draw(first, targets),
        )
    if first.found.confusion:
        yield (
            "confusion",
            f"Which classes are taken for which.{of_first}",
            lambda targets: confusion.draw(study, first.found, targets),
        )
    if official:
        yield (
            "roc",
            "ROC curves on the test split, averaged over the seeds.",
            lambda targets: roc.draw(study, official, targets),
        )
    trained = official or [first]
    yield (
        "training",
        "How the networks train, and which epochs' weights are kept."
        f"{'' if official else of_first}",
        lambda targets: training.draw(study, trained, targets),
    )
    volumes = [source for source in official if source.settings.volumetric]
    flat = [source for source in sources if source not in volumes]
    if flat:
        yield (
            "samples",
            f"What the images look like, with their true classes.{of_first}",
            lambda targets: samples.draw(flat[0], targets),
        )
    if volumes:
        yield (
            "slices",
            "What the volumes look like, before and after the augmentations of the recipes.",
            lambda targets: slices.draw(study, volumes, targets),
        )
