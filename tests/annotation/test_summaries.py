"""A labelling's summary for programs: the numbers of the tables, as JSON."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from medlabel.annotation import places, students
from medlabel.annotation.label import label
from medlabel.annotation.request import Request
from medlabel.cli import app
from medlabel.params import Network
from tests.annotation.conftest import Run


@pytest.fixture
def told(
    run: Run,
    images: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Label as the command line does, and read what it writes to standard output."""
    (images / "notes.txt").write_text("no image")
    (images / "copy.png").write_bytes((images / "b.png").read_bytes())
    monkeypatch.setattr(places, "cache", lambda: tmp_path / "cache")

    classes = tmp_path / "classes.yaml"
    classes.write_text('templates: ["a {}"]\nclasses: {chest: , retina: }\n')

    def call(*options: str) -> dict[str, Any]:
        out = ["--out", str(tmp_path / "out"), "--encoder", str(tiny_encoder), "--threads", "1"]
        words = ["--classes", str(classes), "--arithmetic", "fp32", "--anyway", "--json"]
        result = CliRunner().invoke(app, ["label", str(images), *out, *words, *options])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    return call


def test_json_has_the_numbers_of_the_tables(
    told: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="medlabel")
    found = told()
    table = pd.read_csv(tmp_path / "out" / "labels.csv", keep_default_na=False)
    labels = Counter(table.loc[table["label"] != "", "label"])
    assert found["images"] == {
        "labelled": 4,
        "duplicates": 1,
        "checked": 0,
        "checked_by_cluster": 0,
        "by_label": {"chest": labels["chest"], "retina": labels["retina"]},
        "without_label": {"no image": 1},
    }
    assert found["verdict"] in ("check", "refused")
    assert found["reason"] in caplog.text
    estimate = found["estimate"]
    assert 0 <= estimate["low"] <= estimate["accuracy"] <= estimate["high"] <= 1
    assert found["precision"] is None
    assert found["files"]["labels.csv"] == str(tmp_path / "out" / "labels.csv")
    assert all(Path(path).is_file() for path in found["files"].values())


def test_json_says_what_is_left_without_a_label(told: Any) -> None:
    found = told("--precision", "1")
    chosen = found["precision"]
    assert chosen["wanted"] == 1
    assert 0 <= chosen["left_without_label"] <= 1
    assert found["images"]["without_label"]["not sure enough"] >= 1


def test_images_without_words_have_a_verdict_of_their_own(
    run: Run, images: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    given = {"images": images, "out": tmp_path / "labels", "cache": tmp_path / "cache"}
    run(sentences={})
    content = label(Request(sentences={}, encoder=str(tiny_encoder), **given)).content()
    assert content["verdict"] == "clustered"
    assert content["estimate"] == {"accuracy": None, "low": None, "high": None}
    assert content["images"]["without_label"] == {"clustered": 3}
    clusters = pd.read_csv(content["files"]["clusters.csv"], dtype=str)
    clusters.assign(correction="fits no class").to_csv(tmp_path / "named.csv", index=False)
    named = Request(
        sentences={}, encoder=str(tiny_encoder), corrections=tmp_path / "named.csv", **given
    )
    found = label(named).content()["images"]
    assert (found["checked"], found["checked_by_cluster"]) == (0, 3)
    assert found["without_label"] == {"fits no class": 3}


def test_nothing_is_estimated_of_a_student(tmp_path: Path, images: Path) -> None:
    facts = students.Facts(
        classes=["a", "b"],
        network=Network(kind="cnn", channels=[2], kernels=[3], hidden=[], dropout=0.0),
        channels=1,
        size=8,
        stem="auto",
        enlarge_to=None,
        test_time_flips=False,
        arithmetic="fp32",
        origin="chance",
        labels_sha256=None,
        versions={},
    )
    path = tmp_path / "s.safetensors"
    students.Student(facts, students.built(facts, torch.device("cpu"))).save(path)
    given = {"images": images, "out": tmp_path / "out", "cache": tmp_path / "cache"}
    content = label(Request(sentences={"a": (), "b": ()}, student=path, **given)).content()
    assert content["estimate"] == {"accuracy": None, "low": None, "high": None}
    assert json.dumps(content, allow_nan=False)
