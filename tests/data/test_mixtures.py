"""Mixtures: what may be drawn, what each seed draws, and the audit for duplicates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medlabel import files, params
from medlabel.data import archive, mixtures
from medlabel.errors import MedlabelError

COUNTS = {"train": 12, "val": 5, "test": 7}
CLASSES = {"breastmnist": 2, "organamnist": 11, "phantom_chest": 3}
SEED = 2024


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    random = np.random.default_rng(1)
    for dataset, classes in CLASSES.items():
        members = {}
        for split, count in COUNTS.items():
            members[f"{split}_images"] = random.integers(0, 256, (count, 4, 4), dtype=np.uint8)
            members[f"{split}_labels"] = (np.arange(count) % classes)[:, None].astype(np.uint8)
        files.write_npz(folder / f"{dataset}.npz", members)
    several = {}
    for split, count in COUNTS.items():
        several[f"{split}_images"] = random.integers(0, 256, (count, 4, 4), dtype=np.uint8)
        several[f"{split}_labels"] = np.zeros((count, 14), dtype=np.uint8)
        several[f"{split}_labels"][::2, 0] = 1
        several[f"{split}_labels"][::3, 5] = 1
    files.write_npz(folder / "chestmnist.npz", several)
    return {dataset: folder / f"{dataset}.npz" for dataset in [*CLASSES, "chestmnist"]}


def one_class(
    name: str,
    dataset: str,
    labels: list[int] | None = None,
    train: int | None = 3,
    test: int | None = 2,
    train_splits: tuple[str, ...] = ("train",),
    test_splits: tuple[str, ...] = ("val", "test"),
) -> dict[str, object]:
    return {
        "name": name,
        "dataset": dataset,
        "labels": labels,
        "train": {"splits": list(train_splits), "count": train},
        "test": {"splits": list(test_splits), "count": test},
    }


def mixture(*classes: dict[str, object], pool: int | None = None) -> params.Mixture:
    content = {"size": 28, "pool": pool, "classes": list(classes)}
    # The archives here have four pixels an edge, which no mixture of params.yaml may.
    return params.Mixture.model_validate(content).model_copy(update={"size": 4})


BREAST = one_class("breast", "breastmnist")
ORGAN = one_class("organ", "organamnist")


def pool_of(folder: Path, chosen: params.Mixture, archives: dict[str, Path]) -> pd.DataFrame:
    mixtures.write_pool("mix", chosen, archives, folder / "pool.parquet", SEED)
    return mixtures.read_pool(folder / "pool.parquet")


def draw_of(folder: Path, chosen: params.Mixture, *seeds: int) -> pd.DataFrame:
    pool = mixtures.read_pool(folder / "pool.parquet")
    drawn = [mixtures.draw(chosen, pool, one, SEED).assign(seed=one) for one in seeds]
    return pd.concat(drawn, ignore_index=True)


def images(table: pd.DataFrame) -> list[tuple[str, str, int]]:
    return list(table[["dataset", "split", "row"]].itertuples(index=False, name=None))


def test_the_pool_holds_every_eligible_image_in_order(tmp_path, archives):
    pool = pool_of(tmp_path, mixture(BREAST, ORGAN), archives)
    expected = [
        (role, dataset, split, row, name)
        for role, splits in (("train", ["train"]), ("test", ["val", "test"]))
        for name, dataset in (("breast", "breastmnist"), ("organ", "organamnist"))
        for split in splits
        for row in range(COUNTS[split])
    ]
    assert list(pool.itertuples(index=False, name=None)) == expected
    assert list(pool.columns) == ["role", "dataset", "split", "row", "class"]
    assert str(pool["row"].dtype) == "int32"


def test_splits_named_in_any_order_give_the_same_pool(tmp_path, archives):
    turned = one_class("breast", "breastmnist", test_splits=("test", "val"))
    first = pool_of(tmp_path, mixture(BREAST, ORGAN), archives)
    pd.testing.assert_frame_equal(first, pool_of(tmp_path, mixture(turned, ORGAN), archives))


def test_classes_are_labels_of_one_source(tmp_path, archives):
    chosen = mixture(
        one_class("liver", "organamnist", labels=[6], train=None, test=None),
        one_class("kidney", "organamnist", labels=[4, 5], train=None, test=None),
    )
    pool = pool_of(tmp_path, chosen, archives)
    for _, image in pool.iterrows():
        assert image["row"] % 11 in {"liver": [6], "kidney": [4, 5]}[image["class"]]
    assert len(pool) == 1 + 1 + 2 + 3  # rows 6 | 6 of test | 4, 5 | 4 of val, 4 and 5 of test


def test_multi_label_sources_keep_images_that_carry_one_of_the_labels(tmp_path, archives):
    chosen = mixture(one_class("chest", "chestmnist", labels=[0, 5]), BREAST)
    pool = pool_of(tmp_path, chosen, archives)
    rows = pool.query("`class` == 'chest' and split == 'train'")["row"].tolist()
    assert rows == [row for row in range(12) if row % 2 == 0 or row % 3 == 0]


def test_the_cap_is_a_fixed_subset_that_other_classes_do_not_move(tmp_path, archives):
    full = pool_of(tmp_path, mixture(BREAST, ORGAN), archives)
    capped = pool_of(tmp_path, mixture(BREAST, ORGAN, pool=4), archives)
    assert capped.groupby(["role", "class"]).size().tolist() == [4, 4, 4, 4]
    assert set(images(capped)) < set(images(full))
    turned = pool_of(tmp_path, mixture(ORGAN, BREAST, pool=4), archives)
    assert sorted(images(turned)) == sorted(images(capped))


@pytest.mark.parametrize(
    ("classes", "pool", "message"),
    [
        (
            [BREAST, one_class("organ", "organamnist", labels=[0, 3], train=9)],
            None,
            "mixtures.mix.classes.1.train.count: class organ needs 9 train images, found 3 in "
            "train of organamnist with the labels [0, 3]; lower",
        ),
        (
            [one_class("breast", "breastmnist", test=13), ORGAN],
            None,
            "mixtures.mix.classes.0.test.count: class breast needs 13 test images, found 12 in "
            "val and test of breastmnist; lower",
        ),
        (
            [one_class("breast", "breastmnist", train=9), ORGAN],
            8,
            "needs 9 train images, found 8 in train of breastmnist, of which pool keeps 8;",
        ),
        (
            [BREAST, one_class("organ", "organamnist", labels=[], train=None)],
            None,
            "class organ needs 1 train images, found 0",
        ),
        (
            [one_class("breast", "breastmnist", labels=[1, 2]), ORGAN],
            None,
            "mixtures.mix.classes.0.labels: [2] given; breastmnist has the labels 0 (malignant), "
            "1 (normal, benign).",
        ),
        (
            [one_class("chest", "phantom_chest", labels=[-1, 3]), ORGAN],
            None,
            "mixtures.mix.classes.0.labels: [-1, 3] given; phantom_chest has the labels 0, 1, 2.",
        ),
        (
            [one_class("a", "chestmnist", labels=[0]), one_class("b", "chestmnist", labels=[5])],
            None,
            "mixtures.mix.classes: 5 images of chestmnist belong to both a and b; give "
            "classes.0 and classes.1 labels or splits",
        ),
    ],
)
def test_impossible_mixtures_are_one_line(tmp_path, archives, classes, pool, message):
    with pytest.raises(MedlabelError) as error:
        pool_of(tmp_path, mixture(*classes, pool=pool), archives)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pool.parquet").exists()


def test_an_image_is_not_trained_on_by_one_class_and_tested_by_another(tmp_path, archives):
    crossed = mixture(
        one_class("a", "breastmnist", train_splits=("train",), test_splits=("val",)),
        one_class("b", "breastmnist", train_splits=("test",), test_splits=("train",)),
    )
    with pytest.raises(MedlabelError, match="12 images of breastmnist belong to both a and b"):
        pool_of(tmp_path, crossed, archives)


def test_sizes_are_checked(tmp_path, archives):
    larger = mixture(BREAST, ORGAN).model_copy(update={"size": 28})
    with pytest.raises(MedlabelError, match="expected an edge of 28 pixels, found 4"):
        pool_of(tmp_path, larger, archives)


counts = st.one_of(st.none(), st.integers(1, 12))
anything = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@anything
@given(
    train=st.lists(counts, min_size=3, max_size=3),
    test=st.lists(counts, min_size=3, max_size=3),
    cap=st.sampled_from([None, 12]),
    first=st.integers(0, 9990),
)
def test_draws_keep_their_promises(tmp_path, archives, train, test, cap, first):
    chosen = mixture(
        *(one_class(f"c{i}", name, None, train[i], test[i]) for i, name in enumerate(CLASSES)),
        pool=cap,
    )
    pool = pool_of(tmp_path, chosen, archives)
    draw = draw_of(tmp_path, chosen, first, first + 1)

    assert list(draw.columns) == ["role", "dataset", "split", "row", "label", "seed"]
    assert (str(draw["row"].dtype), str(draw["label"].dtype)) == ("int32", "int8")
    assert not draw.duplicated(["seed", "dataset", "split", "row"]).any()
    pool["label"] = pool.pop("class").map({f"c{i}": i for i in range(3)})
    columns = ["role", "dataset", "split", "row", "label"]
    assert set(map(tuple, draw[columns].to_numpy())) <= set(map(tuple, pool[columns].to_numpy()))
    for (_, role, label), drawn in draw.groupby(["seed", "role", "label"]):
        wanted = (train if role == "train" else test)[label]
        held = len(pool.query("role == @role and label == @label"))
        assert len(drawn) == (held if wanted is None else wanted)
    for _, one in draw.groupby("seed"):
        order = one["role"].map({"train": 0, "test": 1}) * 3 + one["label"]
        assert order.is_monotonic_increasing
    pd.testing.assert_frame_equal(draw_of(tmp_path, chosen, first), draw[draw["seed"] == first])


def test_a_class_draws_the_same_whatever_stands_beside_it(tmp_path, archives):
    pool_of(tmp_path, mixture(BREAST, ORGAN), archives)
    before = draw_of(tmp_path, mixture(BREAST, ORGAN), *range(5))
    wider = mixture(one_class("phantom", "phantom_chest"), BREAST)
    pool_of(tmp_path, wider, archives)
    after = draw_of(tmp_path, wider, *range(5))
    kept = [table[table["dataset"] == "breastmnist"] for table in (before, after)]
    assert images(kept[0]) == images(kept[1])
    assert len(kept[0]) == 5 * (3 + 2)


def test_a_larger_count_adds_to_the_smaller_draw(tmp_path, archives):
    pool_of(tmp_path, mixture(BREAST, ORGAN), archives)
    more = mixture(one_class("breast", "breastmnist", train=7), ORGAN)
    few = draw_of(tmp_path, mixture(BREAST, ORGAN), 3).query("role == 'train'")
    many = draw_of(tmp_path, more, 3).query("role == 'train'")
    assert images(many)[:3] == images(few)[:3]


def test_seeds_draw_differently(tmp_path, archives):
    chosen = mixture(one_class("breast", "breastmnist", train=6), ORGAN)
    pool_of(tmp_path, chosen, archives)
    draw = draw_of(tmp_path, chosen, *range(10)).query("role == 'train' and label == 0")
    assert len({frozenset(images(table)) for _, table in draw.groupby("seed")}) > 5


def test_roles_draw_independently(tmp_path, archives):
    chosen = mixture(one_class("breast", "breastmnist", train=None, test=None), ORGAN)
    pool = pool_of(tmp_path, chosen, archives).query("`class` == 'breast'")
    draw = draw_of(tmp_path, chosen, 0).query("label == 0")
    places = {}
    for role in ("train", "test"):
        order = images(pool.query("role == @role"))
        places[role] = [order.index(image) for image in images(draw.query("role == @role"))]
    assert sorted(places["train"]) == sorted(places["test"]) == list(range(12))
    assert places["train"] != places["test"]


def test_a_member_draws_from_the_pool_of_all(tmp_path, archives):
    several = mixture(BREAST, ORGAN, one_class("phantom", "phantom_chest"))
    pool = pool_of(tmp_path, several, archives)
    every = several.model_copy(update={"choose": 2}).members("mix")
    assert list(every) == ["mix.breast.organ", "mix.breast.phantom", "mix.organ.phantom"]
    found = mixtures.draw(every["mix.organ.phantom"], pool, 4, SEED)
    assert set(zip(found["dataset"], found["label"], strict=True)) == {
        ("organamnist", 0),
        ("phantom_chest", 1),
    }
    whole = mixtures.draw(several, pool, 4, SEED)
    organs = [table[table["dataset"] == "organamnist"] for table in (whole, found)]
    assert images(organs[0]) == images(organs[1])


def test_same_seed_same_bytes(tmp_path, archives):
    for folder in ("one", "two"):
        pool_of(tmp_path / folder, mixture(BREAST, ORGAN, pool=6), archives)
    first, second = ((tmp_path / name / "pool.parquet").read_bytes() for name in ("one", "two"))
    assert first == second


def test_a_pool_too_small_for_the_draw_is_refused(tmp_path, archives):
    pool_of(tmp_path, mixture(BREAST, ORGAN, pool=4), archives)
    with pytest.raises(MedlabelError, match=r"pool: class breast needs 5 .*`medlabel pool` again"):
        draw_of(tmp_path, mixture(one_class("breast", "breastmnist", train=5), ORGAN), 0)


def test_a_damaged_pool_is_one_line(tmp_path):
    (tmp_path / "pool.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(MedlabelError, match=r"pool\.parquet: expected a parquet table"):
        mixtures.read_pool(tmp_path / "pool.parquet")


def test_volumes_are_mixed_with_images_of_their_size(tmp_path, archives):
    volumes = np.random.default_rng(2).integers(0, 256, (12, 4, 4, 4), dtype=np.uint8)
    volumes[3] = volumes[2][::-1]  # another volume, whose projection is the same
    members = {f"{split}_images": volumes for split in archive.SPLITS}
    members |= {f"{split}_labels": np.zeros((12, 1), np.uint8) for split in archive.SPLITS}
    files.write_npz(tmp_path / "vessel.npz", members)
    content = [BREAST, one_class("vessel", "vesselmnist3d", test_splits=("test",))]
    chosen = params.Mixture(size=28, projection="maximum", classes=content)
    chosen = chosen.model_copy(update={"size": 4})
    paths = {**archives, "vesselmnist3d": tmp_path / "vessel.npz"}
    assert pool_of(tmp_path, chosen, paths).query("`class` == 'vessel'").shape[0] == 24
    mixtures.write_audit(tmp_path / "pool.parquet", chosen, paths, tmp_path / "audit.json")
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert (audit["duplicated"], audit["groups"], audit["groups_across_roles"]) == (24, 11, 11)


def test_the_audit_finds_planted_twins(tmp_path, archives):
    read = {name: archive.read(archives[name], name) for name in ("breastmnist", "organamnist")}
    breast, organ = (dict(read[name].images) for name in ("breastmnist", "organamnist"))
    breast["test"][3] = breast["train"][1]  # across roles
    breast["train"][5] = breast["train"][6]  # within a role
    organ["val"][0] = organ["val"][2] = breast["val"][4]  # across classes
    paths = {}
    for name, source in read.items():
        paths[name] = tmp_path / f"{name}.npz"
        members = {f"{split}_images": source.images[split] for split in archive.SPLITS}
        members |= {f"{split}_labels": source.labels[split] for split in archive.SPLITS}
        files.write_npz(paths[name], members)
    pool = pool_of(tmp_path, mixture(BREAST, ORGAN), paths)

    twins = mixtures.duplicates(pool, read)
    found = {frozenset(images(group)) for _, group in twins.groupby("group")}
    across_roles = {("breastmnist", "train", 1), ("breastmnist", "test", 3)}
    assert found == {
        frozenset(across_roles),
        frozenset({("breastmnist", "train", 5), ("breastmnist", "train", 6)}),
        frozenset(
            {("breastmnist", "val", 4), ("organamnist", "val", 0), ("organamnist", "val", 2)}
        ),
    }

    mixtures.write_audit(
        tmp_path / "pool.parquet", mixture(BREAST, ORGAN), paths, tmp_path / "audit.json"
    )
    audit = json.loads((tmp_path / "audit.json").read_text())
    examples = audit.pop("examples")
    assert audit == {
        "images": 48,
        "duplicated": 7,
        "groups": 3,
        "groups_across_roles": 1,
        "groups_across_classes": 1,
    }
    assert {(one["dataset"], one["split"], one["row"]) for one in examples[0]} == across_roles
    assert [one["role"] for one in examples[0]] == ["train", "test"]
    assert len(examples) == 3


def test_the_audit_of_a_pool_without_twins_counts_none(tmp_path, archives):
    pool_of(tmp_path, mixture(BREAST, ORGAN), archives)
    mixtures.write_audit(
        tmp_path / "pool.parquet", mixture(BREAST, ORGAN), archives, tmp_path / "audit.json"
    )
    assert json.loads((tmp_path / "audit.json").read_text()) == {
        "images": 48,
        "duplicated": 0,
        "groups": 0,
        "groups_across_roles": 0,
        "groups_across_classes": 0,
        "examples": [],
    }


@pytest.fixture(scope="module")
def default_pool(tmp_path_factory, mirror, default_params) -> Path:
    chosen = default_params.mixtures["breast_pneumonia"]
    target = tmp_path_factory.mktemp("default") / "pool.parquet"
    sources = {name: mirror / f"{name}.npz" for name in chosen.datasets}
    mixtures.write_pool("breast_pneumonia", chosen, sources, target, default_params.seed)
    mixtures.write_audit(target, chosen, sources, target.with_name("audit.json"))
    return target


@pytest.mark.real
def test_each_seed_of_the_default_study_draws_1092_and_468_images(default_pool, default_params):
    chosen = default_params.mixtures["breast_pneumonia"]
    draw = draw_of(default_pool.parent, chosen, *range(30))
    sizes = draw.groupby(["role", "label", "seed"]).size()
    assert len(sizes) == 2 * 2 * 30
    assert (sizes["train"] == 546).all()
    assert (sizes["test"] == 234).all()
    breast = draw.query("role == 'train' and dataset == 'breastmnist'").groupby("seed")["row"]
    assert all(sorted(rows) == list(range(546)) for _, rows in breast)


@pytest.mark.real
def test_the_known_duplicates_of_pneumoniamnist_are_found(default_pool, default_params, mirror):
    pool = pd.read_parquet(default_pool).query("dataset == 'pneumoniamnist'")
    path = mirror / "pneumoniamnist.npz"
    twins = mixtures.duplicates(pool, {"pneumoniamnist": archive.read(path, "pneumoniamnist")})
    roles = twins.groupby("group")["role"].nunique()
    assert (len(roles), int((roles > 1).sum())) == (27, 8)
    audit = json.loads(default_pool.with_name("audit.json").read_text())
    assert (audit["groups"], audit["groups_across_roles"]) == (28, 9)
