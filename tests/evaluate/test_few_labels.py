"""Learning curves by the number of labels: from files to scores, figure and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from medlabel import files, params
from medlabel.data import vectors
from medlabel.evaluate import few_labels, scores
from medlabel.layout import CURVE_FILES
from medlabel.report import few_labels as drawing
from tests.labels.world import folder

REFERENCE = "tiny"
TRAIN, TEST = 20, 10  # images a class
CLASSES = ["chest", "breast"]


@pytest.fixture
def settings(default_params: params.Params) -> params.Params:
    changes = {"counts": [1, 4, 50], "draws": 3, "labellings": ["zeroshot"]}
    curve = default_params.few_labels["pneumonia"].model_copy(update=changes)
    few = default_params.statistics.model_copy(update={"resamples": 200})
    return default_params.model_copy(update={"few_labels": {"tiny": curve}, "statistics": few})


@pytest.fixture
def mixture() -> params.Mixture:
    role = {
        "train": {"splits": ["train"], "count": TRAIN},
        "test": {"splits": ["val"], "count": TEST},
    }
    classes = [{"name": name, "dataset": f"phantom_{name}", **role} for name in CLASSES]
    return params.Mixture.model_validate({"size": 28, "classes": classes})


@pytest.fixture
def inputs(tmp_path: Path) -> few_labels.Inputs:
    images, words, truth = folder([TRAIN + TEST, TRAIN + TEST], spread=0.8, error=0.3)
    order = np.argsort(truth, kind="stable")
    rows = [
        (role, f"phantom_{name}", split, row, name)
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
    names = pd.DataFrame({"class": CLASSES})
    note = {"logit_scale": {REFERENCE: 20.0}}
    table = vectors.with_vectors(names, {REFERENCE: words}, note)
    pq.write_table(table, tmp_path / "words.parquet")
    chances = np.linspace(0, 1, len(pool), dtype=np.float32)
    labelled = pool.assign(p_chest=chances, p_breast=1 - chances).drop(columns="class")
    files.write_parquet(tmp_path / "labels.parquet", labelled)
    paths = (tmp_path / f"{name}.parquet" for name in ("pool", "embeddings", "words"))
    return few_labels.Inputs(*paths, {"zeroshot": tmp_path / "labels.parquet"})


def test_a_row_a_method_number_and_draw(
    inputs: few_labels.Inputs, mixture: params.Mixture, settings: params.Params
) -> None:
    curve = settings.few_labels["tiny"]
    found = few_labels.compute(inputs, REFERENCE, mixture, curve, 7)
    assert list(found.columns) == few_labels.SCORES
    learnt = found[found["labels_a_class"] > 0]
    assert len(learnt) == len(curve.methods) * 3 * 3
    many = learnt.groupby("labels_a_class")["labels"].unique()
    assert [list(one) for one in many] == [[2], [8], [2 * TRAIN]]  # 50 are all there are
    means = learnt.groupby("labels_a_class")["accuracy"].mean()
    assert means[1] < means[50]
    pd.testing.assert_frame_equal(found, few_labels.compute(inputs, REFERENCE, mixture, curve, 7))


def test_labels_without_a_label_are_scored_as_they_are(
    inputs: few_labels.Inputs, mixture: params.Mixture, settings: params.Params
) -> None:
    found = few_labels.compute(inputs, REFERENCE, mixture, settings.few_labels["tiny"], 7)
    own = found[found["method"] == "zeroshot"]
    table = pd.read_parquet(inputs.labelled["zeroshot"]).query("role == 'test'")
    truth = (table["dataset"] == "phantom_breast").to_numpy(int)[:, None]
    expected = scores.score("binary-class", truth, table[["p_chest", "p_breast"]].to_numpy())
    np.testing.assert_allclose(own["accuracy"], expected["accuracy"])
    np.testing.assert_allclose(own["auc"], expected["auc"])


def test_labelled_images_grow(mixture: params.Mixture) -> None:
    labels = np.repeat([0, 1], TRAIN)
    few, more = (few_labels._chosen(labels, count, np.random.default_rng(5)) for count in (4, 9))
    assert set(few) < set(more)
    assert np.bincount(labels[more]).tolist() == [9, 9]


def test_figure_and_tables_say_what_a_label_is_worth(
    inputs: few_labels.Inputs, mixture: params.Mixture, settings: params.Params, tmp_path: Path
) -> None:
    curve = settings.few_labels["tiny"]
    found = few_labels.compute(inputs, REFERENCE, mixture, curve, 7)
    drawing.write(settings, "tiny", found, tmp_path / "curve")
    assert sorted(one.name for one in (tmp_path / "curve").iterdir()) == sorted(CURVE_FILES)
    told = (tmp_path / "curve" / "tables.md").read_text()
    assert "Without a label, zeroshot has" in told
    assert "| logistic | 4 | 8 |" in told
