"""The page: one file, with the numbers of the tables, and nothing of an image but its pixels."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medlabel.annotation import gallery, tables, thumbnails
from medlabel.annotation.store import Store
from medlabel.randomness import stream

CLASSES = ["chest", "<b>breast</b>", "hand"]
NASTY = '</script><script>alert("x")</script>, "q"\u2028.png'


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "thumbnails.sqlite")


def table(count: int, store: Store) -> pd.DataFrame:
    """Images with noise, the hardest to make small; a checked one, a copy and two bad files."""
    rng = stream(0, "gallery")
    keys = [number.to_bytes(32, "big") for number in range(count)]
    small = thumbnails.encode(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8))
    store.put(dict.fromkeys(keys, small))
    chances = rng.dirichlet(np.ones(3), count).astype(np.float32)
    labels = np.array(CLASSES)[chances.argmax(axis=1)]
    found = pd.DataFrame({"file": [f"folder/{number}.png" for number in range(count)]})
    found["page"] = pd.array([pd.NA, 7] * (count // 2), dtype="Int32")
    found["label"] = found["teacher"] = labels
    found["doubt"] = 1 - chances.max(axis=1)
    found["review_rank"] = pd.array(rng.permutation(count) + 1, dtype="Int32")
    found["status"], found["note"] = tables.LABELLED, ""
    found["digest"] = [key.hex() for key in keys]
    found.loc[0, "file"] = NASTY
    found.loc[1, ["status", "label"]] = [tables.CHECKED, "foot"]
    copy = found.iloc[[2]].assign(status=tables.DUPLICATE, review_rank=pd.NA)
    bad = found.iloc[:2].assign(label="", status="empty", digest="", review_rank=pd.NA, note=NASTY)
    return pd.concat([found, copy, bad], ignore_index=True).astype({"review_rank": "Int32"})


def page(table: pd.DataFrame, store: Store, folder: Path) -> str:
    gallery.write(folder / "page.html", table, CLASSES, store, "check: too few images")
    return (folder / "page.html").read_text(encoding="utf-8")


def data(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def test_its_numbers_are_those_of_the_table(tmp_path: Path, store: Store) -> None:
    given = table(40, store)
    text = page(given, store, tmp_path)
    counts = given["label"].value_counts()
    shown = re.findall(r"<strong>(.*?)</strong><span><span class=\"count\".*?>(\d+)<", text)
    names = [*CLASSES, "foot"]
    assert {html.unescape(name): int(count) for name, count in shown} == {
        name: counts[name] for name in names
    }
    content = data(text)
    assert content["classes"] == names
    ranked = given[given["review_rank"].notna()].sort_values("review_rank")
    assert [row[0] for row in content["rows"]] == ranked["file"].tolist()
    assert [names[row[2]] for row in content["rows"]] == ranked["label"].tolist()
    assert [row[1] for row in content["rows"]] == [
        None if missing else 7 for missing in ranked["page"].isna()
    ]
    assert sum(row[5] for row in content["rows"]) == 1
    assert sum(row[6] for row in content["rows"]) == 1
    assert "1 images have the same pixels" in text
    assert "2 files have no label" in text
    assert "the teacher had 0 of 1 right" in text


def test_names_cannot_break_out(tmp_path: Path, store: Store) -> None:
    text = page(table(6, store), store, tmp_path)
    assert "<script>alert" not in text
    assert "<b>breast" not in text
    assert text.count("</script>") == 2
    assert NASTY in [row[0] for row in data(text)["rows"]]


class Addresses(HTMLParser):
    """Collects what a page would load, and what lacks a name for a screen reader."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.landmarks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [str(given[name]) for name in ("src", "href") if name in given]
        self.ids += [str(given["id"])] if "id" in given else []
        self.landmarks += [tag] if tag in ("header", "main", "footer") else []


def test_it_loads_nothing_from_anywhere(tmp_path: Path, store: Store) -> None:
    text = page(table(6, store), store, tmp_path)
    found = Addresses()
    found.feed(text)
    assert found.loaded == []
    assert "://" not in text
    assert len(found.ids) == len(set(found.ids))
    assert found.landmarks == ["header", "main", "footer"]
    assert "default-src 'none'" in text
    assert 'lang="en"' in text


def test_ten_thousand_images_fit_into_fifteen_megabytes(tmp_path: Path, store: Store) -> None:
    given = table(10_400, store)
    text = page(given, store, tmp_path)
    assert (tmp_path / "page.html").stat().st_size < 15_000_000
    assert len(data(text)["rows"]) == gallery.MOST_IMAGES
    assert "shows the first 10000 of 10400" in text


@pytest.mark.parametrize("shape", [(28, 28), (300, 200, 3), (2, 90), (900, 900)])
def test_small_copies_are_small_and_alike(shape: tuple[int, ...]) -> None:
    rng = stream(0, "small", *shape)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    assert len(thumbnails.encode(noise)) <= thumbnails.MOST_BYTES
    even = np.full(shape, 90, np.uint8)
    with Image.open(io.BytesIO(thumbnails.encode(even))) as image:
        assert max(image.size) <= thumbnails.EDGES[0]
        assert np.abs(np.asarray(image.convert("L")).astype(int) - 90).max() < 6
        assert not image.getexif()


def test_pictures_are_those_of_the_store(tmp_path: Path, store: Store) -> None:
    given = table(4, store)
    row = data(page(given, store, tmp_path))["rows"][0]
    with Image.open(io.BytesIO(base64.b64decode(row[8]))) as image:
        assert image.format == "WEBP"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_is_javascript(tmp_path: Path, store: Store) -> None:
    text = page(table(4, store), store, tmp_path)
    script = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(script) == 1
    (tmp_path / "page.js").write_text(script[0], encoding="utf-8")
    result = subprocess.run(
        ["node", "--check", str(tmp_path / "page.js")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
