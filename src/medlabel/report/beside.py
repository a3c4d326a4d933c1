"""Tables of published values beside ours: those made alike apart from all others."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

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
# The capstone study, whose effect `main` reproduces on images that are at hand.
CAPSTONE = "breast_chest"
CAPSTONE_CLASSES = {"breast", "chest"}
CAPSTONE_TRIVIAL = 0.5  # 546 + 546 and 234 + 234 images


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


def capstone(study: StudyResult, source: Source, published: pd.DataFrame) -> Table:
    """Put the capstone study's numbers beside those of one cell on the same kinds of image."""
    cell = study.cells[0]
    ours = len(study.cells) == 1 and cell.taught and set(cell.classes) == CAPSTONE_CLASSES
    rows = [*_our_rows(cell), *_their_rows(published)] if ours and not cell.phantom else []
    return Table("Beside the published study", _caveat(source) if rows else "", rows)


def _our_rows(cell: CellResult) -> Iterator[dict[str, str]]:
    gains = " and ".join(
        f"{points(cell.gains[metric].mean, 2)} points {METRICS[metric][0]}"
        for metric in ("accuracy", "f1")
    )
    notes: dict[Arm, str] = {"teacher": "", "student": f"; gain {gains}"}
    for arm, note in notes.items():
        yield {
            "Model": str(cell.encoder),
            "What": f"{arm}, held-out images",
            "Accuracy (%)": value("accuracy", cell.arms[arm]["accuracy"].mean),
            "Trivial (%)": value("accuracy", cell.trivial_accuracy),
            "Source": "this study",
            "Note": f"mean, {cell.repeats}{note}",
        }


def _their_rows(published: pd.DataFrame) -> Iterator[dict[str, str]]:
    theirs = published[published["dataset"] == CAPSTONE]
    for row in theirs.to_dict("records"):
        gained = row["acc"] is None  # the source gives the gain alone
        score = f"gain {points(row['gain'], 0)}" if gained else value("accuracy", row["acc"])
        yield {
            "Model": row["model"],
            "What": readable(row["recipe"]),
            "Accuracy (%)": score,
            "Trivial (%)": value("accuracy", CAPSTONE_TRIVIAL),
            "Source": row["source"],
            "Note": row["note"] or "",
        }


def _caveat(source: Source) -> str:
    mixture, encoder = source.mixture, source.params.encoders[source.cell.teachers[0].name]
    assert mixture is not None
    by = encoder.model if isinstance(encoder, Published) else "taught here by phantoms"
    return (
        f"For orientation only. Theirs: ChestMNIST and BreastMNIST, with OpenAI's ViT-L/14. Ours: "
        f"{', '.join(mixture.datasets)}, with a teacher {by}."
    )
