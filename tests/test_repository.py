"""The repository keeps its own promises: one set of pins, generated files current, no secrets."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medlabel import layout, params
from medlabel.params import studies

ROOT = Path(__file__).parent.parent


def locked(python: str) -> dict[str, str]:
    """Versions that requirements.txt gives to one Python on Linux."""
    pins = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9][^\\]*?) \\$", line):
            requirement = Requirement(match[1])
            environment = {"python_version": python, "python_full_version": f"{python}.0"}
            if requirement.marker is None or requirement.marker.evaluate(environment):
                pins[canonicalize_name(requirement.name)] = str(requirement.specifier)
    return pins


def declared() -> dict[str, Requirement]:
    """Direct dependencies of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [Requirement(entry) for entry in project["dependencies"]]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def test_conda_has_the_pins_of_requirements() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    python = next(entry for entry in dependencies if str(entry).startswith("python="))
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    pins = {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, pip)}
    assert set(pins) == set(declared())
    lock = locked(python.removeprefix("python="))
    assert pins == {name: lock[name] for name in pins}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_satisfies_what_is_declared(python: str) -> None:
    lock = locked(python)
    for name, requirement in declared().items():
        assert requirement.specifier.contains(lock[name].removeprefix("==")), name


def test_every_locked_file_has_a_hash_and_no_address() -> None:
    text = (ROOT / "requirements.txt").read_text()
    entries = re.findall(
        r"^[a-zA-Z0-9][^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n?)+)", text, re.M
    )
    assert len(entries) == len(re.findall(r"^[a-zA-Z0-9]", text, re.M))
    assert "://" not in text


@pytest.fixture(params=params.read([ROOT / "params.yaml"]).studies)
def committed(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A study and the folder of its committed results."""
    found = params.read([ROOT / "params.yaml"])
    return request.param, ROOT / layout.of(found).study(request.param, "")


def test_the_committed_results_are_those_of_the_parameters(committed: tuple[str, Path]) -> None:
    study, folder = committed
    content = json.loads((folder / "study.json").read_text())
    cells = [[c[key] for key in studies.KEYS] + [c["seeds"]] for c in content["cells"]]
    grid = params.read([ROOT / "params.yaml"]).grids[study]
    wanted = [[getattr(cell, key) for key in studies.KEYS] + [cell.seeds] for cell in grid]
    assert cells == wanted, f"run snakemake study_{study}"


def test_committed_pages_and_tables_show_the_committed_numbers(
    committed: tuple[str, Path],
) -> None:
    """A page in Git was stale once: drawn before the numbers beside it changed."""
    study, folder = committed
    content = json.loads((folder / "study.json").read_text())
    texts = [(folder / name).read_text() for name in ("tables.md", "report.html")]
    for cell in content["cells"]:
        for arm, scores in cell["arms"].items():
            shown = f"{100 * scores['accuracy']['mean']:.2f} ("
            assert all(shown in text for text in texts), f"{arm}: run snakemake study_{study}"


def test_headline_metrics_are_a_screenful_of_numbers() -> None:
    def numbers(content: Any) -> list[float]:
        if isinstance(content, dict):
            return [one for value in content.values() for one in numbers(value)]
        assert isinstance(content, int | float)
        return [content]

    metrics = json.loads((ROOT / "results" / "metrics.json").read_text())
    assert set(metrics) == set(params.read([ROOT / "params.yaml"]).default_studies)
    assert len(numbers(metrics)) <= 40


def test_no_committed_file_is_large_or_holds_images_of_people() -> None:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.splitlines()]
    large = [p.name for p in paths if p.is_file() and p.stat().st_size > 5_000_000]
    assert not large
    assert not [p.name for p in paths if p.suffix in {".npz", ".safetensors", ".pt"}]
