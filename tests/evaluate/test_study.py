"""The study on small made-up predictions, its numbers computed again by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.evaluate import study
from medlabel.report.results import read_scores, read_study

IMAGE = ["dataset", "split", "row"]
CLASSES = ["chest", "breast"]
SEEDS = 6
TRAIN, TEST = 12, 20
ENCODERS = {"clip_step00005": 0.6, "clip_step00010": 0.8, "clip_step00040": 0.99}
STUDENTS = {"clip_step00005": 0.75, "clip_step00010": 0.9, "clip_step00040": 0.9}
SETTINGS = params.Study(
    seeds=SEEDS, seeds_per_job=3, curve_seeds=SEEDS, resamples=300, confidence=0.95, keep_weights=[]
)
PSEUDOLABEL = params.Pseudolabel(
    templates=["a {}"],
    prompts=[params.Prompt(label=name, descriptions=[name]) for name in CLASSES],
    logit_scale=None,
    select="all",
    k=4,
    targets="hard",
)


def pool() -> pd.DataFrame:
    rows = [
        (role, f"{name}mnist", split, row, label)
        for role, split, count in (("train", "train", 2 * TRAIN), ("test", "test", 2 * TEST))
        for label, name in enumerate(CLASSES)
        for row in range(count)
    ]
    table = pd.DataFrame(rows, columns=["role", *IMAGE, "label"])
    return table.astype({"row": np.int32, "label": np.int8})


def with_probabilities(
    table: pd.DataFrame, right: float, random: np.random.Generator
) -> pd.DataFrame:
    """Name the true class with probability `right`."""
    truth = table["label"].to_numpy()
    predicted = np.where(random.random(len(table)) < right, truth, 1 - truth)
    sure = random.uniform(0.5, 1, len(table)).astype(np.float32)
    return table.assign(
        pseudolabel=predicted.astype(np.int8),
        p_chest=np.where(predicted == 0, sure, 1 - sure),
        p_breast=np.where(predicted == 1, sure, 1 - sure),
    )


class World:
    """Draws of six seeds in two blocks, three teachers, their students and the controls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        images = pool()
        self.draws = []
        for first in (0, 3):
            parts = []
            for seed in range(first, first + 3):
                for (role, _), group in images.groupby(["role", "label"]):
                    count = TRAIN if role == "train" else TEST
                    chosen = group.iloc[random.permutation(len(group))[:count]]
                    parts.append(chosen.assign(seed=np.int32(seed)))
            self.draws.append(folder / f"{first:04d}-{first + 2:04d}.parquet")
            files.write_parquet(self.draws[-1], pd.concat(parts, ignore_index=True))
        self.pseudolabels = {}
        for encoder, right in ENCODERS.items():
            self.pseudolabels[encoder] = folder / f"{encoder}.parquet"
            files.write_parquet(
                self.pseudolabels[encoder], with_probabilities(images, right, random)
            )
        self.students = {
            f"teacher_{encoder}": self._predict(f"teacher_{encoder}", right, random)
            for encoder, right in STUDENTS.items()
        }
        for labels, right in (("permuted_clip_step00010", 0.5), ("true", 0.97)):
            self.students[labels] = self._predict(labels, right, random)

    def _predict(self, labels: str, right: float, random: np.random.Generator) -> list[Path]:
        paths = []
        for draw in self.draws:
            test = pd.read_parquet(draw).query("role == 'test'").drop(columns="role")
            table = with_probabilities(test, right, random).drop(columns="pseudolabel")
            paths.append(self.folder / labels / draw.name)
            files.write_parquet(paths[-1], table.sample(frac=1, random_state=1))
        return paths

    def write(self, name: str, **changes: Any) -> tuple[Path, Path, Path]:
        target = self.folder / name
        paths = target / "study.json", target / "scores.csv", target / "curve.csv"
        options: dict[str, Any] = {
            "mixture": "breast_chest",
            "phantom": False,
            "classes": CLASSES,
            "draws": self.draws,
            "pseudolabels": self.pseudolabels,
            "students": self.students,
            "study_encoder": "clip_step00010",
            "settings": SETTINGS,
            "pseudolabel": PSEUDOLABEL,
            "seed": 3,
            "study": paths[0],
            "scores": paths[1],
            "curve": paths[2],
        }
        study.write(**(options | changes))
        return paths

    def expected(self, labels: str, seed: int) -> tuple[float, float]:
        """Accuracy and F1 of a student, read straight from its own table."""
        table = pd.concat([pd.read_parquet(path) for path in self.students[labels]])
        table = table[table["seed"] == seed]
        predicted = (table["p_breast"] > table["p_chest"]).astype(int)
        truth = table["label"]
        return float((predicted == truth).mean()), f1_score(truth, predicted, average="macro")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def written(world: World) -> tuple[Path, Path, Path]:
    return world.write("result")


def test_scores_are_those_of_each_seed(world: World, written: tuple[Path, Path, Path]) -> None:
    table = read_scores(written[1])
    assert len(table) == SEEDS * (3 + 3 + 2)
    student = table.query("arm == 'student' and encoder == 'clip_step00010'").set_index("seed")
    for seed in range(SEEDS):
        accuracy, f1 = world.expected("teacher_clip_step00010", seed)
        assert student.loc[seed, "accuracy"] == pytest.approx(accuracy)
        assert student.loc[seed, "f1"] == pytest.approx(f1)
    controls = table[table["arm"].isin(["permuted", "true"])]
    assert controls["pseudolabel_accuracy"].isna().all()
    assert controls.query("arm == 'true'")["encoder"].isna().all()


def test_teachers_are_judged_on_the_images_of_each_seed(
    world: World, written: tuple[Path, Path, Path]
) -> None:
    table = read_scores(written[1]).query("arm == 'teacher' and encoder == 'clip_step00005'")
    labels = pd.read_parquet(world.pseudolabels["clip_step00005"])
    draws = pd.concat([pd.read_parquet(path) for path in world.draws])
    joined = draws.merge(labels, on=["role", *IMAGE], suffixes=("", "_"))
    joined["right"] = joined["pseudolabel"] == joined["label"]
    shares = joined.groupby(["role", "seed"])["right"].mean()
    np.testing.assert_allclose(table["accuracy"], shares["test"])
    np.testing.assert_allclose(table["pseudolabel_accuracy"], shares["train"])


def test_study_agrees_with_its_scores(written: tuple[Path, Path, Path]) -> None:
    found = read_study(written[0])
    table = read_scores(written[1])
    ours = table[(table["encoder"] == found.encoder) | (table["arm"] == "true")]
    for arm, metrics in found.arms.items():
        values = ours.loc[ours["arm"] == arm, "accuracy"]
        assert metrics["accuracy"].mean == pytest.approx(values.mean())
        assert metrics["accuracy"].sd == pytest.approx(values.std())
        assert metrics["accuracy"].low <= values.mean() <= metrics["accuracy"].high
    wide = ours.pivot_table(index="seed", columns="arm", values="f1")
    gain = wide["student"] - wide["teacher"]
    assert found.gains["f1"].mean == pytest.approx(gain.mean())
    assert found.gains["f1"].wins == (gain > 1e-12).sum()
    assert found.gains["f1"].wins + found.gains["f1"].ties + found.gains["f1"].losses == SEEDS
    assert found.gains["f1"].holm_p >= found.gains["f1"].permutation_p
    assert found.gains["f1"].image_low < gain.mean() < found.gains["f1"].image_high


def test_study_tells_what_it_was_made_from(written: tuple[Path, Path, Path]) -> None:
    found = read_study(written[0])
    assert (found.seeds, found.test_images, found.train_images) == (SEEDS, 2 * TEST, 2 * TRAIN)
    assert found.trivial_accuracy == 0.5
    assert (found.mixture, found.phantom, found.classes) == ("breast_chest", False, CLASSES)


def test_curve_has_a_point_for_each_teacher(written: tuple[Path, Path, Path]) -> None:
    found = read_study(written[0])
    assert [point.step for point in found.curve] == [5, 10, 40]
    table = pd.read_csv(written[2])
    assert table["encoder"].tolist() == list(ENCODERS)
    for point, row in zip(found.curve, table.to_dict("records"), strict=True):
        assert row == point.model_dump()
        assert point.gain == pytest.approx(point.student_accuracy - point.teacher_accuracy)
        assert point.gain_low <= point.gain <= point.gain_high


def test_the_student_stops_helping_between_the_last_two_teachers(
    written: tuple[Path, Path, Path],
) -> None:
    found = read_study(written[0])
    assert found.crossing is not None
    middle, best = found.curve[1:]
    assert middle.teacher_accuracy < found.crossing.teacher_accuracy < best.teacher_accuracy
    assert found.crossing.low <= found.crossing.teacher_accuracy <= found.crossing.high


def test_equal_inputs_give_equal_bytes(world: World, written: tuple[Path, Path, Path]) -> None:
    for one, other in zip(written, world.write("again"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_selection_is_told_in_the_accuracy_of_pseudolabels(world: World) -> None:
    settings = PSEUDOLABEL.model_copy(update={"select": "top_k"})
    _, scores, _ = world.write("top_k", pseudolabel=settings)
    shares = read_scores(scores).query("arm == 'student'")["pseudolabel_accuracy"]
    np.testing.assert_allclose(shares * 8, np.round(shares * 8))


def test_without_the_curve_there_is_one_point_and_no_crossing(world: World) -> None:
    encoder = "clip_step00010"
    kept = {name: paths for name, paths in world.students.items() if "step" not in name}
    kept |= {
        f"{arm}_{encoder}": world.students[f"{arm}_{encoder}"] for arm in ("teacher", "permuted")
    }
    paths = world.write("point", students=kept, pseudolabels={encoder: world.pseudolabels[encoder]})
    found = read_study(paths[0])
    assert len(found.curve) == 1
    assert found.crossing is None


def test_a_published_teacher_has_no_step(world: World) -> None:
    path = world.pseudolabels["clip_step00010"]
    students = {
        "teacher_vit_l_14": world.students["teacher_clip_step00010"],
        "permuted_vit_l_14": world.students["permuted_clip_step00010"],
        "true": world.students["true"],
    }
    paths = world.write(
        "published", students=students, pseudolabels={"vit_l_14": path}, study_encoder="vit_l_14"
    )
    assert json.loads(paths[0].read_text())["curve"][0]["step"] is None
    assert pd.read_csv(paths[2])["step"].isna().all()


def test_one_seed_gives_points_instead_of_intervals(world: World) -> None:
    draw = world.folder / "one" / "0000-0000.parquet"
    files.write_parquet(draw, pd.read_parquet(world.draws[0]).query("seed == 0"))
    students = {}
    for labels, paths in world.students.items():
        students[labels] = [world.folder / "one" / f"{labels}.parquet"]
        files.write_parquet(students[labels][0], pd.read_parquet(paths[0]).query("seed == 0"))
    found = read_study(world.write("single", draws=[draw], students=students)[0])
    gain = found.gains["accuracy"]
    assert gain.low == gain.high == gain.mean
    assert gain.permutation_p == 1.0


@pytest.fixture(scope="module")
def short(world: World) -> tuple[Path, Path, Path]:
    """A study whose first and last teacher have students of the first block, 3 seeds, alone."""
    students = dict(world.students)
    for encoder in ("clip_step00005", "clip_step00040"):
        students[f"teacher_{encoder}"] = students[f"teacher_{encoder}"][:1]
    return world.write("short", students=students)


def test_fewer_seeds_of_other_teachers_are_compared_with_the_same_seeds(
    written: tuple[Path, Path, Path], short: tuple[Path, Path, Path]
) -> None:
    found = read_study(short[0])
    assert found.seeds == SEEDS
    assert [point.seeds for point in found.curve] == [3, SEEDS, 3]
    every, some = (read_scores(paths[1]) for paths in (written, short))
    kept = (every["encoder"] == "clip_step00010") | (every["arm"] == "true") | (every["seed"] < 3)
    pd.testing.assert_frame_equal(some, every[kept].reset_index(drop=True))
    for point in found.curve:
        ours = some[some["encoder"] == point.encoder]
        means = ours.groupby("arm")["accuracy"].mean()
        assert point.teacher_accuracy == pytest.approx(means["teacher"])
        assert point.gain == pytest.approx(means["student"] - means["teacher"])
        shares = ours.loc[ours["arm"] == "teacher", "pseudolabel_accuracy"]
        assert point.pseudolabel_accuracy == pytest.approx(shares.mean())


def test_fewer_seeds_of_other_teachers_leave_the_main_arms_alone(
    written: tuple[Path, Path, Path], short: tuple[Path, Path, Path]
) -> None:
    every, some = (read_study(paths[0]) for paths in (written, short))
    assert (some.arms, some.gains) == (every.arms, every.gains)
    assert some.curve[1] == every.curve[1]


def test_the_crossing_is_of_the_seeds_that_all_teachers_share(
    short: tuple[Path, Path, Path],
) -> None:
    found = read_study(short[0]).crossing
    assert found is not None
    scores = read_scores(short[1]).query("seed < 3")
    means = scores.pivot_table(index="encoder", columns="arm", values="accuracy")
    means = means.loc[list(ENCODERS)]
    teacher, student = (means[arm].to_numpy() for arm in ("teacher", "student"))
    assert found.teacher_accuracy == pytest.approx(study.crossing(teacher, student - teacher))
    assert found.low <= found.teacher_accuracy <= found.high
    assert found.seeds == 3


def test_a_main_arm_without_all_seeds_is_refused(world: World) -> None:
    for labels in ("teacher_clip_step00010", "permuted_clip_step00010", "true"):
        students = world.students | {labels: world.students[labels][:1]}
        with pytest.raises(
            MedlabelError, match=rf"{labels}: .* 6 seeds .*0 to 5, found 3 .*seed 3"
        ):
            world.write("refused", students=students)
        students = {name: paths for name, paths in world.students.items() if name != labels}
        with pytest.raises(MedlabelError, match=rf"of {labels} labels, found none"):
            world.write("refused", students=students)


def test_students_of_later_seeds_alone_are_refused(world: World) -> None:
    labels = "teacher_clip_step00040"
    students = world.students | {labels: world.students[labels][1:]}
    with pytest.raises(MedlabelError, match=r"first 3 seeds of the draws, 0 to 2, .* at seed 0"):
        world.write("refused", students=students)


def test_a_teacher_without_students_is_passed_over(world: World, tmp_path: Path) -> None:
    students = {k: paths for k, paths in world.students.items() if "step00040" not in k}
    pseudolabels = world.pseudolabels | {"clip_step00040": tmp_path / "never_read.parquet"}
    paths = world.write("passed", students=students, pseudolabels=pseudolabels)
    assert "clip_step00040" not in set(read_scores(paths[1])["encoder"])
    assert [point.step for point in read_study(paths[0]).curve] == [5, 10]


def test_students_of_an_unlabelled_teacher_are_refused(world: World) -> None:
    pseudolabels = {k: path for k, path in world.pseudolabels.items() if "step00010" not in k}
    with pytest.raises(MedlabelError, match=r"pseudolabels: .* found none of clip_step00010"):
        world.write("refused", pseudolabels=pseudolabels)


def test_predictions_of_another_draw_are_refused(world: World, tmp_path: Path) -> None:
    table = pd.read_parquet(world.students["true"][0])
    files.write_parquet(tmp_path / "other.parquet", table.assign(row=table["row"] + 1000))
    students = world.students | {"true": [tmp_path / "other.parquet", world.students["true"][1]]}
    with pytest.raises(MedlabelError, match=r"other\.parquet: expected one row of probabilities"):
        world.write("refused", students=students)
    assert not (world.folder / "refused").exists()


def test_a_repeated_prediction_is_refused(world: World) -> None:
    students = world.students | {"true": [*world.students["true"], world.students["true"][0]]}
    with pytest.raises(MedlabelError, match="expected one row of probabilities for each"):
        world.write("refused", students=students)


def test_missing_pseudolabels_are_refused(world: World, tmp_path: Path) -> None:
    table = pd.read_parquet(world.pseudolabels["clip_step00010"])
    files.write_parquet(tmp_path / "part.parquet", table.query("role == 'test' or row > 2"))
    pseudolabels = world.pseudolabels | {"clip_step00010": tmp_path / "part.parquet"}
    with pytest.raises(MedlabelError, match=r"part\.parquet: expected one pseudo-label for each"):
        world.write("refused", pseudolabels=pseudolabels)


def test_draws_of_overlapping_blocks_are_refused(world: World) -> None:
    with pytest.raises(MedlabelError, match="found some of seed 0 twice; give blocks that do not"):
        world.write("refused", draws=[*world.draws, world.draws[0]])


def test_a_seed_without_held_out_images_is_refused(world: World, tmp_path: Path) -> None:
    table = pd.read_parquet(world.draws[0]).query("role == 'train' or seed != 1")
    files.write_parquet(tmp_path / "part.parquet", table)
    with pytest.raises(MedlabelError, match=r"part\.parquet: role test: images of all 2 classes"):
        world.write("refused", draws=[tmp_path / "part.parquet", world.draws[1]])


def test_a_draw_without_a_class_is_refused(world: World, tmp_path: Path) -> None:
    table = pd.read_parquet(world.draws[0]).query("role == 'train' or label == 0")
    files.write_parquet(tmp_path / "part.parquet", table)
    with pytest.raises(MedlabelError, match=r"part\.parquet: role test: images of all 2 classes"):
        world.write("refused", draws=[tmp_path / "part.parquet", world.draws[1]])


@pytest.mark.parametrize(
    ("teacher", "gain", "expected"),
    [
        ([0.7, 0.8, 0.9], [0.1, 0.05, -0.05], 0.85),
        ([0.9, 0.7, 0.8], [-0.05, 0.1, 0.05], 0.85),  # any order
        ([0.7, 0.8, 0.9], [0.1, 0.05, 0.01], None),  # always helps
        ([0.7, 0.8, 0.9], [-0.1, -0.05, 0.0], None),  # never helps
        ([0.5, 0.7, 0.9], [-0.1, 0.1, -0.1], 0.8),  # too weak a teacher does not count
        ([0.7, 0.8, 0.9], [0.1, 0.0, 0.0], 0.8),
        ([0.8, 0.85, 0.9, 0.95], [0.1, -0.1, 0.05, -0.1], 0.825),  # the first fall to zero
    ],
)
def test_crossing(teacher: list[float], gain: list[float], expected: float | None) -> None:
    found = study.crossing(np.array(teacher), np.array(gain))
    assert found == (None if expected is None else pytest.approx(expected))
