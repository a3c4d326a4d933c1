"""The capstone's published numbers beside those of its own study, made again here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import pandas as pd

    from medlabel.evaluate.results import CellResult, StudyResult

STUDY, OVERLAY = "capstone", "config/capstone.yaml"
DATASET = "breast_chest"  # as the table of published values calls it
# Recipes of the table, what each is of, and the column of its value.
NUMBERS = {
    "zero_shot_train": ("teacher, images to train on", "acc"),
    "zero_shot_test": ("teacher, held-out images", "acc"),
    "student": ("student, held-out images", "acc"),
    "student_gain_accuracy": ("student less teacher, accuracy", "gain"),
    "student_gain_f1": ("student less teacher, F1", "gain"),
}


@dataclass(frozen=True)
class Number:
    """A published number and ours, as fractions, with the ends of our interval."""

    experiment: str
    told: str
    published: float
    ours: float
    low: float
    high: float

    @property
    def within(self) -> bool:
        """Whether the published number lies in our interval."""
        return self.low <= self.published <= self.high

    def __str__(self) -> str:
        """Say it in a line, in percent and percentage points."""
        ours, low, high = (f"{100 * one:.2f}" for one in (self.ours, self.low, self.high))
        return (
            f"{self.experiment}  {self.told}: published {100 * self.published:g}, ours {ours} "
            f"({low} to {high}): {'within' if self.within else 'NOT within'}"
        )


def compare(study: StudyResult, published: pd.DataFrame) -> list[Number]:
    """Put each published number of the capstone beside ours.

    Parameters
    ----------
    study
        With one cell, which has a teacher.
    published
        As `published.read` gives it.

    Returns
    -------
    list of Number
        In the order of `NUMBERS`. The interval of the teacher on images to train on is binomial
        (Clopper and Pearson 1934), that of a single draw of them; the others are the study's.

    Raises
    ------
    MedlabelError
        When a number is missing from the table, or the study is another one.
    """
    of_capstone = published[published["dataset"] == DATASET].to_dict("records")
    rows = {str(row["recipe"]): row for row in of_capstone}
    if missing := [recipe for recipe in NUMBERS if recipe not in rows]:
        raise MedlabelError(
            f"published values: expected {', '.join(NUMBERS)} of {DATASET}, but "
            f"{', '.join(missing)} is missing; restore the table from Git."
        )
    (cell,) = study.cells
    return [
        Number(
            str(rows[recipe]["experiment_id"]),
            NUMBERS[recipe][0],
            float(rows[recipe][NUMBERS[recipe][1]]),
            *ours,
        )
        for recipe, ours in zip(NUMBERS, _ours(cell, study.confidence), strict=True)
    ]


def _ours(cell: CellResult, confidence: float) -> Iterator[tuple[float, float, float]]:
    """Yield ours and its ends, in the order of `NUMBERS`."""
    from scipy.stats import binomtest

    if cell.pseudolabel_accuracy is None:
        raise MedlabelError(f"{cell.label}: expected a study with a teacher, found none.")
    right = round(cell.pseudolabel_accuracy * cell.train_images)
    ends = binomtest(right, cell.train_images).proportion_ci(confidence, "exact")
    yield cell.pseudolabel_accuracy, ends.low, ends.high
    for one in (
        cell.arms["teacher"]["accuracy"],
        cell.arms["student"]["accuracy"],
        cell.gains["accuracy"],
        cell.gains["f1"],
    ):
        yield one.mean, one.low, one.high
