"""The capstone's published numbers beside ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from medlabel.cli import app
from medlabel.commands import teacher
from medlabel.errors import MedlabelError
from medlabel.evaluate import capstone, published, results

PROJECT = Path(__file__).parents[2]
WEAK = PROJECT / "results" / "weak" / "study.json"  # of the same form, and no other teacher
TABLE = PROJECT / "resources" / "published_results.csv"


def test_each_published_number_stands_beside_ours() -> None:
    study = results.read(WEAK)
    found = capstone.compare(study, published.read(TABLE))
    assert [one.published for one in found] == [0.8049, 0.8205, 0.9572, 0.06, 0.08]
    (cell,) = study.cells
    assert [one.ours for one in found] == [
        cell.pseudolabel_accuracy,
        cell.arms["teacher"]["accuracy"].mean,
        cell.arms["student"]["accuracy"].mean,
        cell.gains["accuracy"].mean,
        cell.gains["f1"].mean,
    ]
    assert all(one.low <= one.ours <= one.high for one in found)


@pytest.mark.parametrize(("value", "told"), [(0.5, "within"), (0.7, "NOT within")])
def test_a_number_says_whether_it_was_found_again(value: float, told: str) -> None:
    number = capstone.Number("CAP-3", "teacher", value, 0.55, 0.45, 0.65)
    assert (
        str(number)
        == f"CAP-3  teacher: published {100 * value:g}, ours 55.00 (45.00 to 65.00): {told}"
    )


def test_a_study_without_a_teacher_is_told() -> None:
    study = results.read(WEAK)
    cell = study.cells[0].model_copy(update={"pseudolabel_accuracy": None})
    with pytest.raises(MedlabelError, match="expected a study with a teacher"):
        capstone.compare(study.model_copy(update={"cells": [cell]}), published.read(TABLE))


def test_a_table_without_a_number_is_told() -> None:
    table = published.read(TABLE)
    with pytest.raises(MedlabelError, match="student_gain_f1 is missing"):
        capstone.compare(results.read(WEAK), table[table["recipe"] != "student_gain_f1"])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", capstone.OVERLAY, "resources/published_results.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_makes_the_study_and_tells_its_numbers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def make(command: list[str], check: bool) -> SimpleNamespace:
        asked.append(command)
        target = project / "capstone" / "results" / "capstone" / "study.json"
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(json.loads(WEAK.read_text())))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(teacher.subprocess, "run", make)
    result = CliRunner().invoke(app, ["verify", "capstone", "--cores", "3"])
    assert result.exit_code == 0, result.output
    asked_for = "--quiet rules --configfile config/capstone.yaml --cores 3 -- study_capstone"
    assert " ".join(asked[0][1:]) == f"-m snakemake {asked_for}"
    lines = [line for line in result.output.splitlines() if line.startswith("CAP-")]
    assert [line.split()[0] for line in lines] == ["CAP-2", "CAP-3", "CAP-4", "CAP-6", "CAP-6"]
    assert "published 80.49, ours" in lines[0]


def test_a_study_that_fails_leaves_no_numbers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    result = CliRunner().invoke(app, ["verify", "capstone"])
    assert isinstance(result.exception, MedlabelError)
    assert "goes on where it stopped" in str(result.exception)
    assert "CAP-" not in result.output


def test_outside_the_project_the_command_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["verify", "capstone"])
    assert "in the project's folder" in str(result.exception)
