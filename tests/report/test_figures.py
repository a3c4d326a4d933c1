"""Every figure: chosen by the axis, the same bytes each time, marked, and saying what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.evaluate import published, scores, study
from medlabel.params import Params, Recipe
from medlabel.report import (
    boxplots,
    confusion,
    corrections,
    curve,
    intervals,
    matrix,
    report,
    roc,
    samples,
    slices,
    style,
    teaching,
    training,
)
from medlabel.report.sources import gather
from medlabel.report.text import PHANTOM_MARK
from medlabel.training import augment
from tests.evaluate.world import World, changed

from .conftest import PUBLISHED, Reported, words

Report = Callable[[str], Reported]
Draw = Callable[[Reported, Sequence[Path]], None]

THEIRS = published.taught("breast_chest", published.read(PUBLISHED))
TAUGHT = {"corrections", "confusion", "training", "samples"}
OFFICIAL = {"confusion", "roc", "training"}
FIGURES: dict[str, tuple[str, Draw]] = {
    "boxplots": ("main", lambda one, to: boxplots.draw(one.found, to)),
    "curve": ("quality", lambda one, to: curve.draw(one.found, to, THEIRS)),
    "intervals": ("files", lambda one, to: intervals.draw(one.found, to)),
    "matrix": ("pairs", lambda one, to: matrix.draw(one.found, to)),
    "confusion": ("main", lambda one, to: confusion.draw(one.found, one.found.cells[0], to)),
    "corrections": ("main", lambda one, to: corrections.draw(one.sources[0], to)),
    "samples": ("main", lambda one, to: samples.draw(one.sources[0], to)),
    "training": ("files", lambda one, to: training.draw(one.found, one.sources, to)),
    "teaching": (
        "main",
        lambda one, to: teaching.draw(one.found, teaching.curves(one.sources), to),
    ),
    "roc": ("files", lambda one, to: roc.draw(one.found, one.sources, to)),
    "slices": ("drawn", lambda one, to: slices.draw(one.found, one.sources, to)),
}


@pytest.fixture(autouse=True)
def transforms(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Put a shift of the image in place of MONAI's transforms, and note what was asked for."""
    asked: list[list[str]] = []

    def transform(
        names: Sequence[str], strengths: Recipe, volumetric: bool, size: int, seed: int
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        assert (size, volumetric) == (28, True)
        asked.append(list(names))
        random = np.random.default_rng(seed)
        return lambda image: image.roll(int(random.integers(3)), dims=-1)

    monkeypatch.setattr(augment, "transform", transform)
    return asked


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("main", {"boxplots", "teaching", *TAUGHT}),
        ("quality", {"curve", *TAUGHT}),
        ("students", {"intervals", *TAUGHT}),
        ("pairs", {"matrix", *TAUGHT}),
        ("grid", {"matrix", *TAUGHT}),
        ("files", {"intervals", "samples", "slices", *OFFICIAL}),
        ("drawn", {"intervals", "slices", *OFFICIAL}),
    ],
)
def test_the_axis_chooses_the_figure(reported: Report, name: str, figures: set[str]) -> None:
    one = reported(name)
    assert one.figures == figures
    for figure in figures:
        with Image.open(one.path(f"figures/{figure}.png")) as picture:
            assert picture.width <= style.TWO_COLUMNS / 25.4 * style.DPI + 1


@pytest.mark.parametrize("name", FIGURES)
def test_figures_repeat_their_bytes(name: str, reported: Report, tmp_path: Path) -> None:
    study_name, draw = FIGURES[name]
    one = reported(study_name)
    targets = [tmp_path / "again.svg", tmp_path / "again.png"]
    draw(one, targets)
    for target in targets:
        assert target.read_bytes() == one.path(f"figures/{name}{target.suffix}").read_bytes()
    text = targets[0].read_text(encoding="utf-8")
    assert "<dc:date>" not in text
    assert str(Path(one.world.layout.data).parent) not in text


def test_figures_of_real_images_say_nothing_of_phantoms(reported: Report) -> None:
    one = reported("main")
    for name in one.figures:
        assert "PHANTOM" not in one.text(f"figures/{name}.svg")


def test_figures_of_phantoms_are_marked(reported: Report) -> None:
    one = reported("drawn")
    for name in one.figures:
        text = one.text(f"figures/{name}.svg")
        assert PHANTOM_MARK in text
        assert text.split().count("PHANTOM") >= 2


@pytest.mark.parametrize("name", ["intervals", "roc", "training", "slices"])
def test_beside_real_images_only_the_phantoms_own_panels_are_marked(
    name: str, reported: Report
) -> None:
    text = reported("files").text(f"figures/{name}.svg")
    assert PHANTOM_MARK not in text
    assert "PHANTOM vessel3d" in text
    assert "PHANTOM vesselmnist3d" not in text


def test_real_pairs_stand_apart_from_phantom_ones(reported: Report) -> None:
    one = reported("pairs")
    text = one.text("figures/matrix.svg")
    assert "real pairs" in text
    assert "PHANTOM pairs" in text
    assert PHANTOM_MARK not in text
    for cell in one.found.cells:
        assert f"{100 * cell.arms['teacher']['accuracy'].mean:.0f}" in text.split()
    # Its first cell is a phantom, and so are the images that are shown of it.
    assert PHANTOM_MARK in one.text("figures/samples.svg")
    assert PHANTOM_MARK in one.text("figures/corrections.svg")


def test_boxplots_tell_the_studys_own_numbers(reported: Report) -> None:
    one = reported("main")
    text, gain = one.text("figures/boxplots.svg"), one.found.cells[0].gains["accuracy"]
    assert f"mean difference +{100 * gain.mean:.1f} percentage points" in text
    assert f"95 % CI +{100 * gain.low:.1f} to +{100 * gain.high:.1f}" in text
    assert f"{gain.wins} wins, {gain.ties} ties, {gain.losses} losses" in text
    assert "always the commonest class: 50.0 %" in text
    assert "n = 6 seeds" in text


def test_heads_are_drawn_of_locked_teachers_alone(reported: Report) -> None:
    one = reported("main")
    assert "locked (n = 1)" in one.text("figures/teaching.svg")
    (curves,) = teaching.curves(one.sources).values()
    assert [point["epoch"] for point in curves[0]] == [1, 2, 3]
    assert not teaching.curves(reported("quality").sources)


def test_the_curve_names_each_step_and_the_crossing(reported: Report) -> None:
    one = reported("quality")
    text = one.text("figures/curve.svg")
    assert all(text.split().count(step) >= 2 for step in ("5", "6", "20", "60"))
    crossing = one.found.crossing
    assert crossing is not None
    assert f"crossing: {100 * crossing.teacher_accuracy:.1f} %" in text
    assert "one pretraining of a teacher" in text
    assert "n = 3 pretrainings × 2 seeds" in text


def test_the_curve_shows_the_published_teacher_with_its_student(reported: Report) -> None:
    one = reported("quality")
    text = one.text("figures/curve.svg")
    assert "published: Li Yuan" in text
    cells = sorted(one.found.cells, key=lambda cell: cell.arms["teacher"]["accuracy"].mean)
    at = [cell.arms["teacher"]["accuracy"].mean for cell in cells]
    if at[0] <= 0.8205 <= at[-1]:
        gain = 100 * np.interp(0.8205, at, [cell.gains["accuracy"].mean for cell in cells])
        assert (
            f"(82.0 %), the line through ours gives a gain of {gain:+.1f} points"
            in text.replace("−", "-")
        )
    else:
        assert "outside the range of ours" in text


def test_a_curve_without_a_crossing_says_so(reported: Report, tmp_path: Path) -> None:
    found = reported("quality").found.model_copy(update={"crossing": None})
    curve.draw(found, [tmp_path / "figure.svg"])
    text = words((tmp_path / "figure.svg").read_text(encoding="utf-8"))
    assert "No crossing was found" in text
    assert "crossing:" not in text


def test_intervals_tell_an_images_worth_and_published_values(reported: Report) -> None:
    one = reported("files")
    text = one.text("figures/intervals.svg")
    trivial = 100 * one.found.cells[0].trivial_accuracy
    assert f"200 test images; one image = 0.5 points; trivial {trivial:.1f} %" in text
    assert text.count("Y: published, Yang et al. 2023") == 1
    assert "published, made otherwise" in text
    assert ": published" not in reported("drawn").text("figures/intervals.svg")


def test_intervals_of_students_show_both_arms(reported: Report) -> None:
    text = reported("students").text("figures/intervals.svg")
    for said in ("teacher", "student", "Gain: student", "no dropout, capstone adam", "n = 2 seeds"):
        assert said in text


def test_a_matrix_names_both_axes(reported: Report) -> None:
    one = reported("grid")
    text = one.text("figures/matrix.svg")
    for said in ("Network", "Recipe", "wider", "capstone adam"):
        assert said in text
    worst = min(cell.gains["accuracy"].mean for cell in one.found.cells)
    assert worst < 0
    assert f"\N{MINUS SIGN}{abs(100 * worst):.1f}" in text


def test_confusion_counts_teacher_and_student(reported: Report) -> None:
    one = reported("main")
    text = one.text("figures/confusion.svg")
    for arm in ("teacher", "student"):
        accuracy = 100 * one.found.cells[0].arms[arm]["accuracy"].mean
        assert f"{arm.capitalize()}: accuracy {accuracy:.1f} %" in text
        assert f"{one.found.cells[0].confusion[arm][0][0]:,}" in text


def test_training_says_n_and_where_the_rate_falls(reported: Report) -> None:
    text = reported("files").text("figures/training.svg")
    assert "learning rate lowered" in text
    assert "epoch whose weights are kept" in text
    assert "n = 2" in text
    assert "learning rate lowered" not in reported("main").text("figures/training.svg")


def test_the_roc_has_the_auc_that_was_measured(reported: Report) -> None:
    one = reported("files")
    for source in one.sources:
        (values,) = source.found.arms["true"]["auc"].values
        for rates, auc in zip(roc.curves(source), values, strict=True):
            assert np.trapezoid(rates, roc.GRID) == pytest.approx(auc, abs=0.01)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=200).filter(
        lambda found: len({positive for positive, _ in found}) == 2
    )
)
def test_rates_rise_from_nothing_to_everything_over_the_area(
    found: list[tuple[bool, int]],
) -> None:
    positive = np.array([one for one, _ in found])
    answers = np.array([one for _, one in found]) / 20
    rates = roc.rates_of(positive, answers)
    assert rates[0] == 0
    assert rates[-1] == 1
    assert (np.diff(rates) >= 0).all()
    both = np.stack([1 - answers, answers], axis=1)
    auc = scores.score("binary-class", positive.astype(int)[:, None], both)["auc"]
    # The grid cuts off at most one of its steps.
    assert np.trapezoid(rates, roc.GRID) == pytest.approx(auc, abs=1.01 / (len(roc.GRID) - 1))


def test_slices_ask_for_the_augmentations_of_each_recipe(
    reported: Report, transforms: list[list[str]], tmp_path: Path
) -> None:
    one = reported("files")
    volumes = [source for source in one.sources if source.settings.volumetric]
    slices.draw(one.found, volumes, [tmp_path / "figure.svg"])
    assert transforms == [["flip"]] * 2  # labels
    text = words((tmp_path / "figure.svg").read_text(encoding="utf-8"))
    for said in ("as read", "quick 3d", "vessel (label 0)", "aneurysm (label 1)"):
        assert said in text
    assert "breastmnist" not in text


def test_views_are_the_fullest_slices_and_the_maximum() -> None:
    volume = np.zeros((4, 4, 4), dtype=np.float32)
    volume[2, 1, :] = 0.5
    volume[0, 0, 3] = 1.0
    views = slices.views(volume)
    assert [view.shape for view in views] == [(4, 4, 3)] * 4
    assert views[0][1, :, 0].tolist() == [128] * 4  # the slice at 2
    assert views[1][2, :, 0].tolist() == [128] * 4  # at 1
    assert views[2][:, :, 0].max() == 255  # at 3
    assert views[3][0, 3, 0] == 255


@pytest.mark.real
def test_real_vessels_through_the_networks_own_transforms(
    reported: Report, mirror: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    one = reported("files")
    source = one.sources[1]
    opened = slices.augmented(np.zeros((28, 28, 28), np.float32), source.settings.recipe, source)
    assert opened.shape == (28, 28, 28)
    from medlabel.data import archive

    volume = archive.read(mirror / "vesselmnist3d.npz", "vesselmnist3d").images["train"][0] / 255
    changed_volume = slices.augmented(volume.astype(np.float32), source.settings.recipe, source)
    assert changed_volume.shape == volume.shape
    assert not np.array_equal(changed_volume, volume.astype(np.float32))


def test_montage_puts_images_in_reading_order_with_white_gaps() -> None:
    images = np.stack([np.full((28, 28, 3), shade, np.uint8) for shade in range(9)])
    grid = samples.montage(images)
    assert grid.shape == (4 * 30 - 2, 8 * 30 - 2, 3)
    assert (grid[0, ::30, 0] == np.arange(8)).all()
    assert grid[30, 0, 0] == 8
    assert (grid[28:30] == 255).all()
    assert (grid[60:] == 255).all()


def test_samples_say_where_each_class_comes_from(reported: Report) -> None:
    text = reported("main").text("figures/samples.svg")
    for said in ("chest (n = 18)", "from pneumoniamnist", "from breastmnist"):
        assert said in " ".join(text.split())
    assert "label 0" in reported("files").text("figures/samples.svg")


def test_corrections_are_judged_by_the_mean_over_the_seeds_tested(tmp_path: Path) -> None:
    teacher = pd.DataFrame(
        {
            "role": "test",
            "dataset": "a",
            "split": "test",
            "row": [0, 1, 2],
            "label": [0, 0, 1],
            "pseudolabel": [1, 0, 1],
            "p_x": [0.3, 0.8, 0.4],
            "p_y": [0.7, 0.2, 0.6],
        }
    )
    files.write_parquet(tmp_path / "teacher.parquet", teacher)
    students = pd.DataFrame(
        {
            "seed": [0, 1, 0, 1],
            "dataset": "a",
            "split": "test",
            "row": [0, 0, 1, 1],
            "label_0": [0, 0, 0, 0],
            "p_0": [0.4, 0.9, 0.3, 0.5],
        }
    )
    students["p_1"] = 1 - students["p_0"]
    judged = corrections.judge(tmp_path / "teacher.parquet", students, ["x", "y"])
    assert judged["row"].tolist() == [0, 1]
    assert judged["seeds"].tolist() == [2, 2]
    assert judged["teacher"].tolist() == [1, 0]
    assert judged["teacher_p"].tolist() == pytest.approx([0.7, 0.8])
    assert judged["student"].tolist() == [0, 1]
    assert judged["student_p"].tolist() == pytest.approx([0.65, 0.6])
    corrected, spoilt = corrections.split(judged)
    assert corrected.images["row"].tolist() == [0]
    assert spoilt.images["row"].tolist() == [1]
    assert "1 of the 1 images" in corrected.heading


def test_corrections_put_the_most_confident_first(reported: Report) -> None:
    source = reported("main").sources[0]
    judged = corrections.judge(source.labels(), source.predictions(), source.found.classes)
    corrected, _ = corrections.split(judged)
    assert len(corrected.images) > 1
    assert corrected.images["student_p"].is_monotonic_decreasing
    assert (corrected.images["student"] == corrected.images["label"]).all()
    assert (corrected.images["teacher"] != corrected.images["label"]).all()


def test_corrections_say_when_there_are_none(tmp_path: Path, params: Params) -> None:
    few = changed(params, studies={"main": {"seeds": 2}})
    world = World(tmp_path, few, {"locked": 1.0, "student": 1.0}).add("main")
    study.write(few, "main", world.layout, PUBLISHED)
    _, sources = gather(few, "main", world.layout)
    corrections.draw(sources[0], [tmp_path / "figure.svg"])
    text = words((tmp_path / "figure.svg").read_text(encoding="utf-8"))
    assert "0 of the 0 images that the teacher mislabelled" in text
    assert text.count("There are none to show.") == 2


def test_other_formats_are_refused_before_anything_is_written(
    reported: Report, tmp_path: Path
) -> None:
    targets = [tmp_path / "figure.svg", tmp_path / "figure.jpg"]
    with pytest.raises(MedlabelError, match=r"figure\.jpg: expected .*\.svg or \.png"):
        curve.draw(reported("quality").found, targets, THEIRS)
    assert not any(tmp_path.iterdir())


def test_a_readers_own_matplotlib_settings_change_nothing(reported: Report, tmp_path: Path) -> None:
    import matplotlib as mpl

    one = reported("quality")
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "pink", "lines.linewidth": 9}):
        curve.draw(one.found, [tmp_path / "pink.svg"], THEIRS)
        assert mpl.rcParams["font.size"] == 20
    assert one.path("figures/curve.svg").read_bytes() == (tmp_path / "pink.svg").read_bytes()


@pytest.mark.parametrize("file", ["study.json", "curves.parquet", "pool"])
def test_missing_input_names_the_file_and_the_step(
    file: str, params: Params, tmp_path: Path
) -> None:
    few = changed(params, studies={"main": {"seeds": 2}})
    world = World(tmp_path, few).add("main")
    study.write(few, "main", world.layout, PUBLISHED)
    trained = few.grids["main"][0].student()
    path = {
        "study.json": Path(world.layout.study("main", "study.json")),
        "pool": Path(world.layout.pool_of("breast_pneumonia")),
    }.get(file) or Path(world.layout.blocks(few, trained, 2, file)[0])
    path.unlink()
    with pytest.raises(MedlabelError, match=r"no such file.*made by `medlabel ") as caught:
        report.write(few, "main", world.layout, PUBLISHED)
    assert path.name in str(caught.value)
    assert not Path(world.layout.study("main", "report.html")).exists()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.2))
def test_spread_keeps_order_gap_and_bounds(places: list[float], gap: float) -> None:
    wanted = np.array(places)
    moved = curve.spread(wanted, gap)
    assert moved.min() >= -1e-9
    assert moved.max() <= 1 + 1e-9
    order = np.argsort(wanted, kind="stable")
    if len(places) > 1:
        gaps = np.diff(moved[order])
        assert gaps.min() >= min(gap, 1 / (len(places) - 1)) - 1e-9


def test_spread_leaves_places_that_are_far_apart() -> None:
    places = np.array([0.9, 0.1, 0.5])
    assert curve.spread(places, 0.1) == pytest.approx(places)


def test_jitter_is_even_and_within_bounds() -> None:
    offsets = style.jitter(100)
    assert offsets.min() >= -0.5
    assert offsets.max() < 0.5
    assert np.histogram(offsets, bins=10, range=(-0.5, 0.5))[0].min() >= 8
