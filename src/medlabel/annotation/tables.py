"""The table of labels: a row an image, and one for every file that has none, with the reason."""

from __future__ import annotations

from collections import Counter, namedtuple
from collections.abc import Iterator, Sequence
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import numpy as np

from medlabel.annotation.embedding import Embedded
from medlabel.annotation.labelling import Opinion, Unnamed, order_of_review

if TYPE_CHECKING:
    import pandas as pd

    from medlabel.annotation.grouping import Groups

LABELLED, DUPLICATE, CLUSTERED = "labelled", "duplicate", "clustered"
CHECKED = "checked"
IN_CLUSTER = "checked by cluster"  # named with its cluster, which says nothing of this one image
BY_PERSON = (CHECKED, IN_CLUSTER)
STRAY = "fits no class"  # by its cluster: it keeps its probabilities, but gets no label
UNSURE = "not sure enough"  # for the precision that was asked for; as above
SET_ASIDE = (STRAY, UNSURE)
PRIVATE = ("digest", "distance", "half", "said", "given")  # columns that no file has
DIGITS = 6


def text_of(name: str) -> str:
    """Return a file's name as text: bytes that are none are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def build(
    embedded: Embedded, opinion: Opinion | Unnamed, groups: Groups, classes: Sequence[str]
) -> pd.DataFrame:
    """Put all rows together, in the order of the files' names.

    Returns
    -------
    DataFrame
        file, page (Int32), label, ``p_<class>`` (float32) for each class, teacher (its label),
        doubt (float32: 1 less the label's probability), review_rank (Int32; 1 is to be looked at
        first; duplicates have none), cluster (Int32; 1 is to be looked at first), status (labelled,
        clustered, duplicate, fits no class, or why there is no label), note, and the columns of
        `PRIVATE`: digest (of the pixels), distance (float64) and half (Int8) in its cluster, said
        (the class by words alone), and given (the label, fits no class, or nothing), which neither
        a wanted precision nor a correction changes.
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
    surest = np.full(len(table), np.nan, np.float32)
    if classes:
        # argmax takes the first of equals: ties go to the class that is named first.
        best[has] = opinion.probabilities.argmax(axis=1)[position[has]]
        surest = chances.max(axis=1)
    found = table[["file", "page"]].assign(label=names[best])
    for column, name in enumerate(classes):
        found[f"p_{name}"] = np.round(chances[:, column], DIGITS)
    found["teacher"] = found["label"]
    found["doubt"] = np.round(1 - surest, DIGITS)
    found["review_rank"] = _ranks(table["status"].to_numpy() == LABELLED, position, opinion)
    found["cluster"] = _where(has, groups.numbers, position, "Int32")
    found[["status", "note", "digest"]] = table[["status", "note", "digest"]]
    found["distance"] = _where(has, groups.distances, position, "Float64")
    found["half"] = _where(has, groups.halves, position, "Int8")
    found["said"] = names[np.where(has, groups.said[position], -1)]
    stray = has & np.append(opinion.stray, False)[position]
    found.loc[stray, "status"] = STRAY
    found.loc[stray, "label"] = ""
    if not classes:
        found["status"] = found["status"].replace(LABELLED, CLUSTERED)
    found["given"] = named(found)
    return found.astype({"page": "Int32"})


def _where(has: np.ndarray, values: np.ndarray, position: np.ndarray, kind: str) -> pd.Series[Any]:
    """Spread values of distinct images over rows; files without an image have none."""
    import pandas as pd

    return pd.Series(values[position]).astype(kind).where(has)  # type: ignore[call-overload,no-any-return]


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


def _ranks(wanted: np.ndarray, position: np.ndarray, opinion: Opinion | Unnamed) -> pd.Series[int]:
    """Count labelled rows in the order of review; of equal ones the first comes first."""
    import pandas as pd

    ranks = np.zeros(len(position), np.int64)
    rows = np.flatnonzero(wanted)
    places = position[rows]
    order = order_of_review(opinion.support[places], opinion.margins[places])
    ranks[rows[order]] = np.arange(1, len(rows) + 1)
    return pd.Series(ranks, dtype="Int32").where(ranks > 0)


def beside(table: pd.DataFrame, digests: Sequence[str], answers: Sequence[str]) -> pd.DataFrame:
    """Put a student's labels of the distinct images into a column beside the teacher's."""
    found = table.copy()
    said = found["digest"].map(dict(zip(digests, answers, strict=True))).fillna("")
    found.insert(list(found).index("teacher") + 1, "student", said)
    return found


def each(table: pd.DataFrame) -> Iterator[Any]:
    """Yield rows as tuples with the columns' names, less those that are no names in Python.

    Columns become lists first, since pandas takes texts of Arrow out one by one, slowly.
    """
    names = [name for name in table.columns if name.isidentifier() and not iskeyword(name)]
    row = namedtuple("row", names)  # type: ignore[misc]
    yield from map(row._make, zip(*(table[name].tolist() for name in names), strict=True))


def named(table: pd.DataFrame) -> pd.Series[str]:
    """Return the labels; images that were set aside are named by the reason."""
    without = (table["label"] == "") & table["status"].isin([*SET_ASIDE, *BY_PERSON])
    return table["label"].mask(without, reasons(table))


def reasons(table: pd.DataFrame) -> pd.Series[str]:
    """Return the statuses; images from which a person took the label fit no class."""
    taken = (table["label"] == "") & table["status"].isin(BY_PERSON)
    return table["status"].mask(taken, STRAY)


def review(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return what to look at first: rank, file, page, label, the second class, doubt, correction.

    The column correction is empty, for a person to fill in; the file is then given as corrections.
    """
    rows = table[table["review_rank"].notna()].sort_values("review_rank")
    chances = rows[[f"p_{name}" for name in classes]].to_numpy()
    order = np.argsort(-chances, axis=1, kind="stable")
    second = np.array(classes, dtype=object)[order[:, 1]] if classes else ""
    found = rows[["review_rank", "file", "page", "label"]].assign(second=second)
    return found.assign(doubt=rows["doubt"], correction="")


def told(table: pd.DataFrame, classes: Sequence[str]) -> str:
    """Say in one line how many images have a label, how many files have none, and why."""
    labelled = table[table["label"] != ""]
    counts = Counter(labelled["label"].tolist())
    parts = [f"{len(labelled)} images labelled"]
    names = [*classes, *sorted(set(counts) - set(classes))]
    parts += [", ".join(f"{counts[name]} {name}" for name in names)] if names else []
    statuses = Counter(reasons(table).tolist())
    if grouped := statuses.pop(CLUSTERED, 0):
        parts.append(f"{grouped} in clusters without a name")
    if copies := statuses.pop(DUPLICATE, 0):
        parts.append(f"{copies} of them duplicates")
    if checked := statuses.pop(CHECKED, 0):
        parts.append(f"{checked} of them checked")
    if by_cluster := statuses.pop(IN_CLUSTER, 0):
        parts.append(f"{by_cluster} of them {IN_CLUSTER}")
    statuses.pop(LABELLED, None)
    if statuses:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(statuses.items()))
        parts.append(f"left out: {why} (column note)")
    return "; ".join(parts)
