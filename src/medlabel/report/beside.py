"""Tables of published values beside ours: those made alike apart from all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from medlabel.evaluate.results import CellResult, Metric, Published, StudyResult
from medlabel.params import Contrastive
from medlabel.report.sources import Source
from medlabel.report.table import Table
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

if TYPE_CHECKING:
    import pandas as pd

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
        header=("Cell", "Metric", "This study", "Published", "Difference", "Within", "Source"),
        rows=tuple(
            (
                cell.label,
                heading(metric),
                with_interval(metric, cell.arms[cell.trained][metric]),
                value(metric, one.value),
                change(metric, one.difference),
                "yes" if one.within else "no",
                entry.source,
            )
            for cell in study.cells
            for entry in cell.published
            if entry.like
            for metric, one in entry.scores.items()
        ),
    )


def otherwise(study: StudyResult) -> Table:
    """List published values of the same images and network that were made otherwise."""
    rows = dict.fromkeys(
        (
            cell.images,
            entry.model,
            entry.recipe,
            *_settings(entry),
            *(
                value(metric, entry.scores[metric].value) if metric in entry.scores else NONE
                for metric in HEADLINES
            ),
            "yes" if entry.doubtful else "",
            entry.source,
            entry.note or "",
        )
        for cell in study.cells
        for entry in cell.published
        if not entry.like
    )
    return Table(
        title="Published values of the same images and network, made otherwise",
        note=f"For orientation only: another recipe, image size, length or batch. Doubtful: the "
        f"source contradicts itself or others ({sum(row[-3] == 'yes' for row in rows)} of "
        f"{len(rows)}).",
        header=(
            "Images",
            "Network",
            "Recipe",
            "Pixels",
            "Epochs",
            "Batch",
            *map(heading, HEADLINES),
            "Doubtful",
            "Source",
            "Note",
        ),
        rows=tuple(rows),
    )


def _settings(entry: Published) -> tuple[str, str, str]:
    pixels = NONE if entry.image_size is None else entry.image_size.replace("->", "→")
    epochs, batch = (NONE if one is None else str(one) for one in (entry.epochs, entry.batch_size))
    return pixels, epochs, batch


def capstone(study: StudyResult, source: Source, published: pd.DataFrame) -> Table:
    """Put the capstone study's numbers beside those of one cell on the same kinds of image."""
    cell = study.cells[0]
    ours = len(study.cells) == 1 and cell.taught and set(cell.classes) == CAPSTONE_CLASSES
    rows = []
    if ours and not cell.phantom:
        rows = [*_our_rows(cell), *_their_rows(published)]
    return Table(
        title="Beside the published study",
        note=_caveat(source) if rows else "",
        header=("Model", "What", "Accuracy (%)", "Trivial (%)", "Source", "Note"),
        rows=tuple(rows),
    )


def _our_rows(cell: CellResult) -> Iterator[tuple[str, ...]]:
    gains = " and ".join(
        f"{points(cell.gains[metric].mean, 2)} points {METRICS[metric][0]}"
        for metric in ("accuracy", "f1")
    )
    notes = {"teacher": f"mean, {cell.repeats}", "student": f"mean, {cell.repeats}; gain {gains}"}
    for arm, found in cell.arms.items():
        if arm in notes:
            score = value("accuracy", found["accuracy"].mean)
            trivial = value("accuracy", cell.trivial_accuracy)
            yield (
                str(cell.encoder),
                f"{arm}, held-out images",
                score,
                trivial,
                "this study",
                notes[arm],
            )


def _their_rows(published: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    theirs = published[published["dataset"] == CAPSTONE]
    for row in theirs.to_dict("records"):
        score = (
            f"gain {points(row['gain'], 0)}"
            if row["acc"] is None
            else value("accuracy", row["acc"])
        )
        trivial = value("accuracy", CAPSTONE_TRIVIAL)
        yield (
            row["model"],
            readable(row["recipe"]),
            score,
            trivial,
            row["source"],
            row["note"] or "",
        )


def _caveat(source: Source) -> str:
    mixture, encoder = source.mixture, source.params.encoders[source.cell.teachers[0].name]
    assert mixture is not None
    by = "trained here on phantoms" if isinstance(encoder, Contrastive) else encoder.model
    return (
        f"For orientation only. Theirs: ChestMNIST and BreastMNIST, with OpenAI's ViT-L/14. Ours: "
        f"{', '.join(mixture.datasets)}, with a teacher {by}."
    )
