"""Segmentation of phantoms by words: what is scored, the controls, and what is told of misfits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medlabel import params
from medlabel.data import phantoms
from medlabel.data.phantoms import masks
from medlabel.errors import MedlabelError
from medlabel.evaluate import overlap, segmentation
from medlabel.evaluate.segmentation import ANSWERS, LEARNT, MEAN, RANDOM, SWAPPED, UNSEEN, Found
from medlabel.layout import SEGMENTATION_FILES
from medlabel.params import Params, Segmentation
from medlabel.params.segmentation import Region, Shown
from medlabel.report import segmentation as drawing
from medlabel.teacher import trunks, wordvectors
from medlabel.teacher.tower import Preprocessing

SEED, SIZE, EDGE = 5, 28, 32
COUNTS = {"train": 16, "val": 8, "test": 6}
TOWER = {"source": "timm", "model": "test_efficientnet", "edge": None}
KINDS = ("phantom_chest", "phantom_blood")


@pytest.fixture(scope="module")
def settings(default_params: Params) -> Segmentation:
    usual = default_params.segmentation["phantoms"]
    return usual.model_copy(
        update={
            "parts": ["blocks.0", "blocks.1"],
            "sizes": [SIZE],
            "images": params.Counts(**COUNTS),
            "grid": 14,
            "hidden": 16,
            "steps": 30,
            "batch_size": 64,
            "regions": [one for one in usual.regions if one.kind in KINDS],
            "shown": [Shown(images="phantom_chest", words=["lungs", "pneumonia", "a cat"])],
        }
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, settings: Segmentation) -> segmentation.Inputs:
    folder, counts = tmp_path_factory.mktemp("phantoms"), params.Counts(**COUNTS)
    asked = params.Phantoms(
        size=SIZE, counts=counts, volumes=counts, stand_ins=counts, artefacts=False
    )
    images = {one: folder / f"{one[0]}.npz" for one in settings.series}
    captions = {one: folder / f"{one[0]}.parquet" for one in settings.series}
    for one in settings.series:
        phantoms.write(one[0], images[one], captions[one], counts, asked, SEED)
    return segmentation.Inputs(folder, images, captions, [images["phantom_chest", SIZE]])


@pytest.fixture(scope="module")
def teacher() -> SimpleNamespace:
    """A tower of random weights and real word vectors, as a loaded encoder has them."""
    vectors = wordvectors.load()
    torch.manual_seed(1)
    half = (0.5, 0.5, 0.5)
    return SimpleNamespace(
        manifest=SimpleNamespace(
            config={"locked_cfg": {"tower": TOWER}},
            preprocessing=Preprocessing((EDGE, EDGE), half, half, "bilinear", "squash", 0),
        ),
        model=SimpleNamespace(
            visual=SimpleNamespace(trunk=trunks.build(TOWER).eval()),
            text=SimpleNamespace(table=vectors.table),
        ),
        tokenizer=wordvectors.Tokenizer(vectors.tokenizer, 64),
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def found(inputs: segmentation.Inputs, settings: Segmentation, teacher: SimpleNamespace) -> Found:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segmentation.encoder, "load", lambda folder, where: teacher)
        return segmentation.judge(inputs, settings, SEED, "cpu", "torch")


def test_every_test_image_is_scored_by_every_answer(found: Found, settings: Segmentation) -> None:
    table = found.scores
    assert len(table) == len(ANSWERS) * len(settings.regions) * COUNTS["test"]
    assert set(table["answers"]) == {LEARNT, UNSEEN, RANDOM, MEAN, SWAPPED}
    assert table["marked"].between(0, 1).all()
    present = table[table["present"]]
    assert present[["dice", "iou"]].stack().between(0, 1).all()
    assert (present["iou"] <= present["dice"] + 1e-9).all()
    assert table.loc[~table["present"], ["dice", "iou", "auc"]].isna().all().all()


def test_images_without_a_region_are_known_as_such(found: Found) -> None:
    for (kind, region), own in found.scores.groupby(["kind", "region"]):
        drawn = masks.locate(str(kind), COUNTS["test"], SIZE, SEED, "test").masks[str(region)]
        for _, each in own.groupby("answers"):
            assert each["present"].tolist() == drawn.any((1, 2)).tolist()


def test_the_mean_mask_is_scored_as_by_hand(found: Found) -> None:
    own = found.scores[(found.scores["answers"] == MEAN) & (found.scores["region"] == "lungs")]
    train, val, test = (
        masks.locate("phantom_chest", count, SIZE, SEED, split).masks["lungs"]
        for split, count in COUNTS.items()
    )
    mean = train.mean(0, dtype=np.float32)
    best = max(
        overlap.THRESHOLDS,
        key=lambda at: np.mean([2 * ((mean > at) & one).sum() / ((mean > at).sum() + one.sum())
                                for one in val]),
    )  # fmt: skip
    marked = np.broadcast_to(mean > best, test.shape)
    assert own["dice"].to_numpy() == pytest.approx(overlap.dice(marked, test))


def test_several_phrases_are_averaged_and_absent_regions_have_no_score() -> None:
    mask = np.zeros((2, 4, 4), bool)
    mask[0, :2] = True
    maps = np.stack([np.where(mask, 0.9, 0.1), np.full(mask.shape, 0.2)]).astype(np.float32)
    region = Region(kind="phantom_chest", region="lungs", words=["lungs"], unseen=["air"])
    shown, other = segmentation._rows(region, UNSEEN, 4, maps, mask, 0.5)
    assert (shown["dice"], shown["iou"], shown["auc"]) == pytest.approx((0.5, 0.5, 0.75))
    assert shown["marked"] == pytest.approx(0.25)
    assert (shown["present"], other["present"], other["marked"]) == (True, False, 0.0)
    assert np.isnan(other["dice"])


def test_examples_show_a_region_and_the_words_that_were_asked(found: Found) -> None:
    titles = [one.title for one in found.regions]
    assert titles[:2] == ["chest: lungs"] * 2
    for one in found.regions:
        assert one.mask is not None
        assert one.mask.any()
        assert all(own.shape == one.image.shape[:2] for own in one.maps.values())
    assert list(found.regions[0].maps) == ["lungs", "pneumonia", "pulmonary tissue"]
    assert [one.mask for one in found.shown] == [None] * 4
    assert list(found.shown[0].maps) == ["lungs", "pneumonia", "a cat"]


def test_phantoms_of_another_seed_are_told(
    inputs: segmentation.Inputs,
    settings: Segmentation,
    teacher: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segmentation.encoder, "load", lambda folder, where: teacher)
    with pytest.raises(MedlabelError, match="findings that seed 6 draws, found others"):
        segmentation.judge(inputs, settings, SEED + 1, "cpu", "torch")


def test_a_region_that_is_never_drawn_is_told(
    inputs: segmentation.Inputs,
    settings: Segmentation,
    teacher: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segmentation.encoder, "load", lambda folder, where: teacher)
    heart = Region(kind="phantom_chest", region="heart", words=["heart"], unseen=["cardiac"])
    asked = settings.model_copy(update={"regions": [*settings.regions, heart]})
    with pytest.raises(MedlabelError, match="'heart' of phantom_chest given, lungs, pneumonia a"):
        segmentation.judge(inputs, asked, SEED, "cpu", "torch")


def test_figures_and_tables_say_what_was_scored(
    found: Found, settings: Segmentation, default_params: Params, tmp_path: Path
) -> None:
    few = default_params.statistics.model_copy(update={"resamples": 200})
    asked = default_params.model_copy(
        update={"statistics": few, "segmentation": {"phantoms": settings}}
    )
    drawing.write(asked, "phantoms", found, tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(SEGMENTATION_FILES)
    present = found.scores[found.scores["present"] & (found.scores["answers"] == LEARNT)]
    means = present.groupby(["kind", "region"])["dice"].mean()
    told = (tmp_path / "tables.md").read_text()
    assert f"| chest: lungs | 6 | {means['phantom_chest', 'lungs']:.3f} (" in told
    assert f"| mean over regions | {len(present)} | {means.mean():.3f} (" in told
    assert all("PHANTOM" in one.read_text() for one in tmp_path.glob("*.svg"))
