"""All that a reader sees of a study, drawn in one process: figures, tables and the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

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
    teaching,
    training,
)
from medlabel.report.sources import Source, gather

SUFFIXES = (".svg", ".png")

Drawing = tuple[str, str, Callable[[Sequence[Path]], None]]  # name, caption, what writes its files


def write(params: Params, study: str, layout: Layout, published_table: Path) -> None:
    """Draw every figure of an evaluated study in SVG and PNG, then write its tables and its page.

    The folder of figures is emptied first.

    Raises
    ------
    MedlabelError
        When an input is missing or damaged.
    """
    found, sources = gather(params, study, layout)
    folder = Path(layout.study(study, "figures"))
    shutil.rmtree(folder, ignore_errors=True)
    figures = {}
    theirs = published.read(published_table)
    drawings = [*_main(found, sources[0], theirs), *_more(found, sources)]
    for name, caption, draw in track(drawings, "draw figures", len(drawings)):
        targets = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
        draw(targets)
        figures[name] = targets[0], caption
    contents = tables.build(found, sources, theirs)
    markdown = Path(layout.study(study, "tables.md"))
    table.write(summary.title(found), summary.summarise(found), contents, markdown)
    page.write(found, sources, figures, contents, Path(layout.study(study, "report.html")))


def _main(study: StudyResult, first: Source, theirs: pd.DataFrame) -> Iterator[Drawing]:
    """Choose the study's own figures by its kind of axis."""
    if study.kind == "none" and study.taught:
        caption = (
            "What the student gains on its teacher, repeat by repeat; and each arm's own accuracy "
            "beside its controls."
        )
        yield "boxplots", caption, partial(boxplots.draw, study)
    elif study.kind == "matrix":
        caption = "What the student gains on its teacher in every combination."
        yield "matrix", caption, partial(matrix.draw, study)
    elif study.kind != "number":
        caption = (
            "Scores of every cell, each repeat and the mean with its interval. Overlapping "
            "intervals are not progress."
        )
        yield "intervals", caption, partial(intervals.draw, study)
    if study.along_teachers:
        caption = (
            "The student's accuracy against its teacher's: above the line, and in the shaded part, "
            "the student helps."
        )
        dataset = first.mixture.published if first.mixture else None
        beside = published.taught(dataset, theirs)
        yield "curve", caption, partial(curve.draw, study, published=beside)


def _more(study: StudyResult, sources: Sequence[Source]) -> Iterator[Drawing]:
    """Give what is shown of images and training: of the first cell, or of all official files."""
    first = sources[0]
    of_first = "" if len(sources) == 1 else f" Of the first cell: {first.found.label}."
    official = [source for source in sources if source.mixture is None]
    if first.found.taught:
        caption = "Images that the teacher mislabelled and the student corrected, and the reverse."
        yield "corrections", f"{caption}{of_first}", partial(corrections.draw, first)
    if first.found.confusion:
        caption = f"Which classes are taken for which.{of_first}"
        yield "confusion", caption, partial(confusion.draw, study, first.found)
    if official:
        caption = "ROC curves on the test split, averaged over the seeds."
        yield "roc", caption, partial(roc.draw, study, official)
    caption = "How the networks train, and which epochs' weights are kept."
    if not official:
        caption += of_first
    yield "training", caption, partial(training.draw, study, official or [first])
    if heads := teaching.curves(sources):
        caption = "How the teachers' heads learnt, on captioned phantoms."
        yield "teaching", caption, partial(teaching.draw, study, heads)
    volumes = [source for source in official if source.settings.volumetric]
    flat = [source for source in sources if source not in volumes]
    if flat:
        caption = f"What the images look like, with their true classes.{of_first}"
        yield "samples", caption, partial(samples.draw, flat[0])
    if volumes:
        caption = "What the volumes look like, before and after the augmentations of the recipes."
        yield "slices", caption, partial(slices.draw, study, volumes)
