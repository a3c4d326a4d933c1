"""Scores over many sets, against what a reader would count by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from medlabel.data.many_sets import Numbering
from medlabel.errors import MedlabelError
from medlabel.evaluate import many_sets
from medlabel.evaluate.many_sets import ALL, Answers

NUMBERING = Numbering(("breastmnist", "chestmnist", "octmnist"))
CHEST = 2  # its shared class


def told(classes: list[int], seed: int = 0, sure: float = 0.0) -> Answers:
    """Answers at random to images of true classes; `sure` adds to the truth."""
    random = np.random.default_rng(seed)
    truth = np.array(classes, np.int64)
    shared = random.random((len(truth), len(NUMBERING.classes)))
    shared[np.arange(len(truth)), truth] += sure
    labels = random.integers(0, 2, (len(truth), len(NUMBERING.labels))).astype(np.float32)
    labels[truth != CHEST] = np.nan
    names = np.array(NUMBERING.sets)[NUMBERING.set_of_class[truth]]
    images = pd.DataFrame({"dataset": names, "split": "test", "row": np.arange(len(truth))})
    images["row"] = images["row"].astype(np.int32)
    shared = (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)
    return Answers(images, truth, labels, shared, random.random(labels.shape).astype(np.float32))


def scored(answers: Answers) -> pd.DataFrame:
    """Scores by set of answers that all splits share."""
    images = pd.concat([answers.images.assign(split=one) for one in ("train", "val", "test")])
    parts = (
        np.concatenate([one] * 3) for one in vars(answers).values() if one is not answers.images
    )
    table = many_sets.score(Answers(images.reset_index(drop=True), *parts), NUMBERING, "one")
    return table[table["split"] == "test"].set_index("set")


CLASSES = [0, 1, 0, 2, 2, 2, 2, 2, 3, 4, 5, 6, 6, 3, 1, 4]


def test_scores_over_all_sets_leave_out_the_multi_label_one() -> None:
    answers = told(CLASSES)
    found = many_sets.overall(answers, NUMBERING)
    kept = answers.classes != CHEST
    truth, shared = answers.classes[kept], answers.shared[kept]
    assert (found["images"], found["classes"]) == (kept.sum(), 6)
    assert found["accuracy"] == pytest.approx((shared.argmax(axis=1) == truth).mean())
    aucs = [roc_auc_score(truth == one, shared[:, one]) for one in (0, 1, 3, 4, 5, 6)]
    assert found["auc"] == pytest.approx(np.mean(aucs))
    breast, oct_ = shared[:, :2].argmax(axis=1), 3 + shared[:, 3:].argmax(axis=1)
    known = np.where(truth < 2, breast, oct_) == truth
    assert found["accuracy_set_known"] == pytest.approx(known.mean())


def test_a_multi_label_set_is_scored_by_its_own_outputs() -> None:
    answers = told(CLASSES)
    table = scored(answers)
    own = answers.classes == CHEST
    truth, said = answers.labels[own], answers.own[own]
    assert table.loc["chestmnist", "accuracy"] == pytest.approx(((said > 0.5) == truth).mean())
    assert table.loc["chestmnist", "trivial_accuracy"] == pytest.approx((truth == 0).mean())
    right = NUMBERING.set_of_class[answers.shared[own].argmax(axis=1)] == 1
    assert table.loc["chestmnist", "set_right"] == pytest.approx(right.mean())


def test_the_auc_of_a_set_is_among_its_own_classes() -> None:
    answers = told(CLASSES)
    table = scored(answers)
    own = answers.classes < 2
    shares = answers.shared[own][:, 1] / answers.shared[own][:, :2].sum(axis=1)
    expected = roc_auc_score(answers.classes[own] == 1, shares)
    assert table.loc["breastmnist", "auc"] == pytest.approx(expected)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 5))
def test_knowing_the_set_never_hurts(classes: list[int], seed: int) -> None:
    answers = told(classes, seed)
    right = many_sets.hits(answers, NUMBERING, ALL)
    assert (right <= many_sets.sets_right(answers, NUMBERING)).all()
    counts = many_sets.between_sets(answers, NUMBERING)
    assert counts.sum() == len(classes)
    assert np.trace(counts) == many_sets.sets_right(answers, NUMBERING).sum()
    chosen = many_sets.single(answers, NUMBERING)
    assert len(chosen.classes) == sum(one != CHEST for one in classes)


def test_intervals_hold_their_score_and_narrow_with_images() -> None:
    widths = []
    for copies in (5, 20):
        answers = many_sets.single(told(CLASSES * copies, sure=0.3), NUMBERING)
        random = np.random.default_rng(1)
        ends = many_sets.intervals(answers, NUMBERING, ALL, 0.95, 300, random)
        found = many_sets.overall(answers, NUMBERING)
        assert ends["accuracy_low"] < found["accuracy"] < ends["accuracy_high"]
        assert ends["auc_low"] < found["auc"] < ends["auc_high"]
        widths.append(ends["accuracy_high"] - ends["accuracy_low"])
    assert widths[1] < 0.7 * widths[0]


def test_where_a_class_has_no_image_there_is_no_auc() -> None:
    answers = told([0, 0, 0])
    ends = many_sets.intervals(
        answers, NUMBERING, "breastmnist", 0.95, 20, np.random.default_rng(0)
    )
    assert np.isnan([ends["auc_low"], ends["auc_high"]]).all()
    assert 0 <= ends["accuracy_low"] <= ends["accuracy_high"] <= 1


def test_answers_come_back_as_they_were_written(tmp_path: Path) -> None:
    answers = told(CLASSES)
    many_sets.write(answers, tmp_path / "answers.parquet")
    read = many_sets.read(tmp_path / "answers.parquet", NUMBERING)
    pd.testing.assert_frame_equal(read.images, answers.images, check_dtype=False)
    for name in ("classes", "labels", "shared", "own"):
        np.testing.assert_array_equal(getattr(read, name), getattr(answers, name))


def test_missing_answers_are_told(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="train_sets"):
        many_sets.read(tmp_path / "answers.parquet", NUMBERING)
