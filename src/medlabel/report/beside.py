"""Tables of published values beside ours: those made alike apart from all others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pandas as pd

from medlabel.evaluate import published
from medlabel.evaluate.results import Arm, CellResult, Metric, StudyResult
from medlabel.params import Published
from medlabel.report.sources import Source
from medlabel.report.table import Table, distinct
from medlabel.report.text import (
    METRICS,
    MINUS,
    NONE,
    change,
    heading,
    points,
    readable,
    value,
    with_interval,
)

HEADLINES: tuple[Metric, ...] = ("accuracy", "auc")


def alike(study: StudyResult) -> Table:
    """Put published values made alike beside ours."""
    return Table(
        title="Beside published values made alike",
        note=f"Same images, network, recipe, size, epochs and batches. Difference: this study "
        f"{MINUS} published. Within: the published value lies in this study's {study.interval}.",
        rows=[
            {
                "Cell": cell.label,
                "Metric": heading(metric),
                "This study": with_interval(metric, cell.arms[cell.trained][metric]),
                "Published": value(metric, one.value),
                "Difference": change(metric, one.difference),
                "Within": "yes" if one.within else "no",
                "Source": entry.source,
            }
            for cell in study.cells
            for entry in cell.published
            if entry.like
            for metric, one in entry.scores.items()
        ],
    )


def otherwise(study: StudyResult) -> Table:
    """List published values of the same images and network that were made otherwise."""
    rows = distinct(
        {
            "Images": cell.images,
            "Network": entry.model,
            "Recipe": entry.recipe,
            "Pixels": (entry.image_size or NONE).replace("->", "→"),
            "Epochs": str(entry.epochs or NONE),
            "Batch": str(entry.batch_size or NONE),
            **{
                heading(one): value(one, entry.scores[one].value) if one in entry.scores else NONE
                for one in HEADLINES
            },
            "Doubtful": "yes" if entry.doubtful else "",
            "Source": entry.source,
            "Note": entry.note or "",
        }
        for cell in study.cells
        for entry in cell.published
        if not entry.like
    )
    return Table(
        title="Published values of the same images and network, made otherwise",
        note=f"For orientation only: another recipe, image size, length or batch. Doubtful: the "
        f"source contradicts itself or others ({sum(row['Doubtful'] == 'yes' for row in rows)} of "
        f"{len(rows)}).",
        rows=rows,
    )


def taught(study: StudyResult, source: Source, table: pd.DataFrame) -> Table:
    """Put published teachers and students beside those of a study on the same kinds of image."""
    mixture = source.mixture
    rows = published.teaching(mixture.published if mixture else None, table)
    alone = len(study.by_images) == 1 and study.taught and len(rows) > 0
    return Table(
        "Beside published teachers and students",
        _caveat(source) if alone else "",
        [*itertools.chain(*map(_our_rows, study.cells)), *_their_rows(rows)] if alone else [],
    )


def _our_rows(cell: CellResult) -> Iterator[dict[str, str]]:
    gains = " and ".join(
        f"{points(cell.gains[metric].mean, 2)} points {METRICS[metric][0]}"
        for metric in ("accuracy", "f1")
    )
    notes: dict[Arm, str] = {"teacher": "", "student": f"; gain {gains}"}
    for arm, note in notes.items():
        yield {
            "Model": cell.label if cell.label != cell.images else str(cell.encoder),
            "What": f"{arm}, held-out images",
            **{heading(one): value(one, cell.arms[arm][one].mean) for one in HEADLINES},
            "Trivial (%)": value("accuracy", cell.trivial_accuracy),
            "Source": "this study",
            "Note": f"mean, {cell.repeats}{note}",
        }


def _their_rows(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for row in rows.to_dict("records"):
        scores: dict[Metric, float | None] = {"accuracy": row["acc"], "auc": row["auc"]}
        told = {heading(one): value(one, found) if found else NONE for one, found in scores.items()}
        if row["gain"] is not None:  # the source gives the gain alone
            told[heading("accuracy")] = f"gain {points(row['gain'], 0)}"
        yield {
            "Model": row["model"],
            "What": readable(row["recipe"]) + _pixels(row["image_size"]),
            **told,
            "Trivial (%)": NONE,
            "Source": row["source"],
            "Note": row["note"] or "",
        }


def _pixels(size: str | None) -> str:
    return f", {size.replace('->', '→')} px" if size else ""


def _caveat(source: Source) -> str:
    mixture, encoder = source.mixture, source.params.encoders[source.cell.teachers[0].name]
    assert mixture is not None
    by = encoder.model if isinstance(encoder, Published) else "taught here by phantoms"
    return (
        f"For orientation only: other images, teachers and recipes. Ours: "
        f"{', '.join(mixture.datasets)}, with a teacher {by}."
    )
