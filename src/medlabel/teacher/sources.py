"""Captioned images to learn from: where they lie, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medlabel import files
from medlabel.params import Labelled

TRUE_LABELS = "true labels of"
COLUMNS = ["split", "row", "kind", "finding", "style", "caption"]


@dataclass(frozen=True)
class Source:
    """Captioned images of one dataset: an archive, its captions, its edge in pixels.

    Of drawn images no more may be learnt from than a teacher's settings say; of measured ones all
    are, or those that show one of some findings.
    """

    dataset: str
    size: int
    archive: Path
    captions: Path
    measured: bool = False
    findings: tuple[str, ...] | None = None

    def captions_of(self, split: str) -> pd.DataFrame:
        """Return the rows of `COLUMNS` of a split that may be learnt from.

        Raises
        ------
        MedlabelError
            When the table of captions is missing or damaged.
        """
        table = files.read_parquet(
            self.captions, "captions" if self.measured else "phantoms", COLUMNS
        )
        part = table[table["split"] == split]
        return part if self.findings is None else part[part["finding"].isin(self.findings)]


def learnt_from(datasets: Sequence[Labelled], *, drawn: bool) -> str:
    """Say what a teacher learnt from, for its record and for who reads a report."""
    labelled = [
        one.images + ("" if one.labels is None else f" (labels {', '.join(map(str, one.labels))})")
        for one in datasets
    ]
    told = [f"{TRUE_LABELS} {', '.join(labelled)}"] if labelled else []
    return " and ".join([*(["phantoms"] if drawn else []), *told])
