"""Labels of a mixture: the table's contract, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from medlabel import files, params
from medlabel.data import vectors
from medlabel.errors import MedlabelError
from medlabel.labels import label, prompts, zeroshot

CLASSES = ["chest", "breast", "skin"]
REFERENCE = "tiny@3"


def units(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def mixture(*names: str) -> params.Mixture:
    role = {"train": {"splits": ["train"], "count": 1}, "test": {"splits": ["val"], "count": 1}}
    classes = [{"name": name, "dataset": f"phantom_{name}", **role} for name in names]
    return params.Mixture.model_validate({"size": 28, "classes": classes})


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Write a pool of three classes, its embeddings in another order, and words for four."""
    rows = [
        (role, f"phantom_{name}", split, row, name)
        for role, split in (("train", "train"), ("test", "val"))
        for name in CLASSES
        for row in (0, 1, 2)
    ]
    pool = pd.DataFrame(rows, columns=["role", "dataset", "split", "row", "class"])
    files.write_parquet(tmp_path / "pool.parquet", pool.astype({"row": np.int32}))
    images = pool[["dataset", "split", "row"]].sort_values(["row", "dataset"])
    table = vectors.with_vectors(images, {"other": units(18, 5), REFERENCE: units(18, 1)}, {})
    pq.write_table(table, tmp_path / "embeddings.parquet")
    note = {"logit_scale": {REFERENCE: 20.0}}
    names = pd.DataFrame({"class": ["skin", "eye", "chest", "breast"]})
    each = list(np.stack([units(4, 2), units(4, 7)], axis=1))  # two sentences a class
    table = vectors.with_vectors(names, {REFERENCE: units(4, 2)}, note, {REFERENCE: each})
    pq.write_table(table, tmp_path / "words.parquet")
    return tmp_path


@pytest.fixture
def run(world: Path) -> Callable[..., pd.DataFrame]:
    def call(*names: str, **changes: object) -> pd.DataFrame:
        common = {"logit_scale": None, "space": None, "weigh": False}
        common |= {"top_k": None, "targets": "hard"}
        space = (world / "embeddings.parquet", "other") if changes.get("space") else None
        part = params.Vote if changes.get("method") == "vote" else params.ZeroShot
        label.write(
            world / "pool.parquet",
            world / "embeddings.parquet",
            world / "words.parquet",
            REFERENCE,
            mixture(*(names or CLASSES)),
            part.model_validate({"method": "zeroshot", **common, **changes}),
            world / "labels.parquet",
            space,
        )
        return pd.read_parquet(world / "labels.parquet")

    return call


def test_the_table_follows_the_contract(run: Callable, world: Path) -> None:
    table, pool = run(), pd.read_parquet(world / "pool.parquet")
    image = ["role", "dataset", "split", "row"]
    columns = [f"p_{name}" for name in CLASSES]
    assert list(table.columns) == [*image, "label", "pseudolabel", *columns]
    pd.testing.assert_frame_equal(table[image], pool[image])
    assert [CLASSES[truth] for truth in table["label"]] == pool["class"].tolist()
    types = table.dtypes[["row", "label", "pseudolabel", "p_skin"]].tolist()
    assert types == [np.int32, np.int8, np.int8, np.float32]
    chances = table[columns].to_numpy()
    np.testing.assert_array_equal(table["pseudolabel"], chances.argmax(axis=1))
    words, scale = vectors.read_words(world / "words.parquet", REFERENCE, CLASSES)
    images = vectors.read_embeddings(world / "embeddings.parquet", REFERENCE, pool)
    np.testing.assert_array_equal(chances, zeroshot.probabilities(images, words, scale))


def test_a_member_of_a_mixture_has_its_own_classes(run: Callable) -> None:
    whole, part = run(), run("skin", "chest")
    assert set(part["dataset"]) == {"phantom_skin", "phantom_chest"}
    assert part["label"].tolist() == [int(name == "phantom_chest") for name in part["dataset"]]
    kept = whole[whole["dataset"] != "phantom_breast"].reset_index(drop=True)
    ratio = kept["p_skin"] / kept["p_chest"]
    np.testing.assert_allclose(part["p_skin"] / part["p_chest"], ratio, rtol=1e-4)


def test_the_logit_scale_sharpens_and_keeps_the_labels(run: Callable) -> None:
    mild, sharp = run(), run(logit_scale=25.0)
    assert mild["pseudolabel"].tolist() == sharp["pseudolabel"].tolist()
    columns = [f"p_{name}" for name in CLASSES]
    assert (sharp[columns].max(axis=1) >= mild[columns].max(axis=1)).all()


def test_sentences_are_weighed_by_images_to_train_on_alone(run: Callable, world: Path) -> None:
    found, pool = run(weigh=True), pd.read_parquet(world / "pool.parquet")
    each = vectors.read_sentences(world / "words.parquet", REFERENCE, CLASSES)
    skin, chest = units(4, 7)[[0, 2]]
    np.testing.assert_array_equal(each[1][[2, 0]], [skin, chest])
    images = vectors.read_embeddings(world / "embeddings.parquet", REFERENCE, pool)
    words = prompts.weighted(images[(pool["role"] == "train").to_numpy()], each)
    chances = found[[f"p_{name}" for name in CLASSES]]
    np.testing.assert_array_equal(chances, zeroshot.probabilities(images, words, 20.0))


def test_held_out_images_play_no_part_in_labels_of_others(run: Callable, world: Path) -> None:
    """Nor do the labels of one held-out image depend on another one."""
    chosen = {"method": "vote", "components": 4, "count": 3}
    before = run(**chosen)
    held_out = pq.read_table(world / "embeddings.parquet").to_pandas()["split"] == "val"
    columns = {REFERENCE: units(18, 1)}
    columns[REFERENCE][np.flatnonzero(held_out)[1:]] = units(8, 9)
    images = pq.read_table(world / "embeddings.parquet").select(["dataset", "split", "row"])
    table = vectors.with_vectors(images.to_pandas(), columns, {})
    pq.write_table(table, world / "embeddings.parquet")
    after = run(**chosen)
    same = (before.drop(columns="label") == after.drop(columns="label")).all(axis=1)
    assert same[before["role"] == "train"].all()
    assert not same[before["role"] == "test"].all()
    first = images.to_pandas()[held_out].iloc[0]
    key = (before[["dataset", "split", "row"]] == first).all(axis=1)
    assert same[key].all()


def test_same_inputs_same_bytes(run: Callable, world: Path) -> None:
    run()
    first = (world / "labels.parquet").read_bytes()
    run()
    assert (world / "labels.parquet").read_bytes() == first


def test_images_that_were_never_embedded_are_counted(run: Callable, world: Path) -> None:
    table = pd.read_parquet(world / "pool.parquet")
    more = pd.concat([table, table.iloc[:2].assign(row=np.int32(7))])
    files.write_parquet(world / "pool.parquet", more)
    with pytest.raises(MedlabelError, match=r"found none for 2 of them; run `medlabel embed`"):
        run()


def test_images_embedded_twice_are_refused(run: Callable, world: Path) -> None:
    table = pq.read_table(world / "embeddings.parquet")
    pq.write_table(table.take([0, *range(len(table))]), world / "embeddings.parquet")
    with pytest.raises(MedlabelError, match="expected one embedding an image"):
        run()


def test_words_that_are_not_there_are_named(run: Callable, world: Path) -> None:
    table = pq.read_table(world / "words.parquet")
    pq.write_table(table.take([0, 2]), world / "words.parquet")
    with pytest.raises(MedlabelError, match=r"found none for breast; run `medlabel words`"):
        run()


def test_classes_with_the_same_words_are_refused(run: Callable, world: Path) -> None:
    """F25, in a study."""
    table = pq.read_table(world / "words.parquet")
    names = pd.DataFrame({"class": ["skin", "chest", "breast"]})
    same = np.repeat(units(1, 3), 3, axis=0)
    note = {"logit_scale": {REFERENCE: 20.0}}
    table = vectors.with_vectors(names, {REFERENCE: same}, note)
    pq.write_table(table, world / "words.parquet")
    with pytest.raises(MedlabelError, match="chest and breast have the same words"):
        run()


def test_another_encoders_table_is_refused(run: Callable, world: Path) -> None:
    table = pq.read_table(world / "embeddings.parquet")
    pq.write_table(table.drop_columns([REFERENCE]), world / "embeddings.parquet")
    with pytest.raises(MedlabelError, match=rf"but {REFERENCE} is missing; .*`medlabel embed`"):
        run()


@pytest.mark.parametrize("module", ["label", "selection"])
def test_labels_need_no_torch(module: str) -> None:
    code = f"import sys; from medlabel.labels import {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_encoders_embeddings_change_no_words(run: Callable) -> None:
    columns = [f"p_{name}" for name in CLASSES]
    alone, beside = run()[columns], run(space="other")[columns]
    np.testing.assert_allclose(alone, beside, atol=1e-5)


def test_another_encoders_embeddings_decide_what_lies_together(run: Callable) -> None:
    asked = {"method": "vote", "components": 4, "count": 4}
    assert not run(**asked)["pseudolabel"].equals(run(**asked, space="other")["pseudolabel"])
