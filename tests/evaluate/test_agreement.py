"""Two labellers: kappa against scikit-learn, mistakes and reviews by hand, files with errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.evaluate import agreement
from medlabel.evaluate.agreement import Labelled
from medlabel.layout import AGREEMENT_FILES
from medlabel.params.studies import Statistics
from medlabel.report import agreement as drawing

FEW = Statistics(resamples=300, confidence=0.95)
CLASSES = ["normal", "pneumonia"]


@given(seed=st.integers(0, 1000), classes=st.integers(2, 5))
def test_kappa_is_scikit_learns(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    first = random.integers(classes, size=60)
    second = np.where(random.random(60) < 0.6, first, random.integers(classes, size=60))
    found, low, high = agreement.kappa(np.stack([first, second]), classes, FEW, random)
    assert found == pytest.approx(cohen_kappa_score(first, second), abs=1e-9)
    assert low <= high
    assert low - 0.2 < found < high + 0.2


def test_intervals_of_kappa_cover_the_truth() -> None:
    """Two labellers of 0.8 agreement beyond chance: kappa of the population is known."""
    table = np.array([[0.45, 0.05], [0.05, 0.45]])
    truth, random, covered = 0.8, np.random.default_rng(0), 0
    for _ in range(300):
        drawn = random.choice(4, p=table.ravel(), size=150)
        _, low, high = agreement.kappa(np.stack(np.divmod(drawn, 2)), 2, FEW, random)
        covered += low <= truth <= high
    assert covered / 300 > 0.90


def test_who_never_names_a_second_class_has_no_kappa() -> None:
    found = agreement.kappa(np.zeros((2, 9), np.intp), 2, FEW, np.random.default_rng(0))
    assert np.isnan(found).all()


def labelled(truth: list[int], answers: list[list[int]], doubts: list[list[float]]) -> Labelled:
    return Labelled(CLASSES, np.array(truth), np.array(answers), np.array(doubts))


def test_mistakes_are_counted_by_true_class() -> None:
    found = agreement.mistakes(
        labelled([0, 0, 0, 1, 1], [[0, 1, 1, 1, 0], [0, 1, 0, 0, 0]], np.zeros((2, 5)).tolist())
    ).set_index("class")
    assert found.loc["normal", ["both_right", "second_alone_right", "same_mistake"]].tolist() == [
        1,
        1,
        1,
    ]
    assert found.loc["pneumonia", ["first_alone_right", "same_mistake"]].tolist() == [1, 1]
    assert found.loc["all", "images"] == 5
    assert found.loc["normal", "expected_both_wrong"] == pytest.approx(2 * 1 / 3)


def test_images_that_are_looked_at_first_hold_mistakes() -> None:
    # The first errs on images 0 and 1; the second disagrees on 0 alone, and on 4 in error.
    known = labelled(
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [[1, 1, 0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 1, 0, 0, 0, 0, 0]],
        [[0.1, 0.4, *[0.2] * 8], [0.0, 0.0, 0.0, 0.0, 0.4, *[0.0] * 5]],
    )
    found = agreement.found_first(known, 0.1)
    assert found == {"disagreement": 0.5, "confidence of the first": 0.5, "chance": 0.1}
    everything = agreement.found_first(known, 1.0)
    assert set(everything.values()) == {1.0}


def test_of_images_that_are_alike_a_part_is_counted() -> None:
    same = labelled([0, 0, 0, 0], [[1, 0, 0, 0], [1, 0, 0, 0]], np.zeros((2, 4)).tolist())
    assert agreement.found_first(same, 0.5)["disagreement"] == pytest.approx(0.5)


def test_who_has_nothing_wrong_has_no_mistakes_to_find() -> None:
    right = labelled([0, 1], [[0, 1], [0, 1]], np.zeros((2, 2)).tolist())
    assert np.isnan(list(agreement.found_first(right, 0.1).values())).all()


@pytest.fixture
def place(tmp_path: Path) -> Callable[[], Labelled]:
    """Write a pool, labels of this project and a table made elsewhere; return their reader."""
    rows = [("test", "pneumoniamnist", "test", row, CLASSES[row % 2]) for row in range(12)]
    rows += [("train", "pneumoniamnist", "train", 0, "normal")]
    pool = pd.DataFrame(rows, columns=["role", "dataset", "split", "row", "class"])
    files.write_parquet(tmp_path / "pool.parquet", pool.astype({"row": np.int32}))
    ill = np.linspace(0, 1, len(pool), dtype=np.float32)
    ours = pool.drop(columns="class").assign(p_normal=1 - ill, p_pneumonia=ill)
    files.write_parquet(tmp_path / "ours.parquet", ours)
    theirs = pool[pool["role"] == "test"].rename(columns={"class": "label"}).iloc[::-1]
    theirs.drop(columns="role").to_csv(tmp_path / "theirs.csv", index=False)
    labellers = {"ours": tmp_path / "ours.parquet", "theirs.csv": tmp_path / "theirs.csv"}
    return lambda: agreement.read(tmp_path / "pool.parquet", labellers, CLASSES, ["theirs.csv"])


def test_labels_made_elsewhere_stand_beside_ours(place: Callable[[], Labelled]) -> None:
    found = place()
    np.testing.assert_array_equal(found.answers[1], found.truth)
    np.testing.assert_array_equal(found.answers[0], np.arange(12) > 6)
    assert found.doubts[1].tolist() == [0] * 12
    assert found.doubts[0].max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table.iloc[1:], "expected labels of all 12 images, found none for 1"),
        (lambda table: pd.concat([table, table[:1]]), "found some images twice"),
        (lambda table: table.drop(columns="label"), "label is missing"),
        (lambda table: table.assign(label="ill"), "label: 'ill' given, one of normal, pneumonia"),
    ],
)
def test_a_table_that_does_not_fit_is_told(
    place: Callable[[], Labelled],
    change: Callable[[pd.DataFrame], pd.DataFrame],
    told: str,
    tmp_path: Path,
) -> None:
    change(pd.read_csv(tmp_path / "theirs.csv")).to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(MedlabelError, match=told) as caught:
        place()
    assert "theirs.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_figure_and_tables_say_how_far_they_agree(
    place: Callable[[], Labelled], default_params: params.Params, tmp_path: Path
) -> None:
    settings = default_params.model_copy(update={"statistics": FEW})
    drawing.write(settings, "pneumonia", place(), tmp_path / "out")
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == sorted(AGREEMENT_FILES)
    told = (tmp_path / "out" / "tables.md").read_text()
    assert "Cohen's kappa" in told
    assert "| all | 12 |" in told


@pytest.mark.parametrize(
    ("labellers", "told"),
    [
        (["a.csv", "a.csv"], "given twice"),
        (["a.csv", "locked"], "'locked' given, encoder"),
        (["a.csv"], "at least 2"),
    ],
)
def test_labellers_that_are_none_are_refused(labellers: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        params.Agreement(title="t", images="m", labellers=labellers, reviewed=0.1)
