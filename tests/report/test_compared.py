"""Encoders side by side: the tables say what the study says, and nothing of what did not run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from medlabel.errors import MedlabelError
from medlabel.evaluate import results
from medlabel.evaluate.results import StudyResult
from medlabel.params import Compared, Params
from medlabel.report import compared

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "results" / "encoders" / "study.json"


@pytest.fixture
def settings(default_params: Params) -> Compared:
    asked = default_params.compared["encoders"]
    return asked.model_copy(update={"costs": str(ROOT / asked.costs)})


def rows(table: str, encoder: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith(f"| {encoder} |")]


def test_scores_are_those_of_the_study(settings: Compared, tmp_path: Path) -> None:
    compared.write(settings, STUDY, tmp_path)
    scores = pd.read_csv(tmp_path / "scores.csv")
    found = results.read_as(STUDY, "evaluate", StudyResult)
    cells = [cell for cell in found.cells if cell.labelling == settings.by_clusters]
    assert len(scores) == 9 * len(cells)
    for cell in cells:
        own = scores[(scores["images"] == cell.images) & (scores["encoder"] == str(cell.encoder))]
        student = own[(own["answers"] == "student") & (own["metric"] == "auc")]
        assert student["mean"].item() == pytest.approx(cell.arms["student"]["auc"].mean, abs=1e-6)
        clusters = own[(own["answers"] == "clusters") & (own["metric"] == "accuracy")]
        right = cell.arms["teacher"]["accuracy"].mean
        assert clusters["mean"].item() == pytest.approx(right, abs=1e-6)


def test_encoders_that_did_not_run_have_no_score(settings: Compared, tmp_path: Path) -> None:
    compared.write(settings, STUDY, tmp_path)
    table = (tmp_path / "tables.md").read_text(encoding="utf-8")
    for line in rows(table, "biomedclip"):
        assert "not run: waits for a network" in line
        assert not any(one.isdigit() for one in line)
    assert len(rows(table, "biomedclip")) == 2
    assert "biomedclip" not in (tmp_path / "scores.csv").read_text()


def test_an_encoder_that_the_study_ran_waits_no_more(settings: Compared, tmp_path: Path) -> None:
    asked = settings.model_copy(update={"waiting": {"locked_112": "a network", "clip": "weights"}})
    compared.write(asked, STUDY, tmp_path)
    table = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert all("not run" not in line for line in rows(table, "locked 112"))
    assert all("not run" in line for line in rows(table, "clip"))


def test_costs_are_those_of_the_encoders_shown(settings: Compared, tmp_path: Path) -> None:
    asked = settings.model_copy(update={"waiting": {"openai_rn50": "weights"}})
    compared.write(asked, STUDY, tmp_path)
    costs = (tmp_path / "tables.md").read_text(encoding="utf-8").partition("## Cost")[2]
    assert len(rows(costs, "locked")) == len(rows(costs, "openai rn50")) == 1
    assert not rows(costs, "openai rn101")


def test_missing_costs_are_told(settings: Compared, tmp_path: Path) -> None:
    asked = settings.model_copy(update={"costs": str(tmp_path / "costs.csv")})
    with pytest.raises(MedlabelError, match=r"costs\.csv: expected a CSV table of costs"):
        compared.write(asked, STUDY, tmp_path)


def test_a_missing_column_of_costs_is_named(settings: Compared, tmp_path: Path) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text("encoder,parameters\nlocked,1\n")
    asked = settings.model_copy(update={"costs": str(costs)})
    with pytest.raises(MedlabelError, match=r"column megabytes"):
        compared.write(asked, STUDY, tmp_path)
