"""How far a project is: studies, steps and disk, from the files that are there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medlabel import layout, params, standing
from medlabel.cli import app

ROOT = Path(__file__).parent.parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose study `main` is made, two of whose jobs were timed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    for name, content in {
        "params.yaml": (ROOT / "params.yaml").read_text(),
        "results/main/study.json": "{}",
        "data/timings/train/a/b/0000-0009.tsv": "s\th:m:s\n61.5\t0:01:01\n",
        "data/timings/train/a/b/0010-0019.tsv": "s\th:m:s\n60.0\t0:01:00\n",
        "data/timings/pool/a.tsv": "s\th:m:s\n1.0\t0:00:01\n",
        "data/raw/x.npz": "x" * 2_000_000,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    os.utime(folder / "results" / "main" / "study.json", (1_000_000_000, 1_000_000_000))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("project")
def test_status_tells_of_the_project_that_one_stands_in() -> None:
    told = CliRunner().invoke(app, ["status"]).stdout.splitlines()
    assert "study main: results of 2001-09-09 01:46+00:00" in told
    assert "study pneumonia: no results yet" in told
    assert "  step train: 2:02, 2 jobs" in told
    assert told.index("  step train: 2:02, 2 jobs") < told.index("  step pool: 0:01, 1 job")
    assert "data: 2 MB" in told
    assert told[-1] == "`snakemake -n` says what would run"


@pytest.mark.usefixtures("project")
def test_json_has_the_same() -> None:
    found = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["project"]
    assert found["seconds"] == {"train": 121.5, "pool": 1.0}
    assert found["jobs"] == {"train": 2, "pool": 1}
    assert found["studies"]["main"] == "2001-09-09 01:46+00:00"
    assert found["bytes"]["data"] > 2_000_000


def test_elsewhere_nothing_is_said_of_studies(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    told = CliRunner().invoke(app, ["status"])
    assert told.exit_code == 0
    assert "study" not in told.stdout
    assert json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["project"] is None


def test_a_params_yaml_of_another_program_is_told_and_passed_over(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "params.yaml").write_text("train: {epochs: 3}\n")
    told = CliRunner().invoke(app, ["status", "--json"])
    assert told.exit_code == 0
    assert json.loads(told.stdout)["project"] is None
    assert caplog.records[-1].getMessage().startswith("params.yaml: ")


def test_a_project_where_nothing_was_made_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = params.read([ROOT / "params.yaml"])
    empty = standing.of(found, layout.of(found))
    assert set(empty.studies) == set(found.default_studies)
    assert not any(empty.studies.values())
    assert empty.seconds == {}
    assert empty.bytes == {"data": 0, "results": 0}
