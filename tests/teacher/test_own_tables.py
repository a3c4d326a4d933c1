"""Tables as ROCO has them: the published split, kinds from concept codes, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medlabel import files
from medlabel.data import archive
from medlabel.errors import MedlabelError
from medlabel.teacher import captioned, locked, own_tables, wordvectors

MANY = 50
COLUMNS = ["split", "row", "kind", "finding", "style", "caption"]


@pytest.fixture(scope="module")
def tokenizer() -> wordvectors.Tokenizer:
    return wordvectors.Tokenizer(wordvectors.load().tokenizer, locked.CONTEXT_LENGTH)


@pytest.fixture
def own(tmp_path: Path) -> pd.DataFrame:
    """Images each of a grey of its own, of two captions, and what ROCO says beside captions."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(MANY):
        Image.fromarray(np.full((9, 9), 4 * index, np.uint8)).save(folder / f"{index}.png")
    return pd.DataFrame(
        {
            "image": [f"pictures/{index}.png" for index in range(MANY)],
            "caption": ["chest radiograph" if index % 2 else "head scan" for index in range(MANY)],
            "concepts": [
                "C0817096; C1306645" if index % 2 else "C0040405" for index in range(MANY)
            ],
        }
    )


@pytest.fixture
def gather(tmp_path: Path, tokenizer: wordvectors.Tokenizer) -> Callable[..., captioned.Source]:
    def write(rows: pd.DataFrame, seed: int = 0, name: str = "table.csv") -> captioned.Source:
        table = tmp_path / name
        if table.suffix == ".csv":
            rows.to_csv(table, index=False)
        else:
            rows.to_parquet(table)
        return own_tables.gather(table, 8, tokenizer, tmp_path / "cache", seed)

    return write


def places(source: captioned.Source) -> dict[str, list[int]]:
    """Tell which images each split holds, by their greys."""
    images = archive.read(source.archive, captioned.NAME, 8).images
    return {one: [int(each[0, 0, 0]) // 4 for each in images[one]] for one in captioned.SPLITS}


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_without_splits_images_are_shuffled_and_divided_as_published(
    name: str, gather: Callable, own: pd.DataFrame
) -> None:
    rows = own.drop(columns="concepts")
    found = places(gather(rows, 0, name))
    assert {split: len(held) for split, held in found.items()} == {
        "train": 32,
        "val": 8,
        "test": 10,
    }
    assert sorted(itertools.chain(*found.values())) == list(range(MANY))
    assert sorted(found["train"]) != list(range(32))
    assert places(gather(rows, 0, name)) == found
    assert places(gather(rows, 1, name)) != found


def test_the_split_of_the_table_is_kept(gather: Callable, own: pd.DataFrame) -> None:
    split = ["train"] * 30 + ["test"] * 5 + ["val"] * 15
    found = places(gather(own.assign(split=split)))
    assert found == {
        "train": [*range(30)],
        "test": [*range(30, 35)],
        "val": [*range(35, 50)],
    }


def test_the_first_code_is_the_kind_where_there_is_none(
    gather: Callable, own: pd.DataFrame
) -> None:
    table = files.read_parquet(gather(own).captions, "", COLUMNS)
    kinds = table.groupby("caption")["kind"].unique().map(list).to_dict()
    assert kinds == {"chest radiograph": ["C0817096"], "head scan": ["C0040405"]}
    given_kind = files.read_parquet(gather(own.assign(kind="scan")).captions, "", COLUMNS)
    assert set(given_kind["kind"]) == {"scan"}


@given(seed=st.integers(0, 999), many=st.integers(1, 80), kinds=st.integers(1, 30))
def test_what_validates_is_of_a_kind_that_is_learnt(seed: int, many: int, kinds: int) -> None:
    kind = pd.Series([f"C{row % kinds}" for row in range(many)])
    split = own_tables.shuffled(kind, seed)
    assert set(kind[split == "val"]) <= set(kind[split == "train"])
    assert (split == "train").sum() == round(0.64 * many)
    assert (split == "val").sum() <= round(0.8 * many) - round(0.64 * many)


def test_images_left_aside_change_nothing_that_is_learnt(
    gather: Callable, own: pd.DataFrame, tmp_path: Path
) -> None:
    """Other pixels and words of test images leave all that training reads as it was."""
    before = gather(own)
    held = places(before)["test"]
    for index in held:
        Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / f"pictures/{index}.png")
    after = gather(own.assign(caption=own["caption"].mask(own.index.isin(held), "a knee")))
    for split in ("train", "val"):
        assert places(after)[split] == places(before)[split]
        assert after.captions_of(split)["caption"].tolist() == (
            before.captions_of(split)["caption"].tolist()
        )
    assert set(after.captions_of("test")["caption"]) == {"a knee"}


def changed(table: pd.DataFrame, column: str, row: int, value: str) -> pd.DataFrame:
    return table.assign(**{column: table[column].mask(table.index == row, value)})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: changed(t, "concepts", 3, ""), "line 5: concepts: '' given, codes separated"),
        (lambda t: changed(t, "concepts", 0, "C1;;C2"), "line 2: concepts: 'C1;;C2' given"),
        (lambda t: changed(t, "concepts", 1, "two words"), "line 3: concepts: 'two words' given"),
        (
            lambda t: changed(t, "concepts", 1, "C1,C2").assign(kind="scan", split="train"),
            "line 3: concepts: 'C1,C2' given, codes separated by ; expected",
        ),
        (lambda t: changed(t, "caption", 4, " "), "line 6: caption: expected a text"),
        (lambda t: changed(t, "image", 4, "none.png"), "none.png given, which is no file"),
        (lambda t: t.drop(columns="image"), "image is missing"),
        (lambda t: t[:0], "expected images to learn from, found none"),
        (
            lambda t: t.drop(columns="concepts").assign(caption=[f"one {i}" for i in t.index]),
            "expected images to validate on, found none",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_from_is_told_in_one_line_that_names_the_table(
    change: Callable, expected: str, gather: Callable, own: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(MedlabelError) as caught:
        gather(change(own))
    told = str(caught.value)
    assert expected in told
    assert told.startswith(str(tmp_path / "table.csv"))
    assert "\n" not in told


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_file_that_is_no_table_is_told(
    name: str, tokenizer: wordvectors.Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00none")
    with pytest.raises(MedlabelError) as caught:
        own_tables.gather(tmp_path / name, 8, tokenizer, tmp_path / "cache", 0)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
