"""Lacks are named with their remedies, and what is kept is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medlabel.annotation import health
from medlabel.annotation.store import Store
from medlabel.cli import app


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDLABEL_MIRROR", raising=False)
    return tmp_path / "cache" / "medlabel"


def test_a_sound_machine_lacks_nothing_but_perhaps_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["numpy>=1", "nosuch; extra=='x'"])
    found = {one.what: one for one in health.examine()}
    assert {"Python", "packages", "processor", "device", "memory", "disk"} <= set(found)
    assert found["packages"].found == "all 1"
    assert found["default teacher"].found.startswith("made on first use")


def test_each_lack_has_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["numpy>=999", "nosuchpackage>1"])
    monkeypatch.setenv("MEDLABEL_MIRROR", str(tmp_path / "gone"))
    monkeypatch.setattr(health, "DISK_WANTED", 1 << 60)
    found = {one.what: one for one in health.examine() if one.verdict == "missing"}
    assert set(found) == {"packages", "disk", "mirror of MedMNIST"}
    assert found["packages"].remedy == "pip install 'numpy>=999' 'nosuchpackage>1'"
    assert all(one.remedy for one in found.values())


def test_the_command_fails_where_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lack = health.Finding("disk", "full", "missing", "free some space")
    monkeypatch.setattr(health, "examine", lambda: [lack])
    told = CliRunner().invoke(app, ["doctor"])
    assert (told.exit_code, told.stdout) == (1, "missing disk: full; free some space\n")
    told = CliRunner().invoke(app, ["doctor", "--json"])
    assert json.loads(told.stdout)[0]["remedy"] == "free some space"


def test_what_is_kept_is_counted(cache: Path) -> None:
    assert json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["bytes"] == 0
    (cache / "encoders" / "default-1").mkdir(parents=True)
    (cache / "encoders" / "default-1" / "weights").write_bytes(bytes(3_000_000))
    store = Store(cache / "images" / "embeddings" / "a.sqlite")
    store.put({b"one": b"1", b"two": b"2"})
    store.close()
    told = CliRunner().invoke(app, ["status"]).stdout
    assert "teacher default-1: 3 MB" in told
    assert "2 embedded images" in told
