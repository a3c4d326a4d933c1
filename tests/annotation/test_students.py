"""A student learns labels, travels as one file, and answers as it did where it was trained."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from medlabel import files
from medlabel.annotation import student_export, student_training, students, teachers
from medlabel.annotation.label import label
from medlabel.annotation.request import Request
from medlabel.cli import app
from medlabel.errors import MedlabelError
from medlabel.randomness import stream
from tests.annotation.conftest import Run
from tests.training.world import Mixed, Official, settings, thirds, write_archive

CPU = torch.device("cpu")
COUNT = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Dark and bright images, grey and coloured, of several sizes; a copy, and no image."""
    folder = tmp_path / "many"
    folder.mkdir()
    rng = stream(0, "students")
    for number in range(COUNT):
        shape = [(28, 28), (40, 30), (33, 60, 3)][number % 3]
        pixels = rng.integers(0, 80, shape) + 150 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def taught(run: Run, folder: Path, tmp_path: Path) -> list[dict[str, str]]:
    """Let a student learn what a person said of all images but one."""
    given = tmp_path / "said.csv"
    rows = [f"{number:02d}.png,{('chest', 'retina')[number % 2]}" for number in range(1, COUNT)]
    given.write_text("\n".join(["file,correction", *rows]) + "\n")
    return run(images=folder, corrections=given, train_student=True)


def by_student(folder: Path, student: Path, out: Path, **changes: Any) -> list[dict[str, str]]:
    names = students.read(student).classes
    asked = {"images": folder, "out": out, "student": student, "cache": out.parent / "cache"}
    label(Request(sentences=dict.fromkeys(names, ()), **asked, **changes))
    with (out / "labels.csv").open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def test_a_student_learns_the_labels_and_answers_beside_the_teacher(
    taught: list[dict[str, str]], tmp_path: Path
) -> None:
    assert list(taught[0]).index("student") == list(taught[0]).index("teacher") + 1
    rows = {row["file"]: row for row in taught}
    right = [rows[f"{number:02d}.png"] for number in range(1, COUNT)]
    assert [row["student"] for row in right] == [row["label"] for row in right]
    assert rows["00.png"]["student"] == rows["copy.png"]["student"] != ""
    assert rows["notes.txt"]["student"] == ""
    out = tmp_path / "labels"
    facts = students.read(out / "student.safetensors")
    assert facts.classes == ["chest", "retina"]
    assert (facts.size, facts.channels, facts.arithmetic) == (28, 1, "fp32")
    assert re.fullmatch("[0-9a-f]{64}", str(facts.labels_sha256))
    assert facts.versions["torch"]
    with safe_open(out / "student.safetensors", "pt") as file:
        assert list(file.metadata()) == [students.HEADER]
    assert "labels that it did not learn" in (out / "card.md").read_text()
    record = json.loads((out / "run.json").read_text())
    assert "student.safetensors" in record["checksums"]


def test_the_same_labels_give_the_same_student(
    taught: list[dict[str, str]], run: Run, folder: Path, tmp_path: Path
) -> None:
    first = (tmp_path / "labels" / "student.safetensors").read_bytes()
    assert run(images=folder, train_student=True) == taught
    assert (tmp_path / "labels" / "student.safetensors").read_bytes() == first


@pytest.mark.usefixtures("taught")
def test_a_student_labels_without_a_teacher(
    taught: list[dict[str, str]],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(teachers, "find", lambda *_: pytest.fail("a teacher was looked for"))
    student = tmp_path / "labels" / "student.safetensors"
    rows = by_student(folder, student, tmp_path / "new")
    assert [row["label"] for row in rows] == [row["student"] for row in taught]
    assert [row["label"] for row in rows] == [row["teacher"] for row in rows]
    assert "nothing estimates how right it is" in caplog.text
    assert "nan" not in (tmp_path / "new" / "card.md").read_text()
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert record["student_sha256"] == files.digest(student)
    assert record["images_embedded_now"] == COUNT
    again = by_student(folder, student, tmp_path / "again")
    assert again == rows
    assert json.loads((tmp_path / "again" / "run.json").read_text())["images_embedded_now"] == 0


@pytest.mark.usefixtures("taught")
def test_images_that_a_student_answers_alike_are_named_together(
    folder: Path, tmp_path: Path
) -> None:
    student, out = _places(tmp_path)
    rows = by_student(folder, student, out)
    path = out / "clusters.csv"
    clusters = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert {row["cluster"] for row in rows} == {"", *clusters["cluster"]}
    assert clusters["images"].astype(int).sum() == COUNT
    assert (clusters["words"].astype(float) > 0.5).all()
    clusters.loc[0, "correction"] = "hand"
    clusters.to_csv(path, index=False)
    named = by_student(folder, student, out, corrections=path)
    own = [row for row in named if row["cluster"] == "1"]
    assert {row["label"] for row in own} == {"hand"}
    assert {row["status"] for row in own} <= {"checked by cluster", "duplicate"}


def test_its_answers_are_the_networks_own(
    taught: list[dict[str, str]], folder: Path, tmp_path: Path
) -> None:
    student = students.load(tmp_path / "labels" / "student.safetensors", CPU)
    rows = {row["file"]: row for row in by_student(folder, *_places(tmp_path))}
    same = [f"{number:02d}.png" for number in range(0, COUNT, 3)]  # grey, 28 pixels
    pixels = np.stack([np.asarray(Image.open(folder / name))[..., None] for name in same])
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    plain = torch.nn.Sequential(*student.training.network).eval()
    with torch.no_grad():
        wanted = plain(inputs).softmax(dim=1).numpy()
    found = [[float(rows[name][f"p_{one}"]) for one in ("chest", "retina")] for name in same]
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert taught


def _places(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "labels" / "student.safetensors", tmp_path / "new"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mixed, Path]:
    """Students of a study, of which the first one's weights are kept."""
    mixed = Mixed(tmp_path_factory.mktemp("study")).prepare()
    return mixed, mixed.run(mixed.teacher(0.1))


def export(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["export-student", *map(str, arguments)])


def test_a_studys_student_gives_the_studys_predictions(
    study: tuple[Mixed, Path], tmp_path: Path
) -> None:
    mixed, training = study
    student = tmp_path / "student.safetensors"
    assert export(training, "--seed", 0, "--target", student).exit_code == 0
    table = pd.read_parquet(training / "predictions.parquet").query("seed == 0")
    (tmp_path / "test").mkdir()
    for row in table.itertuples():
        with np.load(mixed.archives[row.dataset]) as arrays:
            pixels = arrays[f"{row.split}_images"][row.row]
        Image.fromarray(pixels).save(tmp_path / "test" / f"{row.dataset}_{row.split}_{row.row}.png")
    rows = {row["file"]: row for row in by_student(tmp_path / "test", student, tmp_path / "out")}
    assert len(rows) == len(table) > 10
    for row in table.itertuples():
        found = rows[f"{row.dataset}_{row.split}_{row.row}.png"]
        assert float(found["p_dark"]) == pytest.approx(row.p_0, abs=2e-6)
        assert found["label"] == ("dark", "bright")[int(row.p_1 > row.p_0)]


@pytest.mark.parametrize("changes", [{}, {"test_time_flips": True}, {"channels": 3}])
def test_a_graph_answers_as_torch_does(
    study: tuple[Mixed, Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    mixed, training = study
    if changes:
        training = mixed.run(mixed.teacher(0.1), block="0000-0000", **changes)
    graph, file = tmp_path / "s.onnx", tmp_path / "s.safetensors"
    assert export(training, "--onnx", graph, "--target", file).exit_code == 0
    student = students.load(file, CPU)
    shape = (7, 28, 28, student.facts.channels)
    pixels = stream(1, "graph").integers(0, 256, shape, dtype=np.uint8)
    session = onnxruntime.InferenceSession(graph.read_bytes())
    images = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    (found,) = session.run(None, {"images": images})
    np.testing.assert_allclose(found, student.predict(pixels), atol=1e-5)
    again = tmp_path / "again.onnx"
    assert export(file, "--onnx", again).exit_code == 0
    assert again.read_bytes() == graph.read_bytes()


def test_a_graph_that_answers_otherwise_is_not_written(
    study: tuple[Mixed, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(student_export, "TOLERANCE", -1.0)
    told = export(study[1], "--onnx", tmp_path / "s.onnx")
    assert "probabilities differ by" in str(told.exception)
    assert not (tmp_path / "s.onnx").exists()


def test_what_is_no_training_of_images_is_told(study: tuple[Mixed, Path], tmp_path: Path) -> None:
    path = write_archive(tmp_path / "phantom_vessel3d.npz", (14, 14, 14), thirds())
    chosen = settings(14, "phantom_vessel3d", network="vit3d", epochs=1, learning_rate=1e-4)
    volumes = Official(tmp_path, path, chosen).run()
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.json").write_text("{}")
    old = tmp_path / "old"
    old.mkdir()
    record = json.loads((study[1] / "run.json").read_text())
    (old / "run.json").write_text(json.dumps({**record, "settings": {"recipe": {}}}))
    target = ("--target", tmp_path / "s.safetensors")
    for arguments, message in {
        (study[1],): "--target, --onnx: neither given",
        (study[1], "--seed", 1, *target): "expected weights of seed 1 .* keep_weights: null",
        (volumes, *target): "a network of volumes; one of images expected",
        (other, *target): "expected what `medlabel train` tells of a training",
        (old, *target): "expected what `medlabel train` tells of a training",
        (tmp_path, *target): "no such file or folder; it is made by `medlabel train`",
        (tmp_path / "gone", *target): "expected a student, .* found no such file",
    }.items():
        told = export(*arguments)
        assert isinstance(told.exception, MedlabelError), told.output
        assert re.search(message, str(told.exception))
        assert "\n" not in str(told.exception)
    assert not (tmp_path / "s.safetensors").exists()


def test_files_that_are_no_student_are_told(study: tuple[Mixed, Path], tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    export(study[1], "--target", path)
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()[students.HEADER])
    given = load_file(path)

    def other(**changes: Any) -> Callable[[], None]:
        header = {students.HEADER: json.dumps({**facts, **changes})}
        return lambda: save_file(given, path, header)

    for damage, message in (
        (other(form=2), r"found one of another version \(form: "),
        (other(size=20), "weights do not fit the network"),
        (other(size=4), "cannot take images with an edge of 4"),
        (other(classes=["a", "b", "c"]), "weights do not fit the network"),
        (lambda: save_file(given, path), "found weights without the facts of a student"),
        (lambda: path.write_bytes(b"no weights"), "expected a student, .* found something else"),
        (path.unlink, "expected a student, .* found no such file"),
    ):
        damage()
        with pytest.raises(MedlabelError, match=message) as caught:
            students.load(path, CPU)
        assert "\n" not in str(caught.value)


def test_options_that_contradict_a_student_are_told(
    study: tuple[Mixed, Path], folder: Path, tmp_path: Path
) -> None:
    student = tmp_path / "s.safetensors"
    export(study[1], "--target", student)
    for option, message in {
        ("--encoder", "x"): "--encoder: given with --student, which needs no teacher",
        ("--train-student",): "--train-student: given with --student, which is one already",
        ("--precision", "0.9"): "--precision: given with --student, of which nothing is estimated",
        ("--classes", "one, other"): "--classes: one, other given, but .* tells dark, bright apart",
    }.items():
        arguments = ["label", str(folder), "--out", str(tmp_path / "out"), "--student"]
        told = CliRunner().invoke(app, [*arguments, str(student), *option])
        assert re.search(message, str(told.exception))
    assert not (tmp_path / "out").exists()


def test_too_few_labels_teach_no_student(run: Run, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match=r"--train-student: 3 labelled images .*expected"):
        run(train_student=True)
    assert not (tmp_path / "labels" / "labels.csv").exists()


def test_images_that_change_meanwhile_are_told(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student_training, "decoded", lambda *_: iter(()))
    labels = {f"{number}": "xy"[number % 2] for number in range(COUNT)}
    monkeypatch.setattr(student_training, "_labels", lambda _: labels)
    with pytest.raises(MedlabelError, match="images changed while they were labelled"):
        run(images=folder, train_student=True)


def test_an_image_of_the_size_keeps_its_pixels() -> None:
    pixels = stream(0, "shrunken").integers(0, 256, (28, 28), dtype=np.uint8)
    assert (students.shrunken(pixels, 28, 1)[..., 0] == pixels).all()
    assert (students.shrunken(pixels, 28, 3) == pixels[..., None]).all()
    assert students.shrunken(np.zeros((90, 40, 3), np.uint8), 28, 1).shape == (28, 28, 1)
