"""The study's results as the report reads them: typed, and checked when read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.report.text import percent

if TYPE_CHECKING:
    import pandas as pd

Arm = Literal["teacher", "student", "permuted", "true"]
Metric = Literal["accuracy", "f1", "auc"]

ARMS: dict[Arm, str] = {
    "teacher": "teacher",
    "student": "student",
    "permuted": "student, permuted labels",
    "true": "student, true labels",
}
COMPARED: tuple[Metric, ...] = ("accuracy", "f1")  # of the main figure
METRICS: dict[Metric, str] = {"accuracy": "Accuracy", "f1": "F1", "auc": "AUC"}


class Result(BaseModel):
    """A part of the study's results; keys that the report does not print are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Estimate(Result):
    """A mean over seeds, as a fraction, with its confidence interval."""

    mean: float
    sd: float
    low: float
    high: float


class Gain(Estimate):
    """Student minus teacher, paired by seed.

    Attributes
    ----------
    image_low, image_high
        Interval that resamples the test images as well as the seeds.
    wins, ties, losses
        Seeds whose student is better than, equal to and worse than its teacher.
    wilcoxon_p, permutation_p
        Two-sided paired tests; `holm_p` is the permutation test's, corrected over the metrics.
    """

    image_low: float
    image_high: float
    wins: int
    ties: int
    losses: int
    wilcoxon_p: float
    permutation_p: float
    holm_p: float


class Checkpoint(Result):
    """One teacher and its students: a point of the teacher-quality curve."""

    encoder: str
    step: int | None
    seeds: int
    teacher_accuracy: float
    teacher_accuracy_low: float
    teacher_accuracy_high: float
    student_accuracy: float
    student_accuracy_low: float
    student_accuracy_high: float
    gain: float
    gain_low: float
    gain_high: float
    pseudolabel_accuracy: float

    @property
    def name(self) -> str:
        """The step of the teacher's training, or the name of a published teacher."""
        return self.encoder if self.step is None else str(self.step)


class Crossing(Result):
    """The teacher's accuracy at which the student stops helping.

    Attributes
    ----------
    low, high
        Bootstrap interval, of those resamples that cross at all.
    crossing_resamples
        The part of the resamples that do.
    seeds
        Number of seeds that all points of the curve share; these were resampled.
    """

    teacher_accuracy: float
    low: float
    high: float
    crossing_resamples: float
    seeds: int

    @property
    def basis(self) -> str:
        """What the interval rests on: seeds resampled, and how often these crossed."""
        return (
            f"{percent(self.crossing_resamples)} of resamples of n = {self.seeds} seeds cross; "
            f"the interval covers those"
        )


def _complete(expected: Iterable[str]) -> AfterValidator:
    def check(found: dict[str, Any]) -> dict[str, Any]:
        if missing := [name for name in expected if name not in found]:
            raise ValueError(f"{', '.join(missing)} missing")
        return found

    return AfterValidator(check)


class Study(Result):
    """Everything that `medlabel study` found; scores are fractions from 0 to 1."""

    mixture: str
    phantom: bool
    classes: list[str] = Field(min_length=2)
    seeds: int = Field(ge=1)
    test_images: int
    train_images: int
    confidence: float
    resamples: int
    encoder: str
    trivial_accuracy: float
    arms: Annotated[
        dict[Arm, Annotated[dict[Metric, Estimate], _complete(METRICS)]], _complete(ARMS)
    ]
    gains: Annotated[dict[Metric, Gain], _complete(METRICS)]
    curve: list[Checkpoint]
    crossing: Crossing | None

    @property
    def interval(self) -> str:
        """Name of the confidence interval, such as ``95 % CI``."""
        return f"{100 * self.confidence:g} % CI"

    @property
    def curve_seeds(self) -> str:
        """Size of the curve's points, such as ``n = 30 seeds at step 6, 10 elsewhere``."""
        counts = Counter(point.seeds for point in self.curve)
        # Where two numbers are equally common, the smaller one is elsewhere.
        elsewhere = min(counts, key=lambda count: (-counts[count], count), default=0)
        others = [point for point in self.curve if point.seeds != elsewhere]
        if not others:
            return f"n = {elsewhere} seeds"
        named = ", ".join(
            f"{point.seeds}{' seeds' if place == 0 else ''} at "
            f"{point.name if point.step is None else f'step {point.step}'}"
            for place, point in enumerate(others)
        )
        return f"n = {named}, {elsewhere} elsewhere"


def read_study(path: Path) -> Study:
    """Read the study's results.

    Parameters
    ----------
    path
        The JSON file that `medlabel study` wrote.

    Raises
    ------
    MedlabelError
        When the file is missing, is not JSON, or a value is missing or of a wrong type.
    """
    content = files.read_json(path, "study")
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the whole file"
        what = problem["msg"].removeprefix("Value error, ")
        raise MedlabelError(
            f"{path}: {where}: {what}; delete the file and run `medlabel study` again."
        ) from error


def read_scores(path: Path) -> pd.DataFrame:
    """Read the score of each seed and arm.

    Returns
    -------
    pandas.DataFrame
        Columns seed, arm, encoder, accuracy, f1, auc, pseudolabel_accuracy; scores as fractions.

    Raises
    ------
    MedlabelError
        When the file is missing, no table, or lacks a column.
    """
    return read_csv(path, "study", ["seed", "arm", "encoder", "accuracy", "f1"])


def read_csv(path: Path, made_by: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV table and check that it has `columns`.

    Raises
    ------
    MedlabelError
        When the file is missing, no table, or lacks a column.
    """
    import pandas as pd

    try:
        table = pd.read_csv(files.require(path, made_by))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise MedlabelError(
            f"{path}: expected a CSV table, found something else ({error}); delete the file and "
            f"run `medlabel {made_by}` again."
        ) from error
    if missing := [column for column in columns if column not in table.columns]:
        raise MedlabelError(
            f"{path}: expected the columns {', '.join(columns)}, but {', '.join(missing)} is "
            f"missing; delete the file and run `medlabel {made_by}` again."
        )
    return table


def read_blocks(paths: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
    """Read the tables that the students' jobs wrote, one a block of seeds, as one table.

    Raises
    ------
    MedlabelError
        When a file is missing, is not parquet, or lacks a column.
    """
    import pandas as pd

    return pd.concat(
        [files.read_parquet(path, "students", columns) for path in paths], ignore_index=True
    )
