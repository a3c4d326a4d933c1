"""Concepts told from captions and images: what is told, against scikit-learn and by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from medlabel import files, params
from medlabel.data import vectors
from medlabel.errors import MedlabelError
from medlabel.evaluate import concepts
from medlabel.evaluate.retrieval import Inputs
from medlabel.layout import CONCEPT_FILES
from medlabel.report import concepts as drawing

TRAIN, TEST = 24, 12
FINDINGS = ("normal", "pneumonia")
SILENT = "a chest X-ray"
DIMENSION = 16


def embedded(sentences: list[str]) -> np.ndarray:
    """Embed sentences at random places, the same for the same words."""
    rows = [np.random.default_rng(sum(one.encode())).normal(size=DIMENSION) for one in sentences]
    return np.stack(rows).astype(np.float32)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """Files of images whose findings alternate; every third caption names none."""
    rows, captions = [], []
    for role, split, count in (("train", "train", TRAIN), ("test", "test", TEST)):
        for row in range(count):
            finding, named = FINDINGS[row % 2], row % 3 > 0
            rows.append((role, "pneumoniamnist", split, row, "chest"))
            said = f"chest with {finding}" if named else SILENT
            style = "sentence" if named else "title"
            captions.append((split, row, "phantom_chest", finding, style, said))
    pool = pd.DataFrame(rows, columns=["role", "dataset", "split", "row", "class"])
    files.write_parquet(tmp_path / "pool.parquet", pool.astype({"row": np.int32}))
    columns = ["split", "row", "kind", "finding", "style", "caption"]
    files.write_parquet(tmp_path / "captions.parquet", pd.DataFrame(captions, columns=columns))
    images = np.random.default_rng(0).normal(size=(len(pool), DIMENSION)).astype(np.float32)
    images[:, 0] += 3 * (pool["row"].to_numpy() % 2)
    table = vectors.with_vectors(pool[["dataset", "split", "row"]], {"tiny": images}, {})
    pq.write_table(table, tmp_path / "embeddings.parquet")
    monkeypatch.setattr(concepts.encoder, "load", lambda folder, where: SimpleNamespace())
    monkeypatch.setattr(
        concepts.words,
        "class_embeddings",
        lambda loaded, sentences: embedded([one for (one,) in sentences]),
    )
    return Inputs(
        tmp_path / "pool.parquet",
        {"pneumoniamnist": tmp_path / "captions.parquet"},
        {"tiny": tmp_path / "embeddings.parquet"},
        {"tiny": tmp_path},
    )


@pytest.fixture
def mixture() -> params.Mixture:
    role = {
        "train": {"splits": ["train"], "count": TRAIN},
        "test": {"splits": ["test"], "count": TEST},
    }
    classes = [
        {"name": "chest", "dataset": "pneumoniamnist", **role},
        {"name": "breast", "dataset": "breastmnist", **role},
    ]
    whole = params.Mixture.model_validate({"size": 28, "classes": classes})
    return whole.model_copy(update={"classes": whole.classes[:1]})


def test_captions_that_name_a_finding_tell_it_and_silent_ones_do_not(
    inputs: Inputs, mixture: params.Mixture
) -> None:
    found = concepts.judge(inputs, mixture, 100.0, 7, "cpu")
    assert found["concepts"].unique().tolist() == [2]
    right = found.groupby("source")["right"].mean()
    sizes = found.groupby("source").size()
    assert right[concepts.FROM[0]] == 1.0
    assert right[concepts.FROM[1]] == pytest.approx(0.5)  # it says one of both, whatever it is
    assert sizes.loc[list(concepts.FROM)].tolist() == [8, 4, TEST]
    assert torch.get_num_threads() >= 1


def test_images_are_told_as_by_scikit_learn(inputs: Inputs, mixture: params.Mixture) -> None:
    found = concepts.judge(inputs, mixture, 5.0, 7, "cpu")
    table = pq.read_table(inputs.embeddings["tiny"])
    images = table.select(["split", "row"]).to_pandas()
    values = vectors.read_embeddings(
        inputs.embeddings["tiny"], "tiny", table.select(["dataset", "split", "row"]).to_pandas()
    )
    truth, train = images["row"] % 2, (images["split"] == "train").to_numpy()
    model = LogisticRegression(C=5.0, max_iter=1000).fit(values[train], truth[train])
    expected = (model.predict(values[~train]) == truth[~train]).mean()
    told = found.loc[found["source"] == "images", "right"].mean()
    assert told == pytest.approx(expected, abs=1e-6)


def test_one_concept_is_none_to_tell(
    inputs: Inputs, mixture: params.Mixture, tmp_path: Path
) -> None:
    table = pd.read_parquet(tmp_path / "captions.parquet").assign(finding="normal")
    files.write_parquet(tmp_path / "captions.parquet", table)
    with pytest.raises(MedlabelError, match="found phantom_chest: normal alone"):
        concepts.judge(inputs, mixture, 5.0, 7, "cpu")


def test_figure_and_table_say_how_many_are_told(
    inputs: Inputs, mixture: params.Mixture, default_params: params.Params, tmp_path: Path
) -> None:
    few = default_params.statistics.model_copy(update={"resamples": 200})
    settings = default_params.model_copy(update={"statistics": few})
    found = concepts.judge(inputs, mixture, 100.0, 7, "cpu")
    drawing.write(settings, "phantoms", found, tmp_path / "out")
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == sorted(CONCEPT_FILES)
    told = (tmp_path / "out" / "tables.md").read_text()
    assert "| tiny | captions that name a finding | 8 | 100.0" in told
