"""The benchmark's table on runs whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.evaluate import classification, compare

IMAGES = 200
PUBLISHED = Path(__file__).parents[2] / "resources" / "published_results.csv"
TRUTH = (np.arange(IMAGES) % 8 == 0).astype(np.uint8)


def answers(skill: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=IMAGES)
    return 1 / (1 + np.exp(-(skill * (2 * TRUTH - 1.0) + noise)))


def write_run(folder: Path, recipe: params.Recipe, positive: np.ndarray, model: str) -> None:
    table = pd.DataFrame(
        {
            "split": "test",
            "row": np.arange(IMAGES, dtype=np.int32),
            "label_0": TRUTH,
            "p_0": (1 - positive).astype(np.float32),
            "p_1": positive.astype(np.float32),
        }
    )
    files.write_parquet(folder / "predictions.parquet", table)
    record = {
        "dataset": "vesselmnist3d",
        "model": model,
        "recipe": "official_3d",
        "settings": recipe.model_dump(mode="json"),
        "task": "binary-class",
        "phantom": False,
        "parameters": 7,
        "epochs": 3,
        "precision": "fp32",
        "device": "a processor",
        "start": "random",
        "seconds": 10.0,
    }
    files.write_json(folder / "run.json", record)


@pytest.fixture
def settings(default_params: params.Params) -> params.Benchmark:
    rows = [
        params.Row(dataset="vesselmnist3d", model=model, recipe="official_3d", seeds=2)
        for model in ("resnet18_acs", "vit3d", "resnet18_3d")
    ]
    changes = {"rows": rows, "resamples": 500, "name": "tiny"}
    return default_params.benchmark.model_copy(update=changes)


@pytest.fixture
def runs(tmp_path: Path, settings: params.Benchmark) -> dict[str, list[Path]]:
    """A good row, a poor one, and one that answers as the good one does."""
    made: dict[str, list[Path]] = {}
    for row, skill in zip(settings.rows, (2.0, 0.3, 2.0), strict=True):
        made[row.name] = [tmp_path / row.name / f"{seed:03d}" for seed in range(2)]
        for seed, folder in enumerate(made[row.name]):
            recipe = settings.recipes["official_3d"]
            write_run(folder, recipe, answers(skill, seed), row.model)
    return made


def build(
    tmp_path: Path, settings: params.Benchmark, runs: dict[str, list[Path]]
) -> dict[str, Any]:
    target = tmp_path / "tiny.json"
    compare.write(
        runs=runs,
        settings=settings,
        published=PUBLISHED,
        seed=1,
        target=target,
        table=tmp_path / "tiny.csv",
    )
    content: dict[str, Any] = files.read_json(target, "compare")
    return content


def test_means_are_those_of_the_seeds(
    tmp_path: Path, settings: params.Benchmark, runs: dict[str, list[Path]]
) -> None:
    row = build(tmp_path, settings, runs)["rows"][0]
    each = [
        classification.score(
            "binary-class",
            TRUTH[:, None].astype(np.intp),
            np.column_stack([1 - p, p]).astype(np.float32),
        )
        for p in (answers(2.0, 0), answers(2.0, 1))
    ]
    for name, estimate in row["metrics"].items():
        values = [one[name] for one in each]
        assert estimate["mean"] == pytest.approx(np.mean(values), abs=1e-6)
        assert estimate["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    for name in ("auc", "accuracy"):
        assert row["metrics"][name]["low"] < row["metrics"][name]["mean"]
        assert row["metrics"][name]["mean"] < row["metrics"][name]["high"]
    assert row["trivial_accuracy"] == 0.875
    assert np.sum(row["confusion"]) == 2 * IMAGES


def test_a_better_row_is_told_and_an_equal_one_is_not(
    tmp_path: Path, settings: params.Benchmark, runs: dict[str, list[Path]]
) -> None:
    found = build(tmp_path, settings, runs)["comparisons"]
    by_pair = {(one["first"], one["second"]): one for one in found if one["metric"] == "auc"}
    better = by_pair["resnet18_acs/official_3d", "vit3d/official_3d"]
    assert better["low"] > 0
    assert better["p_holm"] < 0.05
    same = by_pair["resnet18_acs/official_3d", "resnet18_3d/official_3d"]
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)
    assert all(0 < one["p"] <= one["p_holm"] <= 1 for one in found)


def test_published_values_stand_beside_their_model(
    tmp_path: Path, settings: params.Benchmark, runs: dict[str, list[Path]]
) -> None:
    row = build(tmp_path, settings, runs)["rows"][0]
    official = next(one for one in row["published"] if one["recipe"] == "official")
    assert (official["auc"], official["accuracy"]) == (0.930, 0.928)
    estimate = row["metrics"]["auc"]
    assert official["auc_difference"] == pytest.approx(estimate["mean"] - 0.930)
    assert official["auc_within"] == (estimate["low"] <= 0.930 <= estimate["high"])


def test_one_seed_has_no_deviation_and_still_an_interval(
    tmp_path: Path, settings: params.Benchmark, runs: dict[str, list[Path]]
) -> None:
    single = {name: folders[:1] for name, folders in runs.items()}
    row = build(tmp_path, settings, single)["rows"][1]
    estimate = row["metrics"]["accuracy"]
    assert estimate["sd"] is None
    # A proportion's standard error gives about the same width.
    error = np.sqrt(estimate["mean"] * (1 - estimate["mean"]) / IMAGES)
    assert estimate["high"] - estimate["low"] == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_results_are_the_same_each_time(
    tmp_path: Path, settings: params.Benchmark, runs: dict[str, list[Path]]
) -> None:
    assert build(tmp_path, settings, runs) == build(tmp_path, settings, runs)


def test_runs_on_other_images_are_refused(
    tmp_path: Path, settings: params.Benchmark, runs: dict[str, list[Path]]
) -> None:
    path = runs[settings.rows[1].name][0] / "predictions.parquet"
    table = pd.read_parquet(path)
    files.write_parquet(path, table.assign(label_0=1 - table["label_0"]))
    with pytest.raises(MedlabelError, match="its test images are not those of"):
        build(tmp_path, settings, runs)


def test_missing_and_broken_runs_are_named(
    tmp_path: Path, settings: params.Benchmark, runs: dict[str, list[Path]]
) -> None:
    path = runs[settings.rows[0].name][0] / "predictions.parquet"
    table = pd.read_parquet(path)
    files.write_parquet(path, table.assign(p_1=np.nan))
    with pytest.raises(MedlabelError, match="values that are not finite"):
        build(tmp_path, settings, runs)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(MedlabelError, match="expected a parquet table"):
        build(tmp_path, settings, runs)
    path.unlink()
    with pytest.raises(MedlabelError, match="no such file"):
        build(tmp_path, settings, runs)


def test_every_published_value_has_a_source_and_is_a_fraction() -> None:
    table = compare.read_published(PUBLISHED)
    for name in ("auc", "acc"):
        assert table[name].dropna().between(0.4, 1).all()
    key = ["dataset", "model", "recipe", "image_size", "batch_size", "epochs", "source"]
    assert not table.duplicated(key).any()
