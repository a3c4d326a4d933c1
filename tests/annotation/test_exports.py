"""Exports say what the table says, and the tools' own loaders read them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from medlabel.annotation import exports, grouping, tables
from medlabel.annotation.embedding import Embedded, File
from medlabel.annotation.labelling import Opinion
from medlabel.annotation.sources import Source
from medlabel.annotation.store import Facts, Seen
from medlabel.labels.estimate import judged

CLASSES = ["chest", 'left "hand" & <right>']
NAMES = ["a/röntgen 1.png", "b.jpg", "stack.tif", "more.zip/c.png", "bad.png"]


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Write exports of five files, and return what the table says."""

    def seen(number: int, page: int | None = None) -> Seen:
        return Seen(page, f"{number:064x}", 20 + number, 30, "")

    facts = [
        Facts((seen(0),)),
        Facts((seen(1),)),
        Facts((seen(2, 1), seen(3, 2))),
        Facts((seen(4),)),
        Facts((), "unreadable", "damaged"),
    ]
    found = [
        File(Source(name, name, "c.png" if "zip" in name else None), fact)
        for name, fact in zip(NAMES, facts, strict=True)
    ]
    digests = [f"{number:064x}" for number in range(5)]
    embedded: Any = Embedded(found, digests, np.zeros((5, 2), np.float32), None, 5)
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4], [0.5, 0.5]], np.float32)
    right = judged(1.0, 1.0, 1.0, np.zeros(5, bool))
    opinion = Opinion(chances, np.ones(5), np.arange(5.0), right, Mock())
    groups = grouping.find(np.eye(5, dtype=np.float32), digests, chances)
    built = tables.build(embedded, opinion, groups, CLASSES)
    built.loc[1, "label"] = "foot"
    exports.write(tmp_path, exports.entries(built, embedded), CLASSES)
    return built


def content(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("table")
def test_coco_is_read_by_its_own_loader(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO(tmp_path / exports.COCO)
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == [*CLASSES, "foot"]
    found = {
        image["file_name"]: coco.loadCats(
            coco.loadAnns(coco.getAnnIds(image["id"]))[0]["category_id"]
        )
        for image in coco.loadImgs(coco.getImgIds())
    }
    assert {name: one[0]["name"] for name, one in found.items()} == {
        "a/röntgen 1.png": "chest",
        "b.jpg": "foot",
    }
    assert [one["bbox"] for one in coco.loadAnns(coco.getAnnIds())] == [
        [0, 0, 30, 20],
        [0, 0, 30, 21],
    ]
    assert coco.loadAnns([1])[0]["score"] == pytest.approx(0.9)


@pytest.mark.usefixtures("table")
def test_label_studio_takes_the_predictions(tmp_path: Path) -> None:
    sdk = pytest.importorskip("label_studio_sdk.label_interface")
    view = sdk.LabelInterface((tmp_path / exports.LABEL_STUDIO_VIEW).read_text(encoding="utf-8"))
    tasks = content(tmp_path, exports.LABEL_STUDIO)
    assert len(tasks) == 2
    for task in tasks:
        (prediction,) = task["predictions"]
        assert view.validate_prediction(prediction)
    assert view.get_control("label").labels == [*CLASSES, "foot"]
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=a/r%C3%B6ntgen%201.png"
    assert [one["predictions"][0]["result"][0]["value"]["choices"] for one in tasks] == [
        ["chest"],
        ["foot"],
    ]


@pytest.mark.usefixtures("table")
def test_fiftyone_finds_labels_by_names_without_endings(tmp_path: Path) -> None:
    found = content(tmp_path, exports.FIFTYONE)
    assert found["classes"] == [*CLASSES, "foot"]
    assert found["labels"] == {"a/röntgen 1": 0, "b": 2}


def test_what_these_tools_do_not_open_is_left_out(tmp_path: Path, table: pd.DataFrame) -> None:
    """Pages of stacks, members of archives, and what has no label."""
    assert (table["label"] != "").sum() == 5
    for name in exports.FILES:
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert not re.search(r"stack|zip|bad", text), name
