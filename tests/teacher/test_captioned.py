"""Captioned images of one's own instead of phantoms: what is read, learnt and refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medlabel import files, params
from medlabel.data import archive
from medlabel.errors import MedlabelError
from medlabel.randomness import stream
from medlabel.teacher import captioned, encoder, heads, locked, runtime, tower, words, wordvectors

CPU = torch.device("cpu")
RISING, FALLING = "a chart that rises", "a picture that falls"
RANDOM = params.Tower(source="random", model="test_efficientnet", weights=None)


@pytest.fixture(scope="session")
def tokenizer() -> wordvectors.Tokenizer:
    return wordvectors.Tokenizer(wordvectors.load().tokenizer, locked.CONTEXT_LENGTH)


@pytest.fixture
def own(tmp_path: Path) -> pd.DataFrame:
    """Images of two kinds, grey and in colour, of several sizes, and what is said of them."""
    rows = []
    for index in range(20):
        rng = stream(0, "own", index)
        ramp = np.linspace(0, 200, 40)[:, None] + rng.integers(0, 50, (40, 30 + index))
        rises = index % 2 == 0
        pixels = (ramp if rises else ramp[::-1]).astype(np.uint8)
        if index % 3 == 0:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        path = tmp_path / "pictures" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        rows.append({"image": f"pictures/{index}.png", "caption": RISING if rises else FALLING})
    return pd.DataFrame(rows)


@pytest.fixture
def gather(tmp_path: Path, tokenizer: wordvectors.Tokenizer) -> Callable[..., captioned.Source]:
    def write(rows: pd.DataFrame, name: str = "table.csv") -> captioned.Source:
        table = tmp_path / name
        if table.suffix == ".csv":
            rows.to_csv(table, index=False)
        else:
            rows.to_parquet(table)
        return captioned.gather(table, 32, tokenizer, tmp_path / "cache")

    return write


def test_images_are_squeezed_into_one_archive_with_their_captions(
    gather: Callable, own: pd.DataFrame, tmp_path: Path
) -> None:
    source = gather(own)
    found = archive.read(source.archive, captioned.NAME, 32)
    table = files.read_parquet(source.captions, "", ["split", "row", "kind", "caption"])
    assert found.images["train"].shape == (16, 32, 32, 3)
    assert found.images["val"].shape == (4, 32, 32, 3)
    assert source.measured
    assert len(table) == 20
    assert (table["kind"] == table["caption"]).all()
    for split in ("train", "val"):
        part = table[table["split"] == split]
        assert part["row"].tolist() == list(range(len(part)))
        for row, said in zip(part["row"], part["caption"], strict=True):
            top, bottom = found.images[split][row][[0, -1]].mean(axis=(1, 2))
            assert (top < bottom) == (said == RISING)
    assert gather(own) == source
    assert gather(own, "table.parquet") == source  # by content, not by name
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "pictures" / "0.png")
    assert gather(own).archive != source.archive


def test_splits_kinds_and_findings_of_the_table_are_kept(
    gather: Callable, own: pd.DataFrame
) -> None:
    split = ["train"] * 10 + ["val"] * 6 + ["test"] * 4
    given = own.assign(split=split, kind="chart", finding=np.where(own.index % 2, "falls", "rises"))
    table = files.read_parquet(gather(given).captions, "", ["split", "kind", "finding", "style"])
    assert table["split"].tolist() == split
    assert set(table["kind"]) == {"chart"}
    assert set(table["finding"]) == {"falls", "rises"}
    assert set(table["style"]) == {"sentence"}


@pytest.mark.filterwarnings("ignore")  # of tracing, by torch
@pytest.mark.parametrize(("finding", "engine"), [(False, "openvino"), (True, "torch")])
def test_words_are_learnt_from_them(
    finding: bool,
    engine: str,
    gather: Callable,
    own: pd.DataFrame,
    locked_settings: params.Locked,
    tmp_path: Path,
) -> None:
    """Brighter above or below: even features of a random tower tell them apart."""
    if finding:
        own = own.assign(kind="chart", finding=own["caption"])
    table = tmp_path / "table.csv"
    changes = {"tower": RANDOM, "captioned": str(table), "edges": [32], "epochs": 40}
    settings = locked_settings.model_copy(update=changes | {"pairs": 8, "runtime": engine})
    folder = tmp_path / "encoder"
    heads.train([gather(own)], {0: folder}, settings, 0, "cpu", 1, tmp_path / "features")
    record = files.read_json(folder / encoder.PROVENANCE, "")
    assert record["trained_on"] == "captioned images: table.csv"
    assert str(tmp_path) not in str(record)
    assert {"rises", "falls"} <= set(record["vocabulary"])
    assert record["validation_findings" if finding else "validation_accuracy"] == 1
    loaded = encoder.load(folder, CPU)
    images = archive.read(gather(own).archive, captioned.NAME, 32).images["train"]
    batch = tower.preprocess(np.asarray(images), loaded.manifest.preprocessing)
    seen = runtime.compiled(runtime.ImageSide(loaded.model), batch, engine, "fp32", 1).embed(batch)
    said = words.class_embeddings(loaded, [[RISING], [FALLING]])
    captions = files.read_parquet(gather(own).captions, "", ["split", "caption"])
    truth = captions.loc[captions["split"] == "train", "caption"] == FALLING
    assert ((seen @ said.T).argmax(axis=1) == truth.to_numpy()).mean() > 0.8


def said(table: pd.DataFrame, row: int, caption: str) -> pd.DataFrame:
    captions = table["caption"].tolist()
    captions[row] = caption
    return table.assign(caption=captions)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.drop(columns="caption"), "caption is missing"),
        (lambda t: said(t, 3, " "), "line 5: caption: expected a text"),
        (lambda t: t.assign(split="training"), "line 2: split: 'training' given, one of train"),
        (lambda t: t.assign(split="train"), "expected images to validate on, found none"),
        (lambda t: t.assign(split="val"), "expected images to learn from, found none"),
        (lambda t: t.assign(caption=[f"one {i}" for i in t.index]), "found none; add the column"),
        (
            lambda t: t.assign(split=["val", *["train"] * 19], kind=["odd", *["other"] * 19]),
            "line 2: split: val given, but no image of 'odd' is to learn from",
        ),
        (lambda t: said(t, 0, "\u2e80"), "line 2: caption: no word of '\u2e80' has a vector"),
        (lambda t: t.assign(image="none.png"), "none.png given, which is no file"),
        (lambda t: t.assign(finding=""), "line 2: finding: expected a text, found none"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_from_is_told_in_one_line(
    change: Callable, expected: str, gather: Callable, own: pd.DataFrame
) -> None:
    with pytest.raises(MedlabelError) as caught:
        gather(change(own))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_image_and_a_missing_table_are_named(
    gather: Callable, own: pd.DataFrame, tokenizer: wordvectors.Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "pictures" / "7.png").write_bytes(b"none")
    with pytest.raises(MedlabelError, match=r"7\.png: damaged or no image"):
        gather(own)
    with pytest.raises(MedlabelError, match=r"absent\.csv given, which is no file"):
        captioned.gather(tmp_path / "absent.csv", 32, tokenizer, tmp_path)


def test_no_phantoms_are_drawn_for_it(default_params: params.Params) -> None:
    part = default_params.encoders["locked"]
    assert default_params.phantoms_of(part)
    assert default_params.phantoms_of(part.model_copy(update={"captioned": "table.csv"})) == []
