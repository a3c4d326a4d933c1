"""Figure: images on which teacher and student disagree about the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medlabel import files
from medlabel.data import archive
from medlabel.report import style
from medlabel.report.sources import Source
from medlabel.report.text import readable, shorten

IMAGE = ["dataset", "split", "row", "label"]
COLUMNS, ROWS = 5, 2
GAP = 3.0  # mm
HEADING = 8.0
CAPTION = 10.0
TILE = (style.TWO_COLUMNS - GAP * (COLUMNS + 1)) / COLUMNS
PICTURE = 24.0
NOTHING = 8.0


@dataclass(frozen=True)
class Group:
    """Images of one kind, as `judge` returns them, the student's most confident first."""

    heading: str
    images: pd.DataFrame
    colour: str


def draw(source: Source, targets: Sequence[Path]) -> None:
    """Draw mislabelled images that the student corrects, and right ones that it spoils.

    Each held-out image counts once. Its student's probabilities are the mean over the students of
    all seeds that were tested on it; teacher and students are those of the first pretraining.
    """
    judged = judge(source.labels(), source.predictions(), source.found.classes)
    groups = split(judged)
    heights = [_height(group) for group in groups]
    with style.sheet(
        targets,
        sum(heights),
        f"What the student corrects and what it spoils: {readable(source.cell.images)}",
        f"The {COLUMNS * ROWS} of each kind on which the student is most confident, of n = "
        f"{len(judged):,} different held-out images. Each label stands with its probability; "
        f"the student's is the mean over the seeds that were tested on the image.",
        phantom=source.found.phantom,
        by_hand=True,
    ) as figure:
        for group, top in zip(groups, (sum(heights), heights[1]), strict=True):
            _draw_group(figure, top, group, source)


def judge(labels: Path, predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Put the teacher's labels and the students' predictions on each held-out image side by side.

    One row an image: dataset, split, row, label; teacher and student (class indices in the order of
    `classes`) with teacher_p and student_p (their probabilities); seeds (how many were tested on
    it).
    """
    theirs = [f"p_{name}" for name in classes]
    ours = [f"p_{index}" for index in range(len(classes))]
    teacher = files.read_parquet(labels, "pseudolabel", ["role", *IMAGE, "pseudolabel", *theirs])
    teacher = teacher[teacher["role"] == "test"].set_index(IMAGE)
    students = predictions.rename(columns={"label_0": "label"}).groupby(IMAGE, observed=True)
    mean = students[ours].mean()
    teacher = teacher.loc[mean.index]
    chosen = teacher["pseudolabel"].to_numpy().astype(int)
    return mean.index.to_frame(index=False).assign(
        teacher=chosen,
        teacher_p=teacher[theirs].to_numpy()[np.arange(len(chosen)), chosen],
        student=mean.to_numpy().argmax(axis=1),
        student_p=mean.to_numpy().max(axis=1),
        seeds=students.size().to_numpy(),
    )


def split(judged: pd.DataFrame) -> tuple[Group, Group]:
    """Return the images that the student corrects, and those that it spoils."""
    judged = judged.sort_values(["student_p", *IMAGE], ascending=[False] + [True] * len(IMAGE))
    teacher_right = judged["teacher"] == judged["label"]
    student_right = judged["student"] == judged["label"]
    corrected = judged[~teacher_right & student_right]
    spoilt = judged[teacher_right & ~student_right]
    first = (
        f"Corrected by the student: {len(corrected):,} of the {(~teacher_right).sum():,} images "
        f"that the teacher mislabelled"
    )
    second = (
        f"Spoilt by the student: {len(spoilt):,} of the {teacher_right.sum():,} images that the "
        f"teacher labelled rightly"
    )
    return Group(first, corrected, style.BLUE), Group(second, spoilt, style.VERMILLION)


def _height(group: Group) -> float:
    lines = -(-min(len(group.images), COLUMNS * ROWS) // COLUMNS)
    return HEADING + (lines * (PICTURE + CAPTION) if lines else NOTHING)


def _draw_group(figure: Figure, top: float, group: Group, source: Source) -> None:
    style.write(figure, GAP, top - 5, group.heading, weight="bold", fontsize=8, color=group.colour)
    shown = group.images.head(COLUMNS * ROWS)
    if shown.empty:
        style.write(figure, GAP, top - HEADING - 3, "There are none to show.", color=style.GREY)
        return
    assert source.mixture is not None
    pictures = archive.pixels(source.archives(), shown, 3, projection=source.mixture.projection)
    for index, (image, picture) in enumerate(zip(shown.to_dict("records"), pictures, strict=True)):
        line, column = divmod(index, COLUMNS)
        left = GAP + column * (TILE + GAP)
        bottom = top - HEADING - line * (PICTURE + CAPTION) - PICTURE
        style.show(figure, left, bottom, PICTURE, picture)
        _write_answers(figure, left, bottom, image, source.found.classes)


def _write_answers(
    figure: Figure, left: float, top: float, image: Mapping[Any, Any], classes: Sequence[str]
) -> None:
    truth = image["label"]
    lines = [(f"truth: {shorten(classes[truth], 18)}", True)]
    for who in ("teacher", "student"):
        answer = shorten(classes[image[who]], 12)
        lines.append((f"{who}: {answer} {image[f'{who}_p']:.2f}", image[who] == truth))
    for number, (line, right) in enumerate(lines):
        y, colour = top - 0.6 - 2.6 * number, style.BLACK if right else style.VERMILLION
        style.write(figure, left, y, line, va="top", fontsize=style.SMALL_SIZE, color=colour)
