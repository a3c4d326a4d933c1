"""The graph, run for real on tiny phantoms."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medlabel import params as parameters
from tests.workflow.conftest import ROOT, Workplace, make_workplace

# One worker, because all share one finished run.
pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

DOWNSTREAM = {"students", "study", "report", "all"}


def test_a_finished_study_has_nothing_to_do(finished: Workplace) -> None:
    assert finished.planned() == {}


def test_every_result_is_there_and_marked_as_phantom(finished: Workplace) -> None:
    results = finished.folder / "results"
    study = json.loads((results / "phantom_tiny_study.json").read_text())
    assert study["phantom"] is True
    assert study["seeds"] == 2
    named = [path for path in results.rglob("*") if path.is_file()]
    assert named
    assert all("phantom" in path.name.lower() for path in named)
    for figure in results.rglob("*.svg"):
        assert "PHANTOM" in figure.read_text(), figure.name


def test_logs_and_timings_are_kept_for_each_job(finished: Workplace) -> None:
    logs = {path.parent.name for path in (finished.folder / "data" / "logs").rglob("*.log")}
    assert {"phantoms", "pretrain", "embed", "pseudolabel", "study"} <= logs
    timings = list((finished.folder / "data" / "benchmarks").rglob("*.tsv"))
    assert len(timings) > 10


def test_the_report_is_one_file_with_every_figure(finished: Workplace, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = finished.snakemake("--report", str(page))
    assert result.returncode == 0, result.stdout + result.stderr
    text = page.read_text()
    for figure in (finished.folder / "results" / "figures").glob("*.svg"):
        assert figure.name in text
    assert "<script src=" not in text


def test_a_new_learning_rate_reruns_the_students_only(copied: Workplace) -> None:
    copied.set(student={"optimizer": {"lr": 0.01}})
    assert set(copied.planned()) == DOWNSTREAM


def test_more_seeds_embed_nothing_and_leave_the_first_ones(copied: Workplace) -> None:
    copied.set(study={"seeds": 4})
    planned = copied.planned()
    assert set(planned) == {"mix", *DOWNSTREAM}
    assert planned["mix"] == 1
    assert planned["students"] == 3  # true, permuted and the study's teacher; no more curve


def test_new_prompts_embed_nothing(copied: Workplace) -> None:
    copied.set(pseudolabel={"templates": ["An image of the {}."]})
    planned = copied.planned()
    assert "pseudolabel" in planned
    assert "embed" not in planned
    assert "pretrain" not in planned


@pytest.mark.parametrize(
    "section",
    [
        {"data": {"retries": 9, "mirrors": ["elsewhere"]}},
        {"embed": {"batch_size": 7}},
        {"device": "cpu"},
    ],
    ids=["mirrors", "batch size", "device"],
)
def test_how_to_work_is_no_reason_to_rerun(copied: Workplace, section: dict) -> None:
    copied.set(**section)
    assert copied.planned() == {}


def test_the_same_parameters_as_an_overlay_are_no_reason_to_rerun(copied: Workplace) -> None:
    overlay = copied.folder / "same.yaml"
    overlay.write_text("student: {epochs: 2}\n")
    assert copied.planned("--configfile", "same.yaml") == {}


def test_editing_the_code_of_a_step_reruns_it(copied: Workplace) -> None:
    module = copied.folder / "src" / "medlabel" / "evaluate" / "study.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert set(copied.planned()) == {"study", "report", "all"}


def test_touched_files_are_no_reason_to_rerun(copied: Workplace) -> None:
    for path in (copied.folder / "data").rglob("*.npz"):
        path.touch()
    assert copied.planned() == {}


def test_a_rule_is_a_command_that_can_be_pasted(copied: Workplace) -> None:
    target = "data/mixtures/phantom_tiny/draws/0000-0001.parquet"
    before = (copied.folder / target).read_bytes()
    shown = copied.snakemake("--dry-run", "--printshellcmds", "--forcerun", "mix")
    lines = re.findall(r"medlabel .*", shown.stdout + shown.stderr)
    command = next(line for line in lines if target in line)
    (copied.folder / target).unlink()
    pasted = copied.run("bash", "-c", command)
    assert pasted.returncode == 0, pasted.stderr
    assert (copied.folder / target).read_bytes() == before


def test_a_wrong_parameter_stops_before_any_job(copied: Workplace) -> None:
    copied.set(student={"optimizer": {"lr": -1}})
    result = copied.snakemake()
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if "medlabel: error" in line]
    assert lines == [
        "medlabel: error: params.yaml: student.optimizer.lr: -1 given, allowed: input should be "
        "greater than 0"
    ]
    assert "Building DAG" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_killed_run_goes_on_and_ends_with_the_same_results(
    copied: Workplace, finished: Workplace
) -> None:
    shutil.rmtree(copied.folder / "data" / "students")
    shutil.rmtree(copied.folder / "results")
    command = ["snakemake", "--cores", "2"]
    environment_of_run = copied.folder
    process = subprocess.Popen(
        ["bash", "-c", f"exec env PATH={_path()} HOME={environment_of_run} {' '.join(command)}"],
        cwd=copied.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    students = copied.folder / "data" / "students"
    deadline = time.monotonic() + 120
    # The third job starts only when one of the first two has ended.
    while len(list(students.rglob("predictions.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in students.rglob("predictions.parquet")}
    assert done
    assert not (copied.folder / "results").exists()
    copied.run("snakemake", "--unlock")
    again = copied.snakemake()
    assert again.returncode == 0, again.stdout + again.stderr
    kept = [path for path, when in done.items() if path.stat().st_mtime_ns == when]
    assert kept, "every finished block was trained again"
    assert copied.planned() == {}
    for name in ("phantom_tiny_study.json", "phantom_tiny_scores.csv"):
        ours, theirs = (place.folder / "results" / name for place in (copied, finished))
        assert ours.read_bytes() == theirs.read_bytes()


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def test_a_truncated_input_is_told_and_nothing_good_is_lost(copied: Workplace) -> None:
    archive = copied.folder / "data" / "phantoms" / "phantom_chest.npz"
    archive.write_bytes(archive.read_bytes()[:2000])
    before = (copied.folder / "results" / "phantom_tiny_study.json").read_bytes()
    result = copied.snakemake("--until", "pool")
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "phantom_chest.npz: expected a whole .npz, found a truncated or altered file" in output
    assert (copied.folder / "results" / "phantom_tiny_study.json").read_bytes() == before


def test_the_capstones_graph_is_what_it_should_be(tmp_path: Path) -> None:
    place = make_workplace(tmp_path)
    for name in ("params.yaml", "config/capstone.yaml"):
        target = place.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text((ROOT / name).read_text())
    planned = place.planned("--configfile", "config/capstone.yaml")
    study = parameters.read([ROOT / "params.yaml", ROOT / "config" / "capstone.yaml"])
    blocks = len(study.seed_blocks)
    assert planned["fetch"] == 2
    assert planned["adopt"] == 1
    assert "pretrain" not in planned
    assert planned["students"] == 3 * blocks  # true, permuted and the teacher's labels
    assert planned["mix"] == blocks


def test_no_network_names_the_address_and_the_way_out(tmp_path: Path) -> None:
    place = make_workplace(tmp_path)
    (place.folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    place.set(data={"retries": 0, "timeout": 2})
    result = place.snakemake("--until", "fetch", "--config", "data={mirrors: [absent]}")
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "zenodo.org/records/10519652/files/breastmnist.npz" in output
    assert "make demo" in output
    assert not list((place.folder / "data" / "raw").glob("*.npz"))


def test_the_linter_has_nothing_to_say() -> None:
    result = Workplace(ROOT).run("snakemake", "--lint")
    assert result.returncode == 0, result.stdout + result.stderr
