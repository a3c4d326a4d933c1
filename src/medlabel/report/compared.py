"""Figure and tables of encoders side by side: what each is right about, how surely, its cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.evaluate import results
from medlabel.evaluate.results import CellResult, Estimate, Metric, StudyResult
from medlabel.layout import COMPARED_FILES
from medlabel.params import Compared
from medlabel.report import style, table
from medlabel.report.text import METRICS, NONE, heading, percent, readable, with_interval

SCORES, TABLES, *FIGURES = COMPARED_FILES
COSTS = ["encoder", "parameters", "megabytes", "images_per_cpu_second", "weights", "processor"]
SHOWN: tuple[Metric, ...] = ("accuracy", "auc", "calibration_error")
# Who answers: the arm and the labelling it stands on, its name, colour and marker.
ANSWERS = {
    "words": ("teacher, image by image", style.ORANGE, "o"),
    "clusters": ("teacher, by clusters", style.GREEN, "s"),
    "student": ("student on labels of clusters", style.BLUE, "D"),
}
LINE, AROUND, LEGEND = 6.5, 19.0, 10.0  # mm
NOT_RUN = "not run"
DECADE = 10
Answers = Mapping[str, Mapping[Metric, Estimate]]


def write(settings: Compared, study: Path, folder: Path) -> None:
    """Draw the encoders of a study, and write their tables.

    Parameters
    ----------
    settings
        The comparison.
    study
        The study's ``study.json``.
    folder
        To write `COMPARED_FILES` into.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged.
    """
    found = results.read_as(study, "evaluate", StudyResult)
    costs = _costs(Path(settings.costs))
    ran = set(_names(found))
    waiting = {name: why for name, why in settings.waiting.items() if name not in ran}
    answers = {
        images: {
            str(cell.encoder): _answers(settings, cell, cells)
            for cell in cells
            if cell.labelling == settings.by_words
        }
        for images, cells in found.by_images.items()
    }
    with files.replacing(folder / SCORES) as partial:
        _scores(answers).to_csv(partial, index=False, float_format="%.6f", lineterminator="\n")
    tables = [
        *(_table(found, images, encoders, waiting) for images, encoders in answers.items()),
        _cost_table(costs.loc[costs.index.isin([*ran, *waiting])]),
    ]
    told = _explain(found, len(waiting))
    table.write(settings.title, told, tables, folder / TABLES)
    _draw(settings, found, answers, costs, told, [folder / name for name in FIGURES])


def _names(found: StudyResult) -> Iterator[str]:
    for cell in found.cells:
        yield str(cell.encoder)


def _costs(path: Path) -> pd.DataFrame:
    made_by = "run `python bench/encoders.py`"
    try:
        costs = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise MedlabelError(
            f"{path}: expected a CSV table of costs, found none; {made_by}."
        ) from error
    if missing := [name for name in COSTS if name not in costs]:
        raise MedlabelError(f"{path}: column {missing[0]}: expected, found none; {made_by}.")
    return costs.set_index("encoder", drop=False)


def _answers(settings: Compared, cell: CellResult, cells: Sequence[CellResult]) -> Answers:
    by_clusters = next(
        one
        for one in cells
        if one.labelling == settings.by_clusters and one.encoder == cell.encoder
    )
    return {
        "words": cell.arms["teacher"],
        "clusters": by_clusters.arms["teacher"],
        "student": by_clusters.arms["student"],
    }


def _scores(answers: Mapping[str, Mapping[str, Answers]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "images": images,
            "encoder": encoder,
            "answers": who,
            "metric": metric,
            "mean": scores[metric].mean,
            "low": scores[metric].low,
            "high": scores[metric].high,
        }
        for images, encoders in answers.items()
        for encoder, each in encoders.items()
        for who, scores in each.items()
        for metric in SHOWN
    )


def _explain(found: StudyResult, waiting: int) -> str:
    told = (
        f"{found.interval} over held-out images and seeds; one training of each encoder, so that "
        f"what another one would give is not in them. Lines whose intervals overlap are not told "
        f"apart."
    )
    return told + (f" {waiting} more encoders did not run: see the tables." if waiting else "")


def _table(
    found: StudyResult,
    images: str,
    encoders: Mapping[str, Answers],
    waiting: Mapping[str, str],
) -> table.Table:
    first = found.by_images[images][0]
    rows = [_row(name, each) for name, each in encoders.items()]
    blank = dict.fromkeys(list(rows[0])[1:], NONE)
    rows += [
        {**blank, "Encoder": readable(name), "Ran": f"{NOT_RUN}: waits for {reason}"}
        for name, reason in waiting.items()
    ]
    note = (
        f"{first.test_images:,} test images, prompts {readable(str(first.prompts))}, trivial "
        f"accuracy {percent(first.trivial_accuracy)}. Mean ({found.interval}). ECE: expected "
        f"calibration error. The student learnt from labels of clusters."
    )
    columns = ["Encoder", *blank]
    ordered = [{name: row[name] for name in columns} for row in rows]
    return table.Table(readable(images), note, ordered)


def _row(name: str, each: Answers) -> dict[str, str]:
    words, clusters, student = each["words"], each["clusters"], each["student"]
    error: Metric = "calibration_error"
    return {
        "Encoder": readable(name),
        "Ran": "yes",
        "Zero-shot accuracy (%)": with_interval("accuracy", words["accuracy"]),
        "Zero-shot AUC": with_interval("auc", words["auc"]),
        "Zero-shot ECE": with_interval(error, words[error]),
        "Accuracy of clusters (%)": with_interval("accuracy", clusters["accuracy"]),
        "Student's accuracy (%)": with_interval("accuracy", student["accuracy"]),
        "Student's AUC": with_interval("auc", student["auc"]),
        "Student's ECE": with_interval(error, student[error]),
    }


def _cost_table(costs: pd.DataFrame) -> table.Table:
    rows = [
        {
            "Encoder": readable(str(row["encoder"])),
            "Parameters (millions)": f"{row['parameters'] / 1e6:.1f}",
            "Weights (MB)": f"{row['megabytes']:.0f}",
            "Images a CPU-second": NONE
            if pd.isna(row["images_per_cpu_second"])
            else f"{row['images_per_cpu_second']:.1f}",
            "Measured on": str(row["weights"]),
        }
        for row in costs.to_dict("records")
    ]
    note = (
        f"{', '.join(costs['processor'].dropna().unique())}, float32, OpenVINO, images of 28 "
        f"pixels. Cost depends on the architecture alone, so that random weights tell it. "
        f"Parameters are those of both towers, word vectors among them."
    )
    return table.Table("Cost", note, rows)


def _draw(
    settings: Compared,
    found: StudyResult,
    answers: Mapping[str, Mapping[str, Answers]],
    costs: pd.DataFrame,
    told: str,
    targets: Sequence[Path],
) -> None:
    names = list(dict.fromkeys(_names(found)))
    body = 2 * (LINE * len(names) + AROUND) + LEGEND
    with style.sheet(targets, body, settings.title, told, phantom=found.phantom) as figure:
        grid = figure.subplots(2, len(answers) + 1, sharey=True, squeeze=False)
        for line, metric in zip(grid, ("accuracy", "calibration_error"), strict=True):
            for axes, (images, encoders) in zip(line, answers.items(), strict=False):
                _draw_scores(axes, found.by_images[images][0], encoders, names, metric)
        _draw_bars(
            grid[0, -1], costs["images_per_cpu_second"].reindex(names), "Images a CPU-second"
        )
        _draw_bars(grid[1, -1], costs["parameters"].reindex(names) / 1e6, "Parameters (millions)")
        for axes in grid[:, 0]:
            axes.set_yticks(range(len(names)), [readable(name) for name in names])
        grid[0, 0].invert_yaxis()
        style.legend(figure, 4)


def _draw_scores(
    axes: Axes,
    first: CellResult,
    encoders: Mapping[str, Answers],
    names: Sequence[str],
    metric: Any,
) -> None:
    unit = METRICS[metric][2]
    for place, (who, (label, colour, marker)) in enumerate(ANSWERS.items()):
        for y, name in enumerate(names):
            one = encoders[name][who][metric]
            at = y + 0.24 * (place - 1)
            axes.hlines(at, unit * one.low, unit * one.high, color=colour, linewidth=1.1)
            axes.plot(
                unit * one.mean, at, marker, color=colour, markersize=3.4, linestyle="none",
                label=label if y == 0 else None,
            )  # fmt: skip
    if metric == "accuracy":
        axes.axvline(
            unit * first.trivial_accuracy, color=style.BLACK, linestyle=(0, (4, 2)), linewidth=0.9,
            label="one answer to all images",
        )  # fmt: skip
        axes.set_title(f"{readable(first.images)}, n = {first.test_images:,}")
    axes.set_xlabel(heading(metric))


def _draw_bars(axes: Axes, values: pd.Series, label: str) -> None:
    axes.barh(range(len(values)), values.to_numpy(), color=style.GREY, height=0.6)
    for y, value in enumerate(values.to_numpy()):
        known = not pd.isna(value)
        axes.annotate(
            _told(value), (value if known else 1, y),
            xytext=(2, 0), textcoords="offset points", va="center", fontsize=style.SMALL_SIZE,
        )  # fmt: skip
    far = values.max() >= DECADE * values.min()  # nearer ones would crowd a logarithmic axis
    axes.set(xlabel=label, xscale="log" if far else "linear")
    axes.margins(x=0.2)


def _told(value: float) -> str:
    """Write a cost with three digits; an unknown one as a dash."""
    if math.isnan(value):
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
