"""Labelling one's own images: every file has its row or is counted, and no work is lost."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medlabel import files
from medlabel.annotation import images as reading
from medlabel.annotation.label import label
from medlabel.errors import MedlabelError
from medlabel.labels import zeroshot
from medlabel.randomness import stream
from medlabel.teacher import encoder, runtime, tower, words

CLASSES = {
    "chest": ["a photo of the chest"],
    "retina": ["a photo of the retina", "a photo of the eye"],
}
HEADER = ["file", "page", "label", "p_chest", "p_retina", "note"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "deeper").mkdir(parents=True)
    rng = stream(0, "own images")
    for name, shape in {
        "b.png": (20, 30),
        "a.jpg": (40, 28, 3),
        "deeper/c.PNG": (14, 14, 3),
    }.items():
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def run(images: Path, tiny_encoder: Path, tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    def call(**changes: object) -> list[dict[str, str]]:
        given = {
            "images": images,
            "folder": tiny_encoder,
            "target": tmp_path / "labels.csv",
            "classes": CLASSES,
            "batch_size": 2,
            "precision": "fp32",
            "device": "cpu",
            "threads": 1,
            "force": False,
            **changes,
        }
        label(**given)
        with given["target"].open(newline="", encoding="utf-8") as table:
            return list(csv.DictReader(table))

    return call


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where an image or an encoder is read."""
    monkeypatch.setattr(encoder, "load", lambda *_: pytest.fail("an encoder was loaded"))


def test_every_image_gets_a_row(
    run: Callable, images: Path, loaded: encoder.Encoder, tmp_path: Path
) -> None:
    table = run()
    assert list(table[0]) == HEADER
    assert [row["file"] for row in table] == ["a.jpg", "b.png", "deeper/c.PNG"]
    assert [row["page"] + row["note"] for row in table] == [""] * 3
    chances = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in table])
    names = np.array(list(CLASSES))
    assert [row["label"] for row in table] == names[chances.argmax(axis=1)].tolist()
    (page,) = reading.read_pages(images / "b.png")
    batch = tower.preprocess(page.pixels[None], loaded.manifest.preprocessing)
    described = words.class_embeddings(loaded, list(CLASSES.values()))
    side = runtime.ImageSide(loaded.model)
    embeddings = runtime.compiled(side, batch, "torch", "fp32", 1).embed(batch)
    one = zeroshot.probabilities(embeddings, described, loaded.logit_scale)
    np.testing.assert_allclose(chances[1], one[0], atol=1e-5)
    assert b"\r" not in (tmp_path / "labels.csv").read_bytes()


def test_same_images_same_bytes(run: Callable, tmp_path: Path) -> None:
    run()
    first = (tmp_path / "labels.csv").read_bytes()
    run(force=True)
    assert (tmp_path / "labels.csv").read_bytes() == first


def test_a_last_line_tells_what_was_done(
    run: Callable, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F15: not a word of the other files, nor of where the table is."""
    caplog.set_level(logging.INFO, logger="medlabel")
    (images / "scan.dcm").touch()
    (images / "README").touch()
    table = run()
    last = caplog.records[-1].getMessage()
    counts = [sum(row["label"] == name for row in table) for name in CLASSES]
    assert last == (
        f"3 images labelled; {counts[0]} chest, {counts[1]} retina; left out: 1 .dcm, 1 without "
        f"suffix; table: {tmp_path / 'labels.csv'}"
    )


def test_bad_files_have_rows_and_the_others_their_labels(
    run: Callable, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F02, F08, F18: one bad file of many."""
    whole = (images / "b.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.jpg").touch()
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(images / "deep.png")
    table = run()
    bad = {row["file"]: row for row in table if not row["label"]}
    assert list(bad) == ["cut.png", "deep.png", "empty.jpg"]
    assert bad["cut.png"]["note"].startswith("damaged or no image (")
    assert bad["deep.png"]["note"].startswith("more than 8 bits a channel (")
    assert all(row["p_chest"] == row["p_retina"] == "" for row in bad.values())
    assert [row["file"] for row in table if row["label"]] == ["a.jpg", "b.png", "deeper/c.PNG"]
    assert "cut.png: damaged or no image" in caplog.text


def test_nothing_is_written_where_nothing_can_be_read(run: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"DICM")
    with pytest.raises(
        MedlabelError, match=r"not one of 1 images could be read; a\.png: "
    ) as error:
        run(images=folder)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "labels.csv").exists()


def test_pages_have_rows_of_their_own(run: Callable, images: Path) -> None:
    """F04: a stack of slices; the damage of a later one does not take the first ones along."""
    pages = [Image.fromarray(np.full((9, 9), 9 * number, np.uint8)) for number in range(5)]
    pages[0].save(images / "stack.tif", save_all=True, append_images=pages[1:])
    table = [row for row in run() if row["file"] == "stack.tif"]
    assert [row["page"] for row in table] == ["1", "2", "3", "4", "5"]
    assert all(row["label"] for row in table)


@pytest.mark.parametrize("name", [b"r\xf6ntgen.png", "röntgen, seite 1.png".encode(), b'"a".png'])
def test_any_name_of_a_file_is_written(
    run: Callable, images: Path, tmp_path: Path, name: bytes
) -> None:
    """F13, F22: Latin-1 from an old ZIP is escaped, UTF-8, commas and quotes are kept."""
    (images / "b.png").rename(images / os.fsdecode(name))
    found = {row["file"] for row in run()} - {"a.jpg", "deeper/c.PNG"}
    expected = os.fsdecode(name).encode("utf-8", "backslashreplace").decode()
    assert found == {expected}


@pytest.mark.usefixtures("early")
def test_a_target_that_exists_is_kept(run: Callable, tmp_path: Path) -> None:
    """F33: the table was corrected by hand."""
    (tmp_path / "labels.csv").write_text("by hand")
    with pytest.raises(MedlabelError, match=r"labels\.csv: exists already; .*--force"):
        run()
    assert (tmp_path / "labels.csv").read_text() == "by hand"


def test_force_replaces_a_target(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("by hand")
    assert len(run(force=True)) == 3


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("force", [False, True])
def test_targets_that_cannot_be_written_are_told_before_the_first_image(
    run: Callable, tmp_path: Path, force: bool
) -> None:
    """F31: a folder in the target's place, a file in its folder's."""
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "labels.csv"):
        with pytest.raises(MedlabelError, match=r"found a folder|cannot be written") as error:
            run(target=target, force=force)
        assert "\n" not in str(error.value)


def test_the_umask_decides_who_may_read_the_table(run: Callable, tmp_path: Path) -> None:
    """F34: patients' data on a shared machine."""
    old = os.umask(0o077)
    try:
        run()
    finally:
        os.umask(old)
    assert (tmp_path / "labels.csv").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "second", [["a photo of the chest"], ["A photo  of the CHEST"], ["a photo of the chest"] * 2]
)
def test_classes_with_the_same_words_are_refused(
    run: Callable, second: list[str], tmp_path: Path
) -> None:
    """F25: every image would be labelled with the first one, at one half."""
    with pytest.raises(MedlabelError, match="chest and breast have the same words"):
        run(classes={"chest": ["a photo of the chest"], "breast": second})
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": {"chest": ["chest"]}}, "classes: chest given, at least two"),
        ({"precision": "half"}, "precision: 'half' given, one of auto, fp32, bf16"),
        ({"device": "gpu"}, "device: 'gpu' given, one of auto, cpu, cuda"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    run: Callable, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(MedlabelError, match=message):
        run(**changes)


def test_three_own_classes_need_no_mixture(run: Callable) -> None:
    """F23: one's own classes for one's own images."""
    names = ["normal", "pneumonia", "effusion"]
    table = run(classes={name: [f"a chest x-ray, {name}"] for name in names})
    assert list(table[0])[3:6] == [f"p_{name}" for name in names]
    assert {row["label"] for row in table} <= set(names)


def test_an_encoder_of_phantoms_says_so(
    run: Callable, tiny_encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run()
    assert "phantoms" not in caplog.text
    record = files.read_json(tiny_encoder / encoder.PROVENANCE, "pretrain")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (encoder.CONFIG, encoder.WEIGHTS):
        (copy / name).hardlink_to(tiny_encoder / name)
    files.write_json(copy / encoder.PROVENANCE, {**record, "trained_on": "phantoms"})
    run(folder=copy, force=True)
    assert "was trained on drawn phantoms alone" in caplog.text


def test_a_class_that_the_teacher_never_heard_of_is_told_at_the_end(
    run: Callable, make_encoder: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="medlabel")
    record = make_encoder(tmp_path / "taught") / encoder.PROVENANCE
    files.write_json(record, files.read_json(record, "") | {"vocabulary": ["chest"]})
    run(folder=record.parent, classes={"chest": ["a chest"], "bosom": ["a bosom echo"]})
    said = [one.getMessage() for one in caplog.records]
    assert any(one.startswith("bosom: no word of 'bosom echo' occurs in") for one in said)
    assert "guessed, because the teacher learnt none of their words: bosom; table:" in said[-1]
