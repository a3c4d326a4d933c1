"""Files are whole or absent, equal content gives equal bytes, and nothing unsafe is loaded."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

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


def test_other_system_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), files.replacing(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "no")


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
    loaded = files.read_npz(tmp_path / "one.npz", "test")
    assert list(loaded) == ["a", "b"]
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, train_images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(MedlabelError, match="found pickled Python objects"):
        files.read_npz(path, "fetch")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_npz_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.npz"
    files.write_npz(path, {"a": np.random.default_rng(0).integers(0, 255, 5000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(MedlabelError, match=r"cut\.npz: expected a") as caught:
        files.read_npz(path, "fetch")
    assert "medlabel fetch" in str(caught.value)


def test_an_altered_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "altered.npz"
    files.write_npz(path, {"a": np.random.default_rng(0).integers(0, 255, 5000)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(MedlabelError, match="truncated or altered"):
        files.read_npz(path, "fetch")


def test_a_missing_file_names_the_step_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="it is made by `medlabel embed`"):
        files.require(tmp_path / "absent", "embed")


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    files.write_parquet(path, pd.DataFrame({"seed": [1]}))
    with pytest.raises(MedlabelError, match="but row is missing"):
        files.read_parquet(path, "mix", ["seed", "row"])
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
