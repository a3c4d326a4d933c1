"""What a person checked: read back, put over the labels, and turned into an exact interval."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medlabel.annotation import tables
from medlabel.errors import MedlabelError
from medlabel.randomness import stream

if TYPE_CHECKING:
    import pandas as pd

CONFIRMED = "y"
CONFIDENCE = 0.95
KEY = ("file", "page")


@dataclass(frozen=True)
class Accuracy:
    """How many checked images the teacher had right, with the exact interval of its accuracy.

    Attributes
    ----------
    right, checked
        Numbers of distinct images.
    low, high
        Of the interval of Clopper and Pearson (1934), at `CONFIDENCE`.
    """

    right: int
    checked: int
    low: float
    high: float

    @classmethod
    def of(cls, right: int, checked: int) -> Accuracy:
        """Compute the interval; of no image it is from 0 to 1."""
        from scipy.stats import binomtest

        if not checked:
            return cls(0, 0, 0.0, 1.0)
        interval = binomtest(right, checked).proportion_ci(CONFIDENCE, method="exact")
        return cls(right, checked, float(interval.low), float(interval.high))

    def told(self) -> str:
        """Say it in words."""
        return (
            f"{self.right} of {self.checked} right ({self.right / self.checked:.1%}; exact "
            f"{CONFIDENCE:.0%} interval {self.low:.1%} to {self.high:.1%})"
        )


def read(path: Path) -> dict[tuple[str, str], str]:
    """Read what was checked: the label, or `CONFIRMED`, by file and page.

    Parameters
    ----------
    path
        A CSV with the column file, and page where there are any. With a column correction, as in
        ``review.csv`` and ``audit.csv``, its rows that are not empty count; else with a column
        teacher, as in ``labels.csv``, the rows whose label differs or whose status is checked;
        else, as the page saves it, every row with a label.

    Raises
    ------
    MedlabelError
        When it is missing, no such table, or says two things of one image.
    """
    import pandas as pd

    try:
        table = pd.read_csv(
            io.BytesIO(path.read_bytes()), dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (OSError, ValueError) as error:
        raise MedlabelError(
            f"{path}: expected a CSV of corrections, found something else "
            f"({' '.join(str(error).split())})."
        ) from error
    said = "correction" if "correction" in table else "label"
    if "file" not in table or said not in table:
        raise MedlabelError(
            f"{path}: expected the columns file and label or correction, found "
            f"{', '.join(map(str, table.columns))}."
        )
    if "page" not in table:
        table["page"] = ""
    chosen = table[table[said].str.strip() != ""]
    if said == "label" and "teacher" in table:
        checked = chosen.get("status", pd.Series("", index=chosen.index)) == tables.CHECKED
        chosen = chosen[(chosen["label"] != chosen["teacher"]) | checked]
    found: dict[tuple[str, str], str] = {}
    for file, page, text in zip(chosen["file"], chosen["page"], chosen[said], strict=True):
        key, label = (file, page.removesuffix(".0")), text.strip()
        if found.setdefault(key, label) != label:
            raise MedlabelError(
                f"{path}: {file} stands twice, as {found[key]} and as {label}; keep one row."
            )
    return found


def remembered(path: Path, table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Read what earlier runs were told, of the images that are still there."""
    if not path.is_file():
        return {}
    here = set(_keys(table))
    return {key: label for key, label in read(path).items() if key in here}


def saved(table: pd.DataFrame) -> pd.DataFrame:
    """Return what was checked so far, as `read` takes it: file, page, label."""
    aside = table["status"].isin(tables.SET_ASIDE) & (table["label"] != "")
    return table.loc[aside | (table["status"] == tables.CHECKED), ["file", "page", "label"]]


def _keys(table: pd.DataFrame) -> list[tuple[str, str]]:
    pages = table["page"].astype("string").fillna("").tolist()
    return list(zip(table["file"].tolist(), pages, strict=True))


def apply(
    table: pd.DataFrame, corrections: Mapping[tuple[str, str], str], source: str
) -> pd.DataFrame:
    """Put what a person said over the labels, copies of the same pixels included.

    Raises
    ------
    MedlabelError
        When it is said of an image that is not in the table, or two things of the same pixels.
    """
    named = zip(_keys(table), table["digest"], table["teacher"], strict=True)
    rows = {key: (digest, label) for key, digest, label in named if digest}
    if missing := [key for key in corrections if key not in rows]:
        raise MedlabelError(
            f"{source}: {missing[0][0]} is not among the labelled images ({len(missing)} such "
            f"rows); label the same folder as before."
        )
    said: dict[str, str] = {}
    for key, text in corrections.items():
        digest, own = rows[key]
        label = own if text == CONFIRMED else text
        if said.setdefault(digest, label) != label:
            raise MedlabelError(
                f"{source}: {key[0]} and a copy with the same pixels have different labels, "
                f"{label} and {said[digest]}."
            )
    found = table.copy()
    checked = found["digest"].isin(list(said))
    found.loc[checked, "label"] = found.loc[checked, "digest"].map(said)
    unsure = checked & (found["status"] == tables.UNSURE)
    found.loc[unsure & found["review_rank"].isna(), "status"] = tables.DUPLICATE
    now = found["status"].isin([tables.LABELLED, tables.UNSURE])
    found.loc[checked & now, "status"] = tables.CHECKED
    return found


def accuracy(table: pd.DataFrame) -> Accuracy:
    """Judge the teacher by all checked images."""
    checked = table[table["status"] == tables.CHECKED]
    return Accuracy.of(int((checked["label"] == checked["teacher"]).sum()), len(checked))


def audited(table: pd.DataFrame) -> Accuracy:
    """Judge the teacher by the checked images that chance chose: it holds for all images.

    Those are the ones at the beginning of the audit's order, up to the first that is not checked.
    """
    if not (table["status"] == tables.CHECKED).any():
        return Accuracy.of(0, 0)
    order = audit_order(table)
    unchecked = (table.loc[order, "status"] != tables.CHECKED).to_numpy()
    count = int(unchecked.argmax()) if unchecked.any() else len(order)
    sample = table.loc[order[:count]]
    return Accuracy.of(int((sample["label"] == sample["teacher"]).sum()), count)


def audit_order(table: pd.DataFrame) -> list[int]:
    """Return the rows of distinct labelled images in an order of chance, the same for each run.

    An image's place depends on its own pixels and on chance alone, so that the first n are a random
    sample of the folder whatever the teacher thinks of them.
    """
    digests = table.loc[table["review_rank"].notna(), "digest"]
    pairs = zip(digests.index.tolist(), digests.tolist(), strict=True)
    drawn = {int(row): stream(0, "audit", digest).random() for row, digest in pairs}
    return sorted(drawn, key=drawn.__getitem__)


def audit_table(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the first images of the audit's order, with an empty column for the right label."""
    rows = table.loc[audit_order(table)[:count], ["file", "page", "label"]]
    return rows.assign(correction="")
