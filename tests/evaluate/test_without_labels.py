"""Labellings side by side on folders without a label: from files to scores, figures and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from medlabel import files, params
from medlabel.data import vectors
from medlabel.evaluate import foretold, without_labels
from medlabel.layout import WITHOUT_LABELS_FILES
from medlabel.report import foretold as drawn
from medlabel.report import without_labels as drawing
from tests.labels.world import folder

REFERENCE = "tiny"
TRAIN, TEST = 40, 10  # images a class
CLASSES = ["chest", "breast", "vessel"]
CONTENTS = {
    "two": {"images": "kinds", "prompts": "plain", "classes": {"a": ["chest"], "b": ["breast"]}},
    "more": {
        "images": "kinds",
        "prompts": "plain",
        "classes": {"a": ["chest"], "b": ["breast"]},
        "unnamed": ["vessel"],
    },
}
ASKED = {
    "title": "Tiny",
    "encoders": [REFERENCE],
    "labellings": ["zeroshot", "clusters", "vote"],
    "judged": ["zeroshot", "clusters"],
    "contents": CONTENTS,
    "shares": [0.0, 0.5],
    "sizes": [20, 60],
    "unnamed_share": 0.3,
    "first_draw": 5,
    "draws": 1,
    "costs": "costs.csv",
    "source": "kinds",
}


@pytest.fixture
def asked() -> params.WithoutLabels:
    return params.WithoutLabels.model_validate(ASKED)


@pytest.fixture
def inputs(tmp_path: Path) -> without_labels.Inputs:
    images, words, truth = folder([TRAIN + TEST] * 3, error=0.2)
    order = np.argsort(truth, kind="stable")
    rows = [
        (role, name, split, row, name)
        for name in CLASSES
        for role, split, count in (("train", "train", TRAIN), ("test", "val", TEST))
        for row in range(count)
    ]
    pool = pd.DataFrame(rows, columns=["role", "dataset", "split", "row", "class"])
    pool = pool.astype({"row": np.int32})
    files.write_parquet(tmp_path / "pool.parquet", pool)
    table = vectors.with_vectors(
        pool[["dataset", "split", "row"]], {REFERENCE: images[order]}, {"logit_scale": {}}
    )
    pq.write_table(table, tmp_path / "embeddings.parquet")
    names = pd.DataFrame({"class": ["a", "b"]})
    table = vectors.with_vectors(names, {REFERENCE: words[:2]}, {"logit_scale": {REFERENCE: 20.0}})
    pq.write_table(table, tmp_path / "words.parquet")
    return without_labels.Inputs(
        {"kinds": tmp_path / "pool.parquet"},
        {("kinds", REFERENCE): tmp_path / "embeddings.parquet"},
        {(REFERENCE, "plain"): tmp_path / "words.parquet"},
    )


@pytest.fixture
def found(
    inputs: without_labels.Inputs, asked: params.WithoutLabels, default_params: params.Params
) -> pd.DataFrame:
    return without_labels.compute(inputs, asked, default_params.labellings, 7)


def test_a_row_a_folder_and_labelling(found: pd.DataFrame, asked: params.WithoutLabels) -> None:
    assert len(found) == 2 * 2 * 2 * 3
    assert not found.duplicated([*drawing.FOLDER, "labelling"]).any()
    assert (found["draw"] == 5).all()
    judged = found["labelling"].isin(asked.judged)
    assert found.loc[judged, "estimate"].notna().all()
    assert found.loc[~judged, "estimate"].isna().all()
    plain = found[found["content"] == "two"]
    assert (plain["right"] > 0.9).all()  # classes lie apart, and words near them
    assert (plain["held_out"] > 0.9).all()
    assert (found.groupby("size")["images"].max() == [20, 60]).all()


def test_images_of_an_unnamed_kind_are_no_part_of_accuracy(found: pd.DataFrame) -> None:
    more = found[(found["content"] == "more") & (found["labelling"] == "clusters")]
    assert (more["aside"] > 0.8).all()
    assert (more["wrongly_aside"] < 0.1).all()
    assert (more["right"] > 0.9).all()
    two = found[(found["content"] == "two") & (found["labelling"] == "clusters")]
    assert two["aside"].isna().all()


def test_other_draws_are_other_folders(
    inputs: without_labels.Inputs, asked: params.WithoutLabels, default_params: params.Params
) -> None:
    seen = without_labels.look(inputs, REFERENCE, "kinds", asked.contents["two"])
    one, same, other = (
        without_labels.drawn_folder(seen, 20, 0.2, 0.3, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one.images, same.images)
    assert not np.array_equal(one.images, other.images)
    assert np.bincount(one.truth).tolist() == [4, 16]


def test_figures_and_tables(
    found: pd.DataFrame, asked: params.WithoutLabels, default_params: params.Params, tmp_path: Path
) -> None:
    every = default_params.model_copy(update={"without_labels": {"tiny": asked}})
    costs = pd.DataFrame({"labelling": ["zeroshot"], "images": [500], "seconds": [0.5]})
    drawing.write(every, "tiny", found, costs, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= set(WITHOUT_LABELS_FILES)
    text = (tmp_path / "tables.md").read_text()
    assert "4 folders of real images" in text  # those with unnamed images stand apart
    assert "| nuclear norm |" in text
    assert "0.50" in text


def test_ranks_are_among_the_labellings_of_a_folder(asked: params.WithoutLabels) -> None:
    place = {"encoder": "e", "content": "two", "size": 1, "draw": 0}
    rows = [
        {**place, "share": share, "labelling": name, "right": right}
        for share, scores in ((0.0, (0.5, 0.7, 0.6)), (0.5, (0.9, 0.9, 0.8)))
        for name, right in zip(asked.labellings, scores, strict=True)
    ]
    plain = drawing.compared(pd.DataFrame(rows), asked)
    assert plain["rank"].tolist() == [3, 1, 2, 1.5, 1.5, 3]
    assert plain["gain"].round(9).tolist() == [0, 0.2, 0.1, 0, 0, -0.1]


def test_thresholds_foretell_the_accuracy_of_what_taught_them() -> None:
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 400)
    given = random.integers(0, 2, 400)
    truth = np.where(random.random(400) < sure, given, 1 - given)
    chances = np.stack([np.where(given, 1 - sure, sure), np.where(given, sure, 1 - sure)], axis=1)
    learnt = foretold.thresholds(chances.astype(np.float32), truth)
    rivals = foretold.rivals(chances.astype(np.float32), learnt)
    assert rivals["atc"] == pytest.approx((given == truth).mean(), abs=0.01)
    assert rivals["mean_confidence"] == pytest.approx(sure.mean(), abs=1e-6)
    assert 0 < rivals["nuclear_norm"] < 1


def test_certain_and_balanced_labels_have_the_largest_nuclear_norm() -> None:
    certain = np.eye(2, dtype=np.float32)[np.arange(10) % 2]
    assert foretold.rivals(certain, None)["nuclear_norm"] == pytest.approx(1)
    alone = np.eye(2, dtype=np.float32)[np.zeros(10, int)]
    assert foretold.rivals(alone, None)["nuclear_norm"] == pytest.approx(np.sqrt(0.5))
    assert np.isnan(foretold.rivals(alone, None)["atc"])


def test_verdicts_are_counted_by_the_truth(asked: params.WithoutLabels) -> None:
    rows = pd.DataFrame(
        {
            "encoder": "e", "content": "two", "share": 0.5, "labelling": "clusters",
            "right": [0.5, 0.6, 0.99, 0.97], "low": 0.4, "high": 0.98,
            "verdict": ["refused", "trusted", "check", "trusted"],
            "estimate": 0.9, "mean_confidence": 0.9, "nuclear_norm": 0.9, "atc": np.nan,
            "aside": np.nan, "wrongly_aside": 0.0,
        }
    )  # fmt: skip
    ways, verdicts = drawn.tables(rows, asked)
    assert len(ways.rows) == 3  # no thresholds, so no such row
    row = verdicts.rows[0]
    assert row["of them doubted (%)"] == "50.0"
    assert row["of them doubted, wrongly (%)"] == "50.0"
    assert row["In the 90 % interval (%)"] == "75"


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("classes", {"a": ["chest"], "b": ["chest"]}, "a class given twice"),
        ("unnamed", ["breast"], "a class given twice"),
        ("classes", {"a": ["chest"]}, "at least 2 items"),
    ],
)
def test_contents_that_say_nothing_are_refused(key: str, given: object, said: str) -> None:
    contents = {"two": {**CONTENTS["two"], key: given}}
    with pytest.raises(ValueError, match=said):
        params.WithoutLabels.model_validate({**ASKED, "contents": contents})
