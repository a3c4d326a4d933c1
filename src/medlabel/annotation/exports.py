"""Labels for other tools: Label Studio, COCO and FiftyOne.

Each names the images where they are; files within archives and pages of stacks, which these tools
do not open, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from medlabel import __version__
from medlabel.annotation import tables
from medlabel.annotation.embedding import Embedded
from medlabel.data.reading.images import suffix_of

if TYPE_CHECKING:
    import pandas as pd

LABEL_STUDIO, LABEL_STUDIO_VIEW = "label_studio.json", "label_studio.xml"
COCO, FIFTYONE = "coco.json", "fiftyone.json"
FILES = (LABEL_STUDIO, LABEL_STUDIO_VIEW, COCO, FIFTYONE)
LOCAL = "/data/local-files/?d="  # Label Studio's address of files below its document root


def entries(table: pd.DataFrame, embedded: Embedded) -> pd.DataFrame:
    """Return what other tools are told: a row an image that they can open and that has a label.

    Parameters
    ----------
    table
        As `tables.build` has it, perhaps with corrections.
    embedded
        What it was made from: which files are within archives, and the sizes of images.

    Returns
    -------
    DataFrame
        file, label, score (the label's probability; what a person checked is certain), width and
        height in pixels.
    """
    files = embedded.files
    within = [tables.text_of(file.source.name) for file in files if file.source.member is not None]
    rows = table[(table["label"] != "") & table["page"].isna() & ~table["file"].isin(within)]
    sizes = {seen.pixels: (seen.width, seen.height) for file in files for seen in file.facts.seen}
    found = rows[["file", "label"]].reset_index(drop=True)
    checked = rows["status"].isin(tables.BY_PERSON) | (rows["label"] != rows["teacher"])
    sure = (1 - rows["doubt"].astype("float64")).round(tables.DIGITS)
    found["score"] = sure.mask(checked, 1.0).to_numpy()
    edges = np.array([sizes[one] for one in rows["digest"].tolist()], np.int64).reshape(-1, 2)
    found["width"], found["height"] = edges.T
    return found


def write(folder: Path, rows: pd.DataFrame, classes: Sequence[str]) -> None:
    """Write all of `FILES` into a folder.

    Parameters
    ----------
    folder
        Where to write.
    rows
        As `entries` has them.
    classes
        Their names; those that a person added follow.
    """
    names = [*classes, *sorted(set(rows["label"]) - set(classes))]
    with (folder / LABEL_STUDIO).open("w", encoding="utf-8") as stream:
        # Task by task: all of a large folder at once would fill the memory.
        for place, task in enumerate(_label_studio(rows)):
            stream.write(("[\n" if not place else ",\n") + _json(task))
        stream.write("\n]\n" if len(rows) else "[]\n")
    (folder / LABEL_STUDIO_VIEW).write_text(_view(names), encoding="utf-8")
    (folder / COCO).write_text(_json(_coco(rows, names)) + "\n", encoding="utf-8")
    (folder / FIFTYONE).write_text(_json(_fiftyone(rows, names)) + "\n", encoding="utf-8")


# In one line, which is ten times as fast as indented.
_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True).encode


def _label_studio(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield tasks with a prediction each."""
    for row in tables.each(rows):
        yield {
            "data": {"image": LOCAL + quote(row.file), "file": row.file},
            "predictions": [
                {
                    "model_version": f"medlabel {__version__}",
                    "score": row.score,
                    "result": [
                        {
                            "from_name": "label",
                            "to_name": "image",
                            "type": "choices",
                            "value": {"choices": [row.label]},
                        }
                    ],
                }
            ],
        }


def _view(names: Sequence[str]) -> str:
    """Return the labelling interface that fits the tasks."""
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <Choices name="label" toName="image" choice="single" showInLine="true">\n{choices}\n'
        "  </Choices>\n</View>\n"
    )


def _coco(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return COCO's form of a class an image: a box around all of it."""
    number = {name: place for place, name in enumerate(names, start=1)}
    images, annotations = [], []
    for place, row in enumerate(tables.each(rows), start=1):
        size = {"width": row.width, "height": row.height}
        images.append({"id": place, "file_name": row.file, **size})
        annotations.append(
            {
                "id": place,
                "image_id": place,
                "category_id": number[row.label],
                "bbox": [0, 0, row.width, row.height],
                "area": row.width * row.height,
                "iscrowd": 0,
                "score": row.score,
            }
        )
    return {
        "info": {"description": f"labels by medlabel {__version__}; not for clinical use"},
        "licenses": [],
        "categories": [{"id": number[name], "name": name, "supercategory": ""} for name in names],
        "images": images,
        "annotations": annotations,
    }


def _fiftyone(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return the labels of a FiftyOneImageClassificationDataset: names without their ending.

    Of files that differ by their ending alone the first one counts.
    """
    number = {name: place for place, name in enumerate(names)}
    labels: dict[str, int] = {}
    for row in tables.each(rows):
        suffix = suffix_of(row.file)
        stem = row.file[: len(row.file) - len(suffix)] if suffix else row.file
        labels.setdefault(stem, number[row.label])
    return {"classes": list(names), "labels": labels}
