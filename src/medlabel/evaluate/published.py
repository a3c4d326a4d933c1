"""Published scores beside ours: counted only where both were made alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.evaluate.results import Estimate, Metric, Published, PublishedValue
from medlabel.networks import names
from medlabel.params import TrainingSettings

COLUMNS: dict[str, type] = {
    **dict.fromkeys(("dataset", "model", "recipe", "image_size"), str),
    **dict.fromkeys(("epochs", "batch_size", "auc", "acc"), float),
    **dict.fromkeys(("source", "note", "split", "doubtful"), str),
}
FURTHER: dict[str, type] = {"f1": float, "gain": float}  # in a table that has them
SCORES: dict[Metric, str] = {"accuracy": "acc", "auc": "auc", "f1": "f1"}


# Recipes of teachers and students that no true label taught, and the one that true labels did.
TEACHER, STUDENT, GAIN = "zero_shot_test", "student", "student_gain_accuracy"
SUPERVISED = "official"


@dataclass(frozen=True)
class Taught:
    """A published teacher and its student: accuracies, and the mean gain over repeats."""

    teacher: float
    student: float
    gain: float
    source: str


def read(path: Path) -> pd.DataFrame:
    """Read the table of published values; what is not stated becomes None.

    Returns
    -------
    pandas.DataFrame
        Scores as fractions, epochs and batch_size as numbers, doubtful as bool, all else as text.

    Raises
    ------
    MedlabelError
        When it is missing, no table, or lacks a column, or when a value has no source.
    """
    try:
        table = pd.read_csv(files.require(path, "evaluate"), dtype=COLUMNS | FURTHER)
    except ValueError as error:  # pandas' own errors of parsing among them
        raise MedlabelError(
            f"{path}: expected a CSV table of published values, found something else ({error}); "
            f"restore the file from Git."
        ) from error
    if missing := [column for column in COLUMNS if column not in table.columns]:
        raise MedlabelError(
            f"{path}: expected the columns {', '.join(COLUMNS)}, but {', '.join(missing)} is "
            f"missing; restore the file from Git."
        )
    if table["source"].isna().any():
        line = int(np.flatnonzero(table["source"].isna())[0]) + 2
        raise MedlabelError(f"{path}: line {line} has no source; every value needs one.")
    table["doubtful"] = table["doubtful"].str.lower() == "true"
    return table.astype(object).where(table.notna(), None)


def beside(
    network: str,
    settings: TrainingSettings,
    estimates: Mapping[Metric, Estimate],
    table: pd.DataFrame,
) -> list[Published]:
    """Give every published value of a training's dataset and network, those made alike first.

    There is none of mixtures.
    """
    same = table[
        (table["dataset"] == settings.dataset)
        & (table["model"] == names.published_as(network))
        & table["split"].isin([None, "test"])
    ]
    found = [_beside(row, settings, estimates) for row in same.to_dict("records")]
    return sorted((one for one in found if one.scores), key=lambda one: not one.like)


def teaching(dataset: str | None, table: pd.DataFrame) -> pd.DataFrame:
    """Return what is published of zero-shot teachers, their students and supervised networks."""
    recipes = table["recipe"]
    chosen = recipes.str.startswith(("zero_shot", STUDENT)) | (recipes == SUPERVISED)
    return table[(table["dataset"] == dataset) & chosen & ~table["doubtful"].astype(bool)]


def taught(dataset: str | None, table: pd.DataFrame) -> Taught | None:
    """Return the published teacher of a dataset with its student, where both are known."""
    rows = {row["recipe"]: row for row in teaching(dataset, table).to_dict("records")}
    if not {TEACHER, STUDENT, GAIN} <= set(rows):
        return None
    return Taught(
        teacher=float(rows[TEACHER]["acc"]),
        student=float(rows[STUDENT]["acc"]),
        gain=float(rows[GAIN]["gain"]),
        source=str(rows[STUDENT]["source"]),
    )


def _beside(
    row: Mapping[Any, Any], settings: TrainingSettings, estimates: Mapping[Metric, Estimate]
) -> Published:
    like = not row["doubtful"] and alike(row, settings)
    return Published(
        **{key: row[key] for key in Published.model_fields if key in row},
        like=like,
        scores={
            metric: PublishedValue(
                value=value,
                difference=estimates[metric].mean - value,
                within=estimates[metric].low <= value <= estimates[metric].high if like else None,
            )
            for metric, column in SCORES.items()
            if (value := row.get(column)) is not None
        },
    )


def alike(row: Mapping[Any, Any], settings: TrainingSettings) -> bool:
    """Whether a published value follows the recipe of a training, on images of the same size.

    Epochs and batches that the table states have to agree too: an overlay may shorten a recipe that
    keeps its protocol's name.
    """
    recipe = settings.recipe
    return (
        recipe.protocol is not None
        and row["recipe"] == recipe.protocol
        and row["image_size"] == pixels(settings)
        and row["epochs"] in (None, recipe.epochs)
        and row["batch_size"] in (None, recipe.batch_size)
    )


def pixels(settings: TrainingSettings) -> str:
    """Return the edge of a training's images as the table has it, such as ``28->224``."""
    enlarged = settings.recipe.enlarge_to
    return f"{settings.size}" + (f"->{enlarged}" if enlarged else "")
