"""Captions of the benchmark's figures in Snakemake's report: rendered, and marking phantoms."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import docutils.core
import pytest
from jinja2 import Environment, StrictUndefined

from medlabel.params import Params
from medlabel.report.benchmark import page

FOLDER = Path(__file__).parents[3] / "workflow" / "report"
CAPTIONS = sorted(FOLDER.glob("benchmark_*.rst"))


def render(path: Path, params: Params, dataset: str) -> str:
    config = params.model_dump(mode="json")
    config["benchmark"]["rows"][0]["dataset"] = dataset
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(
        path.read_text(encoding="utf-8")
    )
    return template.render(snakemake=SimpleNamespace(config=config))


def test_there_is_a_caption_for_each_figure() -> None:
    assert {path.stem for path in CAPTIONS} == {f"benchmark_{name}" for name in page.CAPTIONS}


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_caption_renders_and_marks_phantoms(path: Path, default_params: Params) -> None:
    real, drawn = (
        render(path, default_params, dataset) for dataset in ("breastmnist", "phantom_vessel3d")
    )
    assert default_params.benchmark.name in real
    assert "PHANTOM" not in real
    assert "PHANTOM DATA – drawn, not measured" in drawn
    for source in (real, drawn):
        docutils.core.publish_string(
            source, writer="html5", settings_overrides={"halt_level": 2, "report_level": 5}
        )
