"""Figure: images on which teacher and student disagree about the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel import files
from medlabel.data import archive
from medlabel.params import Mixture
from medlabel.report import style
from medlabel.report.results import read_blocks
from medlabel.report.text import holds_phantoms, readable, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

IMAGE = ["dataset", "split", "row", "label"]
COLUMNS, ROWS = 6, 2
GAP = 3.0  # mm
HEADING = 8.0
CAPTION = 9.5
TILE = (style.TWO_COLUMNS - GAP * (COLUMNS + 1)) / COLUMNS
PICTURE = 20.0


@dataclass(frozen=True)
class Group:
    """Images of one kind, the student's most confident first.

    Attributes
    ----------
    heading
        Says the kind and how many there are of how many.
    images
        One row an image: dataset, split, row, label, teacher, teacher_p, student, student_p,
        seeds.
    colour
        Of the heading.
    """

    heading: str
    images: pd.DataFrame
    colour: str


def draw(
    pseudolabels: Path,
    predictions: Sequence[Path],
    archives: Mapping[str, Path],
    mixture: Mixture,
    targets: Sequence[Path],
) -> None:
    """Draw mislabelled images that the student corrects, and right ones that it spoils.

    Each held-out image counts once. Its student's probabilities are the mean over the students of
    all seeds that were tested on it.

    Parameters
    ----------
    pseudolabels
        The teacher's labels, as `medlabel pseudolabel` wrote them.
    predictions
        Tables that `medlabel students` wrote, one a block of seeds.
    archives
        File of each dataset of the mixture.
    mixture
        Names the classes.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged.
    """
    classes = [entry.name for entry in mixture.classes]
    judged = judge(pseudolabels, predictions, classes)
    groups = split(judged)
    opened = {dataset: archive.read(path, dataset) for dataset, path in archives.items()}
    with style.house():
        section = HEADING + ROWS * (PICTURE + CAPTION)
        body = 2 * section + GAP
        figure = style.sheet(
            body,
            f"What the student corrects and what it spoils: {readable(mixture.name)}",
            f"The {COLUMNS * ROWS} of each kind on which the student is most confident, of n = "
            f"{len(judged):,} different held-out images. Each label stands with its probability; "
            f"the student's is the mean over the seeds that were tested on the image.",
            phantom=holds_phantoms(mixture),
        )
        for index, group in enumerate(groups):
            _draw_group(figure, body - index * section, group, opened, classes)
        style.save(figure, targets)


def judge(
    pseudolabels: Path, predictions: Sequence[Path], classes: Sequence[str]
) -> pd.DataFrame:
    """Put the teacher's and the students' answers on each held-out image side by side.

    Returns
    -------
    pandas.DataFrame
        One row an image: dataset, split, row, label; teacher and student (class indices) with
        teacher_p and student_p (their probabilities); seeds (how many were tested on it).
    """
    probabilities = [f"p_{name}" for name in classes]
    teacher = files.read_parquet(
        pseudolabels, "pseudolabel", ["role", *IMAGE, "pseudolabel", *probabilities]
    )
    teacher = teacher[teacher["role"] == "test"].set_index(IMAGE).sort_index()
    students = read_blocks(predictions, ["seed", *IMAGE, *probabilities]).groupby(IMAGE)
    mean = students[probabilities].mean()
    teacher = teacher.loc[mean.index]
    by_teacher, by_student = teacher[probabilities].to_numpy(), mean.to_numpy()
    chosen = teacher["pseudolabel"].to_numpy().astype(int)
    judged = mean.index.to_frame(index=False)
    judged["teacher"] = chosen
    judged["teacher_p"] = np.take_along_axis(by_teacher, chosen[:, None], axis=1)[:, 0]
    judged["student"] = by_student.argmax(axis=1)
    judged["student_p"] = by_student.max(axis=1)
    judged["seeds"] = students.size().to_numpy()
    return judged


def split(judged: pd.DataFrame) -> tuple[Group, Group]:
    """Return the images that the student corrects, and those that it spoils."""
    teacher_right = judged["teacher"] == judged["label"]
    student_right = judged["student"] == judged["label"]
    corrected = judged[~teacher_right & student_right]
    spoilt = judged[teacher_right & ~student_right]
    order = {"by": ["student_p", *IMAGE], "ascending": [False] + [True] * len(IMAGE)}
    return (
        Group(
            f"Corrected by the student: {len(corrected):,} of the {(~teacher_right).sum():,} "
            f"images that the teacher mislabelled",
            corrected.sort_values(**order),
            style.BLUE,
        ),
        Group(
            f"Spoilt by the student: {len(spoilt):,} of the {teacher_right.sum():,} images that "
            f"the teacher labelled rightly",
            spoilt.sort_values(**order),
            style.VERMILLION,
        ),
    )


def _draw_group(
    figure: Figure,
    top: float,
    group: Group,
    archives: Mapping[str, archive.Archive],
    classes: Sequence[str],
) -> None:
    style.write(figure, GAP, top - 5, group.heading, weight="bold", fontsize=8, color=group.colour)
    shown = group.images.head(COLUMNS * ROWS)
    if shown.empty:
        middle = top - HEADING - ROWS * (PICTURE + CAPTION) / 2
        style.write(
            figure, style.TWO_COLUMNS / 2, middle, "none", ha="center", fontsize=9, color=style.GREY
        )
        return
    pictures = archive.pixels(archives, shown, channels=3)
    for index, (image, picture) in enumerate(zip(shown.itertuples(), pictures, strict=True)):
        line, column = divmod(index, COLUMNS)
        left = GAP + column * (TILE + GAP)
        upper = top - HEADING - line * (PICTURE + CAPTION)
        axes = style.place(figure, left, upper - PICTURE, PICTURE, PICTURE)
        style.show(axes, picture)
        answers = (
            f"truth: {shorten(classes[image.label], 20)}",
            f"teacher: {shorten(classes[image.teacher], 13)} {image.teacher_p:.2f}",
            f"student: {shorten(classes[image.student], 13)} {image.student_p:.2f}",
        )
        right = (True, image.teacher == image.label, image.student == image.label)
        for line_number, (answer, is_right) in enumerate(zip(answers, right, strict=True)):
            style.write(
                figure,
                left,
                upper - PICTURE - 0.6 - 2.6 * line_number,
                answer,
                va="top",
                fontsize=style.SMALL_SIZE,
                color=style.BLACK if is_right else style.VERMILLION,
            )
