from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medlabel import params
from medlabel.errors import MedlabelError
from medlabel.randomness import stream
from medlabel.teacher import embed, encoder, zeroshot
from medlabel.teacher.label import find_images, label, read_image

WORDS = params.Pseudolabel(
    templates=["a photo of the {}"],
    prompts=[
        params.Prompt(label="chest", descriptions=["chest"]),
        params.Prompt(label="retina", descriptions=["retina", "eye"]),
    ],
    logit_scale=None,
    select="all",
    k=1,
    targets="hard",
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "deeper").mkdir(parents=True)
    rng = stream(0, "own images")
    for name, shape in {
        "b.png": (20, 30),
        "a.jpg": (40, 28, 3),
        "deeper/c.PNG": (14, 14, 4),
    }.items():
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def run(images: Path, tiny_encoder: Path, tmp_path: Path) -> Callable[[], Path]:
    def call() -> Path:
        target = tmp_path / "labels.csv"
        settings = params.Embed(batch_size=2, precision="fp32")
        label(images, tiny_encoder, target, WORDS, settings, "cpu", 1)
        return target

    return call


def test_every_image_gets_a_row(run: Callable, images: Path, loaded: encoder.Encoder) -> None:
    table = pd.read_csv(run())
    assert list(table.columns) == ["file", "label", "p_chest", "p_retina"]
    assert table["file"].tolist() == ["a.jpg", "b.png", "deeper/c.PNG"]
    chances = table[["p_chest", "p_retina"]].to_numpy()
    names = np.array(["chest", "retina"])
    assert table["label"].tolist() == names[chances.argmax(axis=1)].tolist()
    pixels = read_image(images / "b.png")[None]
    batch = embed.preprocess(pixels, loaded.manifest.preprocessing)
    words = zeroshot.class_embeddings(loaded, WORDS.templates, [["chest"], ["retina", "eye"]])
    one = zeroshot.probabilities(
        embed.encode_images(loaded, batch, "fp32"), words, loaded.logit_scale
    )
    np.testing.assert_allclose(chances[1], one[0], atol=1e-5)


def test_same_images_same_bytes(run: Callable) -> None:
    first = run().read_bytes()
    assert run().read_bytes() == first
    assert b"\r" not in first


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nbroken"])
def test_damaged_file_is_named_and_nothing_is_written(
    content: bytes, run: Callable, images: Path, tmp_path: Path
) -> None:
    (images / "d.png").write_bytes(content)
    with pytest.raises(MedlabelError, match=r"d\.png: expected an image, found") as caught:
        run()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "labels.csv").exists()


def test_truncated_image_is_refused(images: Path) -> None:
    whole = (images / "b.png").read_bytes()
    (images / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MedlabelError, match=r"b\.png: expected an image"):
        read_image(images / "b.png")


def test_sixteen_bits_need_a_window(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(MedlabelError, match=r"expected 8 bits a channel, found Pillow's mode I;16"):
        read_image(tmp_path / "deep.png")


def test_grey_stays_grey_and_colour_loses_transparency(images: Path) -> None:
    shapes = {path.name: read_image(path).shape for path in find_images(images)}
    assert shapes == {"b.png": (20, 30), "a.jpg": (40, 28, 3), "c.PNG": (14, 14, 3)}


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="no such folder"):
        find_images(tmp_path / "missing")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MedlabelError, match="found none"):
        find_images(tmp_path)


def test_names_with_commas_are_quoted(run: Callable, images: Path) -> None:
    (images / "b.png").rename(images / 'b, "one".png')
    with run().open(newline="") as stream_:
        assert [row["file"] for row in csv.DictReader(stream_)][1] == 'b, "one".png'
