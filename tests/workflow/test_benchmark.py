"""The benchmark's rules, run for real: start from a phantom row, killed, resumed, compared."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from medlabel.stages import BENCHMARKS_FILE, PRESETS
from tests.workflow.conftest import ROOT, Workplace, make_workplace, outputs

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

ROWS = [
    {"dataset": "phantom_vessel3d", "model": "vit3d", "recipe": "tiny", "seeds": 2},
    {"dataset": "phantom_vessel3d", "model": "resnet18_acs", "recipe": "tiny_acs", "seeds": 1},
]
BENCHMARK = {
    "name": "full",  # whose stage needs no overlay
    "threads": 1,
    "resamples": 100,
    "phantom_volumes": {"train": 24, "val": 12, "test": 12},
    "recipes": {
        "first": {"extends": "vessel_phantoms", "epochs": 1, "batch_size": 8},
        "tiny": {
            "extends": "first",
            "epochs": 2,
            "start": {"source": "row", "dataset": "phantom_vessel3d", "recipe": "first"},
        },
        "tiny_acs": {"extends": "official_3d", "stem": "halved", "epochs": 2, "batch_size": 8},
    },
    "rows": ROWS,
}


@pytest.fixture(scope="module")
def benchmarked(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A workplace in which the tiny benchmark has run once; tests must leave it as it is."""
    workplace = make_workplace(tmp_path_factory.mktemp("benchmarked"))
    workplace.set(benchmark=BENCHMARK)
    result = workplace.snakemake("benchmarks")
    assert result.returncode == 0, result.stdout + result.stderr
    return workplace


def rows_overlay(folder: Path, rows: list[dict]) -> str:
    """Write a configuration whose benchmark has these rows."""
    path = folder / "rows.yaml"
    path.write_text(yaml.safe_dump({"benchmark": {"rows": rows}}))
    return str(path)


def test_every_result_is_there(benchmarked: Workplace) -> None:
    results = benchmarked.folder / "results"
    content = json.loads((results / "benchmarks" / "full.json").read_text())
    assert [row["seeds"] for row in content["rows"]] == [2, 1]
    assert all(row["phantom"] for row in content["rows"])
    assert "vessel_phantoms" not in (results / "benchmarks" / "full.csv").read_text()
    for name in ("scores", "roc", "curves", "slices"):
        assert "PHANTOM" in (results / "figures" / f"benchmark_full_{name}.svg").read_text()
    assert (results / "benchmarks" / "full_report.html").exists()
    assert benchmarked.planned("benchmarks") == {}


def test_another_row_trains_that_row_alone(benchmarked: Workplace, tmp_path: Path) -> None:
    added = {"dataset": "phantom_vessel3d", "model": "resnet18_3d", "recipe": "tiny_acs"}
    overlay = rows_overlay(tmp_path, [*ROWS, {**added, "seeds": 1}])
    planned = benchmarked.planned("benchmarks", "--configfile", overlay)
    assert planned["benchmark"] == 1


def test_a_training_killed_outright_ends_as_one_left_alone(
    benchmarked: Workplace, tmp_path: Path
) -> None:
    folder, data = benchmarked.folder, "data/runs/full"
    command = [
        "medlabel",
        *("--set", "benchmark.recipes.tiny_acs.epochs=4"),
        "benchmark",
        *("--row", "phantom_vessel3d/resnet18_acs/tiny_acs", "--repeat", "0"),
        *("--archive", f"{data}/phantom_vessel3d.npz"),
    ]
    alone, resumed, state = (tmp_path / name for name in ("alone", "resumed", "state.pt"))
    left = benchmarked.run(*command, "--folder", str(alone), "--resume", f"{alone}.pt")
    assert left.returncode == 0, left.stderr
    killed = [*command, "--folder", str(resumed), "--resume", str(state)]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    process = subprocess.Popen(killed, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (resumed / "run.json").exists()
    again = benchmarked.run(*killed)
    assert again.returncode == 0, again.stderr
    assert "going on after epoch" in again.stderr
    for name in ("predictions.parquet", "weights.safetensors"):
        assert (resumed / name).read_bytes() == (alone / name).read_bytes()


def test_every_file_of_its_rules_belongs_to_the_stage(benchmarked: Workplace) -> None:
    made = benchmarked.made("benchmarks")
    entry = yaml.safe_load(
        yaml.safe_dump(PRESETS["full"].entry())
        .replace("${folders.data}", "data")
        .replace("${folders.results}", "results")
    )
    runs, *shown = outputs(entry)
    others = {path for path in made if not path.startswith(f"{runs}/")}
    assert len(made) > len(others) > 0
    assert others == set(shown)


def test_dvc_keeps_a_complete_benchmark_and_restores_its_weights(
    benchmarked: Workplace, tmp_path: Path
) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(benchmarked.folder, folder, symlinks=True)
    copied = Workplace(folder)
    shutil.copy(ROOT / ".gitignore", folder / ".gitignore")
    shutil.copy(ROOT / BENCHMARKS_FILE, folder / BENCHMARKS_FILE)
    (folder / "results" / "benchmarks" / "full_tables.md").unlink()
    for command in ("git init --quiet", "dvc init --quiet", "snakemake --cores 2 benchmarks"):
        result = copied.run(*command.split())
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    again = copied.run("dvc", "repro", PRESETS["full"].address)
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stdout
    (folder / "results" / "benchmarks" / "full_tables.md").unlink()
    restored = copied.run("dvc", "repro", PRESETS["full"].address)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert "Running stage" in restored.stdout
    weights = sorted((folder / "data" / "runs").rglob("weights.safetensors"))
    before = [path.read_bytes() for path in weights]
    shutil.rmtree(folder / "data" / "runs" / "full")
    assert copied.run("dvc", "checkout", PRESETS["full"].address).returncode == 0
    assert [path.read_bytes() for path in weights] == before
    assert copied.planned("benchmarks") == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"dataset": "breastmnist", "model": "vit3d", "recipe": "tiny_acs"}, "does not fit images"),
        ({"dataset": "breastmnist", "model": "vit2d", "recipe": "none"}, "recipe 'none' given"),
    ],
)
def test_rows_that_cannot_be_stop_with_one_line(
    benchmarked: Workplace, tmp_path: Path, row: dict, message: str
) -> None:
    overlay = rows_overlay(tmp_path, [{**row, "seeds": 1}])
    result = benchmarked.snakemake("benchmarks", "--dry-run", "--configfile", overlay)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
