"""From captioned files to SYNTHETIC images, classifiers, tables and figures, on small files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medlabel import files, params
from medlabel.data import npz
from medlabel.errors import MedlabelError
from medlabel.generation import classifiers, run
from medlabel.generation.run import Source
from medlabel.layout import GENERATED_FILES, GENERATION_FILES
from medlabel.report import generation as drawing

COUNTS = {"train": (40, 12), "val": (4, 4), "test": (10, 8)}  # normal ones are bright
NAMES = ["normal", "pneumonia"]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Bright and dark images with captions; every third caption does not say which."""
    random, arrays, rows, captions = np.random.default_rng(0), {}, [], []
    for split, counts in COUNTS.items():
        labels = np.repeat([0, 1], counts)
        grey = np.where(labels == 0, 180, 40)[:, None, None]
        images = grey + random.integers(40, size=(len(labels), 28, 28))
        arrays |= {f"{split}_images": images.astype(np.uint8)}
        arrays |= {f"{split}_labels": labels[:, None].astype(np.uint8)}
        for row, label in enumerate(labels):
            named, role = row % 3 > 0, "test" if split == "test" else "train"
            rows.append((role, "pneumoniamnist", split, row, NAMES[label]))
            style = "sentence" if named else "title"
            said = NAMES[label] if named else "a chest X-ray"
            captions.append((split, row, "phantom_chest", NAMES[label], style, said))
    files.write_npz(tmp_path / "images.npz", arrays)
    pool = pd.DataFrame(rows, columns=["role", "dataset", "split", "row", "class"])
    files.write_parquet(tmp_path / "pool.parquet", pool.astype({"row": np.int32}))
    columns = ["split", "row", "kind", "finding", "style", "caption"]
    files.write_parquet(tmp_path / "captions.parquet", pd.DataFrame(captions, columns=columns))
    monkeypatch.setattr(run.encoder, "load", lambda folder, where: SimpleNamespace())
    places = {"normal": 0, "pneumonia": 1, "a chest X-ray": 2}
    monkeypatch.setattr(
        run.words,
        "class_embeddings",
        lambda loaded, said: np.eye(3, dtype=np.float32)[[places[one] for (one,) in said]],
    )
    roles = {
        "train": {"splits": ["train", "val"], "count": None},
        "test": {"splits": ["test"], "count": None},
    }
    classes = [
        {"name": name, "dataset": "pneumoniamnist", "labels": [label], **roles}
        for label, name in enumerate(NAMES)
    ]
    return Source(
        params.Mixture.model_validate({"size": 28, "classes": classes}),
        tmp_path / "pool.parquet",
        {"pneumoniamnist": tmp_path / "images.npz"},
        {"pneumoniamnist": tmp_path / "captions.parquet"},
    )


@pytest.fixture
def settings(default_params: params.Params) -> params.Generation:
    changed = {
        "images": "normal_pneumonia",
        "judged": "normal_pneumonia",
        "width": 8,
        "steps": 4,
        "batch_size": 16,
        "integration": 4,
        "at_most": 14,
        "questions": {"pneumonia": [["normal"], ["pneumonia"]]},
        "filled": ["pneumonia"],
        "classifier_steps": 40,
        "seeds": 2,
    }
    return default_params.generation["real"].model_copy(update=changed)


def test_as_many_images_are_made_as_are_judged(settings: params.Generation) -> None:
    learnt, judged = np.repeat([0, 1], (44, 16)), np.repeat([0, 1], (44, 9))
    assert run.alone(learnt, judged, 2, settings) == [14, 9]
    assert run.lacking(judged, NAMES, settings) == {"pneumonia": (1, 35)}
    assert run.wanted(learnt, judged, NAMES, settings) == [14, 35]
    assert run.lacking(np.repeat([0, 1], (9, 44)), NAMES, settings) == {"pneumonia": (0, 35)}


def test_from_captions_to_tables(
    source: Source, settings: params.Generation, default_params: params.Params, tmp_path: Path
) -> None:
    made, out = tmp_path / "made", tmp_path / "out"
    run.write(source, source, tmp_path, settings, made, 3, "cpu")
    assert sorted(one.name for one in made.iterdir()) == sorted(GENERATED_FILES)
    kept = npz.members(made / "synthetic.npz", "generate")
    labels = kept["labels"].read()
    assert np.bincount(labels).tolist() == [14, 28]  # 44 normal ones less 16

    network = default_params.networks["capstone"]
    found = classifiers.judge(source, source, made, settings, network, 3, "cpu")
    alone, known = classifiers.ALONE[0], classifiers.ALONE[2]
    counts = {one.taught: (one.images, one.synthetic) for one in found.answers}
    assert counts == {
        alone: (28, 28),
        known: (28, 0),
        "oversampled": (60, 0),
        "nothing done": (60, 0),
        "filled up with SYNTHETIC": (88, 28),
    }
    for one in found.answers:
        assert one.probabilities.shape == (2, 18, 2)
        assert one.probabilities.sum(axis=2) == pytest.approx(1.0, abs=1e-5)
        assert np.bincount(one.truth).tolist() == [10, 8]

    few = default_params.statistics.model_copy(update={"resamples": 100})
    changed = {"generation": {"small": settings}, "statistics": few}
    whole = default_params.model_copy(update=changed)
    drawing.write(whole, "small", found, out)
    assert sorted(one.name for one in out.iterdir()) == sorted(GENERATION_FILES)
    assert all(one.name.startswith("synthetic_") for one in out.iterdir())
    told = (out / "synthetic_tables.md").read_text()
    titles = [line for line in told.splitlines() if line.startswith("#")]
    assert len(titles) == 4
    assert all("SYNTHETIC" in line for line in titles)
    assert "| pneumonia | training images of the sets judged | 28 | 0 | 1.000 (1.000" in told
    for figure in out.glob("*.svg"):
        assert "SYNTHETIC: " in figure.read_text()
    scores = pd.read_csv(out / "synthetic_scores.csv")
    assert len(scores) == 5 * 2
    assert scores["auc"].between(0, 1).all()


def test_every_image_is_learnt_with_its_own_caption(
    source: Source, settings: params.Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are merged and sorted on the way; and images are made of words of their class."""
    given, asked = [], []
    learn, imagine = run.flow.learn, run.flow.imagine
    monkeypatch.setattr(run.flow, "learn", lambda *them: (given.append(them[0]), learn(*them))[1])
    monkeypatch.setattr(
        run.flow, "imagine", lambda *them: (asked.append(them[1]), imagine(*them))[1]
    )
    run.write(source, source, tmp_path, settings, tmp_path / "made", 3, "cpu")
    (known,), (words,) = given, asked
    said = known.words.argmax(axis=1)
    bright = known.images.mean(axis=(1, 2)) > 127
    assert len(said) == 60
    assert np.array_equal(known.labels == 0, bright)
    assert np.array_equal(said[said < 2], known.labels[said < 2])
    assert (said == 2).sum() == 21  # every third names nothing
    assert words.argmax(axis=1).tolist() == [0] * 14 + [1] * 28


def test_captions_that_name_nothing_make_no_image(
    source: Source, settings: params.Generation, tmp_path: Path
) -> None:
    table = pd.read_parquet(tmp_path / "captions.parquet")
    silent = table["finding"] == "pneumonia"
    files.write_parquet(
        tmp_path / "captions.parquet", table.assign(style=table["style"].mask(silent, "title"))
    )
    with pytest.raises(MedlabelError, match="images of pneumonia show, found none"):
        run.write(source, source, tmp_path, settings, tmp_path / "made", 3, "cpu")
    assert not (tmp_path / "made").exists()


def test_missing_synthetic_images_are_told(
    source: Source,
    settings: params.Generation,
    default_params: params.Params,
    tmp_path: Path,
) -> None:
    network = default_params.networks["capstone"]
    with pytest.raises(MedlabelError, match="it is made by `medlabel generate`"):
        classifiers.judge(source, source, tmp_path / "no", settings, network, 3, "cpu")
