"""The page: labelled images in one HTML file that opens from disk, to look at and correct."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel import __version__
from medlabel.annotation import corrections, grouping, tables
from medlabel.annotation.store import Store

if TYPE_CHECKING:
    import pandas as pd

MOST_IMAGES = 10_000
TYPICAL = 6  # images of each cluster that are on the page however sure they are
MOST_LEFT_OUT = 500  # rows of files without a label; the table has all of them
BY_PERSON = {tables.CHECKED: 1, tables.IN_CLUSTER: 2}  # as the page's script has it
DIGITS = 4
TEMPLATE = "gallery.html.j2"


def write(
    target: Path, table: pd.DataFrame, classes: Sequence[str], thumbnails: Store, verdict: str
) -> None:
    """Write the page.

    Parameters
    ----------
    target
        The HTML file.
    table
        As `tables.build` has it, perhaps with corrections.
    classes
        Their names, in the order of the keys that choose them.
    thumbnails
        Small copies of the images by the digest of their pixels.
    verdict
        What is thought of the labels, in a line.

    Notes
    -----
    Images are encoded anew, so that nothing of a file but its name and pixels is on the page. It
    holds the first `MOST_IMAGES` of the review, the typical ones of each cluster among them; the
    tables hold all.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ranked = table[table["review_rank"].notna()].sort_values("review_rank")
    shown = _shown(ranked)
    left_out = table[table["digest"] == ""]
    content = environment.get_template(TEMPLATE).render(
        summary=tables.told(table, classes),
        accuracy=f"{verdict}. {_accuracy(table)}",
        groups=_groups(table, classes),
        shown=len(shown),
        distinct=len(ranked),
        duplicates=int((table["status"] == tables.DUPLICATE).sum()),
        left_out=left_out.head(MOST_LEFT_OUT)[["file", "status", "note"]].to_dict("records"),
        left_out_total=len(left_out),
        data=_json(_data(table, shown, classes, thumbnails)),
        version=__version__,
    )
    target.write_text(content + "\n", encoding="utf-8")


def _shown(ranked: pd.DataFrame) -> pd.DataFrame:
    """Choose the images of the page, in the order of the review."""
    typical = ranked.sort_values("distance").groupby("cluster").head(TYPICAL).index
    first = ranked.assign(rest=~ranked.index.isin(typical)).sort_values("rest", kind="stable")
    return ranked.loc[ranked.index.isin(first.head(MOST_IMAGES).index)]


def _accuracy(table: pd.DataFrame) -> str:
    judged = corrections.judged(table)
    if not judged.checked.checked:
        return "Nobody checked an image yet."
    told = f"Of the checked images the teacher had {judged.checked.told()}."
    return " ".join([told, *(f"For all images: {one}." for one in judged.for_all())])


def _groups(table: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Count images by label, those that a person added last."""
    labels = tables.named(table)
    counts = Counter(labels.tolist())
    names = [*classes, *sorted(set(counts) - {*classes, ""})]
    doubts = table["doubt"].groupby(labels).mean()
    return [
        {
            "name": name,
            "count": counts[name],
            "doubt": float(doubts.get(name, 0.0)) if counts[name] else 0.0,
        }
        for name in names
    ]


def _data(
    table: pd.DataFrame, shown: pd.DataFrame, classes: Sequence[str], thumbnails: Store
) -> Mapping[str, Any]:
    """Return what the page's script works with: clusters, and a list an image, by the review."""
    names = [group["name"] for group in _groups(table, classes)]
    # Without a name: no label yet.
    place = {"": -1} | {name: number for number, name in enumerate(names)}
    copies = Counter(table["digest"].tolist())
    keys = [bytes.fromhex(digest) for digest in shown["digest"]]
    pictures = thumbnails.get(keys)
    pages = [None if missing else int(page) for page, missing in _pairs(shown["page"])]
    doubts = [
        None if missing else round(doubt, DIGITS) for doubt, missing in _pairs(shown["doubt"])
    ]
    nearness = shown.groupby("cluster")["distance"].rank(method="first").astype(int)
    extra = zip(pages, doubts, tables.named(shown), nearness, keys, strict=True)
    rows = [
        [
            row.file,
            page,
            place[label],
            place.get(row.given, place[row.teacher]),
            doubt,
            BY_PERSON.get(row.status, 0),
            copies[row.digest] - 1,
            int(row.cluster),
            base64.b64encode(pictures[key]).decode(),
            int(row.half),
            int(near),
        ]
        for row, (page, doubt, label, near, key) in zip(tables.each(shown), extra, strict=True)
    ]
    return {
        "classes": names,
        "keys": len(classes),
        "stray": tables.STRAY,
        "unsure": place.get(tables.UNSURE, -1),
        "clusters": _clusters(table, classes, place),
        "rows": rows,
    }


def _clusters(
    table: pd.DataFrame, classes: Sequence[str], place: Mapping[str, int]
) -> list[dict[str, Any]]:
    return [
        {
            "number": int(row.cluster),
            "id": row.id,
            "images": int(row.images),
            "label": place[row.label],
            "words": _share(row.words),
            "probability": _share(row.probability),
            "doubtful": int(row.doubtful),
        }
        for row in tables.each(grouping.summary(table, classes))
    ]


def _share(value: float | None) -> float | None:
    import pandas as pd

    return None if pd.isna(value) else round(float(value), DIGITS)


def _pairs(column: pd.Series[int]) -> list[tuple[Any, bool]]:
    return list(zip(column.tolist(), column.isna().tolist(), strict=True))


def _json(content: Mapping[str, Any]) -> Any:
    """Write as JSON that may stand within a script element."""
    import markupsafe

    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    escaped = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return markupsafe.Markup(escaped)  # noqa: S704
