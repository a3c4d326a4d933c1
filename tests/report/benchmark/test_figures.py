"""Every figure: written whole, the same bytes each time, marked, and saying what it shows."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medlabel import files
from medlabel.benchmark import augment
from medlabel.errors import MedlabelError
from medlabel.evaluate import metrics
from medlabel.params import Params, Recipe
from medlabel.report import style
from medlabel.report.benchmark import comparison, curves, roc, scores, slices
from medlabel.report.text import PHANTOM_MARK

from .conftest import REAL, Bench, Trained, write_bench, write_run

Draw = Callable[[Bench, Sequence[Path]], None]

FIGURES: dict[str, Draw] = {
    "scores": lambda bench, to: scores.draw(bench.comparison, to),
    "roc": lambda bench, to: roc.draw(bench.comparison, bench.runs, to),
    "curves": lambda bench, to: curves.draw(bench.comparison, bench.runs, to),
    "slices": lambda bench, to: slices.draw(bench.comparison, bench.runs, bench.archives, 7, to),
}
SAID = {
    "scores": ("n = 382 test images", "n = 156 test images", "Overlapping intervals are not"),
    "roc": ("vesselmnist3d, n = 382 test images", "n = 2: AUC 0.", "n = 1: AUC 0."),
    "curves": ("official 3d, n = 2", "learning rate lowered", "epoch whose weights are kept"),
    "slices": ("vessel (label 0), training image", "aneurysm (label 1)", "together"),
}


@pytest.fixture(autouse=True)
def transforms(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Put a shift of the image in place of MONAI's transforms, and note what was asked for."""
    asked: list[list[str]] = []

    def transform(
        names: Sequence[str], strengths: Recipe, volumetric: bool, size: int, seed: int
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        assert size == 28
        asked.append(list(names))
        random = np.random.default_rng(seed)

        def apply(image: torch.Tensor) -> torch.Tensor:
            assert image.ndim == (4 if volumetric else 3)
            assert 0 <= float(image.min()) <= float(image.max()) <= 1
            return image.roll(int(random.integers(3)), dims=-1)

        return apply

    monkeypatch.setattr(augment, "transform", transform)
    return asked


def words(svg: Path) -> str:
    """Return the text of an SVG, its lines joined by spaces."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text(encoding="utf-8"))
    return html.unescape(" ".join(found))


@pytest.mark.parametrize("name", FIGURES)
def test_writes_svg_and_png_that_say_n_and_nothing_of_phantoms(
    name: str, real: Bench, tmp_path: Path
) -> None:
    svg, png = tmp_path / "figure.svg", tmp_path / "figure.png"
    FIGURES[name](real, [svg, png])
    with Image.open(png) as picture:
        assert picture.width == pytest.approx(style.TWO_COLUMNS / 25.4 * style.DPI, abs=1)
    text = words(svg)
    for said in SAID[name]:
        assert said in text
    assert "PHANTOM" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.png", "figure.svg"]


@pytest.mark.parametrize("name", FIGURES)
def test_marks_phantoms_and_repeats_its_bytes(name: str, drawn: Bench, tmp_path: Path) -> None:
    first = [tmp_path / "first.svg", tmp_path / "first.png"]
    again = [tmp_path / "again.svg", tmp_path / "again.png"]
    FIGURES[name](drawn, first)
    FIGURES[name](drawn, again)
    text = words(first[0])
    assert PHANTOM_MARK in text
    assert text.split().count("PHANTOM") >= 2
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in again]
    assert "<dc:date>" not in first[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FIGURES)
def test_beside_real_data_only_the_phantoms_own_panels_are_marked(
    name: str, mixed: Bench, tmp_path: Path
) -> None:
    FIGURES[name](mixed, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    assert PHANTOM_MARK not in text
    assert "PHANTOM vessel3d" in text
    assert "PHANTOM vesselmnist3d" not in text


@pytest.mark.parametrize("name", FIGURES)
def test_missing_results_name_the_file_and_the_step(name: str, real: Bench, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match=r"gone\.json: no such file.*`medlabel compare`"):
        FIGURES[name](replace(real, comparison=tmp_path / "gone.json"), [tmp_path / "figure.svg"])


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "scores"])
def test_missing_runs_are_named(name: str, real: Bench, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match=r"vesselmnist3d/resnet18_acs/official_3d: 0 folders"):
        FIGURES[name](replace(real, runs={}), [tmp_path / "figure.svg"])


def test_scores_tell_an_images_worth_and_the_trivial_accuracy(real: Bench, tmp_path: Path) -> None:
    scores.draw(real.comparison, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    for dataset, worth in (("vesselmnist3d", "0.26"), ("breastmnist", "0.64")):
        rows = comparison.read(real.comparison).datasets[dataset]
        trivial = f"{100 * rows[0].trivial_accuracy:.1f} %"
        assert f"one image = {worth} points; commonest class: {trivial}" in text


def test_scores_show_published_values_of_each_source(real: Bench, tmp_path: Path) -> None:
    scores.draw(real.comparison, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    for legend in ("Y: published, Yang et al. 2023", "A: published, Abdalla 2024", "LY: published"):
        assert text.count(legend) == 1


def test_scores_without_published_values(drawn: Bench, tmp_path: Path) -> None:
    scores.draw(drawn.comparison, [tmp_path / "figure.svg"])
    assert ": published" not in words(tmp_path / "figure.svg")


def test_scores_of_a_multi_label_dataset_name_its_own_triviality(
    mixed: Bench, tmp_path: Path
) -> None:
    scores.draw(mixed.comparison, [tmp_path / "figure.svg"])
    assert "no label at all: 8" in words(tmp_path / "figure.svg")


def test_the_roc_has_the_auc_that_was_measured(real: Bench, mixed: Bench) -> None:
    for bench in (real, mixed):
        found = comparison.read(bench.comparison)
        runs = comparison.read_runs(found, bench.runs)
        for row in found.rows:
            for run, auc in zip(runs[row.name], row.metrics["auc"].seeds, strict=True):
                area = np.trapezoid(roc.run_curve(run, row), roc.GRID)
                assert area == pytest.approx(auc, abs=0.01)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=200).filter(
        lambda found: len({positive for positive, _ in found}) == 2
    )
)
def test_rates_rise_from_nothing_to_everything_over_the_area(
    found: list[tuple[bool, int]],
) -> None:
    positive = np.array([one for one, _ in found])
    given = np.array([one for _, one in found]) / 20
    rates = roc.rates_of(positive, given)
    assert rates[0] == 0
    assert rates[-1] == 1
    assert (np.diff(rates) >= 0).all()
    both = np.stack([1 - given, given], axis=1)
    auc = metrics.score(positive.astype(int), both)["auc"]
    # The grid cuts off at most one of its steps.
    assert np.trapezoid(rates, roc.GRID) == pytest.approx(auc, abs=1.01 / (len(roc.GRID) - 1))


def test_roc_divides_many_rows_among_panels(default_params: Params, tmp_path: Path) -> None:
    models = [f"resnet18_variant{index}" for index in range(roc.ROWS + 1)]
    rows = [Trained("breastmnist", model, "official", 1, 1.0) for model in models]
    bench = write_bench(tmp_path, rows, [], default_params)
    roc.draw(bench.comparison, bench.runs, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    assert "breastmnist (1 of 2)" in text
    assert "breastmnist (2 of 2)" in text
    assert all(model.replace("_", " ") in text for model in models)


def test_roc_refuses_predictions_of_other_classes(real: Bench, tmp_path: Path) -> None:
    row = REAL[-1]
    folder = tmp_path / "000"
    write_run(folder, row, 0, real.settings.recipes[row.recipe])
    table = pd.read_parquet(folder / "predictions.parquet")
    files.write_parquet(folder / "predictions.parquet", table.drop(columns="p_7"))
    runs = real.runs | {row.name: [folder, real.runs[row.name][1]]}
    with pytest.raises(MedlabelError, match=r"predictions\.parquet: .*8 classes, but p_7"):
        roc.draw(real.comparison, runs, [tmp_path / "figure.svg"])
    files.write_parquet(folder / "predictions.parquet", table[table["label_0"] != 3])
    with pytest.raises(MedlabelError, match=r"with and without class 3"):
        roc.draw(real.comparison, runs, [tmp_path / "figure.svg"])


def test_curves_mark_milestones_only_where_there_are_any(
    real: Bench, default_params: Params, tmp_path: Path
) -> None:
    cosine = default_params.benchmark.model_copy(
        update={
            "recipes": {
                name: recipe.model_copy(update={"schedule": "cosine"})
                for name, recipe in default_params.benchmark.recipes.items()
            }
        }
    )
    params = default_params.model_copy(update={"benchmark": cosine})
    bench = write_bench(tmp_path / "run", REAL[4:], [], params)
    curves.draw(bench.comparison, bench.runs, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    assert "learning rate lowered" not in text
    assert "epoch whose weights are kept" in text


def test_slices_ask_for_each_augmentation_and_for_all(
    real: Bench, transforms: list[list[str]], tmp_path: Path
) -> None:
    slices.draw(real.comparison, real.runs, real.archives, 7, [tmp_path / "figure.svg"])
    every = ["flip", "affine", "elastic", "noise", "intensity"]
    stages = [[name] for name in every] + [every]
    assert transforms == stages * 2  # labels
    text = words(tmp_path / "figure.svg")
    assert all(name in text for name in ("as read", *every, "together"))
    assert "breastmnist" not in text


def test_slices_without_volumes_show_images_as_they_are(flat: Bench, tmp_path: Path) -> None:
    FIGURES["slices"](flat, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    assert "the recipes change none of them" in text
    assert "breastmnist, 28 × 28 pixels" in text
    assert "bloodmnist, 28 × 28 pixels" in text
    assert text.count("(label ") == 2 + slices.CLASSES
    assert "together" not in text


def test_slices_need_an_archive_of_the_benchmark(real: Bench, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match=r"archives: expected one of vesselmnist3d, .*none"):
        FIGURES["slices"](replace(real, archives={}), [tmp_path / "figure.svg"])
    gone = replace(real, archives={"vesselmnist3d": tmp_path / "gone.npz"})
    with pytest.raises(MedlabelError, match=r"gone\.npz: no such file"):
        FIGURES["slices"](gone, [tmp_path / "figure.svg"])


def test_slices_need_an_image_of_each_class(real: Bench, tmp_path: Path) -> None:
    arrays = files.read_npz(real.archives["vesselmnist3d"], "fetch")
    arrays["train_labels"] = np.zeros_like(arrays["train_labels"])
    files.write_npz(tmp_path / "vessels.npz", arrays)
    bench = replace(real, archives={"vesselmnist3d": tmp_path / "vessels.npz"})
    with pytest.raises(MedlabelError, match=r"vessels\.npz: .*none of 1 \(aneurysm\)"):
        FIGURES["slices"](bench, [tmp_path / "figure.svg"])


def test_views_are_the_fullest_slices_and_the_maximum() -> None:
    volume = np.zeros((1, 4, 4, 4), dtype=np.float32)
    volume[0, 2, 1, :] = 0.5
    volume[0, 0, 0, 3] = 1.0
    views = slices._pictures(volume)
    assert [view.shape for view in views] == [(4, 4, 3)] * 4
    assert views[0][1, :, 0].tolist() == [128] * 4  # the slice at 2
    assert views[1][2, :, 0].tolist() == [128] * 4  # at 1
    assert views[2][:, :, 0].max() == 255  # at 3
    assert views[3][0, 3, 0] == 255


@pytest.mark.real
def test_real_vessels_through_the_networks_own_transforms(
    real: Bench, mirror: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    bench = replace(real, archives={"vesselmnist3d": mirror / "vesselmnist3d.npz"})
    first, again = tmp_path / "first.svg", tmp_path / "again.svg"
    FIGURES["slices"](bench, [first])
    FIGURES["slices"](bench, [again])
    assert first.read_bytes() == again.read_bytes()
    pictures = re.findall(r"base64,([^\"]+)", first.read_text(encoding="utf-8"))
    assert len(pictures) == 2 * len(slices.VIEWS) * 7
    # Every line differs from the images as read.
    assert len(set(pictures)) > 0.9 * len(pictures)
