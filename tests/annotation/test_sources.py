"""Files are found wherever they lie, and none is left out without a word."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from medlabel.annotation.sources import find
from medlabel.data.reading.page import UnreadableError
from medlabel.errors import MedlabelError


def names(folder: Path) -> list[str]:
    return [source.name for source in find(folder) if not source.reason]


def reasons(folder: Path) -> dict[str, str]:
    return {source.name: source.reason for source in find(folder) if source.reason}


def test_every_file_of_nested_folders_is_found(tmp_path: Path) -> None:
    """F09, F15, F20: what systems leave has a reason; all else is looked into."""
    (tmp_path / "deeper").mkdir()
    (tmp_path / ".git").mkdir()
    for name in [
        "b.png",
        "a.JPG",
        "deeper/c.TIFF",
        "._b.png",
        ".DS_Store",
        "Thumbs.db",
        "scan.dcm",
        ".git/x.png",
    ]:
        (tmp_path / name).touch()
    assert names(tmp_path) == ["a.JPG", "b.png", "deeper/c.TIFF", "scan.dcm"]
    assert reasons(tmp_path) == {
        ".DS_Store": "left by the operating system",
        "._b.png": "left by macOS (attributes of another file)",
        ".git": "a hidden folder",
        "Thumbs.db": "left by the operating system",
    }


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    """F12: images that lie elsewhere; a link to a folder above; a broken one."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    (elsewhere / "deeper").mkdir(parents=True)
    folder.mkdir()
    for path in (elsewhere / "a.png", elsewhere / "deeper" / "b.png", folder / "c.png"):
        path.touch()
    (folder / "linked").symlink_to(elsewhere)
    (folder / "one.png").symlink_to(elsewhere / "a.png")
    (folder / "gone.png").symlink_to(elsewhere / "gone.png")
    (elsewhere / "deeper" / "up").symlink_to(elsewhere)
    assert names(folder) == ["c.png", "linked/a.png", "linked/deeper/b.png", "one.png"]
    assert reasons(folder) == {
        "gone.png": "a broken link",
        "linked/deeper/up/": "a link to a folder above",
    }


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.png")
    assert reasons(tmp_path) == {"b.png": "no regular file"}


def test_the_folder_of_labels_is_not_labelled(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for name in ("a.png", "labels/b.png"):
        (tmp_path / name).touch()
    found = find(tmp_path, tmp_path / "labels")
    assert [source.name for source in found] == ["a.png"]


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_members_of_an_archive_are_files(tmp_path: Path) -> None:
    """F15: a ZIP beside the images, and one instead of a folder."""
    path = archive(
        tmp_path / "more.zip",
        {"z/b.png": b"two", "a.png": b"one", "__MACOSX/._a.png": b"", "inner.zip": b"PK"},
    )
    assert names(tmp_path) == names(path) == ["more.zip/a.png", "more.zip/z/b.png"]
    assert reasons(path) == {
        "more.zip/__MACOSX/._a.png": "left by the operating system",
        "more.zip/inner.zip": "an archive within an archive; unpack it",
    }
    assert [one.content() for one in find(path) if not one.reason] == [b"one", b"two"]


def test_damaged_archives_and_members_have_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 no archive")
    assert reasons(tmp_path) == {"a.zip": "a damaged archive (BadZipFile); remove or replace it"}
    path = archive(tmp_path / "a.zip", {"a.png": bytes(range(256)) * 9})
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)
    (source,) = find(path)
    with pytest.raises(UnreadableError, match="damaged within its archive"):
        source.content()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_lists_name_files_beside_them(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "a.png").touch()
    table = pd.DataFrame({"path": ["deeper/a.png", "gone.png", "deeper/a.png"], "age": [1, 2, 1]})
    path = tmp_path / f"list.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    assert names(path) == ["deeper/a.png"]
    assert reasons(path) == {"gone.png": "on the list, but there is no such file"}


def test_places_without_files_are_one_line(tmp_path: Path) -> None:
    """F22b: nothing there, an empty folder, a list without the column, a table that is none."""
    with pytest.raises(MedlabelError, match="found no such folder or file"):
        find(tmp_path / "missing")
    with pytest.raises(MedlabelError, match="found no file"):
        find(tmp_path)
    (tmp_path / "list.csv").write_text("name\na.png\n")
    with pytest.raises(MedlabelError, match=r"expected a column file or .*, found name"):
        find(tmp_path / "list.csv")
    (tmp_path / "list.parquet").write_bytes(b"none")
    with pytest.raises(MedlabelError, match="expected a table of file names"):
        find(tmp_path / "list.parquet")
