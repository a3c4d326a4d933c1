"""Labelling one's own images: every file has its row, nothing is lost, nothing is told on."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medlabel import files
from medlabel.annotation import corrections, embedding, exports, labelling, naming, sources
from medlabel.data.reading import images as reading
from medlabel.errors import MedlabelError
from medlabel.labels import estimate, prompts
from medlabel.labels import sources as origins
from medlabel.randomness import stream
from medlabel.teacher import encoder, runtime, tower, words
from tests.annotation.conftest import CLASSES, Run

HEADER = ["file", "page", "label", "p_chest", "p_retina", "teacher", "doubt", "review_rank"]
HEADER += ["cluster", "status", "note"]
SAME_EACH_TIME = ("labels.csv", "labels.parquet", "review.csv", "clusters.csv", "card.md")


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where an image or an encoder is read."""
    monkeypatch.setattr(encoder, "load", lambda *_: pytest.fail("an encoder was loaded"))


def test_every_image_gets_a_row(
    run: Run, images: Path, loaded: encoder.Encoder, tmp_path: Path
) -> None:
    table = run()
    assert list(table[0]) == HEADER
    assert [row["file"] for row in table] == ["a.jpg", "b.png", "deeper/c.PNG"]
    assert [row["page"] + row["note"] for row in table] == [""] * 3
    chances = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in table])
    names = np.array(list(CLASSES))
    assert [row["label"] for row in table] == names[chances.argmax(axis=1)].tolist()
    pages = [next(iter(reading.read_pages(images / row["file"]))) for row in table]
    batch = torch.cat(
        [tower.preprocess(page.pixels[None], loaded.manifest.preprocessing) for page in pages]
    )
    described = words.class_embeddings(loaded, list(CLASSES.values()))
    side = runtime.ImageSide(loaded.model)
    embeddings = runtime.compiled(side, batch, "torch", "fp32", 1).embed(batch)
    alone = labelling.judge(embeddings, described, loaded.logit_scale, list(CLASSES))
    np.testing.assert_allclose(chances, alone.probabilities, atol=1e-4)
    assert b"\r" not in (tmp_path / "labels" / "labels.csv").read_bytes()
    assert [float(row["doubt"]) for row in table] == pytest.approx(
        1 - chances.max(axis=1), abs=2e-6
    )


def test_the_most_doubtful_image_comes_first_in_the_review(run: Run, tmp_path: Path) -> None:
    table = run()
    ranked = sorted(table, key=lambda row: int(row["review_rank"]))
    doubts = [float(row["doubt"]) for row in ranked]
    assert doubts == sorted(doubts, reverse=True)
    review = pd.read_csv(tmp_path / "labels" / "review.csv")
    assert review["file"].tolist() == [row["file"] for row in ranked]
    assert (review["label"] != review["second"]).all()
    assert review["correction"].isna().all()


def test_tables_agree_and_the_record_tells_how_they_were_made(run: Run, tmp_path: Path) -> None:
    table = run()
    parquet = pd.read_parquet(tmp_path / "labels" / "labels.parquet")
    assert list(parquet) == HEADER
    assert parquet["label"].tolist() == [row["label"] for row in table]
    shown = [f"{one:.6f}" for one in parquet["p_chest"]]
    assert shown == [row["p_chest"] for row in table]
    record = json.loads((tmp_path / "labels" / "run.json").read_text())
    assert record["prompts"] == CLASSES
    assert record["versions"]["medlabel"]
    assert record["images_embedded_now"] == 3
    for name, checksums in record["checksums"].items():
        assert checksums == [files.digest(tmp_path / "labels" / name)]
    card = (tmp_path / "labels" / "card.md").read_text()
    assert "Not for clinical use" in card
    assert "a photo of the retina; a photo of the eye" in card
    assert str(tmp_path) not in card + json.dumps(record)


def test_what_was_embedded_is_not_embedded_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other words need no network, and a moved file is the same file."""
    first = run()
    content = {name: (tmp_path / "labels" / name).read_bytes() for name in SAME_EACH_TIME}
    monkeypatch.setattr(runtime, "compiled", lambda *_: pytest.fail("an image was embedded"))
    run()
    assert {name: (tmp_path / "labels" / name).read_bytes() for name in SAME_EACH_TIME} == content
    (tmp_path / "mine" / "b.png").rename(tmp_path / "mine" / "z.png")
    other = run(sentences={"eye": ["an eye"], "hand": ["a hand"], "foot": ["a foot"]})
    assert len(other) == len(first)


def test_a_large_folder_is_labelled_with_a_second_process_and_by_the_same_bytes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run(out=tmp_path / "alone", workers=2)
    monkeypatch.setattr("medlabel.annotation.label.MANY", 1)
    for _ in range(2):  # the second time everything is known
        assert run(out=tmp_path / "beside", workers=2) == alone
    for name in (*SAME_EACH_TIME, *exports.FILES):
        found = (tmp_path / "beside" / name).read_bytes()
        assert found == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    rng = stream(0, "more images")
    for number in range(6):
        pixels = rng.integers(0, 256, (14, 14), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"more_{number}.png")
    run(out=tmp_path / "whole", cache=tmp_path / "other cache")
    monkeypatch.setattr("medlabel.annotation.embedding.SECONDS_BETWEEN_COMMITS", 0.0)
    embed, calls = runtime.Runner.embed, []

    def die(self: runtime.Runner, batch: object) -> object:
        calls.append(batch)
        if len(calls) == killed_after:
            raise KeyboardInterrupt
        return embed(self, batch)

    monkeypatch.setattr(runtime.Runner, "embed", die)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (tmp_path / "labels" / "labels.csv").exists()
    run()
    # Not all of the five batches again; those ahead of the one that died are lost with it.
    assert len(calls) <= max(6, killed_after + 4) + embedding.BATCHES_AHEAD
    for name in SAME_EACH_TIME:
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "labels" / name).read_bytes() == whole, name


def test_worker_processes_give_the_same(run: Run, images: Path, tmp_path: Path) -> None:
    for number in range(40):
        (images / f"{number}.txt").write_text("no image")
    alone, together = run(), run(out=tmp_path / "two", workers=2, cache=tmp_path / "empty")
    assert alone == together


def test_processes_of_other_libraries_are_not_disturbed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first `joblib.Parallel` of a process takes over the shared executor if there is one."""
    monkeypatch.setattr("joblib.executor._executor_args", None)
    run(workers=2)
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(one) for one in (-1, -2)) == [1, 2]


def test_a_decoder_that_crashes_is_a_row(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K3: libraries in C may end the process; the other files of the task are read again."""
    broken = Crashing("crash.png", str(images / "b.png"))
    found = sources.find(images)
    monkeypatch.setattr(sources, "find", lambda *_: [*found, broken])
    table = {row["file"]: row for row in run(workers=1)}
    assert table["crash.png"]["status"] == "unreadable"
    assert table["crash.png"]["note"] == "its decoder crashed; export it as PNG"
    assert sum(row["status"] == "labelled" for row in table.values()) == 3


class Crashing(sources.Source):
    """A file whose reading ends the process, as a damaged one may end a decoder."""

    def content(self) -> bytes:
        os._exit(1)


def test_a_last_line_tells_what_was_done(
    run: Run, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F15: not a word of the other files, nor of where the table is."""
    caplog.set_level(logging.INFO, logger="medlabel")
    (images / "notes.txt").write_text("to do")
    (images / "empty.png").touch()
    (images / "copy.png").write_bytes((images / "b.png").read_bytes())
    table = run()
    last = caplog.records[-1].getMessage()
    counts = [sum(row["label"] == name for row in table) for name in CLASSES]
    assert last == (
        f"4 images labelled; {counts[0]} chest, {counts[1]} retina; 1 of them duplicates; left "
        f"out: 1 empty, 1 no image (column note); table: {tmp_path / 'labels' / 'labels.csv'}; "
        f"page: {tmp_path / 'labels' / 'page.html'}"
    )


def test_bad_files_have_rows_and_the_others_their_labels(
    run: Run, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F08, F09, F18: one bad file of many."""
    whole = (images / "b.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.jpg").touch()
    (images / "._b.png").write_bytes(b"\0\5\x16\7")
    (images / "noted.txt").write_text("no image")
    table = run()
    bad = {row["file"]: row for row in table if not row["label"]}
    assert {name: row["status"] for name, row in bad.items()} == {
        "._b.png": "skipped",
        "cut.png": "unreadable",
        "empty.jpg": "empty",
        "noted.txt": "no image",
    }
    assert bad["cut.png"]["note"].startswith("damaged (")
    assert all(row["p_chest"] == row["doubt"] == row["review_rank"] == "" for row in bad.values())
    assert [row["file"] for row in table if row["label"]] == ["a.jpg", "b.png", "deeper/c.PNG"]
    assert "cut.png: damaged (" in caplog.text


def test_copies_have_the_label_and_name_the_first(run: Run, images: Path) -> None:
    """Equal by their pixels, whatever the format."""
    Image.open(images / "b.png").save(images / "same.bmp")
    row = next(row for row in run() if row["file"] == "same.bmp")
    assert row["status"] == "duplicate"
    assert row["note"] == "the same pixels as b.png"
    assert row["label"]
    assert row["review_rank"] == ""


def test_nothing_is_written_where_nothing_can_be_read(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"DICM")
    with pytest.raises(
        MedlabelError, match=r"not one of 1 files could be read .* a\.png: "
    ) as error:
        run(images=folder)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "labels" / "labels.csv").exists()


def test_pages_have_rows_of_their_own(run: Run, images: Path) -> None:
    """F04: a stack of slices."""
    pages = [Image.fromarray(np.full((9, 9), 9 * number, np.uint8)) for number in range(5)]
    pages[0].save(images / "stack.tif", save_all=True, append_images=pages[1:])
    table = [row for row in run() if row["file"] == "stack.tif"]
    assert [row["page"] for row in table] == ["1", "2", "3", "4", "5"]
    assert all(row["teacher"] for row in table)


@pytest.mark.parametrize("name", [b"r\xf6ntgen.png", "röntgen, seite 1.png".encode(), b'"a".png'])
def test_any_name_of_a_file_is_written(run: Run, images: Path, name: bytes) -> None:
    """F13, F22: Latin-1 from an old ZIP is escaped, UTF-8, commas and quotes are kept."""
    (images / "b.png").rename(images / os.fsdecode(name))
    found = {row["file"] for row in run()} - {"a.jpg", "deeper/c.PNG"}
    expected = os.fsdecode(name).encode("utf-8", "backslashreplace").decode()
    assert found == {expected}


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("name", ["labels.csv", "review.csv"])
def test_a_file_that_is_not_ours_is_kept(run: Run, tmp_path: Path, name: str) -> None:
    """F33: the table was corrected by hand."""
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / name).write_text("by hand")
    with pytest.raises(MedlabelError, match=rf"{name}: exists already .*--force"):
        run()
    assert (tmp_path / "labels" / name).read_text() == "by hand"


def test_a_table_that_was_changed_since_is_kept(run: Run, tmp_path: Path) -> None:
    run()
    table = tmp_path / "labels" / "labels.csv"
    table.write_text(table.read_text().replace("chest", "breast"))
    with pytest.raises(MedlabelError, match=r"labels\.csv: .*was changed since"):
        run()


def test_force_replaces_a_table_and_keeps_a_copy(run: Run, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for number in (1, 2):
        (tmp_path / "labels" / "labels.csv").write_text(f"by hand {number}")
        assert len(run(force=True)) == 3
        kept = tmp_path / "labels" / f"labels.kept-{number}.csv"
        assert kept.read_text() == f"by hand {number}"


def test_corrections_win_and_are_remembered(run: Run, images: Path, tmp_path: Path) -> None:
    (images / "copy.png").write_bytes((images / "b.png").read_bytes())
    run(audit=2)
    audit = pd.read_csv(tmp_path / "labels" / "audit.csv", dtype=str)
    assert len(audit) == 2
    given = tmp_path / "checked.csv"
    given.write_text("file,page,label\nb.png,,hand\na.jpg,,y\n")
    found = {row["file"]: row for row in run(corrections=given, audit=2)}
    assert found["b.png"]["label"] == found["copy.png"]["label"] == "hand"
    assert found["b.png"]["teacher"] != "hand"
    assert found["a.jpg"]["label"] == found["a.jpg"]["teacher"]
    assert [found[name]["status"] for name in ("a.jpg", "b.png")] == ["checked"] * 2
    assert "1 of 2 right (50.0%; exact 95%" in (tmp_path / "labels" / "card.md").read_text()
    given.write_text("file,label\ndeeper/c.PNG,foot\n")
    run(corrections=given)
    (images / "a.jpg").unlink()
    later = {row["file"]: row["label"] for row in run()}
    assert later == {"b.png": "hand", "copy.png": "hand", "deeper/c.PNG": "foot"}


def test_a_table_corrected_by_hand_is_taken_over_and_kept(run: Run, tmp_path: Path) -> None:
    """F33: labels.csv itself is given back."""
    run()
    path = tmp_path / "labels" / "labels.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, "label"] = "hand"
    table.to_csv(path, index=False)
    by_hand = path.read_bytes()
    assert run(corrections=path)[1]["label"] == "hand"
    assert path.with_name("labels.kept-1.csv").read_bytes() == by_hand


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("force", [False, True])
def test_targets_that_cannot_be_written_are_told_before_the_first_image(
    run: Run, tmp_path: Path, force: bool
) -> None:
    """F31: a file in the folder's place, or above it; a folder in the table's place."""
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "labels.csv").mkdir(parents=True)
    for target in (tmp_path / "file", tmp_path / "file" / "labels", tmp_path / "folder"):
        with pytest.raises(MedlabelError, match=r"found a f|cannot be written") as error:
            run(out=target, force=force)
        assert "\n" not in str(error.value)


def test_the_umask_decides_who_may_read_the_labels(run: Run, tmp_path: Path) -> None:
    """F34: patients' data on a shared machine."""
    old = os.umask(0o077)
    try:
        run()
    finally:
        os.umask(old)
    for path in [*(tmp_path / "labels").iterdir(), *(tmp_path / "cache").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_links_by_label_are_links(run: Run, images: Path, tmp_path: Path) -> None:
    table = run(by_label=True)
    run(by_label=True)  # a second time in the same place
    links = sorted((tmp_path / "labels" / "by_label").rglob("*.*"))
    assert len(links) == 3
    for row in table:
        link = tmp_path / "labels" / "by_label" / row["label"] / row["file"].replace("/", "__")
        assert link.is_symlink()
        assert link.resolve() == (images / row["file"]).resolve()


@pytest.mark.parametrize(
    "second", [["a photo of the chest"], ["A photo  of the CHEST"], ["a photo of the chest"] * 2]
)
def test_classes_with_the_same_words_are_refused(
    run: Run, second: list[str], tmp_path: Path
) -> None:
    """F25: every image would be labelled with the first one, at one half."""
    with pytest.raises(MedlabelError, match="chest and breast have the same words"):
        run(sentences={"chest": ["a photo of the chest"], "breast": second})
    assert not (tmp_path / "labels" / "labels.csv").exists()


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentences": {"chest": ["chest"]}}, "classes: chest given, at least two"),
        ({"sentences": {}, "precision": 0.9}, "--precision: given with --clusters-only, which"),
        ({"sentences": {}, "train_student": True}, "--train-student: given with --clusters-only"),
        ({"sentences": {}, "student": Path("s")}, "--student: given with --clusters-only, which"),
        ({"arithmetic": "half"}, "arithmetic: 'half' given, one of auto, fp32, bf16"),
        ({"device": "gpu"}, "device: 'gpu' given, one of auto, cpu, cuda"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    run: Run, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(MedlabelError, match=message):
        run(**changes)


def test_an_encoder_of_phantoms_says_so(
    run: Run, tiny_encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run()
    assert "phantoms" not in caplog.text
    record = files.read_json(tiny_encoder / encoder.PROVENANCE, "pretrain")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (encoder.CONFIG, encoder.WEIGHTS):
        (copy / name).hardlink_to(tiny_encoder / name)
    files.write_json(copy / encoder.PROVENANCE, {**record, "trained_on": "phantoms"})
    run(encoder=str(copy))
    assert "was trained on drawn phantoms alone" in caplog.text


def test_a_class_that_the_teacher_never_heard_of_is_told_at_the_end(
    run: Run, make_encoder: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="medlabel")
    record = make_encoder(tmp_path / "taught") / encoder.PROVENANCE
    files.write_json(record, files.read_json(record, "") | {"vocabulary": ["chest"]})
    words = {"chest": ["a chest"], "bosom": ["a bosom echo"]}
    run(encoder=str(record.parent), sentences=words)
    said = [one.getMessage() for one in caplog.records]
    assert any(one.startswith("bosom: no word of 'bosom echo' occurs in") for one in said)
    assert "guessed, because the teacher learnt none of their words: bosom; table:" in said[-1]


@pytest.fixture
def thought(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the labels be thought as right as a share says, and some images to fit no class."""

    def think(share: float, stray: Sequence[bool] = (False, False, False)) -> None:
        found = estimate.judged(share, share, share, np.array(stray))
        for name in ("estimate", "of_views"):
            monkeypatch.setattr(estimate, name, lambda *_: found)

    return think


def test_labels_that_are_thought_wrong_are_not_written(
    run: Run, thought: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thought(0.5)
    with pytest.raises(MedlabelError, match=r"refused: .*--anyway") as caught:
        run(anyway=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "labels" / "labels.csv").exists()
    assert len(run(anyway=True)) == 3
    assert "refused: " in caplog.text
    assert "refused: " in (tmp_path / "labels" / "card.md").read_text()


def test_what_a_person_checked_is_labelled_all_the_same(
    run: Run, thought: Callable[..., None], tmp_path: Path
) -> None:
    thought(0.5)
    checked = tmp_path / "checked.csv"
    checked.write_text("file,page,correction\na.jpg,,retina\n")
    rows = run(anyway=False, corrections=checked)
    assert [row["label"] for row in rows if row["file"] == "a.jpg"] == ["retina"]


def test_images_that_fit_no_class_are_set_aside(
    run: Run, thought: Callable[..., None], tmp_path: Path
) -> None:
    thought(1.0, [False, True, False])
    rows = run()
    stray = [row for row in rows if row["status"] == "fits no class"]
    assert len(stray) == 1
    assert stray[0]["label"] == ""
    assert stray[0]["teacher"] in CLASSES
    assert "1 fits no class" in (tmp_path / "labels" / "card.md").read_text()
    assert "fits no class" in (tmp_path / "labels" / "page.html").read_text()


def test_what_fits_no_class_keeps_the_label_that_a_person_gave_it(
    run: Run, thought: Callable[..., None], tmp_path: Path
) -> None:
    thought(1.0, [False, True, False])
    checked = tmp_path / "checked.csv"
    checked.write_text("file,page,correction\nb.png,,hand\n")
    for given in (checked, None):
        rows = {row["file"]: row for row in run(corrections=given)}
        assert rows["b.png"]["label"] == "hand"
        assert "hand" in (tmp_path / "labels" / "page.html").read_text()


def test_few_images_are_never_trusted(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run()
    assert "trusted: " not in caplog.text
    assert "check: " in caplog.text or "refused: " in caplog.text


def test_words_that_the_teacher_never_heard_are_not_trusted(
    run: Run,
    make_encoder: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Clusters follow such words into the error together, and agree."""
    sure = replace(estimate.judged(1.0, 1.0, 1.0, np.zeros(3, bool)), verdict="trusted")
    monkeypatch.setattr(estimate, "estimate", lambda *_: sure)
    caplog.set_level(logging.INFO, logger="medlabel")
    run()
    assert "trusted: " in caplog.text
    caplog.clear()
    record = make_encoder(tmp_path / "taught") / encoder.PROVENANCE
    files.write_json(record, files.read_json(record, "") | {"vocabulary": ["chest"]})
    run(
        encoder=str(record.parent),
        sentences={"chest": ["a chest"], "bosom": ["a bosom echo"]},
        out=tmp_path / "again",
    )
    assert "trusted: " not in caplog.text
    assert "check: the teacher learnt none of the words of bosom" in caplog.text


@pytest.fixture
def many(images: Path) -> Path:
    """More images: enough for several clusters; a copy, and a file that is no image."""
    rng = stream(0, "many")
    for number in range(16):
        pixels = rng.integers(0, 256, (14, 14), dtype=np.uint8)
        Image.fromarray(pixels // (1 + 3 * (number % 2))).save(images / f"more_{number}.png")
    (images / "copy.png").write_bytes((images / "more_3.png").read_bytes())
    (images / "notes.txt").write_text("to do")
    return images


@pytest.mark.usefixtures("many")
def test_a_name_for_a_cluster_is_one_for_all_of_its_images(run: Run, tmp_path: Path) -> None:
    rows = run()
    assert {row["cluster"] for row in rows if row["p_chest"]} == {"1", "2", "3"}
    assert [row["cluster"] for row in rows if not row["p_chest"]] == [""]
    assert len({row["cluster"] for row in rows if row["file"] in ("copy.png", "more_3.png")}) == 1
    path = tmp_path / "labels" / "clusters.csv"
    clusters = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert clusters["cluster"].tolist() == ["1", "2", "3"]
    assert clusters["images"].astype(int).sum() == 19
    clusters["correction"] = ["hand", "", "y"]
    clusters.to_csv(path, index=False)
    with pytest.raises(MedlabelError, match=r"clusters\.csv: .*give it as --corrections"):
        run()
    named = run(corrections=path)
    for row in named:
        if row["cluster"] == "1":
            assert row["label"] == "hand"
        if row["cluster"] == "3":
            assert row["label"] == clusters["label"][2]
        if row["cluster"] == "2":
            assert row["status"] in ("labelled", "fits no class", "duplicate")
    counts = [sum(row["status"] == "checked by cluster" for row in named)]
    assert counts == [clusters["images"].astype(int)[[0, 2]].sum()]
    assert run() == named  # remembered
    again = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert again["id"].tolist() == clusters["id"].tolist()
    assert again["label"][0] == "hand"
    # The teacher was not judged by what nobody looked at one by one.
    assert "No image was checked" in (tmp_path / "labels" / "card.md").read_text()


def test_names_of_clusters_of_other_images_are_refused(
    run: Run, many: Path, tmp_path: Path
) -> None:
    run()
    given = tmp_path / "clusters.csv"
    clusters = pd.read_csv(tmp_path / "labels" / "clusters.csv", dtype=str, keep_default_na=False)
    clusters.assign(correction="hand").to_csv(given, index=False)
    (many / "more_3.png").unlink()
    (many / "copy.png").unlink()
    with pytest.raises(MedlabelError, match="no cluster has the same images as") as error:
        run(corrections=given)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("many")
def test_chance_chooses_within_clusters(run: Run, tmp_path: Path) -> None:
    run(audit_clusters=2)
    path = tmp_path / "labels" / "audit.csv"
    audit = pd.read_csv(path, dtype=str, keep_default_na=False)
    sizes = pd.read_csv(tmp_path / "labels" / "clusters.csv")["images"]
    assert audit.groupby("cluster").size().tolist() == sizes.clip(upper=2).tolist()
    audit.assign(correction="y").to_csv(path, index=False)
    run(audit_clusters=2, corrections=path)
    card = (tmp_path / "labels" / "card.md").read_text()
    assert "100.0% right, weighted by the sizes of 3 clusters" in card
    with pytest.raises(MedlabelError, match="both write"):
        run(audit=3, audit_clusters=2)


def test_images_are_grouped_without_words(
    run: Run, many: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="medlabel")
    rows = run(sentences={}, anyway=False)
    assert (
        "19 in clusters without a name; 1 of them duplicates; left out: 1 no image" in caplog.text
    )
    assert "clustered: no words were given" in caplog.text
    assert list(rows[0]) == [name for name in HEADER if not name.startswith("p_")]
    assert {row["label"] for row in rows} == {""}
    assert {row["status"] for row in rows} == {"clustered", "duplicate", "no image"}
    assert {row["cluster"] for row in rows} == {"", "1", "2", "3"}
    path = tmp_path / "labels" / "clusters.csv"
    clusters = pd.read_csv(path, dtype=str, keep_default_na=False)
    clusters["correction"] = ["hand", "foot", ""]
    clusters.to_csv(path, index=False)
    named = run(sentences={}, corrections=path)
    assert {row["label"] for row in named if row["cluster"] == "2"} == {"foot"}
    assert {row["label"] for row in named if row["cluster"] == "3"} == {""}
    assert "labels.csv" in {one.name for one in (tmp_path / "labels").iterdir()}
    assert run(sentences={}) == named
    with_words = run()
    assert {row["label"] for row in with_words if row["cluster"] in {"", "1", "2", "3"}} >= {"foot"}
    # An image that was added changes clusters, not what was said of the images.
    Image.fromarray(np.full((9, 9), 200, np.uint8)).save(many / "new.png")
    assert sum(row["label"] == "foot" for row in run()) == sum(
        row["label"] == "foot" for row in named
    )


def test_clusters_do_not_depend_on_names_or_copies(run: Run, many: Path, tmp_path: Path) -> None:
    before = run()
    for place, path in enumerate(sorted(many.glob("more_*.png"), reverse=True)):
        path.rename(many / f"a{place:02d}_{path.name}")
    (many / "another.png").write_bytes((many / "b.png").read_bytes())
    after = run(out=tmp_path / "again")

    def clusters(rows: list[dict[str, str]]) -> dict[str, str]:
        return {row["file"].split("_", 1)[-1]: row["cluster"] for row in rows}

    first, second = clusters(before), clusters(after)
    assert second.pop("another.png") == first["b.png"]
    shorter = {name.removeprefix("more_"): number for name, number in first.items()}
    assert {name.removeprefix("more_"): number for name, number in second.items()} == shorter


@pytest.mark.parametrize(("share", "verdict"), [(1.0, "check"), (0.5, "refused")])
def test_images_of_two_sources_are_not_trusted(
    run: Run,
    images: Path,
    thought: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    share: float,
    verdict: str,
) -> None:
    thought(share)
    seen = {}

    def find(properties: list[origins.Property], *_: object) -> origins.Split:
        seen.update({one.what: one for one in properties})
        return origins.Split("sharpness", 0.4, 9.0)

    monkeypatch.setattr(origins, "find", find)
    run()
    run()  # what was measured is remembered
    card = (tmp_path / "labels" / "card.md").read_text()
    assert f"{verdict}: " in card
    assert "differ in sharpness (40% of them stand apart)" in card
    assert np.exp(seen["width"].values) == pytest.approx([28, 30, 14])  # a.jpg, b.png, deeper/c.PNG
    assert seen["folder"].values.tolist() in ([1, 1, 0], [0, 0, 1])


def test_sentences_under_the_wrong_name_are_not_trusted(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sure = replace(estimate.judged(1.0, 1.0, 1.0, np.zeros(3, bool)), verdict="trusted")
    monkeypatch.setattr(estimate, "estimate", lambda *_: sure)
    monkeypatch.setattr(naming, "swapped", lambda *_: ("chest", "retina"))
    run()
    card = (tmp_path / "labels" / "card.md").read_text()
    assert "check: the names chest and retina say what is said of the other one" in card
    monkeypatch.setattr(naming, "swapped", lambda *_: ())
    monkeypatch.setattr(naming, "mute", lambda *_: ("one", "two"))
    run()
    card = (tmp_path / "labels" / "card.md").read_text()
    assert "check: the names one, two do not bear out what is said of them" in card


def test_sentences_are_weighed_if_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = {"chest": ["a chest", "the chest"], "retina": ["a retina", "an eye"]}
    shapes = []

    def weights(images: np.ndarray, each: np.ndarray) -> np.ndarray:
        shapes.append((images.shape, each.shape))
        return np.array([1.0, 0.0])

    monkeypatch.setattr(prompts, "weights", weights)
    weighed = run(sentences=said, weigh=True)
    first = run(sentences={name: some[:1] for name, some in said.items()}, out=tmp_path / "first")
    assert [row["p_chest"] for row in weighed] == [row["p_chest"] for row in first]
    ((images, each),) = shapes
    assert each == (2, 2, images[1])
    assert json.loads((tmp_path / "labels" / "run.json").read_text())["sentences"] == "weighed"
    with pytest.raises(MedlabelError, match="weigh: 1, 2 sentences of a class given"):
        run(weigh=True)


@pytest.mark.parametrize(
    ("right", "checked", "before", "after"),
    [
        (50, 50, "check", "trusted"),
        (47, 50, "refused", "trusted"),
        (5, 5, "check", "check"),
        (3, 3, "trusted", "trusted"),
        (0, 0, "trusted", "trusted"),
        (39, 50, "trusted", "check"),
        (20, 50, "trusted", "refused"),
    ],
)
def test_images_that_a_person_checked_decide_where_they_can(
    right: int, checked: int, before: str, after: str
) -> None:
    found = replace(estimate.judged(0.9, 0.9, 0.9, np.zeros(99, bool)), verdict=before)
    opinion = labelling.Opinion(np.ones((99, 2)) / 2, np.ones(99), np.zeros(99), found, None)
    judged = labelling.checked(opinion, corrections.Accuracy.of(right, checked))
    assert judged.estimate.verdict == after
    if before != after:
        assert f"of the images that chance chose, {right} of {checked} right" in judged.told
