"""Files are whole or absent, equal content gives equal bytes, and nothing unsafe is loaded."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import save_file

from medlabel import files
from medlabel.errors import MedlabelError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    files.write_json(target, {"kept": True})
    with pytest.raises(RuntimeError), files.replacing(target) as partial:
        partial.write_text("half of it")
        raise RuntimeError
    assert files.read_json(target, "test") == {"kept": True}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, code: int) -> None:
    target = tmp_path / "result.json"
    with pytest.raises(MedlabelError, match="the disk is full") as caught:
        with files.replacing(target):
            raise OSError(code, os.strerror(code))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_when_a_library_hides_the_system_error(tmp_path: Path) -> None:
    hidden = SafetensorError("I/O error: No space left on device (os error 28)")
    with pytest.raises(MedlabelError, match="the disk is full"):
        with files.replacing(tmp_path / "weights.safetensors"):
            raise hidden


def test_a_librarys_error_is_a_full_disk_where_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 0))
    with pytest.raises(MedlabelError, match="the disk is full"):
        with files.replacing(tmp_path / "state.pt"):
            raise RuntimeError("unexpected pos 64 vs 0")


def test_a_full_disk_really_keeps_the_good_file(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    target = tmp_path / "table.parquet"
    target.write_text("good")
    with pytest.raises(MedlabelError, match="the disk is full"):
        with files.replacing(target), full.open("wb", buffering=0) as stream:
            stream.write(b"more")
    assert target.read_text() == "good"


def test_errors_of_the_caller_pass_through(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), files.replacing(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o002])
def test_the_umask_decides_who_may_read(tmp_path: Path, umask: int) -> None:
    """F34: files of patients stay private where the umask says so, whatever writes them."""
    old = os.umask(umask)
    try:
        files.write_json(tmp_path / "a.json", {})
        files.write_parquet(tmp_path / "b.parquet", pd.DataFrame({"seed": [1]}))
        files.write_npz(tmp_path / "c.npz", {"a": np.zeros(3)})
        with files.replacing(tmp_path / "d.safetensors") as partial:
            save_file({"a": np.zeros(3)}, partial)
        (tmp_path / "e").write_bytes(b"")
        with files.replacing(tmp_path / "f") as partial:
            shutil.copyfile(tmp_path / "e", partial)
    finally:
        os.umask(old)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~umask}


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    """F31: the target is a folder."""
    with pytest.raises(MedlabelError, match="expected a file to write, found a folder"):
        files.require_writable(tmp_path)
    with pytest.raises(MedlabelError, match="expected a file to write, found a folder"):
        files.write_json(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (files.require_writable, lambda target: files.write_json(target, {})):
        with pytest.raises(MedlabelError, match=r"x\.json: cannot be written \(") as caught:
            write(tmp_path / "file" / "x.json")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_place_that_may_not_be_written_to_is_one_line(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(MedlabelError, match=rf"x: cannot be written \({os.strerror(code)}\)"):
        files.require_writable(tmp_path / "x")


def test_a_target_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    files.require_writable(tmp_path / "x")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_long_names_are_written(tmp_path: Path) -> None:
    target = tmp_path / f"{'n' * 250}.csv"
    with files.replacing(target) as partial:
        partial.write_text("x")
    assert target.read_text() == "x"


@settings(max_examples=25)
@given(st.binary(max_size=4096))
def test_digest_is_hashlibs(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("digest") / "file"
    path.write_bytes(content)
    assert files.digest(path) == hashlib.sha256(content).hexdigest()
    assert files.digest(path, "md5") == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    table = pd.DataFrame({"seed": [1, 2], "p": np.array([0.5, 0.25], "f4")})
    arrays = {"a": np.arange(5), "b": np.zeros((2, 3), "u1")}
    for name in ("one", "two"):
        files.write_parquet(tmp_path / f"{name}.parquet", table)
        files.write_npz(tmp_path / f"{name}.npz", arrays)
    for suffix in ("parquet", "npz"):
        first, second = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
        assert files.digest(first) == files.digest(second)
    with np.load(tmp_path / "one.npz") as loaded:
        assert list(loaded) == ["a", "b"]
        assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)


def test_a_missing_file_names_the_step_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="it is made by `medlabel embed`"):
        files.require(tmp_path / "absent", "embed")


def test_a_file_that_may_not_be_read_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.json").write_text("{}")
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(MedlabelError, match=r"x\.json: may not be read by this user"):
        files.read_json(tmp_path / "x.json", "study")


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    files.write_parquet(path, pd.DataFrame({"seed": [1]}))
    with pytest.raises(MedlabelError, match="but row is missing"):
        files.read_parquet(path, "mix", ["seed", "row"])
    with pytest.raises(MedlabelError, match="but row is missing"):
        files.read_arrow(path, "mix", ["seed", "row"])
    files.write_parquet(path, pd.DataFrame({"seed": [1], "row": [2], "more": [3]}))
    assert list(files.read_parquet(path, "mix", ["seed"])) == ["seed", "row", "more"]
    assert files.read_arrow(path, "mix", ["row"]).column_names == ["row"]
    path.write_bytes(b"no parquet")
    with pytest.raises(MedlabelError, match="expected a parquet table"):
        files.read_parquet(path, "mix", ["seed"])


def test_json_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(MedlabelError, match="expected JSON"):
        files.read_json(path, "study")
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(path, {"nan": float("nan")})
