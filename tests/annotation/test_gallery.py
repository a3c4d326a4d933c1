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

from medlabel.annotation import gallery, grouping, tables, thumbnails
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
    found["cluster"] = pd.array(np.arange(count) % 3 + 1, dtype="Int32")
    found["distance"], found["half"] = rng.random(count), np.arange(count) // 3 % 2
    found["said"] = found["given"] = found["label"]
    found[[f"p_{name}" for name in CLASSES]] = chances
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


def test_clusters_are_those_of_the_table(tmp_path: Path, store: Store) -> None:
    given = table(40, store)
    content = data(page(given, store, tmp_path))
    summary = grouping.summary(given, CLASSES)
    shown = content["clusters"]
    assert [one["id"] for one in shown] == summary["id"].tolist()
    assert [one["images"] for one in shown] == summary["images"].tolist()
    assert [content["classes"][one["label"]] for one in shown] == summary["label"].tolist()
    clusters = dict(zip(given["file"], given["cluster"], strict=True))
    assert [row[7] for row in content["rows"]] == [clusters[row[0]] for row in content["rows"]]
    for number in (1, 2, 3):
        near = sorted(row[10] for row in content["rows"] if row[7] == number)
        assert near == list(range(1, len(near) + 1))


def test_typical_images_of_each_cluster_are_on_the_page(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST_IMAGES", 30)
    given = table(60, store)
    # A cluster of images that are all sure.
    sure = given["review_rank"] > 45
    given.loc[sure, "cluster"] = 4
    rows = data(page(given, store, tmp_path))["rows"]
    assert len(rows) == 30
    nearest = given[sure].sort_values("distance")["file"].head(gallery.TYPICAL)
    assert set(nearest) <= {row[0] for row in rows if row[7] == 4}
    distinct = given[given["review_rank"].notna()]
    rank = dict(zip(distinct["file"], distinct["review_rank"], strict=True))
    ranks = [rank[row[0]] for row in rows]
    assert ranks == sorted(ranks)


def test_images_without_any_words_have_clusters_alone(tmp_path: Path, store: Store) -> None:
    given = table(12, store).drop(columns=[f"p_{name}" for name in CLASSES])
    given[["label", "teacher", "said", "given"]] = ""
    given["doubt"] = np.nan
    given["status"] = given["status"].replace([tables.LABELLED, tables.CHECKED], tables.CLUSTERED)
    gallery.write(tmp_path / "page.html", given, [], store, "clustered")
    content = data((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert content["classes"] == []
    assert {one["label"] for one in content["clusters"]} == {-1}
    assert all(row[2:5] == [-1, -1, None] for row in content["rows"])


STUB = """
const any = new Proxy(function () {}, { get: (_, name) =>
  name === Symbol.toPrimitive ? () => "" : name === Symbol.iterator ? [][Symbol.iterator].bind([])
  : name === "length" ? 0 : name === "value" || name === "textContent" ? "" : any,
  apply: () => any, construct: () => any, set: () => true });
const content = require("fs").readFileSync(process.argv[2], "utf8");
globalThis.document = { activeElement: null, createElement: () => any, querySelectorAll: () => [],
  getElementById: id => id === "data" ? { textContent: content } : any };
globalThis.window = any;
globalThis.Option = any;
"""


def acted(folder: Path, text: str, steps: str) -> Any:
    """Let a person act on the page, whose elements do nothing; return what is then shown of it."""
    script = re.findall(r"<script>(.*?)</script>", text, re.S)[0]
    shown = "clusters.map(one => [one.title, one.label, one.rows.length])"
    end = f"\n{steps};\nconsole.log(JSON.stringify([{shown}, corrections()]));"
    (folder / "acted.js").write_text(STUB + script + end, encoding="utf-8")
    (folder / "data.json").write_text(json.dumps(data(text)), encoding="utf-8")
    result = subprocess.run(
        ["node", str(folder / "acted.js"), str(folder / "data.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_person_names_merges_splits_and_takes_back(tmp_path: Path, store: Store) -> None:
    given = table(30, store)
    text = page(given, store, tmp_path)
    names = data(text)["classes"]
    ids = [one["id"] for one in data(text)["clusters"]]

    def by_cluster(lines: list[str]) -> list[str]:
        return [line.split(",")[-1].strip() for line in lines if not line.endswith(",\n")]

    before, kept = acted(tmp_path, text, "")
    assert [one[2] for one in before] == [10, 10, 10]
    assert len(kept) == 1  # the image that was checked before
    clusters, lines = acted(tmp_path, text, "nameCluster(2, 0)")
    assert clusters[2] == ["3", 0, 10]
    assert by_cluster(lines) == [ids[2]] * 10
    _, lines = acted(tmp_path, text, "nameCluster(2, 0); undo()")
    assert lines == kept
    _, lines = acted(tmp_path, text, "setAside(0)")
    assert sum(line.split(",")[-2] == tables.STRAY for line in lines) == 10
    clusters, lines = acted(tmp_path, text, "nameCluster(0, 1); merge(1)")
    assert [one[0] for one in clusters] == ["1 + 2", "3"]
    assert clusters[0][1:] == [1, 20]
    # The image that was checked alone keeps its label.
    assert sorted(by_cluster(lines)) == sorted([ids[0]] * 10 + [ids[1]] * 9)
    clusters, lines = acted(tmp_path, text, "merge(1); split(0)")
    assert [one[0] for one in clusters] == ["1", "2", "3"]
    clusters, lines = acted(tmp_path, text, "split(0); nameCluster(1, 2)")
    assert [one[0] for one in clusters] == ["1a", "1b", "2", "3"]
    assert clusters[0][2] + clusters[1][2] == 10
    assert by_cluster(lines) == [ids[0]] * clusters[1][2]
    clusters, lines = acted(tmp_path, text, "split(0); merge(1); undo(); undo()")
    assert (clusters, lines) == (before, kept)
    clusters, lines = acted(tmp_path, text, 'nameCluster(1, addName("a, b"))')
    assert clusters[1][1] == len(names)
    assert sum('"a, b"' in line for line in lines) == 9


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_nobody_says_that_the_teacher_is_not_sure(tmp_path: Path, store: Store) -> None:
    given = table(12, store)
    given.loc[4, ["status", "label"]] = [tables.UNSURE, ""]
    text = page(given, store, tmp_path)
    names = data(text)["classes"]
    assert tables.UNSURE in names
    assert tables.UNSURE not in [names[one["label"]] for one in data(text)["clusters"]]
    chosen = f"chosen = list.findIndex(row => names[row[LABEL]] === {tables.UNSURE!r})"
    _, lines = acted(tmp_path, text, f"{chosen}; give(list[chosen][LABEL])")
    assert f"folder/4.png,,{given['teacher'][4]},\n" in lines
    _, lines = acted(tmp_path, text, "nameCluster(0, data.unsure)")
    assert len(lines) == 1  # the image that was checked before


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_what_is_not_on_the_page_is_named_with_its_cluster(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST_IMAGES", 24)
    text = page(table(60, store), store, tmp_path)
    name = data(text)["clusters"][0]["id"]
    _, lines = acted(tmp_path, text, "nameCluster(0, 2)")
    assert lines[-1] == f",,hand,{name}\n"
    _, lines = acted(tmp_path, text, "split(0); nameCluster(0, 2)")
    assert not any(line.startswith(",") for line in lines)


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
