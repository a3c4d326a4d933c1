"""The repository keeps its own promises: one set of pins, generated files current, no secrets."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medlabel import params as parameters
from medlabel.stages import BENCHMARKS_FILE, PRESETS, Preset, benchmarks_yaml, dvc_yaml

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


def test_dvc_stages_are_current() -> None:
    assert (ROOT / "dvc.yaml").read_text() == dvc_yaml(), "run: medlabel stages"
    assert (ROOT / BENCHMARKS_FILE).read_text() == benchmarks_yaml(), "run: medlabel stages"


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_presets_are_those_of_their_files(preset: Preset) -> None:
    overlays = [ROOT / preset.overlay] if preset.overlay else []
    given = parameters.read([ROOT / "params.yaml", *overlays])
    assert given.benchmark.name == preset.name


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
