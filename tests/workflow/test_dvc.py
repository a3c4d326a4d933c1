"""DVC's stages over Snakemake's rules, both run for real on tiny phantoms."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from medlabel import params as parameters
from tests.workflow.conftest import ROOT, Workplace

# One worker, because all share one finished run.
pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

# The tiny studies are phantoms, and have results of other names than the default studies.
RAW = re.compile(r"raw/\w+mnist")


def tiny_stages() -> dict:
    """The stages of dvc.yaml for the tiny studies."""
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stages = content["stages"]
    del stages["raw"]
    for stage in stages.values():
        stage["deps"] = [path for path in stage["deps"] if not RAW.search(path)]
    shown = [f"${{folders.results}}/{name}" for name in tiny_studies()]
    stages["results"]["outs"] = [{path: {"cache": False, "persist": True}} for path in shown]
    return {"stages": stages}


def tiny_studies() -> list[str]:
    return parameters.read([ROOT / "params.yaml", ROOT / "config" / "tiny.yaml"]).default_studies


def outputs(stage: dict) -> list[str]:
    entries = [*stage["outs"], *stage.get("metrics", [])]
    paths = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
    folders = {"${folders.data}": "data", "${folders.results}": "results"}
    return [folders[path[: path.index("}") + 1]] + path[path.index("}") + 1 :] for path in paths]


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def test_every_file_of_the_default_studies_belongs_to_one_stage(finished: Workplace) -> None:
    stages = tiny_stages()["stages"]
    folders = [path for stage in stages.values() for path in outputs(stage)]
    made = finished.made()
    assert len(made) > 30
    for path in made:
        owners = [folder for folder in folders if within(path, folder)]
        assert len(owners) == 1 or path.startswith("results/phantoms."), (path, owners)


def test_the_stages_name_the_files_and_studies_that_are_made_by_default(
    default_params: parameters.Params,
) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    studies = {f"results/{name}" for name in default_params.default_studies}
    assert studies | {"results/metrics.json"} == set(outputs(stages["results"]))
    datasets = {
        dataset
        for name in default_params.default_studies
        for cell in default_params.grids[name]
        for dataset in (
            default_params.every_mixture[cell.images].datasets
            if cell.images in default_params.every_mixture
            else [cell.images]
        )
    }
    official = {name for name in datasets if not name.startswith("phantom_")}
    assert {Path(path).stem for path in outputs(stages["raw"])} == official


def make_repository(workplace: Workplace) -> None:
    """Turn a workplace into a Git and DVC repository; a complete run records itself in DVC."""
    shutil.copy(ROOT / ".gitignore", workplace.folder / ".gitignore")
    (workplace.folder / "dvc.yaml").write_text(yaml.safe_dump(tiny_stages(), sort_keys=False))
    (workplace.folder / "results" / "metrics.json").unlink()
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


def test_dvc_sees_nothing_to_do_after_snakemake_and_an_experiment_reruns_what_it_must(
    copied: Workplace,
) -> None:
    make_repository(copied)
    assert "up to date" in copied.run("dvc", "status").stdout
    unchanged = copied.run("dvc", "repro")
    assert unchanged.returncode == 0, unchanged.stderr
    assert "Running stage" not in unchanged.stdout

    drawn = (copied.folder / "data" / "phantoms" / "28" / "phantom_chest.npz").stat().st_mtime_ns
    change = "+recipes.tiny.learning_rate=0.01"  # inherited, so not in the file
    experiment = copied.run("dvc", "exp", "run", "--set-param", change)
    output = experiment.stdout + experiment.stderr
    assert experiment.returncode == 0, output
    assert re.findall(r"Running stage '([a-z]+)'", output) == ["trainings", "results"]
    drawn_now = (
        (copied.folder / "data" / "phantoms" / "28" / "phantom_chest.npz").stat().st_mtime_ns
    )
    assert drawn_now == drawn
    assert copied.planned() == {}
    differences = copied.run("dvc", "metrics", "diff")
    assert differences.returncode == 0, differences.stderr
    assert "tiny.student_auc" in differences.stdout  # only what changed is shown
    shown = copied.run("dvc", "exp", "show", "--only-changed", "--csv")
    assert shown.returncode == 0, shown.stderr
    columns = shown.stdout.splitlines()[0].split(",")
    assert "tiny.student_auc" in columns
    assert len(columns) < 40


@pytest.mark.xfail(
    reason="stages name whole sections of params.yaml, and each of their values is a column; "
    "--only-changed leaves these out"
)
def test_all_experiments_fit_a_screen(copied: Workplace) -> None:
    make_repository(copied)
    shown = copied.run("dvc", "exp", "show", "--csv")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()[0].split(",")) < 120


def test_a_checkout_by_dvc_gives_snakemake_nothing_to_do(copied: Workplace) -> None:
    make_repository(copied)
    for folder in ("embeddings", "labels", "trainings"):
        shutil.rmtree(copied.folder / "data" / folder)
    restored = copied.run("dvc", "checkout")
    assert restored.returncode == 0, restored.stderr
    assert Path(copied.folder / "data" / "embeddings").is_dir()
    assert copied.planned() == {}


def test_what_was_only_touched_is_not_vouched_for(copied: Workplace) -> None:
    make_repository(copied)
    lock = (copied.folder / "dvc.lock").read_bytes()
    (copied.folder / "data" / "labels" / "phantom_tiny").joinpath("stray.parquet").write_text("x")
    touched = copied.run("snakemake", "--cores", "1", "--touch")
    assert touched.returncode == 0, touched.stderr
    assert (copied.folder / "dvc.lock").read_bytes() == lock


def test_a_complete_run_without_git_ends_well_and_says_so(copied: Workplace) -> None:
    """F46: the study was complete, then the run failed without a reason."""
    shutil.copytree(
        ROOT / ".dvc", copied.folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp")
    )
    (copied.folder / "results" / "metrics.json").unlink()
    result = copied.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if "not recorded in DVC" in line]
    assert len(lines) == 1
