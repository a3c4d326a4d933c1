"""The table of labels: a row an image, and one for every file that has none, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medlabel.annotation.embedding import Embedded
from medlabel.annotation.labelling import Opinion

if TYPE_CHECKING:
    import pandas as pd

LABELLED, DUPLICATE, CHECKED = "labelled", "duplicate", "checked"
STRAY = "fits no class"  # by its cluster: it keeps its probabilities, but gets no label
UNSURE = "not sure enough"  # for the precision that was asked for; as above
SET_ASIDE = (STRAY, UNSURE)
DIGITS = 6


def text_of(name: str) -> str:
    """Return a file's name as text: bytes that are none are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def build(embedded: Embedded, opinion: Opinion, classes: Sequence[str]) -> pd.DataFrame:
    """Put all rows together, in the order of the files' names.

    Returns
    -------
    DataFrame
        file, page (Int32), label, ``p_<class>`` (float32) for each class, teacher (its label),
        doubt (float32: 1 less the label's probability), review_rank (Int32; 1 is to be looked at
        first; duplicates have none), status (labelled, duplicate, fits no class, or why there is
        no label), note, and digest (of the pixels).
    """
    import pandas as pd

    rows = _rows(embedded)
    table = pd.DataFrame(rows, columns=["file", "page", "status", "note", "digest"])
    place = {digest: number for number, digest in enumerate(embedded.digests)}
    position = np.array([place.get(one, -1) for one in table["digest"]], np.int64)
    has = position >= 0
    chances = np.full((len(table), len(classes)), np.nan, np.float32)
    chances[has] = opinion.probabilities[position[has]]
    names = np.array([*classes, ""], dtype=object)
    best = np.full(len(table), len(classes))
    # argmax takes the first of equals: ties go to the class that is named first.
    best[has] = opinion.probabilities.argmax(axis=1)[position[has]]
    found = table[["file", "page"]].assign(label=names[best])
    for column, name in enumerate(classes):
        found[f"p_{name}"] = np.round(chances[:, column], DIGITS)
    found["teacher"] = found["label"]
    found["doubt"] = np.round(1 - chances.max(axis=1), DIGITS)
    found["review_rank"] = _ranks(table["status"].to_numpy() == LABELLED, position, opinion)
    found[["status", "note", "digest"]] = table[["status", "note", "digest"]]
    stray = has & np.append(opinion.estimate.stray, False)[position]
    found.loc[stray, "status"] = STRAY
    found.loc[stray, "label"] = ""
    return found.astype({"page": "Int32"})


def _rows(embedded: Embedded) -> list[tuple[str, int | None, str, str, str]]:
    first: dict[str, str] = {}
    rows: list[tuple[str, int | None, str, str, str]] = []
    for file in embedded.files:
        name, facts = text_of(file.source.name), file.facts
        for seen in facts.seen:
            here = name if seen.number is None else f"{name} page {seen.number}"
            status, note = LABELLED, seen.note
            if seen.pixels in first:
                same = f"the same pixels as {first[seen.pixels]}"
                status, note = DUPLICATE, "; ".join(filter(None, [same, note]))
            first.setdefault(seen.pixels, here)
            rows.append((name, seen.number, status, note, seen.pixels))
        if facts.outcome:
            rows.append((name, None, facts.outcome, facts.reason, ""))
    return rows


def _ranks(wanted: np.ndarray, position: np.ndarray, opinion: Opinion) -> pd.Series[int]:
    """Count labelled rows from the smallest margin on; of equal ones the first comes first."""
    import pandas as pd

    ranks = np.zeros(len(position), np.int64)
    rows = np.flatnonzero(wanted)
    order = np.argsort(opinion.margins[position[rows]], kind="stable")
    ranks[rows[order]] = np.arange(1, len(rows) + 1)
    return pd.Series(ranks, dtype="Int32").where(ranks > 0)


def beside(table: pd.DataFrame, digests: Sequence[str], answers: Sequence[str]) -> pd.DataFrame:
    """Put a student's labels of the distinct images into a column beside the teacher's."""
    found = table.copy()
    said = found["digest"].map(dict(zip(digests, answers, strict=True))).fillna("")
    found.insert(list(found).index("teacher") + 1, "student", said)
    return found


def each(table: pd.DataFrame) -> Iterator[Any]:
    """Yield rows as tuples with the columns' names, whose types pandas cannot know."""
    yield from table.itertuples()


def review(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return what to look at first: rank, file, page, label, the second class, doubt, correction.

    The column correction is empty, for a person to fill in; the file is then given as corrections.
    """
    rows = table[table["review_rank"].notna()].sort_values("review_rank")
    chances = rows[[f"p_{name}" for name in classes]].to_numpy()
    second = np.array(classes, dtype=object)[np.argsort(-chances, axis=1, kind="stable")[:, 1]]
    found = rows[["review_rank", "file", "page", "label"]].assign(second=second)
    return found.assign(doubt=rows["doubt"], correction="")


def told(table: pd.DataFrame, classes: Sequence[str]) -> str:
    """Say in one line how many images have a label, how many files have none, and why."""
    labelled = table[table["label"] != ""]
    counts = Counter(labelled["label"].tolist())
    parts = [f"{len(labelled)} images labelled"]
    names = [*classes, *sorted(set(counts) - set(classes))]
    parts += [", ".join(f"{counts[name]} {name}" for name in names)]
    statuses = Counter(table["status"].tolist())
    if copies := statuses.pop(DUPLICATE, 0):
        parts.append(f"{copies} of them duplicates")
    if checked := statuses.pop(CHECKED, 0):
        parts.append(f"{checked} of them checked")
    statuses.pop(LABELLED, None)
    if statuses:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(statuses.items()))
        parts.append(f"left out: {reasons} (column note)")
    return "; ".join(parts)
