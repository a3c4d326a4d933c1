"""The page: labelled images in one HTML file that opens from disk, to look at and correct."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medlabel import __version__
from medlabel.annotation import corrections, tables
from medlabel.annotation.store import Store

if TYPE_CHECKING:
    import pandas as pd

MOST_IMAGES = 10_000
MOST_LEFT_OUT = 500  # rows of files without a label; the table has all of them
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
    holds the first `MOST_IMAGES` of the review; the tables hold all.
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
    left_out = table[(table["label"] == "") & ~table["status"].isin(tables.SET_ASIDE)]
    content = environment.get_template(TEMPLATE).render(
        summary=tables.told(table, classes),
        accuracy=f"{verdict}. {_accuracy(table)}",
        groups=_groups(table, classes),
        shown=min(len(ranked), MOST_IMAGES),
        distinct=len(ranked),
        duplicates=int((table["status"] == tables.DUPLICATE).sum()),
        left_out=left_out.head(MOST_LEFT_OUT)[["file", "status", "note"]].to_dict("records"),
        left_out_total=len(left_out),
        data=_json(_data(table, ranked.head(MOST_IMAGES), classes, thumbnails)),
        version=__version__,
    )
    target.write_text(content + "\n", encoding="utf-8")


def _accuracy(table: pd.DataFrame) -> str:
    checked, audited = corrections.accuracy(table), corrections.audited(table)
    if not checked.checked:
        return "Nobody checked an image yet."
    told = f"Of the checked images the teacher had {checked.told()}."
    return f"{told} For all images: {audited.told()}." if audited.checked else told


def _groups(table: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Count images by label, those that a person added last."""
    labels = _named(table)
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


def _named(table: pd.DataFrame) -> pd.Series[str]:
    """Return the labels; images that were set aside make groups of their own."""
    aside = (table["label"] == "") & table["status"].isin(tables.SET_ASIDE)
    return table["label"].mask(aside, table["status"])


def _data(
    table: pd.DataFrame, shown: pd.DataFrame, classes: Sequence[str], thumbnails: Store
) -> Mapping[str, Any]:
    """Return what the page's script works with: a list an image, in the order of the review."""
    names = [group["name"] for group in _groups(table, classes)]
    place = {name: number for number, name in enumerate(names)}
    copies = Counter(table["digest"].tolist())
    keys = [bytes.fromhex(digest) for digest in shown["digest"]]
    pictures = thumbnails.get(keys)
    clusters = shown["cluster"].tolist() if "cluster" in shown else [None] * len(shown)
    pages = [None if missing else int(page) for page, missing in _pairs(shown["page"])]
    rows = [
        [
            row.file,
            page,
            place[row.label or row.status],
            place[row.teacher],
            round(float(row.doubt), 4),
            int(row.status == tables.CHECKED),
            copies[row.digest] - 1,
            cluster,
            base64.b64encode(pictures[key]).decode(),
        ]
        for row, page, key, cluster in zip(tables.each(shown), pages, keys, clusters, strict=True)
    ]
    return {"classes": names, "keys": len(classes), "rows": rows}


def _pairs(column: pd.Series[int]) -> list[tuple[Any, bool]]:
    return list(zip(column.tolist(), column.isna().tolist(), strict=True))


def _json(content: Mapping[str, Any]) -> Any:
    """Write as JSON that may stand within a script element."""
    import markupsafe

    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    escaped = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return markupsafe.Markup(escaped)  # noqa: S704
