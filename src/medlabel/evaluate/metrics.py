"""The headline numbers of the default studies, few enough for one screen."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from medlabel import files
from medlabel.evaluate import results
from medlabel.evaluate.results import CellResult, Metric, StudyResult
from medlabel.layout import Layout
from medlabel.params import Params

HEADLINES: tuple[Metric, ...] = ("accuracy", "auc")


def write(params: Params, layout: Layout) -> None:
    """Gather headline numbers of the default studies: nested mappings of numbers alone.

    Raises
    ------
    MedlabelError
        When a study's results are missing or damaged.
    """
    found = {
        name: headlines(results.read(Path(layout.study(name, "study.json"))))
        for name in params.default_studies
    }
    files.write_json(Path(layout.metrics), found)


def headlines(study: StudyResult) -> dict[str, float]:
    """Return a study's headline numbers, fractions by name.

    Of one cell with a teacher, both their scores and the gain; of a grid with teachers, the best
    student, the best and the mean gain; of networks taught by true labels, the scores of each.
    """
    first = study.cells[0]
    if study.taught and len(study.cells) == 1:
        numbers = {
            f"{arm}_{name}": value
            for arm in ("teacher", "student")
            for name, value in _means(first, arm).items()
        }
        return numbers | {f"gain_{name}": first.gains[name].mean for name in HEADLINES}
    if study.taught:
        gains = [cell.gains["accuracy"].mean for cell in study.cells]
        students = [cell.arms["student"]["accuracy"].mean for cell in study.cells]
        return {
            "best_student_accuracy": max(students),
            "best_gain_accuracy": max(gains),
            "mean_gain_accuracy": float(np.mean(gains)),
        }
    return {
        f"{_plain(cell.label)}_{name}": value
        for cell in study.cells
        for name, value in _means(cell, cell.trained).items()
    }


def _means(cell: CellResult, arm: results.Arm) -> dict[str, float]:
    return {name: cell.arms[arm][name].mean for name in HEADLINES}


def _plain(label: str) -> str:
    """Make a key of a label: DVC reads dots in it as nesting."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
