"""DVC's stages against Snakemake's rules, and both run for real on tiny phantoms."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from medlabel import params as parameters
from medlabel.stages import BENCHMARK_STEPS, STAGES
from medlabel.steps import STEPS, lookup
from tests.workflow.conftest import ROOT, Workplace, outputs

# One worker, because all share one finished run.
pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


def resolved(workplace: Workplace) -> dict[str, dict]:
    """The stages of dvc.yaml with the parameters filled in."""
    params = parameters.read([workplace.folder / "params.yaml"])
    text = (workplace.folder / "dvc.yaml").read_text()
    filled = re.sub(r"\$\{([a-z_.]+)\}", lambda match: str(lookup(params, match[1])), text)
    stages: dict[str, dict] = yaml.safe_load(filled)["stages"]
    return stages


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def test_every_file_of_a_rule_belongs_to_the_stage_of_that_rule(finished: Workplace) -> None:
    made = finished.made()
    assert len(made) > 30
    stages = resolved(finished)
    rules_of = {stage.steps[0]: stage.steps for stage in STAGES}
    for path, rule in made.items():
        owners = [
            name for name, stage in stages.items() if any(within(path, o) for o in outputs(stage))
        ]
        assert len(owners) == 1, f"{path} of rule {rule} is an output of {owners}"
        assert rule in rules_of[owners[0]], f"{path}: rule {rule}, stage {owners[0]}"


def test_outputs_of_stages_do_not_overlap(finished: Workplace) -> None:
    paths = [path for stage in resolved(finished).values() for path in outputs(stage)]
    assert not [(a, b) for a in paths for b in paths if a != b and within(a, b)]


def test_every_step_has_a_stage_and_every_stage_depends_on_its_code() -> None:
    staged = [name for stage in STAGES for name in stage.steps]
    assert sorted([*staged, *BENCHMARK_STEPS]) == sorted(STEPS)
    for stage in STAGES:
        dependencies = set(stage.entry()["deps"])
        for name in stage.steps:
            assert set(STEPS[name].code) <= dependencies


def test_what_a_stage_needs_another_one_makes(finished: Workplace) -> None:
    stages = resolved(finished)
    made = [path for stage in stages.values() for path in outputs(stage)]
    for name, stage in stages.items():
        needed = [path for path in stage["deps"] if not path.startswith(("src/", "resources/"))]
        assert all(path in made for path in needed), name


def make_repository(workplace: Workplace) -> None:
    """Turn a workplace into a Git and DVC repository; a complete run records itself in DVC."""
    shutil.copy(ROOT / ".gitignore", workplace.folder / ".gitignore")
    (workplace.folder / "results" / "phantom_tiny_tables.md").unlink()
    for command in (
        "git init --quiet --initial-branch=main",
        "git config user.email test@example.org",
        "git config user.name test",
        "dvc init --quiet",
        "dvc config core.analytics false",
        "snakemake --cores 2",
        "git add --all",
        "git commit --quiet --message start",
    ):
        result = workplace.run(*command.split())
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


def test_dvc_sees_nothing_to_do_after_snakemake_and_an_experiment_reruns_the_students(
    copied: Workplace,
) -> None:
    make_repository(copied)
    assert "up to date" in copied.run("dvc", "status").stdout
    unchanged = copied.run("dvc", "repro")
    assert unchanged.returncode == 0, unchanged.stderr
    assert "Running stage" not in unchanged.stdout

    raw = (copied.folder / "data" / "phantoms" / "phantom_chest.npz").stat().st_mtime_ns
    experiment = copied.run("dvc", "exp", "run", "--set-param", "student.optimizer.lr=0.01")
    output = experiment.stdout + experiment.stderr
    assert experiment.returncode == 0, output
    ran = re.findall(r"Running stage '([a-z]+)'", output)
    assert ran == ["students", "study", "report"]
    assert (copied.folder / "data" / "phantoms" / "phantom_chest.npz").stat().st_mtime_ns == raw
    assert copied.planned() == {}


def test_a_checkout_by_dvc_gives_snakemake_nothing_to_do(copied: Workplace) -> None:
    make_repository(copied)
    for folder in ("embeddings", "pseudolabels", "students"):
        shutil.rmtree(copied.folder / "data" / folder)
    restored = copied.run("dvc", "checkout")
    assert restored.returncode == 0, restored.stderr
    assert Path(copied.folder / "data" / "embeddings").is_dir()
    assert copied.planned() == {}
