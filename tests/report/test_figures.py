"""Every figure: written whole, the same bytes each time, marked, and saying what it shows."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.report import boxplots, confusion, corrections, curves, quality, samples, style
from medlabel.report.text import PHANTOM_MARK

from .conftest import ENCODER, QUALITY, STEPS, Run, checkpoint, write_run

Draw = Callable[[Run, Sequence[Path]], None]

FIGURES: dict[str, Draw] = {
    "samples": lambda run, to: samples.draw(run.pool, run.archives, run.mixture, to),
    "curves": lambda run, to: curves.draw(run.curves, run.mixture, ENCODER, 20, 0.95, to),
    "corrections": lambda run, to: corrections.draw(
        run.pseudolabels, run.predictions, run.archives, run.mixture, to
    ),
    "boxplots": lambda run, to: boxplots.draw(run.study, run.scores, to),
    "quality": lambda run, to: quality.draw(run.study, to),
    "confusion": lambda run, to: confusion.draw(run.pseudolabels, run.mixture, ENCODER, to),
}
N_SHOWN = {
    "samples": "n = 40",
    "curves": "n = 30 seeds",
    "corrections": "n = 80 different held-out images",
    "boxplots": "n = 30 seeds",
    "quality": "n = 30 seeds",
    "confusion": "n = 80 images",
}


def words(svg: Path) -> str:
    """Return the text of an SVG, its lines joined by spaces."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text(encoding="utf-8"))
    return html.unescape(" ".join(found))


@pytest.mark.parametrize("name", FIGURES)
def test_writes_svg_and_png_that_say_n_and_nothing_of_phantoms(
    name: str, real: Run, tmp_path: Path
) -> None:
    svg, png = tmp_path / "figure.svg", tmp_path / "figure.png"
    FIGURES[name](real, [svg, png])
    with Image.open(png) as picture:
        expected = style.ONE_COLUMN if name == "confusion" else style.TWO_COLUMNS
        assert picture.width == pytest.approx(expected / 25.4 * style.DPI, abs=1)
    assert N_SHOWN[name] in words(svg)
    assert "PHANTOM" not in words(svg)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.png", "figure.svg"]


@pytest.mark.parametrize("name", FIGURES)
def test_marks_phantoms_and_repeats_its_bytes(name: str, drawn: Run, tmp_path: Path) -> None:
    first = [tmp_path / "first.svg", tmp_path / "first.png"]
    # One format of each is enough: both are drawn from the same figure.
    again = [tmp_path / ("again.png" if name in ("samples", "confusion") else "again.svg")]
    FIGURES[name](drawn, first)
    FIGURES[name](drawn, again)
    text = words(first[0])
    assert PHANTOM_MARK in text
    assert text.endswith(" PHANTOM") or " PHANTOM " in text.replace(PHANTOM_MARK, "")
    written = tmp_path / f"first{again[0].suffix}"
    assert written.read_bytes() == again[0].read_bytes()
    assert "<dc:date>" not in first[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FIGURES)
def test_missing_input_names_the_file_and_the_step(name: str, real: Run, tmp_path: Path) -> None:
    gone = tmp_path / "gone.parquet"
    run = Run(real.mixture, gone, real.archives, gone, [gone], [gone], gone, gone)
    with pytest.raises(MedlabelError, match=r"gone\.parquet: no such file.*made by `medlabel "):
        FIGURES[name](run, [tmp_path / "figure.svg"])
    assert not (tmp_path / "figure.svg").exists()


def test_other_formats_are_refused_before_anything_is_written(real: Run, tmp_path: Path) -> None:
    targets = [tmp_path / "figure.svg", tmp_path / "figure.jpg"]
    with pytest.raises(MedlabelError, match=r"figure\.jpg: expected .*\.svg or \.png"):
        quality.draw(real.study, targets)
    assert not any(tmp_path.iterdir())


def test_a_readers_own_matplotlib_settings_change_nothing(real: Run, tmp_path: Path) -> None:
    import matplotlib as mpl

    quality.draw(real.study, [tmp_path / "plain.svg"])
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "pink", "lines.linewidth": 9}):
        quality.draw(real.study, [tmp_path / "pink.svg"])
        assert mpl.rcParams["font.size"] == 20
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "pink.svg").read_bytes()


def test_samples_refuse_a_class_without_images(real: Run, tmp_path: Path) -> None:
    pool = pd.read_parquet(real.pool)
    files.write_parquet(tmp_path / "pool.parquet", pool[pool["label"] != 1])
    with pytest.raises(MedlabelError, match="found none of breast"):
        samples.draw(
            tmp_path / "pool.parquet", real.archives, real.mixture, [tmp_path / "figure.svg"]
        )


def test_montage_puts_images_in_reading_order_with_white_gaps() -> None:
    images = np.stack([np.full((28, 28, 3), shade, np.uint8) for shade in range(9)])
    grid = samples.montage(images)
    assert grid.shape == (4 * 30 - 2, 8 * 30 - 2, 3)
    assert (grid[0, ::30, 0] == np.arange(8)).all()
    assert grid[30, 0, 0] == 8
    assert (grid[28:30] == 255).all()
    assert (grid[60:] == 255).all()


def test_curves_count_the_seeds_that_stopped_early(real: Run, tmp_path: Path) -> None:
    table = pd.concat(pd.read_parquet(path) for path in real.curves)
    early = int((table.groupby("seed")["epoch"].max() < 20).sum())
    curves.draw(real.curves, real.mixture, ENCODER, 20, 0.95, [tmp_path / "figure.svg"])
    assert f"stopped early ({early} in all)" in words(tmp_path / "figure.svg")
    curves.draw(real.curves, real.mixture, ENCODER, 50, 0.95, [tmp_path / "later.svg"])
    assert "stopped early (30 in all)" in words(tmp_path / "later.svg")


def test_corrections_are_judged_by_the_mean_over_the_seeds_tested(tmp_path: Path) -> None:
    image = {"dataset": "a", "split": "test", "row": [0, 1, 2], "label": [0, 0, 1]}
    files.write_parquet(
        tmp_path / "teacher.parquet",
        pd.DataFrame(
            {
                "role": "test",
                **image,
                "pseudolabel": [1, 0, 1],
                "p_x": [0.3, 0.8, 0.4],
                "p_y": [0.7, 0.2, 0.6],
            }
        ),
    )
    students = pd.DataFrame(
        {
            "seed": [0, 1, 0, 1],
            "dataset": "a",
            "split": "test",
            "row": [0, 0, 1, 1],
            "label": [0, 0, 0, 0],
            "p_x": [0.4, 0.9, 0.3, 0.5],
        }
    )
    students["p_y"] = 1 - students["p_x"]
    files.write_parquet(tmp_path / "students.parquet", students)
    judged = corrections.judge(
        tmp_path / "teacher.parquet", [tmp_path / "students.parquet"], ["x", "y"]
    )
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


def test_corrections_put_the_most_confident_first(real: Run) -> None:
    judged = corrections.judge(real.pseudolabels, real.predictions, ["chest", "breast"])
    corrected, _ = corrections.split(judged)
    assert len(corrected.images) > 1
    assert corrected.images["student_p"].is_monotonic_decreasing
    assert (corrected.images["student"] == corrected.images["label"]).all()
    assert (corrected.images["teacher"] != corrected.images["label"]).all()


def test_corrections_say_when_there_are_none(tmp_path: Path) -> None:
    classes = {"chest": "pneumoniamnist", "breast": "breastmnist"}
    run = write_run(tmp_path / "run", classes, seeds=2, student=1.0, teacher=1.0)
    FIGURES["corrections"](run, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    assert "0 of the 0 images that the teacher mislabelled" in text
    assert text.count("There are none to show.") == 2


def test_boxplots_tell_the_studys_own_numbers(real: Run, tmp_path: Path) -> None:
    boxplots.draw(real.study, real.scores, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    gain = files.read_json(real.study, "study")["gains"]["accuracy"]
    assert f"mean difference +{100 * gain['mean']:.1f} percentage points" in text
    assert f"95 % CI +{100 * gain['low']:.1f} to +{100 * gain['high']:.1f}" in text
    assert f"{gain['wins']} wins, {gain['ties']} ties, {gain['losses']} losses" in text
    assert "p = 0.0006 after Holm" in text
    assert "always the commonest class: 50.0 %" in text


def test_boxplots_refuse_scores_of_other_seeds(real: Run, tmp_path: Path) -> None:
    scores = pd.read_csv(real.scores)
    scores[scores["seed"] < 29].to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(MedlabelError, match=r"arm 'teacher'.*expected 30 seeds, found 29"):
        boxplots.draw(real.study, tmp_path / "scores.csv", [tmp_path / "figure.svg"])


def test_boxplots_take_true_labels_without_an_encoder(real: Run, tmp_path: Path) -> None:
    scores = pd.read_csv(real.scores)
    scores.loc[scores["arm"] == "true", "encoder"] = None
    other = scores[scores["arm"] == "teacher"].assign(encoder="phantom_clip_step00080", accuracy=0)
    pd.concat([scores, other]).to_csv(tmp_path / "scores.csv", index=False)
    boxplots.draw(real.study, tmp_path / "scores.csv", [tmp_path / "empty.svg"])
    boxplots.draw(real.study, real.scores, [tmp_path / "given.svg"])
    assert (tmp_path / "empty.svg").read_bytes() == (tmp_path / "given.svg").read_bytes()


def test_quality_names_each_step_and_the_crossing(real: Run, tmp_path: Path) -> None:
    quality.draw(real.study, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg").split(" ")
    assert all(text.count(str(step)) >= 2 for step in STEPS)
    assert "crossing: 97.9 % (95 % CI 97.2 to 98.4 %)" in " ".join(text)


def test_quality_tells_how_many_resamples_cross(real: Run, tmp_path: Path) -> None:
    quality.draw(real.study, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    assert "93.1 % of resamples of n = 30 seeds cross; the interval covers those" in text


def test_quality_tells_which_points_have_more_seeds(
    altered: Callable[..., Path], tmp_path: Path
) -> None:
    points = [checkpoint(step, at) for step, at in zip(STEPS, QUALITY, strict=True)]
    curve = [point | {"seeds": 30 if point["step"] == 10 else 10} for point in points]
    quality.draw(altered(curve=curve), [tmp_path / "figure.svg"])
    assert "(n = 30 seeds at step 10, 10 elsewhere)" in words(tmp_path / "figure.svg")


def test_quality_of_one_published_teacher_without_a_crossing(
    altered: Callable[..., Path], tmp_path: Path
) -> None:
    study = altered(curve=[checkpoint(None, 0.82, "openai_vit_l_14")], crossing=None)
    quality.draw(study, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    assert "better than its teacher for 1 of the 1 teachers" in text
    assert "openai_vit_l_14" in text
    assert "crossing:" not in text


def test_quality_without_checkpoints_is_an_error(
    altered: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(MedlabelError, match="curve: expected at least one checkpoint"):
        quality.draw(altered(curve=[]), [tmp_path / "figure.svg"])


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.floats(0.001, 0.2),
)
def test_spread_keeps_order_gap_and_bounds(places: list[float], gap: float) -> None:
    wanted = np.array(places)
    moved = quality.spread(wanted, gap)
    assert moved.min() >= -1e-9
    assert moved.max() <= 1 + 1e-9
    order = np.argsort(wanted, kind="stable")
    if len(places) > 1:
        gaps = np.diff(moved[order])
        assert gaps.min() >= min(gap, 1 / (len(places) - 1)) - 1e-9


def test_spread_leaves_places_that_are_far_apart() -> None:
    places = np.array([0.9, 0.1, 0.5])
    assert quality.spread(places, 0.1) == pytest.approx(places)


def test_confusion_counts_the_pools_test_role(tmp_path: Path, real: Run) -> None:
    table = pd.DataFrame(
        {
            "role": ["test"] * 6 + ["train"] * 4,
            "label": [0, 0, 0, 0, 1, 1, 0, 0, 0, 0],
            "pseudolabel": [0, 0, 0, 1, 1, 0, 1, 1, 1, 1],
        }
    )
    files.write_parquet(tmp_path / "labels.parquet", table)
    confusion.draw(tmp_path / "labels.parquet", real.mixture, ENCODER, [tmp_path / "figure.svg"])
    text = words(tmp_path / "figure.svg")
    assert "n = 6 images" in text
    assert "accuracy 66.7 %; always the commonest class: 66.7 %" in text
    assert "3 75.0 % 1 25.0 % 1 50.0 % 1 50.0 %" in text


def test_confusion_without_held_out_images_is_an_error(tmp_path: Path, real: Run) -> None:
    table = pd.DataFrame({"role": ["train"], "label": [0], "pseudolabel": [0]})
    files.write_parquet(tmp_path / "labels.parquet", table)
    with pytest.raises(MedlabelError, match="role test, found none"):
        confusion.draw(tmp_path / "labels.parquet", real.mixture, ENCODER, [tmp_path / "f.svg"])


def test_jitter_is_even_and_within_bounds() -> None:
    offsets = style.jitter(100)
    assert offsets.min() >= -0.5
    assert offsets.max() < 0.5
    assert np.histogram(offsets, bins=10, range=(-0.5, 0.5))[0].min() >= 8
