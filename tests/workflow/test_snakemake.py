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

import pandas as pd
import pytest
import yaml

from medlabel import params as parameters
from tests.workflow.conftest import ROOT, TINY, Workplace, make_workplace

# One worker, because all share one finished run.
pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

SHOWN = {"evaluate", "report", "metrics", "all"}
STUDIES = {"tiny", "tiny_locked", "tiny_curve", "tiny_pairs", "tiny_volumes"}
STUDENT = "phantom_tiny/phantom_clip@6+capstone+zeroshot/capstone/tiny"


def test_finished_studies_have_nothing_to_do(finished: Workplace) -> None:
    assert finished.planned() == {}


def test_every_result_is_there_and_marked_as_phantom(finished: Workplace) -> None:
    results = finished.folder / "results"
    for study in STUDIES:
        content = json.loads((results / study / "study.json").read_text())
        assert content["phantom"] is True
        assert (results / study / "report.html").exists()
        figures = sorted((results / study / "figures").glob("*.svg"))
        assert figures
        for figure in figures:
            assert "PHANTOM" in figure.read_text(), figure
    metrics = json.loads((results / "metrics.json").read_text())
    assert set(metrics) == STUDIES


def test_logs_and_timings_are_kept_for_each_job(finished: Workplace) -> None:
    data = finished.folder / "data"
    logs = {path.relative_to(data / "logs").parts[0] for path in (data / "logs").rglob("*.log")}
    steps = {"phantoms", "pretrain", "embed", "words", "pseudolabel", "train", "evaluate"}
    assert steps <= logs
    assert (data / "logs" / "pretrain" / "tiny_locked.log").exists()
    assert len(list((data / "timings").rglob("*.tsv"))) > 10


def test_a_locked_tower_is_taught_and_told_with_its_licence(finished: Workplace) -> None:
    folder = finished.folder / "data" / "encoders" / "tiny_locked"
    record = json.loads((folder / "provenance.json").read_text())
    assert len(record["kinds"]) == 11
    markdown = (finished.folder / "results" / "tiny_locked" / "tables.md").read_text()
    assert "| tiny_locked | word vectors |" in markdown
    assert record["words"]["sha256"] in markdown
    checked = finished.run("medlabel", "verify", str(folder))
    assert checked.returncode == 0, checked.stderr


def test_other_questions_are_asked_of_the_same_embeddings(copied: Workplace) -> None:
    asked = ("retrieval", "concepts", "agreement", "segmentation")
    targets = [f"results/{one}/tiny/tables.md" for one in asked]
    assert copied.planned(*targets) == dict.fromkeys(asked, 1)
    result = copied.snakemake(*targets)
    assert result.returncode == 0, result.stdout + result.stderr
    for one in asked:
        folder = copied.folder / "results" / one / "tiny"
        assert (folder / "scores.csv").stat().st_size
        assert all("PHANTOM" in figure.read_text() for figure in folder.glob("*.svg"))
    assert copied.planned(*targets) == {}


def test_labellings_are_compared_on_folders_without_labels(copied: Workplace) -> None:
    costs = copied.folder / "results" / "bench" / "labellings.csv"
    costs.parent.mkdir()
    shutil.copy(ROOT / "results" / "bench" / "labellings.csv", costs)
    target = "results/without_labels/phantom_tiny/tables.md"
    assert copied.planned(target) == {"without_labels": 1}
    result = copied.snakemake(target)
    assert result.returncode == 0, result.stdout + result.stderr
    scores = pd.read_csv(costs.parents[1] / "without_labels" / "phantom_tiny" / "scores.csv")
    assert scores.groupby("labelling").size().to_dict() == {"clusters": 2, "zeroshot": 2}
    assert scores["estimate"].between(0, 1).all()
    assert copied.planned(target) == {}


def test_one_model_for_many_sets_needs_its_stand_ins_alone(copied: Workplace) -> None:
    target = "results/many_sets/phantom_tiny/tables.md"
    wanted = {"stand_in": 2, "pool_sets": 1, "embed_sets": 1, "train_sets": 2, "many_sets": 1}
    assert copied.planned(target) == wanted
    copied.set(phantoms={"stand_ins": {"train": 30}})
    assert copied.planned(target) == wanted
    assert copied.planned() == {}


def test_images_are_made_from_words_and_judged(copied: Workplace) -> None:
    target = "results/generation/tiny/synthetic_tables.md"
    assert copied.planned(target) == {"generate": 1, "generation": 1}
    result = copied.snakemake(target)
    assert result.returncode == 0, result.stdout + result.stderr
    figures = list((copied.folder / "results" / "generation" / "tiny").glob("*.svg"))
    assert len(figures) == 2
    for mark in ("SYNTHETIC", "PHANTOM"):
        assert all(mark in figure.read_text() for figure in figures)
    copied.set(generation={"tiny": {"classifier_steps": 5}})
    assert copied.planned(target) == {"generation": 1}  # the images stay


def test_teachers_of_true_labels_need_captions_of_official_files(copied: Workplace) -> None:
    planned = copied.planned("study_labelled")
    assert planned["captions"] == planned["fetch"] - 1 == 2  # no caption of vessels is learnt from
    assert planned["pretrain_captioned_clip"] == 2


def test_other_heads_are_taught_without_drawing_phantoms_again(copied: Workplace) -> None:
    copied.set(encoders={"tiny_locked": {"epochs": 3}})
    planned = copied.planned()
    assert planned["heads_tiny_locked"] == 1
    assert not {"phantoms", "vessels", "pretrain", "pool"} & set(planned)


def test_a_new_learning_rate_reruns_the_trainings_of_that_recipe_alone(copied: Workplace) -> None:
    copied.set(recipes={"tiny": {"learning_rate": 0.01}})
    planned = copied.planned()
    assert set(planned) == {"train", *SHOWN}
    assert planned["evaluate"] == 4  # not the volumes, which have recipes of their own


def test_more_seeds_embed_nothing_and_leave_the_first_ones(copied: Workplace) -> None:
    copied.set(
        studies={"tiny": {"seeds": 4}, "tiny_curve": {"seeds": 2}, "tiny_pairs": {"seeds": 2}}
    )
    planned = copied.planned()
    assert set(planned) == {"train", *SHOWN}
    assert planned["train"] == 3  # true, permuted and the teacher's labels
    assert planned["evaluate"] == 1


def test_new_words_embed_no_image_and_train_nothing_before_labels_changed(
    copied: Workplace,
) -> None:
    copied.set(prompts={"capstone": {"templates": ["An image of the {}."]}})
    planned = copied.planned()
    assert {"words", "pseudolabel"} <= set(planned)
    assert not {"embed", "pretrain", "pool"} & set(planned)


@pytest.mark.parametrize(
    "section",
    [
        {"data": {"retries": 9, "mirrors": ["elsewhere"]}},
        {"encoders": {"phantom_clip": {"batch_size": 7}}},
        {"device": "cpu"},
        {"studies": {"vessel": {"seeds": 9}}},
    ],
    ids=["mirrors", "batch size", "device", "another study"],
)
def test_how_to_work_is_no_reason_to_rerun(copied: Workplace, section: dict) -> None:
    copied.set(**section)
    assert copied.planned() == {}


def test_the_same_parameters_as_an_overlay_are_no_reason_to_rerun(copied: Workplace) -> None:
    overlay = copied.folder / "same.yaml"
    overlay.write_text("recipes: {tiny: {epochs: 2}}\n")
    assert copied.planned("--configfile", "same.yaml") == {}
    assert copied.planned("--config", "recipes={tiny: {epochs: 2}}") == {}


def test_a_comment_reruns_nothing(copied: Workplace) -> None:
    for name in ("evaluate/study.py", "training/run.py", "files.py"):
        module = copied.folder / "src" / "medlabel" / name
        text = module.read_text()
        module.write_text(f"# a comment\n{text}\n\n# another one\n")
    assert copied.planned() == {}


def test_a_changed_helper_reruns_its_users_alone(copied: Workplace) -> None:
    module = copied.folder / "src" / "medlabel" / "networks" / "vit3d.py"
    text = module.read_text()
    assert "DEPTH" in text
    module.write_text(text + "\nHALF_WIDTH = WIDTH // 2\n")
    planned = copied.planned()
    assert (
        planned["train_volumes"] == 4
    )  # ViT3D's two seeds, and the two trainings that they start from
    assert planned["evaluate"] == 1
    assert "pretrain" not in planned


def test_touched_files_are_no_reason_to_rerun(copied: Workplace) -> None:
    for path in (copied.folder / "data").rglob("*.npz"):
        path.touch()
    assert copied.planned() == {}


def test_results_without_their_trainings_are_made_again(copied: Workplace) -> None:
    """As after a clone, which has results, but neither data nor what Snakemake knew of them."""
    shutil.rmtree(copied.folder / "data")
    shutil.rmtree(copied.folder / ".snakemake")
    planned = copied.planned()
    assert {"train", "evaluate", "report"} <= set(planned)


def test_a_rule_is_a_command_that_can_be_pasted(copied: Workplace) -> None:
    target = f"data/labels/phantom_tiny/{STUDENT.split('/')[1]}.parquet"
    before = (copied.folder / target).read_bytes()
    shown = copied.snakemake(
        "--dry-run", "--printshellcmds", "--forcerun", "pseudolabel", "--", target
    )
    command = re.findall(r"medlabel .*", shown.stdout + shown.stderr)[-1]
    (copied.folder / target).unlink()
    pasted = copied.run("bash", "-c", command)
    assert pasted.returncode == 0, pasted.stderr
    assert (copied.folder / target).read_bytes() == before


def test_a_wrong_parameter_stops_before_any_job(copied: Workplace) -> None:
    for given in ([], ["--config", "recipes={tiny: {learning_rate: -1}}"]):
        if not given:
            copied.set(recipes={"tiny": {"learning_rate": -1}})
        result = copied.snakemake(*given)
        assert result.returncode != 0
        lines = [line for line in result.stderr.splitlines() if "medlabel: error" in line]
        assert lines == [
            "medlabel: error: params.yaml: recipes.tiny.learning_rate: -1 given, allowed: input "
            "should be greater than 0"
        ]
        assert "Building DAG" not in result.stderr
        assert "Traceback" not in result.stderr


def test_sections_of_the_first_version_say_what_replaced_them(copied: Workplace) -> None:
    result = copied.snakemake("--config", "student={optimizer: {lr: 0.01}}")
    assert result.returncode != 0
    assert "student: replaced in version 0.2.0 by networks and recipes" in result.stderr


def test_the_first_versions_target_makes_the_supervised_studies(copied: Workplace) -> None:
    shutil.rmtree(copied.folder / "results" / "tiny_volumes")
    planned = copied.planned("benchmarks")
    assert set(planned) == {"evaluate", "report", "benchmarks"}


def test_one_study_can_be_made_alone(copied: Workplace) -> None:
    shutil.rmtree(copied.folder / "results")
    assert set(copied.planned("study_tiny")) == {"evaluate", "report", "study_tiny"}


def test_folders_with_spaces_are_quoted(tmp_path: Path) -> None:
    """F54: a space in folders.data overwrote another file."""
    place = make_workplace(tmp_path)
    place.set(folders={"data": "my data", "results": "my results"})
    (place.folder / "my").write_text("a note of mine")
    result = place.snakemake("--until", "vessels")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (place.folder / "my").read_text() == "a note of mine"
    assert (place.folder / "my data" / "phantoms" / "28" / "phantom_vessel3d.npz").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """F44: a dry run made folders, and failed where it could not."""
    place = make_workplace(tmp_path)
    before = set(_visible(place.folder))
    assert place.planned()
    assert set(_visible(place.folder)) == before


def _visible(folder: Path) -> list[Path]:
    """Files but for caches, in the folder and in the home that it is here."""
    passed_over = {".snakemake", ".cache", ".medmnist", "__pycache__"}
    return [path for path in folder.rglob("*") if not passed_over & set(path.parts)]


def test_a_killed_run_goes_on_and_ends_with_the_same_results(
    copied: Workplace, finished: Workplace
) -> None:
    shutil.rmtree(copied.folder / "data" / "trainings")
    shutil.rmtree(copied.folder / "results")
    process = subprocess.Popen(
        ["bash", "-c", f"exec env PATH={_path()} HOME={copied.folder} snakemake --cores 2"],
        cwd=copied.folder,
        env=os.environ | {"PYTHONPATH": str(copied.folder / "src")},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    trainings = copied.folder / "data" / "trainings"
    deadline = time.monotonic() + 240
    # The third job starts only when one of the first two has ended.
    while len(list(trainings.rglob("run.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in trainings.rglob("run.json")}
    assert done
    copied.run("snakemake", "--unlock")
    again = copied.snakemake()
    assert again.returncode == 0, again.stdout + again.stderr
    kept = [path for path, when in done.items() if path.stat().st_mtime_ns == when]
    assert kept, "every finished block was trained again"
    assert copied.planned() == {}
    ours, theirs = (place.folder / "results" / "metrics.json" for place in (copied, finished))
    assert ours.read_bytes() == theirs.read_bytes()


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def test_a_training_killed_outright_ends_as_one_left_alone(copied: Workplace) -> None:
    name = "phantom_vessel3d/true/resnet18_acs/tiny_3d"
    folder = copied.folder / "data" / "trainings" / name / "0000-0000"
    state = copied.folder / "data" / "cache" / "trainings" / name / "0000-0000.pt"
    command = ["medlabel", "--set", "recipes.tiny_3d.epochs=4", "train", name, "--block"]
    command += ["0000-0000"]
    left = copied.run(*command)
    assert left.returncode == 0, left.stderr
    alone = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    environment = os.environ | {"PYTHONPATH": str(copied.folder / "src"), "PATH": _path()}
    process = subprocess.Popen(
        command, cwd=copied.folder, env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "run.json").exists()
    again = copied.run(*command)
    assert again.returncode == 0, again.stderr
    assert "going on after epoch" in again.stderr
    for file in ("predictions.parquet", "weights.safetensors"):
        assert (folder / file).read_bytes() == alone[file]


def test_a_truncated_input_is_told_and_nothing_good_is_lost(copied: Workplace) -> None:
    archive = copied.folder / "data" / "phantoms" / "28" / "phantom_chest.npz"
    archive.write_bytes(archive.read_bytes()[:2000])
    before = (copied.folder / "results" / "metrics.json").read_bytes()
    result = copied.snakemake("--until", "pool")
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "phantom_chest.npz: expected a whole .npz, found a truncated or altered file" in output
    assert (copied.folder / "results" / "metrics.json").read_bytes() == before


@pytest.mark.real
def test_downloads_outlive_an_edit_of_the_code_and_a_missing_network(
    tmp_path: Path, mirror: Path
) -> None:
    """Snakemake deletes a job's outputs before it runs it: offline, the data were gone."""
    place = make_workplace(tmp_path)
    target = "data/raw/breastmnist.npz"
    got = place.snakemake("--config", f"data={{mirrors: [{mirror}]}}", "--", target)
    assert got.returncode == 0, got.stdout + got.stderr
    before = (place.folder / target).read_bytes()
    module = place.folder / "src" / "medlabel" / "files.py"
    module.write_text(module.read_text() + "\n\nEDITED = True\n")
    assert place.planned(target) == {}
    forced = place.snakemake("--forcerun", "fetch", "--", target)
    assert forced.returncode == 0, forced.stdout + forced.stderr
    assert (place.folder / target).read_bytes() == before


def test_the_capstones_graph_is_what_it_should_be(tmp_path: Path) -> None:
    place = make_workplace(tmp_path)
    for name in ("params.yaml", "config/capstone.yaml"):
        target = place.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text((ROOT / name).read_text())
    planned = place.planned("--configfile", "config/capstone.yaml")
    assert planned["fetch"] == 2
    assert planned["adopt_openai_vit_l_14"] == 1
    assert "pretrain" not in planned
    assert planned["train"] == 3 * 3  # true, permuted and the teacher's labels


def test_the_capstones_study_runs_on_a_stand_in(tmp_path: Path) -> None:
    place = make_workplace(tmp_path)
    overlays = ("config/capstone.yaml", "config/capstone_stand_in.yaml")
    for name in ("params.yaml", *overlays):
        target = place.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text((ROOT / name).read_text())
    planned = place.planned("study_capstone", "--configfile", *overlays)
    assert planned["fetch"] == planned["stand_in"] == planned["adopt_adopted"] == 1
    assert planned["train"] == 3 * 3


def test_a_network_waits_for_the_encoder_whose_tower_it_has(tmp_path: Path) -> None:
    place = make_workplace(tmp_path)
    for name in ("params.yaml", "config/published.yaml"):
        target = place.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text((ROOT / name).read_text())
    overlay = ("--configfile", "config/published.yaml")
    planned = place.planned("study_pneumonia_medclip", *overlay)
    assert planned["adopt_medclip_vit"] == 1
    assert planned["train"] == 2 * 3
    planned = place.planned("study_pneumonia_medvit", *overlay)
    assert not [name for name in planned if name.startswith("adopt")]
    assert planned["train"] == 4 * 3


def test_no_network_names_the_address_and_the_way_out(tmp_path: Path) -> None:
    place = make_workplace(tmp_path)
    (place.folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    place.set(data={"retries": 0, "timeout": 2})
    # One file: of several, Snakemake starts no further one after the first that fails.
    target = "data/raw/breastmnist.npz"
    result = place.snakemake("--config", "data={mirrors: [absent]}", "--", target)
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "zenodo.org/records/10519652/files/breastmnist.npz" in output
    assert "make demo" in output
    assert not list((place.folder / "data" / "raw").glob("*.npz"))


def test_a_study_of_ones_own_is_parameters_alone(copied: Workplace) -> None:
    """A mixture, a prompt set, a network, a recipe and their comparison, without code."""
    overlay = copied.folder / "own.yaml"
    tiny = yaml.safe_load(TINY.read_text())["mixtures"]["phantom_tiny"]["classes"]
    own = {
        "default_studies": ["own"],
        "mixtures": {
            "phantom_own": {
                "extends": "phantom_tiny",
                "classes": [tiny[1], {**tiny[0], "name": "skin", "dataset": "phantom_skin"}],
            }
        },
        "prompts": {"own": {"templates": ["{}"], "words": {"skin": ["skin", "a photo of skin"]}}},
        "networks": {"own": {"extends": "capstone", "hidden": [40]}},
        "recipes": {"own": {"extends": "tiny", "optimizer": "adam"}},
        "studies": {
            "own": {
                "title": "Of one's own",
                "extends": "tiny",
                "images": "phantom_own",
                "prompts": ["capstone", "own"],
                "network": ["capstone", "own"],
                "recipe": "own",
                "controls": [],
            }
        },
    }
    overlay.write_text(yaml.safe_dump(own))
    result = copied.snakemake("study_own", "--configfile", "own.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    content = json.loads((copied.folder / "results" / "own" / "study.json").read_text())
    assert len(content["cells"]) == 4
    assert parameters.read([copied.folder / "params.yaml", overlay]).grids["own"]


def test_the_linter_has_nothing_to_say() -> None:
    result = Workplace(ROOT).run("snakemake", "--lint")
    assert result.returncode == 0, result.stdout + result.stderr
