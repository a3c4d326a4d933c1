"""Figure: images on which teacher and student disagree about the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medlabel import files
from medlabel.data import archive
from medlabel.params import Mixture
from medlabel.report import style
from medlabel.report.results import read_blocks
from medlabel.report.text import readable, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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
        heights = [_height(group) for group in groups]
        figure = style.sheet(
            sum(heights),
            f"What the student corrects and what it spoils: {readable(mixture.name)}",
            f"The {COLUMNS * ROWS} of each kind on which the student is most confident, of n = "
            f"{len(judged):,} different held-out images. Each label stands with its probability; "
            f"the student's is the mean over the seeds that were tested on the image.",
            phantom=mixture.phantom,
            by_hand=True,
        )
        for group, top in zip(groups, (sum(heights), heights[1]), strict=True):
            _draw_group(figure, top, group, opened, classes)
        style.save(figure, targets)


def judge(pseudolabels: Path, predictions: Sequence[Path], classes: Sequence[str]) -> pd.DataFrame:
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
    judged = judged.sort_values(["student_p", *IMAGE], ascending=[False] + [True] * len(IMAGE))
    teacher_right = judged["teacher"] == judged["label"]
    student_right = judged["student"] == judged["label"]
    corrected = judged[~teacher_right & student_right]
    spoilt = judged[teacher_right & ~student_right]
    return (
        Group(
            f"Corrected by the student: {len(corrected):,} of the {(~teacher_right).sum():,} "
            f"images that the teacher mislabelled",
            corrected,
            style.BLUE,
        ),
        Group(
            f"Spoilt by the student: {len(spoilt):,} of the {teacher_right.sum():,} images that "
            f"the teacher labelled rightly",
            spoilt,
            style.VERMILLION,
        ),
    )


def _height(group: Group) -> float:
    shown = min(len(group.images), COLUMNS * ROWS)
    lines = -(-shown // COLUMNS)
    return HEADING + (lines * (PICTURE + CAPTION) if lines else NOTHING)


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
        style.write(figure, GAP, top - HEADING - 3, "There are none to show.", color=style.GREY)
        return
    pictures = archive.pixels(archives, shown, channels=3)
    for index, (image, picture) in enumerate(zip(shown.to_dict("records"), pictures, strict=True)):
        line, column = divmod(index, COLUMNS)
        left = GAP + column * (TILE + GAP)
        bottom = top - HEADING - line * (PICTURE + CAPTION) - PICTURE
        style.show(style.place(figure, left, bottom, PICTURE, PICTURE), picture)
        _write_answers(figure, left, bottom, image, classes)


def _write_answers(
    figure: Figure, left: float, top: float, image: Mapping[Any, Any], classes: Sequence[str]
) -> None:
    truth = image["label"]
    lines = [(f"truth: {shorten(classes[truth], 18)}", True)]
    for who in ("teacher", "student"):
        answer = shorten(classes[image[who]], 12)
        lines.append((f"{who}: {answer} {image[f'{who}_p']:.2f}", image[who] == truth))
    for number, (line, right) in enumerate(lines):
        style.write(
            figure,
            left,
            top - 0.6 - 2.6 * number,
            line,
            va="top",
            fontsize=style.SMALL_SIZE,
            color=style.BLACK if right else style.VERMILLION,
        )
