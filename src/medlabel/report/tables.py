"""The study's numbers as tables, beside the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medlabel.errors import MedlabelError
from medlabel.files import replacing
from medlabel.params import Mixture, Teacher
from medlabel.report.results import (
    ARMS,
    COMPARED,
    METRICS,
    Arm,
    Estimate,
    Metric,
    Study,
    read_csv,
    read_study,
)
from medlabel.report.text import MINUS, PHANTOM_MARK, points, readable

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED_COLUMNS = ("dataset", "model", "recipe", "acc", "source", "note")
PUBLISHED_TASK = "breast_chest"
PUBLISHED_SOURCES = {"breastmnist", "chestmnist"}
PUBLISHED_TRIVIAL = 0.5  # 546 + 546 and 234 + 234 images
PUBLISHED_TEACHER = ("ViT-L-14", "openai")


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Attributes
    ----------
    title
        Heading.
    note
        What the numbers are: units, intervals, n.
    header
        Column names.
    rows
        Cells, as many a row as `header` has.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column begins with a number in every row: such columns align right."""
        digits = {*"0123456789+", MINUS}
        return tuple(
            all(row[column][:1] in digits for row in self.rows)
            for column in range(len(self.header))
        )


def write(study: Path, published: Path, mixture: Mixture, teacher: Teacher, target: Path) -> None:
    """Write the study's tables as Markdown.

    Parameters
    ----------
    study
        Results that `medlabel study` wrote.
    published
        Table of published values: dataset, model, recipe, acc, source, note.
    mixture, teacher
        What this study was run on, for the comparison with the published ones.
    target
        Markdown file to write.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged.
    """
    found = read_study(study)
    tables = build(found, published, mixture, teacher)
    text = "\n\n".join([f"# {heading(found)}", *map(_markdown, tables)]) + "\n"
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def heading(study: Study) -> str:
    """Return the title of the study's tables and page, marked where the images are phantoms."""
    title = f"Student against teacher: {readable(study.mixture)}"
    return f"{PHANTOM_MARK}: {title}" if study.phantom else title


def build(study: Study, published: Path, mixture: Mixture, teacher: Teacher) -> tuple[Table, ...]:
    """Return the tables of scores, gains, checkpoints and published values.

    Raises
    ------
    MedlabelError
        When the table of published values is missing, damaged or lacks the study's task.
    """
    rows = read_csv(published, "report", PUBLISHED_COLUMNS)
    rows = rows[rows["dataset"] == PUBLISHED_TASK]
    if rows.empty:
        raise MedlabelError(
            f"{published}: expected rows of the dataset {PUBLISHED_TASK}, found none; restore the "
            f"table of published values."
        )
    return (
        _scores(study),
        _gains(study),
        _checkpoints(study),
        _published(study, rows, mixture, teacher),
    )


def _markdown(table: Table) -> str:
    lines = [
        table.header,
        tuple("---:" if right else "---" for right in table.numeric),
        *table.rows,
    ]
    rows = "\n".join(f"| {' | '.join(map(_escape, line))} |" for line in lines)
    return f"## {table.title}\n\n{table.note}\n\n{rows}"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _with_interval(estimate: Estimate) -> str:
    return f"{_percent(estimate.mean)} ({_percent(estimate.low)} to {_percent(estimate.high)})"


def _scores(study: Study) -> Table:
    metrics = tuple(METRICS)
    rows = [
        (
            name,
            *(_with_interval(study.arms[arm][metric]) for metric in metrics),
            _percent(study.arms[arm]["accuracy"].sd),
            _percent(study.trivial_accuracy),
        )
        for arm, name in ARMS.items()
    ]
    return Table(
        title="Scores on held-out images",
        note=f"Mean over n = {study.seeds} seeds ({study.interval}, {study.resamples:,} "
        f"resamples), in per cent. Each seed: {study.train_images:,} images to label, "
        f"{study.test_images:,} held out. Teacher: {study.encoder}. Trivial: the accuracy of "
        f"always answering the commonest class (its AUC is 50).",
        header=(
            "Arm",
            *(f"{METRICS[metric]} (%)" for metric in metrics),
            "SD of accuracy",
            "Trivial accuracy (%)",
        ),
        rows=tuple(rows),
    )


def _gains(study: Study) -> Table:
    return Table(
        title="Gain of the student on its teacher",
        note=f"Student {MINUS} teacher in percentage points, paired by seed, n = {study.seeds} "
        f"seeds; two-sided tests; Holm corrects the permutation (sign-flip) test over the metrics.",
        header=(
            "Metric",
            "Mean",
            "SD",
            f"{study.interval} over seeds",
            f"{study.interval} over seeds and images",
            "Wins / ties / losses",
            "p (Wilcoxon)",
            "p (permutation)",
            "p (Holm)",
        ),
        rows=tuple(_gain_row(study, metric) for metric in METRICS),
    )


def _gain_row(study: Study, metric: Metric) -> tuple[str, ...]:
    gain = study.gains[metric]
    return (
        METRICS[metric],
        points(gain.mean, 2),
        _percent(gain.sd),
        f"{points(gain.low, 2)} to {points(gain.high, 2)}",
        f"{points(gain.image_low, 2)} to {points(gain.image_high, 2)}",
        f"{gain.wins} / {gain.ties} / {gain.losses}",
        *(f"{p:.2g}" for p in (gain.wilcoxon_p, gain.permutation_p, gain.holm_p)),
    )


def _checkpoints(study: Study) -> Table:
    rows = [
        (
            point.name,
            str(point.seeds),
            _percent(point.pseudolabel_accuracy),
            f"{_percent(point.teacher_accuracy)} ({_percent(point.teacher_accuracy_low)} to "
            f"{_percent(point.teacher_accuracy_high)})",
            f"{_percent(point.student_accuracy)} ({_percent(point.student_accuracy_low)} to "
            f"{_percent(point.student_accuracy_high)})",
            f"{points(point.gain, 2)} ({points(point.gain_low, 2)} to "
            f"{points(point.gain_high, 2)})",
            _percent(study.trivial_accuracy),
        )
        for point in study.curve
    ]
    return Table(
        title="Teachers of different quality",
        note=f"Accuracy in per cent, gain in percentage points, each with its {study.interval} "
        f"over seeds ({study.curve_seeds}). {_crossing(study)}",
        header=(
            "Teacher (step)",
            "Seeds",
            "Pseudo-labels right (%)",
            "Teacher (%)",
            "Student (%)",
            "Gain",
            "Trivial (%)",
        ),
        rows=tuple(rows),
    )


def _crossing(study: Study) -> str:
    if study.crossing is None:
        return "No teacher quality was found at which the student's gain changes its sign."
    at = study.crossing
    return (
        f"The student stops helping where its teacher reaches {_percent(at.teacher_accuracy)} % "
        f"({study.interval} {_percent(at.low)} to {_percent(at.high)}; {at.basis})."
    )


def _published(study: Study, rows: pd.DataFrame, mixture: Mixture, teacher: Teacher) -> Table:
    return Table(
        title="Beside the published study",
        note=_caveat(mixture, teacher),
        header=("Model", "What", "Accuracy (%)", "Trivial (%)", "Source", "Note"),
        rows=(*_our_rows(study), *_their_rows(rows)),
    )


def _our_rows(study: Study) -> Iterator[tuple[str, ...]]:
    gains = " and ".join(
        f"{points(study.gains[metric].mean, 2)} points {METRICS[metric]}" for metric in COMPARED
    )
    notes: dict[Arm, str] = {
        "teacher": f"mean over {study.seeds} seeds",
        "student": f"mean over {study.seeds} seeds; mean gain {gains}",
    }
    for arm, note in notes.items():
        score = _percent(study.arms[arm]["accuracy"].mean)
        trivial = _percent(study.trivial_accuracy)
        yield (study.encoder, f"{arm}, held-out images", score, trivial, "this study", note)


def _their_rows(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for row in rows.fillna({"note": ""}).to_dict("records"):
        score, trivial = _percent(float(row["acc"])), _percent(PUBLISHED_TRIVIAL)
        what = readable(row["recipe"])
        yield (row["model"], what, score, trivial, row["source"], row["note"])


def _caveat(mixture: Mixture, teacher: Teacher) -> str:
    sources = ", ".join(mixture.datasets)
    same_images = set(mixture.datasets) == PUBLISHED_SOURCES
    model, weights = PUBLISHED_TEACHER
    same_teacher = (
        teacher.source == "open_clip"
        and teacher.model.startswith(model)
        and teacher.pretrained == weights
    )
    if same_images and same_teacher:
        return "The same datasets and the same teacher as in the published study."
    by = "trained here on phantoms" if teacher.source == "pretrain" else teacher.model
    differ = " and ".join(
        name for name, same in (("images", same_images), ("teacher", same_teacher)) if not same
    )
    return (
        f"Not a like-for-like comparison: the {differ} differ. Ours: {sources}, with a teacher "
        f"{by}. Theirs: ChestMNIST and BreastMNIST, with OpenAI's ViT-L/14. The rows stand beside "
        f"each other for orientation only."
    )
