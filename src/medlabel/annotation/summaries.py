"""What a labelling came to, for programs: counts, verdict, estimate and paths."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel.annotation import tables
from medlabel.annotation.abstaining import Choice
from medlabel.annotation.labelling import Opinion, Unnamed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Summary:
    """What was written.

    Attributes
    ----------
    table
        Of the labels.
    classes
        Their names.
    opinion, choice
        What is thought of the labels, and which were sure enough, if that was asked for.
    paths
        Of the files by their names.
    """

    table: pd.DataFrame
    classes: Sequence[str]
    opinion: Opinion | Unnamed
    choice: Choice | None
    paths: Mapping[str, Path]

    def content(self) -> dict[str, Any]:
        """Return what JSON may hold; None stands where nothing is estimated."""
        labels = Counter(self.table["label"].tolist())
        without = labels.pop("", 0)
        reasons = tables.reasons(self.table)[self.table["label"] == ""]
        statuses = Counter(self.table["status"].tolist())
        return {
            "images": {
                "labelled": len(self.table) - without,
                "duplicates": statuses[tables.DUPLICATE],
                "checked": statuses[tables.CHECKED],
                "checked_by_cluster": statuses[tables.IN_CLUSTER],
                "by_label": {**dict.fromkeys(self.classes, 0), **labels},
                "without_label": dict(sorted(Counter(reasons.tolist()).items())),
            },
            "verdict": self.opinion.verdict,
            "reason": self.opinion.reason,
            "estimate": _estimated(self.opinion),
            "precision": None if self.choice is None else _chosen(self.choice),
            "files": {name: str(path) for name, path in self.paths.items()},
        }


def _estimated(opinion: Opinion | Unnamed) -> dict[str, float | None]:
    if isinstance(opinion, Unnamed):
        return dict.fromkeys(("accuracy", "low", "high"))
    found = opinion.estimate
    numbers = {"accuracy": found.accuracy, "low": found.low, "high": found.high}
    return {name: _number(value) for name, value in numbers.items()}


def _chosen(choice: Choice) -> dict[str, float | None]:
    return {
        "wanted": choice.wanted,
        "estimated": _number(choice.precision),
        "left_without_label": choice.left,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
