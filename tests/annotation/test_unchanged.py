"""Files that did not change are not opened again; whatever may have changed is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medlabel.annotation import embedding, sources, unchanged
from medlabel.annotation.embedding import Embedded, Settings
from medlabel.annotation.sources import Source
from medlabel.data.pixels import Pixels
from medlabel.data.reading.page import Reading
from medlabel.data.vectors import Vectors


class MeanAndSpread:
    """A network of two numbers."""

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        found = np.array([(one.mean(), one.std() + 1) for one in pixels], np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def write(path: Path, shade: int) -> None:
    Image.fromarray(np.full((8, 8), shade, np.uint8)).save(path)


def run(folder: Path, cache: Path) -> Embedded:
    return embedding.through(
        sources.find(folder),
        Reading(),
        MeanAndSpread(),
        {"network": "mean and spread"},
        2,
        Settings(4, "fp32", 1, 0, cache),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "images"
    found.mkdir()
    for shade in range(6):
        write(found / f"{shade}.png", shade * 20)
    (found / "notes.txt").write_text("no image")
    return found


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files that were opened; files count as settled at once."""
    names: list[str] = []
    content = Source.content

    def noted(source: Source) -> bytes:
        names.append(source.name)
        return content(source)

    monkeypatch.setattr(Source, "content", noted)
    monkeypatch.setattr(unchanged, "SECONDS_UNTIL_SETTLED", -60.0)
    return names


def test_unchanged_files_are_not_opened_again(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    first = run(folder, tmp_path / "cache")
    assert len(opened) == 7
    opened.clear()
    second = run(folder, tmp_path / "cache")
    assert opened == []
    assert second.computed == 0
    assert second.files == first.files
    assert second.digests == first.digests
    np.testing.assert_array_equal(second.vectors, first.vectors)


def test_a_new_and_a_changed_file_are_opened_in_their_places(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    run(folder, tmp_path / "cache")
    opened.clear()
    write(folder / "2.png", 222)
    write(folder / "25.png", 233)
    found = run(folder, tmp_path / "cache")
    assert opened == ["2.png", "25.png"]
    fresh = run(folder, tmp_path / "another cache")
    assert found.files == fresh.files
    assert found.digests == fresh.digests


def test_size_and_time_of_another_content_are_not_enough(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    path = folder / "3.png"
    before = path.stat()
    run(folder, tmp_path / "cache")
    opened.clear()
    write(path, 61)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    run(folder, tmp_path / "cache")
    assert opened == ["3.png"]


def test_a_copy_under_another_ending_is_opened(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    run(folder, tmp_path / "cache")
    opened.clear()
    (folder / "0.png").rename(folder / "0.dat")
    run(folder, tmp_path / "cache")
    assert opened == ["0.dat"]


def test_unchanged_files_whose_embeddings_are_gone_are_opened(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    run(folder, tmp_path / "cache")
    for store in (tmp_path / "cache" / "embeddings").iterdir():
        store.unlink()
    opened.clear()
    assert run(folder, tmp_path / "cache").computed == 6
    assert len(opened) == 6  # the notes hold no image that could be gone


def test_a_file_that_was_just_written_has_no_stamp(tmp_path: Path) -> None:
    path = tmp_path / "new.png"
    write(path, 1)
    assert unchanged.stamp(Source("new.png", str(path))) == b""


def test_what_cannot_be_looked_at_has_no_stamp(tmp_path: Path) -> None:
    assert unchanged.stamp(Source("gone.png", str(tmp_path / "gone.png"))) == b""
    assert unchanged.stamp(Source("a.zip/b.png", str(tmp_path / "a.zip"), "b.png")) == b""
    assert unchanged.stamp(Source("x", str(tmp_path), reason="a hidden folder")) == b""


def test_the_store_holds_no_name(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    run(folder, tmp_path / "cache")
    content = (tmp_path / "cache" / "stamps.sqlite").read_bytes()
    assert content
    assert b"png" not in content
