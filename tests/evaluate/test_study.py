"""Studies on made-up files, their numbers computed again by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from medlabel import files
from medlabel.data import mixtures
from medlabel.errors import MedlabelError
from medlabel.evaluate import metrics, results, study
from medlabel.evaluate.results import StudyResult
from medlabel.params import Params

from .world import DEVICE, World, changed

PUBLISHED = Path(__file__).parents[2] / "resources" / "published_results.csv"
TEACHERS = {"phantom_clip@5": 0.6, "phantom_clip@6": 0.8, "phantom_clip@60": 0.99}
NETWORKS = {"vit3d": 0.7, "resnet18_acs": 0.93, "resnet18_3d": 0.93}
Made = tuple[World, StudyResult, pd.DataFrame]


def make(folder: Path, params: Params, name: str) -> Made:
    world = World(folder, params, TEACHERS | NETWORKS | {"student": 0.9}).add(name)
    study.write(params, name, world.layout, PUBLISHED)
    scores = pd.read_csv(world.layout.study(name, "scores.csv"))
    return world, results.read(Path(world.layout.study(name, "study.json"))), scores


@pytest.fixture(scope="module")
def make_study(
    tmp_path_factory: pytest.TempPathFactory, small_params: Params
) -> Callable[[str], Made]:
    made: dict[str, Made] = {}

    def once(name: str) -> Made:
        if name not in made:
            made[name] = make(tmp_path_factory.mktemp(name), small_params, name)
        return made[name]

    return once


@pytest.fixture
def copy(tmp_path: Path, small_params: Params) -> World:
    """Files of `main` to damage."""
    return World(tmp_path, small_params).add("main")


def evaluate(world: World, name: str = "main") -> None:
    study.write(world.params, name, world.layout, PUBLISHED)


def test_scores_are_those_of_each_seed(make_study: Callable[[str], Made]) -> None:
    world, found, scores = make_study("main")
    assert found.kind == "none"
    assert len(scores) == 6 * 4
    trained = world.params.grids["main"][0].student()
    blocks = world.layout.blocks(world.params, trained, 6, "predictions.parquet")
    assert len(blocks) == 2
    table = pd.concat([pd.read_parquet(path) for path in blocks]).query("role == 'test'")
    student = scores.query("arm == 'student'").set_index("seed")
    for seed, group in table.groupby("seed"):
        truth, given = group["label_0"], group["p_1"]
        answered = (given > 0.5).astype(int)
        assert student.loc[seed, "accuracy"] == pytest.approx(accuracy_score(truth, answered))
        assert student.loc[seed, "f1"] == pytest.approx(f1_score(truth, answered, average="macro"))
        assert student.loc[seed, "auc"] == pytest.approx(roc_auc_score(truth, given))


def test_teachers_are_judged_on_the_images_of_each_seed(
    make_study: Callable[[str], Made],
) -> None:
    world, _, scores = make_study("main")
    trained = world.params.grids["main"][0].student()
    labels = pd.read_parquet(world.layout.labels(trained.images, trained.labels))
    pool = mixtures.read_pool(Path(world.layout.pool_of(trained.images)))
    teacher = scores.query("arm == 'teacher'").set_index("seed")
    for seed in range(6):
        mixture = world.params.mixtures["breast_pneumonia"]
        draw = mixtures.draw(mixture, pool, seed, world.params.seed)
        joined = draw.merge(labels, on=["role", "dataset", "split", "row"], suffixes=("", "_"))
        right = (joined["pseudolabel"] == joined["label"]).groupby(joined["role"]).mean()
        assert teacher.loc[seed, "accuracy"] == pytest.approx(right["test"])
        assert teacher.loc[seed, "pseudolabel_accuracy"] == pytest.approx(right["train"])


def test_results_agree_with_the_scores(make_study: Callable[[str], Made]) -> None:
    _, found, scores = make_study("main")
    (cell,) = found.cells
    for arm, estimates in cell.arms.items():
        values = scores.loc[scores["arm"] == arm, "accuracy"]
        one = estimates["accuracy"]
        assert (one.mean, one.sd) == pytest.approx((values.mean(), values.std()))
        assert one.values == [values.tolist()]
        assert one.low <= one.mean <= one.high
        assert one.image_low <= one.mean <= one.image_high
    wide = scores.pivot_table(index="seed", columns="arm", values="f1")
    gain, found_gain = wide["student"] - wide["teacher"], cell.gains["f1"]
    assert found_gain.mean == pytest.approx(gain.mean())
    assert found_gain.wins == (gain > 1e-12).sum()
    assert found_gain.wins + found_gain.ties + found_gain.losses == 6
    assert found_gain.holm_p >= found_gain.permutation_p
    assert cell.confusion["teacher"] != cell.confusion["student"]
    recalls = [row[place] / sum(row) for place, row in enumerate(cell.confusion["student"])]
    assert cell.recall["student"] == pytest.approx(recalls)


def test_results_tell_what_they_were_made_from(make_study: Callable[[str], Made]) -> None:
    _, found, _ = make_study("main")
    (cell,) = found.cells
    assert (cell.seeds, cell.test_images, cell.train_images) == (6, 40, 24)
    assert (cell.trivial_accuracy, cell.task) == (0.5, "binary-class")
    assert (cell.label, cell.phantom, cell.classes) == (
        "breast_pneumonia",
        False,
        ["chest", "breast"],
    )
    assert (cell.device, cell.parameters, cell.epochs, cell.batch_size) == (DEVICE, 103_132, 20, 32)
    assert list(cell.arms) == ["teacher", "student", "permuted", "true"]
    assert cell.published == []
    assert found.comparisons == []


def test_a_curve_has_each_pretraining_and_a_crossing(make_study: Callable[[str], Made]) -> None:
    _, found, scores = make_study("quality")
    assert found.kind == "number"
    assert [axis.key for axis in found.axes] == ["encoder"]
    assert len(scores) == 4 * 3 * 2 * 2
    assert set(scores["pretraining"]) == {0, 1, 2}
    for cell in found.cells:
        ours = scores[(scores["encoder"] == cell.encoder) & (scores["arm"] == "student")]
        one = cell.arms["student"]["accuracy"]
        wide = ours.pivot_table(index="pretraining", columns="seed", values="accuracy")
        assert np.array(one.values) == pytest.approx(wide.to_numpy())
        assert one.low <= one.mean <= one.high
        assert cell.repeats == "n = 3 pretrainings × 2 seeds"
    # Pairs are the three pretrainings: of eight sign patterns two are as extreme.
    assert min(cell.gains["accuracy"].permutation_p for cell in found.cells) == 2 / 8
    assert found.crossing is not None
    assert found.crossing.low <= found.crossing.teacher_accuracy <= found.crossing.high
    teachers = [cell.arms["teacher"]["accuracy"].mean for cell in found.cells]
    assert min(teachers) < found.crossing.teacher_accuracy < max(teachers)


def test_cells_are_compared_with_the_first_alone(make_study: Callable[[str], Made]) -> None:
    _, found, _ = make_study("students")
    assert found.kind == "names"
    others = [cell.label for cell in found.cells[1:]]
    assert [one.cell for one in found.comparisons] == 2 * others
    assert {one.reference for one in found.comparisons} == {"capstone, capstone"}
    first, second = (cell.arms["student"]["auc"] for cell in found.cells[:2])
    auc = next(one for one in found.comparisons if one.metric == "auc")
    assert auc.difference == pytest.approx(second.mean - first.mean)
    family = sorted(one.p for one in found.comparisons if one.metric == "auc")
    least = min(one.holm_p for one in found.comparisons if one.metric == "auc")
    assert least == pytest.approx(min(1, len(others) * family[0]))


def test_cells_of_one_teacher_share_its_interval(make_study: Callable[[str], Made]) -> None:
    _, found, _ = make_study("students")
    teachers = {cell.arms["teacher"]["auc"].model_dump_json() for cell in found.cells}
    assert len(teachers) == 1


@pytest.mark.parametrize(
    ("name", "kind", "cells"),
    [("pairs", "matrix", 4), ("grid", "matrix", 4), ("classes", "names", 2)],
)
def test_axes_tell_the_kind(
    make_study: Callable[[str], Made], small_params: Params, name: str, kind: str, cells: int
) -> None:
    grid = small_params.grids[name]
    assert len(grid) == cells
    assert study.kind(grid) == kind
    if name == "pairs":
        _, found, _ = make_study("pairs")
        assert [cell.phantom for cell in found.cells] == [True] * 3 + [False]
        assert not found.phantom
        assert found.cells[0].classes == ["chest", "breast"]
        assert found.comparisons == []


def test_official_files_stand_beside_published_values(make_study: Callable[[str], Made]) -> None:
    _, found, _ = make_study("files")
    acs, quick, *_, several, drawn = found.cells
    assert list(acs.arms) == ["true"]
    assert acs.gains == {}
    official = next(one for one in acs.published if one.like)
    assert (official.recipe, official.authors) == ("official", "Yang et al. 2023")
    estimate, value = acs.arms["true"]["auc"], official.scores["auc"]
    assert value.difference == pytest.approx(estimate.mean - 0.930)
    assert value.within == (estimate.low <= 0.930 <= estimate.high)
    otherwise = [one for one in acs.published if not one.like]
    assert {"reproduction", "batch_size_64"} <= {one.recipe for one in otherwise}
    assert all(one.within is None for entry in otherwise for one in entry.scores.values())
    assert any(one.doubtful for one in otherwise)
    assert quick.published
    assert not any(one.like for one in quick.published)
    assert several.task == "multi-label, binary-class"
    assert several.confusion == {}
    assert len(several.recall["true"]) == 14
    assert drawn.phantom
    assert drawn.published == []
    assert not found.phantom
    # Its two seeds share the test images, so that every interval is over these too.
    assert (estimate.low, estimate.high) == (estimate.image_low, estimate.image_high)
    assert {one.images for one in found.comparisons} == {"vesselmnist3d"}


def test_a_worse_cell_is_told(make_study: Callable[[str], Made]) -> None:
    _, found, _ = make_study("files")
    worse = next(one for one in found.comparisons if one.metric == "accuracy")
    assert "vit3d" in worse.cell
    assert worse.high < 0
    assert worse.holm_p < 0.05
    assert all(0 < one.p <= one.holm_p <= 1 for one in found.comparisons)


def test_one_seed_has_no_deviation_and_the_interval_of_the_images(
    make_study: Callable[[str], Made],
) -> None:
    _, found, _ = make_study("vessel")
    estimate = found.cells[0].arms["true"]["accuracy"]
    assert estimate.sd is None
    error = np.sqrt(estimate.mean * (1 - estimate.mean) / found.cells[0].test_images)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * error, rel=0.25)


def test_one_seed_of_a_teacher_too(tmp_path: Path, small_params: Params) -> None:
    params = changed(small_params, studies={"main": {"seeds": 1}})
    _, found, _ = make(tmp_path, params, "main")
    gain = found.cells[0].gains["accuracy"]
    assert gain.permutation_p == 1.0
    assert gain.low < gain.mean < gain.high
    assert gain.sd is None


def test_equal_inputs_give_equal_bytes(make_study: Callable[[str], Made]) -> None:
    world, _, _ = make_study("main")
    paths = [Path(world.layout.study("main", name)) for name in ("study.json", "scores.csv")]
    before = [path.read_bytes() for path in paths]
    evaluate(world)
    assert [path.read_bytes() for path in paths] == before


def test_more_seeds_leave_the_scores_of_the_first(tmp_path: Path, small_params: Params) -> None:
    few = changed(small_params, studies={"main": {"seeds": 3}})
    _, _, some = make(tmp_path / "few", few, "main")
    _, _, every = make(tmp_path / "many", small_params, "main")
    kept = every[every["seed"] < 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, kept)


def test_top_k_is_told_in_the_accuracy_of_labels(tmp_path: Path, small_params: Params) -> None:
    params = changed(small_params, labellings={"zeroshot": {"top_k": 4}})
    _, _, scores = make(tmp_path, params, "main")
    shares = scores.query("arm == 'student'")["pseudolabel_accuracy"]
    np.testing.assert_allclose(shares * 8, np.round(shares * 8))


def damage(
    world: World, name: str, change: Callable[[pd.DataFrame], pd.DataFrame], arm: str = "true"
) -> Path:
    cell = world.params.grids["main"][0]
    trained = world.params.students(cell, "main")[arm][0]
    path = Path(world.layout.blocks(world.params, trained, 6, name)[0])
    files.write_parquet(path, change(pd.read_parquet(path)))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(row=table["row"] + 1000), "one row of finite probabilities"),
        (lambda table: table.assign(p_1=np.nan), "one row of finite probabilities"),
        (lambda table: table.assign(label_0=1 - table["label_0"]), "one row of finite"),
        (lambda table: pd.concat([table, table]), "one row of finite probabilities"),
        (lambda table: table[table["seed"] != 1], "seeds 0 to 5, found none of seed 1"),
        (lambda table: table.drop(columns="p_0"), "p_0 is missing"),
    ],
)
def test_answers_that_do_not_fit_are_refused(
    copy: World, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    path = damage(copy, "predictions.parquet", change)
    with pytest.raises(MedlabelError, match=message) as caught:
        evaluate(copy)
    assert str(path.parent) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path(copy.layout.study("main", "study.json")).exists()


def test_labels_that_do_not_fit_are_refused(copy: World) -> None:
    trained = copy.params.grids["main"][0].student()
    path = Path(copy.layout.labels(trained.images, trained.labels))
    table = pd.read_parquet(path)
    files.write_parquet(path, table.query("role == 'test' or row > 2"))
    with pytest.raises(MedlabelError, match="expected one label for each training image"):
        evaluate(copy)
    path.unlink()
    with pytest.raises(MedlabelError, match="no such file"):
        evaluate(copy)


def test_missing_and_broken_trainings_are_named(copy: World) -> None:
    trained = copy.params.grids["main"][0].student()
    path = Path(copy.layout.blocks(copy.params, trained, 6, "predictions.parquet")[1])
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(MedlabelError, match="expected a parquet table"):
        evaluate(copy)
    path.unlink()
    with pytest.raises(MedlabelError, match="no such file"):
        evaluate(copy)


def test_results_that_were_altered_are_refused_by_key(make_study: Callable[[str], Made]) -> None:
    world, _, _ = make_study("main")
    path = Path(world.layout.study("main", "study.json"))
    content = json.loads(path.read_text())
    copy = path.with_name("altered.json")
    for key, value, message in (
        ("confidence", "high", "confidence: Input should be a valid number"),
        ("cells", [], "cells: List should have at least 1 item"),
        ("speed", 3, "speed: Extra inputs are not permitted"),
    ):
        files.write_json(copy, content | {key: value})
        with pytest.raises(MedlabelError, match=message) as caught:
            results.read(copy)
        assert "\n" not in str(caught.value)


def test_headlines_are_few_numbers(make_study: Callable[[str], Made], tmp_path: Path) -> None:
    _, main, _ = make_study("main")
    found = metrics.headlines(main)
    assert found["gain_auc"] == pytest.approx(found["student_auc"] - found["teacher_auc"])
    _, quality, _ = make_study("quality")
    assert set(metrics.headlines(quality)) == {
        "best_student_accuracy",
        "best_gain_accuracy",
        "mean_gain_accuracy",
    }
    world, vessel, _ = make_study("vessel")
    assert len(metrics.headlines(vessel)) == 2 * 3
    params = world.params.model_copy(update={"default_studies": ["vessel"]})
    metrics.write(params, world.layout)
    written = json.loads(Path(world.layout.metrics).read_text())
    assert written == {"vessel": metrics.headlines(vessel)}
