"""Captions of Snakemake's report: they render with the parameters and mark phantoms."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import docutils.core
import pytest
from jinja2 import Environment, StrictUndefined

from medlabel.params import Params
from medlabel.report import page

FOLDER = Path(__file__).parents[2] / "workflow" / "report"
# Those of benchmarks, which have no mixture, are checked beside their figures.
CAPTIONS = sorted(set(FOLDER.glob("*.rst")) - set(FOLDER.glob("benchmark_*.rst")))


def render(path: Path, params: Params, mixture: str) -> str:
    config = params.model_dump(mode="json")
    config["mixture"]["name"] = mixture
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(
        path.read_text(encoding="utf-8")
    )
    return template.render(snakemake=SimpleNamespace(config=config))


def test_there_is_a_caption_for_each_figure() -> None:
    rules = (FOLDER.parent / "rules" / "results.smk").read_text(encoding="utf-8")
    drawn = set(re.findall(r'figure\("([a-z]+)"\)', rules))
    assert drawn >= set(page.CAPTIONS)
    assert {path.stem for path in CAPTIONS} == {"workflow", *drawn}


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_caption_renders_and_marks_phantoms(path: Path, default_params: Params) -> None:
    real, drawn = (render(path, default_params, name) for name in ("breast_pneumonia", "phantom_x"))
    assert "breast_pneumonia" in real
    if path.stem != "phantoms":  # the sheet of phantoms shows them in every study
        assert "PHANTOM" not in real
        assert "PHANTOM DATA – drawn, not measured" in drawn
    for source in (real, drawn):
        docutils.core.publish_string(
            source, writer="html5", settings_overrides={"halt_level": 2, "report_level": 5}
        )
