"""Only what is sure enough is labelled, and what is not keeps its place in the review."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medlabel.annotation import abstaining
from medlabel.annotation.labelling import Opinion, margins_of
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.labels import estimate

SHARES = st.floats(0, 1)


def opinion(chances: Vectors, accuracy: float, stray: Any = None) -> Opinion:
    """Think of images what their probabilities say, and of all of them an accuracy."""
    stray = np.zeros(len(chances), bool) if stray is None else np.asarray(stray)
    found = estimate.Estimate(accuracy, 0, 1, accuracy, accuracy, accuracy, stray, "check", "")
    return Opinion(chances, np.ones(len(chances)), margins_of(chances), found, None)  # type: ignore[arg-type]


@st.composite
def probabilities(draw: st.DrawFn) -> Vectors:
    """Draw float32 (n, classes) whose rows sum to 1; certainty among them, and ties."""
    shape = (draw(st.integers(1, 30)), draw(st.integers(2, 4)))
    logits = draw(arrays.arrays(np.float64, shape, elements=st.floats(-120, 120)))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Vectors = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


@given(probabilities(), SHARES)
def test_probabilities_are_on_average_what_is_estimated(chances: Vectors, accuracy: float) -> None:
    right = abstaining.calibrated(chances, accuracy)
    assert right.mean() == pytest.approx(accuracy, abs=1e-6)
    order = np.argsort(margins_of(chances), kind="stable")
    if chances.shape[1] == 2:  # with more classes the margin leaves the third one out
        assert (np.diff(right[order]) >= 0).all()


@given(probabilities(), SHARES, SHARES, SHARES)
def test_more_precision_never_labels_more(
    chances: Vectors, accuracy: float, one: float, other: float
) -> None:
    less, more = (abstaining.choose(opinion(chances, accuracy), w) for w in sorted((one, other)))
    assert not (more.kept & ~less.kept).any()
    assert more.left >= less.left


@given(probabilities(), SHARES, SHARES)
def test_what_is_labelled_is_as_right_as_was_asked_for(
    chances: Vectors, accuracy: float, wanted: float
) -> None:
    choice = abstaining.choose(opinion(chances, accuracy), wanted)
    right = abstaining.calibrated(chances, accuracy)
    assert abstaining.choose(opinion(chances, accuracy), 0.0).kept.all()
    if choice.kept.any():
        assert right[choice.kept].mean() >= wanted - 1e-12
        assert choice.precision == pytest.approx(right[choice.kept].mean())
        assert right[choice.kept].min() >= right[~choice.kept].max(initial=0)
    if not choice.kept.all():
        one_more = np.sort(right)[::-1][: choice.kept.sum() + 1]
        assert one_more.mean() < wanted + 1e-12


def test_images_that_fit_no_class_neither_count_nor_get_a_label() -> None:
    chances = np.array([[1.0, 0.0], [0.9, 0.1], [0.6, 0.4]], np.float32)
    choice = abstaining.choose(opinion(chances, 0.75, [True, False, False]), 0.8)
    assert choice.kept.tolist() == [False, True, False]
    assert choice.fitting == 2
    assert choice.left == 0.5
    nothing = abstaining.choose(opinion(chances, 0.75, [True] * 3), 0.8)
    assert not nothing.kept.any()
    assert nothing.left == 0
    assert "right" not in nothing.told.partition(", by the")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fp32", "--precision fp32: arithmetic is --arithmetic now; give --arithmetic fp32, or"),
        ("auto", "--precision auto: arithmetic is --arithmetic now"),
        ("98", "--precision 98: a share from 0 to 1 expected, such as 0.98"),
        ("nan", "--precision nan: a share"),
        ("high", "--precision high: a share"),
    ],
)
def test_a_precision_that_is_none_is_told_in_a_line(text: str, message: str) -> None:
    with pytest.raises(MedlabelError, match=message) as caught:
        abstaining.parse(text)
    assert "\n" not in str(caught.value)
    assert abstaining.parse("0.98") == 0.98


@pytest.fixture
def half_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let labels be thought right in three of four images, and the surest ones more often."""
    found = estimate.judged(0.99, 0.99, 0.99, np.zeros(3, bool))
    monkeypatch.setattr(estimate, "estimate", lambda *_: found)
    chances = np.array([[0.999, 0.001], [0.4, 0.6], [0.1, 0.9]], np.float32)
    monkeypatch.setattr(abstaining, "calibrated", lambda *_: chances.max(axis=1))


@pytest.mark.usefixtures("half_sure")
def test_what_is_not_sure_enough_keeps_its_probabilities_and_its_place_in_the_review(
    run: Any, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="medlabel")
    (images / "copy.png").write_bytes((images / "b.png").read_bytes())
    rows = {row["file"]: row for row in run(precision=0.9)}
    assert [name for name, row in rows.items() if row["label"]] == ["a.jpg", "deeper/c.PNG"]
    for name in ("b.png", "copy.png"):
        assert rows[name]["status"] == "not sure enough"
        assert rows[name]["p_chest"] != ""
        assert rows[name]["teacher"] != ""
    assert rows["b.png"]["review_rank"] != ""
    assert rows["copy.png"]["review_rank"] == ""
    out = tmp_path / "labels"
    assert "b.png" in (out / "review.csv").read_text()
    assert "not sure enough" in (out / "page.html").read_text()
    told = "2 of 3 distinct images are sure enough, 33.3% are left without a label"
    assert told in (out / "card.md").read_text()
    assert "33.3% left, not sure enough; table: " in caplog.records[-1].getMessage()
    record = json.loads((out / "run.json").read_text())
    assert (record["precision"], record["arithmetic"]) == (0.9, "fp32")


@pytest.mark.usefixtures("half_sure")
def test_a_person_labels_what_was_not_sure_enough(run: Any, images: Path, tmp_path: Path) -> None:
    (images / "copy.png").write_bytes((images / "b.png").read_bytes())
    checked = tmp_path / "checked.csv"
    checked.write_text("file,page,correction\nb.png,,hand\n")
    rows = {row["file"]: row for row in run(precision=0.9, corrections=checked)}
    assert [rows[name]["status"] for name in ("b.png", "copy.png")] == ["checked", "duplicate"]
    assert rows["b.png"]["label"] == rows["copy.png"]["label"] == "hand"
    again = {row["file"]: row for row in run(precision=0.9)}
    assert again["b.png"]["label"] == "hand"


@pytest.mark.usefixtures("half_sure")
def test_what_is_said_of_a_cluster_labels_what_was_not_sure_enough(
    run: Any, images: Path, tmp_path: Path
) -> None:
    """An image that a person checked by itself keeps its label; both are remembered."""
    (images / "copy.png").write_bytes((images / "b.png").read_bytes())
    run(precision=0.9)
    path = tmp_path / "labels" / "clusters.csv"
    clusters = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert clusters["images"].tolist() == ["3"]
    clusters.assign(correction="hand").to_csv(path, index=False)
    named = {row["file"]: row for row in run(precision=0.9, corrections=path)}
    assert {row["label"] for row in named.values()} == {"hand"}
    by_cluster = "checked by cluster"
    assert [row["status"] for row in named.values()] == [by_cluster] * 2 + ["duplicate", by_cluster]
    alone = tmp_path / "checked.csv"
    alone.write_text("file,page,correction\nb.png,,foot\n")
    for again in (alone, None):
        rows = run(precision=0.9, corrections=again)
        assert [row["label"] for row in rows] == ["hand", "foot", "foot", "hand"]
        assert [row["status"] for row in rows] == [by_cluster, "checked", "duplicate", by_cluster]


@pytest.mark.usefixtures("half_sure")
def test_a_cluster_that_is_not_sure_enough_is_confirmed_by_the_teachers_label(
    run: Any, tmp_path: Path
) -> None:
    rows = run(precision=1.0)
    assert {row["status"] for row in rows} == {"not sure enough"}
    path = tmp_path / "labels" / "clusters.csv"
    clusters = pd.read_csv(path, dtype=str, keep_default_na=False)
    teachers = [row["teacher"] for row in rows]
    assert clusters["label"].tolist() == [max(teachers, key=teachers.count)]
    assert clusters["doubtful"].tolist() == ["3"]
    clusters.assign(correction="y").to_csv(path, index=False)
    assert {row["label"] for row in run(precision=1.0, corrections=path)} == set(clusters["label"])


@pytest.mark.usefixtures("half_sure")
def test_the_teachers_label_that_was_written_by_hand_is_a_persons(run: Any, tmp_path: Path) -> None:
    rows = run(precision=0.9)
    path = tmp_path / "labels" / "labels.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, "label"] = rows[1]["teacher"]
    table.to_csv(path, index=False)
    again = run(precision=0.9, corrections=path)
    assert [row["status"] for row in again] == ["labelled", "checked", "labelled"]
    assert again[1]["label"] == rows[1]["teacher"]
