"""What the report reads: whole and of the rows that were compared, or refused with its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.params import Params
from medlabel.report.benchmark import comparison, protocol

from .conftest import LONG, Bench, recipes


def test_rows_have_the_names_of_the_parameters(real: Bench) -> None:
    found = comparison.read(real.comparison)
    assert [row.name for row in found.rows] == list(real.runs)
    assert list(found.datasets) == ["vesselmnist3d", "breastmnist", "bloodmnist"]
    assert not found.phantom
    assert found.rows[3].metrics["auc"].sd is None


def test_phantom_is_the_whole_only_where_every_row_is(mixed: Bench, drawn: Bench) -> None:
    assert not comparison.read(mixed.comparison).phantom
    assert comparison.read(drawn.comparison).phantom


def test_results_that_miss_a_value_are_refused(
    altered: Callable[..., Bench], tmp_path: Path
) -> None:
    with pytest.raises(MedlabelError, match=r"gone\.json: no such file.*`medlabel compare`"):
        comparison.read(tmp_path / "gone.json")
    with pytest.raises(MedlabelError, match=r"rows\.0\.metrics: auc, accuracy.* missing"):
        comparison.read(altered(row={"metrics": {}}).comparison)
    with pytest.raises(MedlabelError, match=r"rows\.0\.images: .*`medlabel compare` again"):
        comparison.read(altered(row={"images": 0}).comparison)
    (tmp_path / "torn.json").write_text('{"rows": [')
    with pytest.raises(MedlabelError, match=r"torn\.json: expected JSON"):
        comparison.read(tmp_path / "torn.json")


def test_other_runs_than_were_compared_are_refused(real: Bench, tmp_path: Path) -> None:
    found = comparison.read(real.comparison)
    name = found.rows[0].name
    with pytest.raises(MedlabelError, match=rf"{name}: 1 folders given, 2 expected"):
        comparison.read_runs(found, real.runs | {name: real.runs[name][:1]})
    with pytest.raises(MedlabelError, match=rf"{name}: 0 folders given"):
        comparison.read_runs(found, {})
    with pytest.raises(MedlabelError, match=rf"expected a run of {name}, found one of .*vit3d"):
        comparison.read_runs(found, real.runs | {name: real.runs["vesselmnist3d/vit3d/augmented"]})
    with pytest.raises(MedlabelError, match=r"run\.json: no such file.*`medlabel benchmark`"):
        comparison.read_runs(found, real.runs | {name: [tmp_path, tmp_path]})


def test_damaged_tables_of_a_run_are_refused(real: Bench, tmp_path: Path) -> None:
    record = comparison.read_runs(comparison.read(real.comparison), real.runs)
    run = comparison.Run(tmp_path, record["bloodmnist/resnet18/official"][0].record)
    with pytest.raises(MedlabelError, match=r"curve\.parquet: no such file.*`medlabel benchmark`"):
        run.curve()
    (tmp_path / "curve.parquet").write_text("torn")
    with pytest.raises(MedlabelError, match=r"curve\.parquet: expected a parquet table"):
        run.curve()
    table = pd.DataFrame({"split": ["val"], "row": [0], "label_0": [0], "p_0": [1.0]})
    files.write_parquet(tmp_path / "predictions.parquet", table)
    with pytest.raises(MedlabelError, match=r"predictions\.parquet: .*split test, found none"):
        run.predictions()


def test_the_protocol_is_recognised_by_its_settings(default_params: Params) -> None:
    known = recipes(default_params)
    assert protocol.differences("vesselmnist3d", known["official_3d"]) == []
    assert protocol.differences("breastmnist", default_params.benchmark.recipes["official"]) == []
    assert protocol.differences("breastmnist", known["official"]) == ["epochs 8 (100)"]
    assert protocol.differences("vesselmnist3d", known[LONG]) == [
        "epochs 8 (100)",
        "batch size 128 (32)",
    ]
    assert "phantom images" in protocol.differences("phantom_vessel3d", known["official_3d"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"enlarge_to": 224}, []),
        ({"enlarge_to": 64}, ["enlarged to 64 (28 or 224)"]),
        ({"stem": "halved"}, ["stem halved (dense)"]),
        ({"stem": "imagenet", "enlarge_to": 224}, []),
        ({"milestones": []}, ["milestones none (0.5, 0.75)"]),
        ({"class_weights": True}, ["class weights yes (no)"]),
        ({"learning_rate": 0.0001}, ["learning rate 0.0001 (0.001)"]),
        ({"intensity_scaling": False}, []),
    ],
)
def test_each_setting_that_differs_is_named(
    changes: dict[str, object], expected: list[str], default_params: Params
) -> None:
    recipe = default_params.benchmark.recipes["official"].model_copy(update=changes)
    assert protocol.differences("breastmnist", recipe) == expected


def test_intensity_scaling_counts_for_shapes_alone(default_params: Params) -> None:
    recipe = recipes(default_params)["official_3d"].model_copy(update={"intensity_scaling": False})
    assert protocol.differences("vesselmnist3d", recipe) == ["no intensity scaling (scaled)"]
    assert protocol.differences("organmnist3d", recipe) == []
