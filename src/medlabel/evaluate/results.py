"""What a study found: written by `evaluate.study`, read by the report, checked both times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from medlabel import files
from medlabel.errors import MedlabelError

Arm = Literal["teacher", "student", "permuted", "true"]
Metric = Literal[
    "accuracy", "auc", "f1", "balanced_accuracy", "average_precision", "calibration_error"
]
Kind = Literal["none", "number", "names", "matrix"]

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


def _in_order(content: dict[Any, Value]) -> dict[Any, Value]:
    """Give arms and metrics back in their order: JSON is written in that of the alphabet."""
    order = (*get_args(Arm), *get_args(Metric))
    return {key: content[key] for key in order if key in content}


ByArm = Annotated[dict[Arm, Value], AfterValidator(_in_order)]
ByMetric = Annotated[dict[Metric, Value], AfterValidator(_in_order)]


class Result(BaseModel):
    """A part of a study's results; scores are fractions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Estimate(Result):
    """A mean over repeats, with its confidence interval.

    Attributes
    ----------
    mean, sd
        Over all values; a single one has no standard deviation.
    low, high
        The interval that everything shows: over the repeats, which are seeds, or pretrainings and
        seeds; over the test images too where all repeats are judged on the same official ones, and
        over these alone where there is one repeat.
    image_low, image_high
        Over the repeats and the test images, always.
    values
        Of each pretraining and each of its seeds: [pretraining][seed].
    """

    mean: float
    sd: float | None
    low: float
    high: float
    image_low: float
    image_high: float
    values: list[list[float]] = Field(min_length=1)


class Gain(Estimate):
    """Student minus teacher, paired by pretraining and seed; wins are the student's.

    Tests are two-sided, over the pairs, or over the means of the pretrainings where there are
    several; Holm's p is the permutation test's, corrected over the metrics.
    """

    wins: int
    ties: int
    losses: int
    wilcoxon_p: float
    permutation_p: float
    holm_p: float


class PublishedValue(Result):
    """One published score; ours minus it; whether it lies in our interval, if both are alike."""

    value: float
    difference: float
    within: bool | None


class Published(Result):
    """What others report for a cell's dataset and network.

    Attributes
    ----------
    doubtful
        Whether its source contradicts itself or others; then it is never `like`.
    like
        Whether it was made as this cell was: same recipe, size, epochs and batches.
    """

    model: str
    recipe: str
    image_size: str | None
    epochs: int | None
    batch_size: int | None
    source: str
    note: str | None
    doubtful: bool
    like: bool
    scores: ByMetric[PublishedValue]

    @property
    def authors(self) -> str:
        """The source without its place, such as ``Abdalla 2024``."""
        return self.source.partition(",")[0].strip()


class CellResult(Result):
    """One point of a study's grid, named as in `params.Cell`.

    Attributes
    ----------
    label
        Tells it from the study's other cells.
    task, classes, phantom
        MedMNIST's word for the task, the classes in label order, and whether any image is drawn.
    test_images, train_images
        Of one seed.
    pixels
        Edge of the images as read, and as enlarged, such as ``28->224``.
    trivial_accuracy
        Of always answering the commonest class; multi-label: of denying every label.
    pseudolabel_accuracy
        Part of the labels learnt from that is right; None without a teacher.
    gains
        Student minus teacher; empty without a teacher.
    recall, confusion
        Of each class, mean over the repeats; and counts of [true class][answered class], summed
        over them; by arm. Multi-label tasks have no confusion.
    """

    label: str
    images: str
    encoder: str | None
    prompts: str | None
    labelling: str | None
    network: str
    recipe: str
    seeds: int = Field(ge=1)
    pretrainings: int = Field(ge=1)
    task: str
    classes: list[str] = Field(min_length=2)
    phantom: bool
    test_images: int = Field(ge=1)
    train_images: int = Field(ge=1)
    pixels: str
    trivial_accuracy: float
    pseudolabel_accuracy: float | None
    arms: ByArm[ByMetric[Estimate]] = Field(min_length=1)
    gains: ByMetric[Gain]
    published: list[Published]
    recall: ByArm[list[float]]
    confusion: ByArm[list[list[int]]]
    parameters: int
    epochs: int
    batch_size: int
    precision: str
    device: str
    start: str

    @property
    def name(self) -> str:
        """Its label without its images, where it tells more than these."""
        return self.label.removeprefix(f"{self.images}, ")

    @property
    def trained(self) -> Arm:
        """The arm that the cell is about: the student, or the network taught by true labels."""
        return "student" if "student" in self.arms else "true"

    @property
    def taught(self) -> bool:
        """Whether a teacher labels the images."""
        return self.encoder is not None

    @property
    def repeats(self) -> str:
        """How often it was repeated, such as ``n = 5 pretrainings × 3 seeds``."""
        runs = f"{self.pretrainings} pretrainings × " if self.pretrainings > 1 else ""
        return f"n = {runs}{self.seeds} seed{'s' if self.seeds > 1 else ''}"


class Comparison(Result):
    """What was trained in a cell against the first cell of the same images, by their labels.

    The difference is cell minus reference, paired by repeat and test image, with the interval over
    both; p is the bootstrap's, two-sided, and Holm's over the cells that have the same reference.
    """

    images: str
    cell: str
    reference: str
    metric: Metric
    difference: float
    low: float
    high: float
    p: float
    holm_p: float


class Crossing(Result):
    """The teacher's accuracy at which its student stops helping.

    Its interval over pretrainings and seeds is of those resamples that cross at all, which are the
    part `crossing_resamples`.
    """

    teacher_accuracy: float
    low: float
    high: float
    crossing_resamples: float


class Axis(Result):
    """A key that varies in a study, with its values in their order."""

    key: str
    values: list[str]

    def place(self, cell: CellResult) -> int:
        """Return where along the axis a cell lies."""
        return self.values.index(str(getattr(cell, self.key)))


class StudyResult(Result):
    """Everything that `medlabel evaluate` found."""

    study: str
    title: str
    phantom: bool
    confidence: float
    resamples: int
    image_resamples: int
    kind: Kind
    axes: list[Axis]
    cells: list[CellResult] = Field(min_length=1)
    comparisons: list[Comparison]
    crossing: Crossing | None

    @property
    def interval(self) -> str:
        """Name of the confidence interval, such as ``95 % CI``."""
        return f"{100 * self.confidence:g} % CI"

    @property
    def taught(self) -> bool:
        """Whether every cell has a teacher."""
        return all(cell.taught for cell in self.cells)

    @property
    def along_teachers(self) -> bool:
        """Whether its cells differ by their teacher alone."""
        return self.taught and [axis.key for axis in self.axes] == ["encoder"]

    @property
    def by_images(self) -> dict[str, list[CellResult]]:
        """The cells of each mixture or file, in their order."""
        return grouped(self.cells, lambda cell: cell.images)


def grouped(items: Iterable[Value], key: Callable[[Value], str]) -> dict[str, list[Value]]:
    """Gather items of the same key, in their order."""
    found: dict[str, list[Value]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def read(path: Path) -> StudyResult:
    """Read a study's results.

    Raises
    ------
    MedlabelError
        When the file is missing, is not JSON, or a value is missing or of a wrong type.
    """
    return read_as(path, "evaluate", StudyResult)


def read_as(path: Path, made_by: str, model: type[Model]) -> Model:
    """Read a JSON file that the step `made_by` wrote into a model.

    Raises
    ------
    MedlabelError
        Naming the key that does not fit.
    """
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
