"""Searching images by captions: ranks by brute force, and from files to figures and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medlabel import files, params
from medlabel.data import phantoms, vectors
from medlabel.errors import MedlabelError
from medlabel.evaluate import retrieval
from medlabel.layout import RETRIEVAL_FILES
from medlabel.report import captions_found
from medlabel.report import retrieval as drawing
from medlabel.teacher import encoder, words

EACH = 12  # images a class
CLASSES = ["chest", "breast"]


@given(seed=st.integers(0, 10_000), answers=st.integers(1, 30), coarse=st.booleans())
def test_ranks_are_those_of_a_sorted_list(seed: int, answers: int, coarse: bool) -> None:
    random = np.random.default_rng(seed)
    similarity = random.normal(size=(7, answers)).astype(np.float32)
    if coarse:
        similarity = similarity.round()  # so that many are equally alike
    relevant = random.random((7, answers)) < 0.3
    relevant[:, random.integers(answers)] = True
    for row, right, rank in zip(
        similarity, relevant, retrieval.ranks(similarity, relevant), strict=True
    ):
        order = sorted(range(answers), key=lambda one: (-row[one], right[one]))
        assert rank == 1 + next(place for place, one in enumerate(order) if right[one])


def test_who_says_the_same_of_everything_finds_nothing() -> None:
    relevant = np.eye(5, dtype=bool)
    found = retrieval.ranks(np.ones((5, 5), np.float32), relevant)
    assert found.tolist() == [5] * 5
    assert retrieval.ranks(np.eye(5, dtype=np.float32), relevant).tolist() == [1] * 5


@pytest.fixture
def mixture() -> params.Mixture:
    role = {"train": {"splits": ["train"], "count": 1}, "test": {"splits": ["val"], "count": EACH}}
    classes = [{"name": name, "dataset": f"phantom_{name}", **role} for name in CLASSES]
    return params.Mixture.model_validate({"size": 28, "classes": classes})


@pytest.fixture
def archives(tmp_path: Path) -> dict[str, Path]:
    counts = params.Counts(train=1, val=EACH, test=1)
    drawing = params.Phantoms(
        size=28, counts=counts, volumes=counts, stand_ins=counts, artefacts=False
    )
    found = {}
    for name in CLASSES:
        kind = f"phantom_{name}"
        found[kind] = tmp_path / f"{kind}.npz"
        phantoms.write(kind, found[kind], tmp_path / f"{kind}.parquet", counts, drawing, seed=2)
    return found


@pytest.fixture
def inputs(archives: dict[str, Path], locked_folder: Path, tmp_path: Path) -> retrieval.Inputs:
    """Files whose embeddings are those of the images' own captions, so that all is found."""
    rows = [
        (role, f"phantom_{name}", split, row, name)
        for name in CLASSES
        for role, split, count in (("train", "train", 1), ("test", "val", EACH))
        for row in range(count)
    ]
    pool = pd.DataFrame(rows, columns=["role", "dataset", "split", "row", "class"])
    pool = pool.astype({"row": np.int32})
    files.write_parquet(tmp_path / "pool.parquet", pool)
    captions = {kind: tmp_path / f"{kind}.parquet" for kind in archives}
    said = pd.concat(
        [pd.read_parquet(path).assign(dataset=kind) for kind, path in captions.items()]
    )
    own = pool.merge(said, on=["dataset", "split", "row"], how="left")["caption"]
    loaded = encoder.load(locked_folder, torch.device("cpu"))
    embedded = words.class_embeddings(loaded, [[one] for one in own])
    table = vectors.with_vectors(pool[["dataset", "split", "row"]], {"locked": embedded}, {})
    pq.write_table(table, tmp_path / "embeddings.parquet")
    return retrieval.Inputs(
        tmp_path / "pool.parquet",
        captions,
        {"locked": tmp_path / "embeddings.parquet"},
        {"locked": locked_folder},
    )


def test_images_that_lie_on_their_captions_are_found_first(
    inputs: retrieval.Inputs, mixture: params.Mixture
) -> None:
    found = retrieval.search(inputs, mixture, 7, "cpu")
    assert len(found.images) == 2 * EACH
    assert found.captions == list(dict.fromkeys(found.images["caption"]))
    ranks = retrieval.all_ranks(found)
    assert len(ranks) == 3 * (len(found.images) + len(found.captions))
    assert (ranks["rank"] == 1).mean() > 0.95  # sentences of the same words lie on one another
    kind, finding, caption = (found.relevant[level] for level in ("kind", "finding", "caption"))
    assert (finding <= kind).all()
    assert (caption <= finding).all()
    assert caption.sum(axis=1).tolist() == [1] * len(found.images)


def test_an_image_without_a_caption_is_told(
    inputs: retrieval.Inputs, mixture: params.Mixture
) -> None:
    path = inputs.captions["phantom_chest"]
    table = pd.read_parquet(path)
    files.write_parquet(path, table[(table["split"] != "val") | (table["row"] > 1)])
    with pytest.raises(MedlabelError, match=r"captions of all 24 images, found none for 2"):
        retrieval.search(inputs, mixture, 7, "cpu")


@pytest.mark.parametrize(("own", "places"), [(2, [1, 2, 3, 4, 5]), (7, [1, 2, 3, 4, 5, 8])])
def test_an_image_lists_its_likest_captions_and_its_own_wherever_it_stands(
    own: int, places: list[int]
) -> None:
    likeness = -np.arange(9, dtype=np.float32)[None]
    searched = drawn_up(np.arange(9) == own, likeness)
    assert captions_found.answers(searched, "one", 0) == [(place, place - 1) for place in places]


def test_of_equally_alike_captions_its_own_stands_last() -> None:
    own = np.arange(9) == 0
    found = captions_found.answers(drawn_up(own, np.ones((1, 9), np.float32)), "one", 0)
    assert found[-1] == (9, 0)
    assert found[-1][0] == retrieval.ranks(np.ones((1, 9), np.float32), own[None])[0]
    assert [place for place, _ in found[:-1]] == [1, 2, 3, 4, 5]


def drawn_up(own: np.ndarray, likeness: np.ndarray) -> retrieval.Searched:
    captions = [f"caption {column}" for column in range(own.size)]
    level = dict.fromkeys(retrieval.LEVELS, own[None])
    return retrieval.Searched(pd.DataFrame({"kind": ["a"]}), captions, level, {"one": likeness})


@given(many=st.integers(1, 40))
def test_images_that_are_asked_lie_evenly(many: int) -> None:
    searched = retrieval.Searched(pd.DataFrame({"kind": ["a"] * many}), [], {}, {})
    chosen = captions_found.spread(searched)
    assert len(set(chosen)) == len(chosen) == min(many, captions_found.QUESTIONS)
    assert chosen == sorted(chosen)
    assert set(chosen) <= set(range(many))
    assert len(chosen) == 1 or np.ptp(np.diff(chosen)) <= 1


def test_figures_and_tables_say_what_was_found(
    inputs: retrieval.Inputs,
    mixture: params.Mixture,
    archives: dict[str, Path],
    default_params: params.Params,
    tmp_path: Path,
) -> None:
    asked = default_params.retrieval["phantoms"].model_copy(
        update={"images": "phantom_tiny", "encoders": ["locked"]}
    )
    settings = default_params.model_copy(
        update={
            "retrieval": {"tiny": asked},
            "every_mixture": {"phantom_tiny": mixture},
            "statistics": default_params.statistics.model_copy(update={"resamples": 200}),
        }
    )
    found = retrieval.search(inputs, mixture, 7, "cpu")
    drawing.write(settings, "tiny", found, archives, tmp_path / "found")
    assert sorted(one.name for one in (tmp_path / "found").iterdir()) == sorted(RETRIEVAL_FILES)
    for name in ("found.svg", "captions.svg"):
        assert "PHANTOM DATA" in (tmp_path / "found" / name).read_text()
    listed = (tmp_path / "found" / "captions.svg").read_text()
    for image in captions_found.spread(found):
        own = found.images["caption"].iloc[image].replace("&", "&amp;")
        assert f"{captions_found.OWN} {own}"[: captions_found.CUT // 2 - 1] in listed
    told = (tmp_path / "found" / "tables.md").read_text()
    assert "From image to text" in told
    assert "| locked | same caption |" in told
    scores = pd.read_csv(tmp_path / "found" / "scores.csv")
    assert scores.groupby("direction")["question"].nunique().to_dict() == {
        "image to text": len(found.images),
        "text to image": len(found.captions),
    }
