"""What a person checked: read back, put over the labels, and turned into an exact interval."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel.annotation import grouping, strata, tables
from medlabel.errors import MedlabelError
from medlabel.randomness import stream

if TYPE_CHECKING:
    import pandas as pd

CONFIRMED = "y"
CONFIDENCE = 0.95

Key = tuple[str, str]  # file, page


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


@dataclass(frozen=True)
class Judged:
    """How right the teacher is, as far as images were checked one by one.

    Attributes
    ----------
    checked, audited, by_clusters
        As `accuracy`, `audited` and `by_clusters` have it.
    """

    checked: Accuracy
    audited: Accuracy
    by_clusters: strata.Weighted | None

    def for_all(self) -> list[str]:
        """Say what holds for all images: what chance chose, of all or of each cluster."""
        found = [self.audited.told()] if self.audited.checked else []
        return [*found, self.by_clusters.told()] if self.by_clusters else found


@dataclass(frozen=True)
class Said:
    """What a person said: the label, or `CONFIRMED`.

    Attributes
    ----------
    images
        Of single images, by file and page.
    grouped
        Of images that were named with their cluster, by file and page.
    clusters
        Of whole clusters, by the short name of their images (`grouping.identities`).
    """

    images: Mapping[Key, str] = field(default_factory=dict)
    grouped: Mapping[Key, str] = field(default_factory=dict)
    clusters: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Tell whether anything was said."""
        return bool(self.images or self.grouped or self.clusters)

    def then(self, later: Said) -> Said:
        """Add what was said later, which wins."""
        return Said(
            {**self.images, **later.images},
            {**self.grouped, **later.grouped},
            {**self.clusters, **later.clusters},
        )


def read(path: Path) -> Said:
    """Read what was checked.

    Parameters
    ----------
    path
        A CSV with the column file, and page where there are any. With a column correction, as in
        ``review.csv`` and ``audit.csv``, its rows that are not empty count; else with a column
        teacher, as in ``labels.csv``, the rows whose label differs, that a person checked, or
        that were set aside and have a label; else, as the page saves it, every row with a label.
        Where a column `by` names a cluster, or the status tells of one, the image was named with
        its cluster, and without a file all of its images. Or ``clusters.csv``, whose rows with a
        correction count.

    Raises
    ------
    MedlabelError
        When it is missing, no such table, or says two things of one image or cluster.
    """
    table = _table(path)
    if "file" not in table and {"cluster", "id", "label", "correction"} <= set(table.columns):
        return Said(clusters=_clusters(path, table))
    said = "correction" if "correction" in table else "label"
    if "file" not in table or said not in table:
        raise MedlabelError(
            f"{path}: expected the columns file and label or correction, found "
            f"{', '.join(map(str, table.columns))}."
        )
    for name in ("page", "by"):
        table[name] = table.get(name, "")
    if said == "label" and "teacher" in table:
        table = _changed(table)
    chosen = table[table[said].str.strip() != ""]
    alone, whole = chosen["by"] == "", (chosen["by"] != "") & (chosen["file"] == "")
    clusters = chosen[whole]
    return Said(
        _by_image(path, chosen[alone], said),
        _by_image(path, chosen[~alone & ~whole], said),
        _once(path, zip(clusters["by"], clusters[said].str.strip(), strict=True)),
    )


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(
            io.BytesIO(path.read_bytes()), dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (OSError, ValueError) as error:
        raise MedlabelError(
            f"{path}: expected a CSV of corrections, found something else "
            f"({' '.join(str(error).split())})."
        ) from error


def _changed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table of labels that a person changed or checked."""
    import pandas as pd

    status = table.get("status", pd.Series("", index=table.index))
    pair = table.get("cluster", "") + "/" + table["label"]
    grouped = status == tables.IN_CLUSTER
    # A copy got its label from the first image, and says no more than that.
    copies = (status == tables.DUPLICATE) & pair.isin(pair[grouped])
    by = pd.Series(tables.IN_CLUSTER, index=table.index).where(grouped | copies, "")
    found = table.assign(by=by, label=tables.named(table.assign(status=status)))
    # What is set aside has no label but by hand.
    changed = (table["label"] != table["teacher"]) | status.isin(tables.SET_ASIDE)
    return found[(changed & (table["label"] != "")) | status.isin(tables.BY_PERSON)]


def _by_image(path: Path, chosen: pd.DataFrame, said: str) -> dict[Key, str]:
    pages = chosen["page"].str.removesuffix(".0")
    keys = zip(chosen["file"], pages, strict=True)
    return _once(path, zip(keys, chosen[said].str.strip(), strict=True))


def _clusters(path: Path, table: pd.DataFrame) -> dict[str, str]:
    rows = table[table["correction"].str.strip() != ""]
    said = rows["correction"].str.strip()
    labels = said.where(said != CONFIRMED, rows["label"])
    if (labels == "").any():
        number = rows.loc[labels == "", "cluster"].iloc[0]
        raise MedlabelError(
            f"{path}: cluster {number} has no label to confirm; write its name into the column "
            f"correction."
        )
    return _once(path, zip(rows["id"], labels, strict=True))


def _once(path: Path, pairs: Iterable[tuple[Any, str]]) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for key, label in pairs:
        if found.setdefault(key, label) != label:
            name = key if isinstance(key, str) else key[0]
            raise MedlabelError(
                f"{path}: {name} stands twice, as {found[key]} and as {label}; keep one row."
            )
    return found


def spread(said: Said, table: pd.DataFrame, source: str) -> Said:
    """Say of every image what was said of its cluster.

    Raises
    ------
    MedlabelError
        When there is no cluster of these very images.
    """
    numbers = {name: number for number, name in grouping.identities(table).items()}
    if missing := [name for name in said.clusters if name not in numbers]:
        raise MedlabelError(
            f"{source}: no cluster has the same images as {missing[0]} had ({len(missing)} such "
            f"rows): images, teacher or the number of classes changed; name the clusters anew."
        )
    labels = {numbers[name]: label for name, label in said.clusters.items()}
    rows = table[table["cluster"].isin(list(labels))]
    named = [labels[int(number)] for number in rows["cluster"]]
    return Said(said.images, {**dict(zip(_keys(rows), named, strict=True)), **said.grouped})


def remembered(path: Path, table: pd.DataFrame) -> Said:
    """Read what earlier runs were told, of the images that are still there."""
    if not path.is_file():
        return Said()
    here, found = set(_keys(table)), read(path)
    images, grouped = (
        {key: label for key, label in some.items() if key in here}
        for some in (found.images, found.grouped)
    )
    return Said(images, grouped)


def saved(table: pd.DataFrame) -> pd.DataFrame:
    """Return what was checked so far, as `read` takes it: file, page, label, by."""
    checked = table[table["status"].isin(tables.BY_PERSON)]
    names = checked["cluster"].map(grouping.identities(table))
    return checked[["file", "page"]].assign(
        label=tables.named(checked), by=names.where(checked["status"] == tables.IN_CLUSTER, "")
    )


def _keys(table: pd.DataFrame) -> list[Key]:
    pages = table["page"].astype("string").fillna("").tolist()
    return list(zip(table["file"].tolist(), pages, strict=True))


def apply(table: pd.DataFrame, said: Said, source: str) -> pd.DataFrame:
    """Put what a person said over the labels, copies of the same pixels included.

    What was said of an image wins over what was said of its cluster; whole clusters must be
    `spread` before.

    Raises
    ------
    MedlabelError
        When it is said of an image that is not in the table, or two things of the same pixels.
    """
    found = _put(table, said.grouped, tables.IN_CLUSTER, source)
    return _put(found, said.images, tables.CHECKED, source)


def _put(table: pd.DataFrame, given: Mapping[Key, str], status: str, source: str) -> pd.DataFrame:
    named = zip(_keys(table), table["digest"], table["given"], strict=True)
    rows = {key: (digest, label) for key, digest, label in named if digest}
    if missing := [key for key in given if key not in rows]:
        raise MedlabelError(
            f"{source}: {missing[0][0]} is not among the labelled images ({len(missing)} such "
            f"rows); label the same folder as before."
        )
    said: dict[str, str] = {}
    for key, text in given.items():
        digest, own = rows[key]
        label = own if text == CONFIRMED else text
        if said.setdefault(digest, label) != label:
            raise MedlabelError(
                f"{source}: {key[0]} and a copy with the same pixels have different labels, "
                f"{label} and {said[digest]}."
            )
    found = table.copy()
    checked = found["digest"].isin(list(said))
    found.loc[checked, "label"] = found.loc[checked, "digest"].map(said).replace(tables.STRAY, "")
    first = found["review_rank"].notna()
    found.loc[checked & first, "status"] = status
    found.loc[checked & ~first, "status"] = tables.DUPLICATE
    found.loc[checked & ~first & (found["label"] == ""), "status"] = tables.STRAY
    return found


def judged(table: pd.DataFrame) -> Judged:
    """Judge the teacher in every way there is."""
    return Judged(accuracy(table), audited(table), by_clusters(table))


def accuracy(table: pd.DataFrame) -> Accuracy:
    """Judge the teacher by all images that were checked one by one."""
    checked = table[_alone(table)]
    return Accuracy.of(int(_right(checked).sum()), len(checked))


def _alone(table: pd.DataFrame) -> pd.Series[bool]:
    """Tell which images were checked one by one, of those that were given a label."""
    return (table["status"] == tables.CHECKED) & (table["given"] != "")


def _right(table: pd.DataFrame) -> pd.Series[bool]:
    return tables.named(table) == table["given"]


def audited(table: pd.DataFrame) -> Accuracy:
    """Judge the teacher by the checked images that chance chose: it holds for all images.

    Those are the ones at the beginning of the audit's order, up to the first that is not checked.
    """
    if not _alone(table).any():
        return Accuracy.of(0, 0)
    order = audit_order(table)
    unchecked = ~_alone(table.loc[order]).to_numpy()
    count = int(unchecked.argmax()) if unchecked.any() else len(order)
    sample = table.loc[order[:count]]
    return Accuracy.of(int(_right(sample).sum()), count)


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


def by_clusters(table: pd.DataFrame) -> strata.Weighted | None:
    """Judge the teacher by images that chance chose within clusters, weighted by their sizes.

    Of each cluster the images count that stand first in the audit's order, up to the first that is
    not checked. None if there is a cluster without any: it could hold any number of errors.
    """
    if not _alone(table).any():
        return None
    ordered = table.loc[audit_order(table)]
    known = _alone(ordered).groupby(ordered["cluster"]).cummin()
    right = known & _right(ordered)
    counts = [
        one.astype(int).groupby(ordered["cluster"]).sum().to_numpy() for one in (right, known)
    ]
    sizes = ordered.groupby("cluster").size().to_numpy()
    if not counts[1].all():
        return None
    return strata.weighted(counts[0], counts[1], sizes)


def cluster_audit_table(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the first images of each cluster in the audit's order, as `audit_table` does."""
    ordered = table.loc[audit_order(table)]
    rows = ordered.groupby("cluster").head(count).sort_values("cluster", kind="stable")
    return rows[["file", "page", "cluster", "label"]].assign(correction="")
