"""The benchmark's results and runs as the report reads them: typed, and checked when read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from medlabel import files
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.params import Recipe, Row
from medlabel.report.results import Result

if TYPE_CHECKING:
    import pandas as pd

Metric = Literal[
    "auc", "accuracy", "balanced_accuracy", "f1", "average_precision", "calibration_error"
]
METRICS: tuple[Metric, ...] = (
    "auc",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "average_precision",
    "calibration_error",
)
CHANCE_AUC = 0.5
CURVE = ("epoch", "train_loss", "val_loss", "val_auc", "kept")
PREDICTIONS = ("split", "row", "label_0", "p_0")

Model = TypeVar("Model", bound=Result)


class Estimate(Result):
    """A metric of a row, as a fraction.

    Attributes
    ----------
    mean
        Over the seeds.
    sd
        Between them; None for a single one.
    low, high
        Confidence interval of the mean.
    seeds
        Value of each seed.
    """

    mean: float
    sd: float | None
    low: float
    high: float
    seeds: list[float] = Field(min_length=1)


class Published(Result):
    """What others report for a row's dataset and model, and how far this row is from it.

    Attributes
    ----------
    auc, accuracy
        Fractions; None where not published, as are the following.
    auc_difference, accuracy_difference
        This row's mean minus the published value.
    auc_within, accuracy_within
        Whether the published value lies in this row's interval.
    """

    model: str
    recipe: str
    image_size: int | str | None
    epochs: int | None
    batch_size: int | None
    source: str
    note: str | None
    auc: float | None
    accuracy: float | None
    auc_difference: float | None
    accuracy_difference: float | None
    auc_within: bool | None
    accuracy_within: bool | None

    @property
    def authors(self) -> str:
        """The source without its place, such as ``Abdalla 2024``."""
        return self.source.partition(",")[0].strip()


def _complete(found: dict[Metric, Estimate]) -> dict[Metric, Estimate]:
    if missing := [name for name in METRICS if name not in found]:
        raise ValueError(f"{', '.join(missing)} missing")
    return found


class Score(Result):
    """One row of the benchmark: a model trained on a dataset by a recipe, over its seeds.

    Attributes
    ----------
    images
        Of the test split.
    classes
        Names, in label order.
    seconds
        Of training, mean over the runs.
    recall
        Of each class, mean over the seeds.
    confusion
        Counts of [true class][predicted class], summed over the seeds; None where an image may
        carry several labels.
    trivial_accuracy
        Of always answering the commonest class; multi-label: of denying every label.
    """

    dataset: str
    model: str
    recipe: str
    seeds: int = Field(ge=1)
    task: str
    phantom: bool
    images: int = Field(ge=1)
    classes: list[str]
    parameters: int
    epochs: int
    batch_size: int
    image_size: int
    enlarge_to: int | None
    precision: str
    device: str
    start: str
    seconds: float
    metrics: Annotated[dict[Metric, Estimate], AfterValidator(_complete)]
    recall: list[float | None]
    confusion: list[list[int]] | None
    trivial_accuracy: float
    published: list[Published]

    @property
    def name(self) -> str:
        """The row's name in `params.Benchmark`, which is its folder."""
        row = Row(dataset=self.dataset, model=self.model, recipe=self.recipe, seeds=self.seeds)
        return row.name

    @property
    def multi_label(self) -> bool:
        """Whether an image may carry several labels."""
        return self.task.startswith("multi-label")

    @property
    def volumetric(self) -> bool:
        """Whether its images have three dimensions."""
        return catalogue.is_volumetric(self.dataset)

    @property
    def pixels(self) -> str:
        """Edge of the images as read, and as enlarged, such as ``28→224``."""
        return f"{self.image_size}" + (f"→{self.enlarge_to}" if self.enlarge_to else "")


class Difference(Result):
    """Two rows of one dataset on the same test images: first minus second, as a fraction."""

    dataset: str
    first: str
    second: str
    metric: Literal["auc", "accuracy"]
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


class Comparison(Result):
    """Everything that `medlabel compare` found."""

    preset: str
    confidence: float
    resamples: int
    devices: list[str]
    rows: list[Score] = Field(min_length=1)
    comparisons: list[Difference]

    @property
    def datasets(self) -> dict[str, list[Score]]:
        """The rows of each dataset, in the order of the table."""
        names = dict.fromkeys(row.dataset for row in self.rows)
        return {name: [row for row in self.rows if row.dataset == name] for name in names}

    @property
    def phantom(self) -> bool:
        """Whether every dataset is drawn; where only some are, their own panels say so."""
        return all(row.phantom for row in self.rows)

    @property
    def interval(self) -> str:
        """Name of the confidence interval, such as ``95 % CI``."""
        return f"{100 * self.confidence:g} % CI"


class Record(Result):
    """What one run was: its `run.json`."""

    dataset: str
    model: str
    recipe: str
    seed: int
    settings: Recipe
    epochs: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Run:
    """One seed of a row: its folder, and the record in it."""

    folder: Path
    record: Record

    def curve(self) -> pd.DataFrame:
        """Read what each epoch reached.

        Raises
        ------
        MedlabelError
            When the table is missing or damaged.
        """
        return files.read_parquet(self.folder / "curve.parquet", "benchmark", CURVE)

    def predictions(self) -> pd.DataFrame:
        """Read what the run answered on the test split.

        Raises
        ------
        MedlabelError
            When the table is missing or damaged, or holds no test image.
        """
        path = self.folder / "predictions.parquet"
        table = files.read_parquet(path, "benchmark", PREDICTIONS)
        test = table[table["split"] == "test"]
        if test.empty:
            raise MedlabelError(
                f"{path}: expected images of the split test, found none; delete the file and run "
                f"`medlabel benchmark` again."
            )
        return test


def read(path: Path) -> Comparison:
    """Read the benchmark's results.

    Parameters
    ----------
    path
        The JSON file that `medlabel compare` wrote.

    Raises
    ------
    MedlabelError
        When the file is missing, is not JSON, or a value is missing or of a wrong type.
    """
    return _validated(path, "compare", Comparison)


def read_runs(comparison: Comparison, runs: Mapping[str, Sequence[Path]]) -> dict[str, list[Run]]:
    """Read the records of each row's runs.

    Parameters
    ----------
    comparison
        Says which rows there are, and how many seeds each has.
    runs
        Folders of the runs by the row's name.

    Returns
    -------
    dict
        Runs by the row's name, in the given order.

    Raises
    ------
    MedlabelError
        When a row has no runs or another number of them than seeds were compared; when a record
        is missing, damaged or another row's.
    """
    found = {}
    for row in comparison.rows:
        folders = runs.get(row.name, ())
        if len(folders) != row.seeds:
            raise MedlabelError(
                f"runs: {row.name}: {len(folders)} folders given, {row.seeds} expected, as many as "
                f"were compared; run `medlabel compare` again."
            )
        found[row.name] = [_read_run(folder, row) for folder in folders]
    return found


def _read_run(folder: Path, row: Score) -> Run:
    path = folder / "run.json"
    record = _validated(path, "benchmark", Record)
    of = (record.dataset, record.model, record.recipe)
    if of != (row.dataset, row.model, row.recipe):
        raise MedlabelError(
            f"{path}: expected a run of {row.name}, found one of {'/'.join(of)}; delete the folder "
            f"and run `medlabel benchmark` again."
        )
    return Run(folder, record)


def _validated(path: Path, made_by: str, model: type[Model]) -> Model:
    content = files.read_json(path, made_by)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the whole file"
        what = problem["msg"].removeprefix("Value error, ")
        raise MedlabelError(
            f"{path}: {where}: {what}; delete the file and run `medlabel {made_by}` again."
        ) from error
