"""Labels for other tools: Label Studio, COCO and FiftyOne.

Each names the images where they are; files within archives and pages of stacks, which these tools
do not open, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

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


def write(folder: Path, table: pd.DataFrame, embedded: Embedded, classes: Sequence[str]) -> None:
    """Write all of `FILES` into a folder.

    Parameters
    ----------
    folder
        Where to write.
    table
        As `tables.build` has it, perhaps with corrections.
    embedded
        What it was made from: which files are within archives, and the sizes of images.
    classes
        Their names; those that a person added follow.
    """
    within = {
        tables.text_of(file.source.name)
        for file in embedded.files
        if file.source.member is not None
    }
    rows = table[(table["label"] != "") & table["page"].isna() & ~table["file"].isin(list(within))]
    names = [*classes, *sorted(set(rows["label"]) - set(classes))]
    sizes = {
        seen.pixels: (seen.width, seen.height)
        for file in embedded.files
        for seen in file.facts.seen
    }
    with (folder / LABEL_STUDIO).open("w", encoding="utf-8") as stream:
        # Task by task: all of a large folder at once would fill the memory.
        for place, task in enumerate(_label_studio(rows)):
            stream.write(("[\n" if not place else ",\n") + _json(task))
        stream.write("\n]\n" if len(rows) else "[]\n")
    (folder / LABEL_STUDIO_VIEW).write_text(_view(names), encoding="utf-8")
    (folder / COCO).write_text(_json(_coco(rows, names, sizes)) + "\n", encoding="utf-8")
    (folder / FIFTYONE).write_text(_json(_fiftyone(rows, names)) + "\n", encoding="utf-8")


def _json(content: Any) -> str:
    """Write in one line, which is ten times as fast as indented."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, sort_keys=True)


def _label_studio(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield tasks with a prediction each; the score is the label's probability."""
    for row in tables.each(rows):
        yield {
            "data": {"image": LOCAL + quote(row.file), "file": row.file},
            "predictions": [
                {
                    "model_version": f"medlabel {__version__}",
                    "score": _score(row),
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


def _score(row: Any) -> float:
    """Return the label's probability; what a person checked is certain."""
    checked = row.status in tables.BY_PERSON or row.label != row.teacher
    return 1.0 if checked else round(1 - float(row.doubt), tables.DIGITS)


def _view(names: Sequence[str]) -> str:
    """Return the labelling interface that fits the tasks."""
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <Choices name="label" toName="image" choice="single" showInLine="true">\n{choices}\n'
        "  </Choices>\n</View>\n"
    )


def _coco(
    rows: pd.DataFrame, names: Sequence[str], sizes: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """Return COCO's form of a class an image: a box around all of it."""
    number = {name: place for place, name in enumerate(names, start=1)}
    images, annotations = [], []
    for place, row in enumerate(tables.each(rows), start=1):
        width, height = sizes[row.digest]
        images.append({"id": place, "file_name": row.file, "width": width, "height": height})
        annotations.append(
            {
                "id": place,
                "image_id": place,
                "category_id": number[row.label],
                "bbox": [0, 0, width, height],
                "area": width * height,
                "iscrowd": 0,
                "score": _score(row),
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
