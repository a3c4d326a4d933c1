"""Parameters: what is allowed, and what a person is told otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medlabel import params as parameters
from medlabel.errors import MedlabelError
from medlabel.steps import STEPS, lookup

ROOT = Path(__file__).parent.parent
DEFAULT = ROOT / "params.yaml"
OVERLAYS = sorted((ROOT / "config").glob("*.yaml"))


def test_capstone_numbers_are_the_defaults(default_params: parameters.Params) -> None:
    chest, breast = default_params.mixture.classes
    assert (chest.train.count, breast.train.count) == (546, 546)
    assert (chest.test.count, breast.test.count) == (234, 234)
    assert breast.test.splits == ["val", "test"]
    student = default_params.student
    assert (student.optimizer.name, student.optimizer.lr, student.optimizer.momentum) == (
        "sgd",
        0.001,
        0.9,
    )
    assert (student.epochs, student.patience, student.validation_fraction) == (20, 10, 0.2)
    assert default_params.study.seeds == 30


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlays_are_valid(overlay: Path) -> None:
    assert parameters.read([DEFAULT, overlay]).mixture.classes


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("student.optimizer.lrr=1", "student.optimizer.lrr: unknown key (value 1); did you mean"),
        ("student.optimizer.lr=-1", "student.optimizer.lr: -1 given, allowed: input should be gr"),
        ("student.optimizer.lr=fast", "student.optimizer.lr: 'fast' given"),
        ("student.model=resnet", "student.model: 'resnet' given"),
        ("data.size=29", "data.size: 29 given, one of (28, 64, 128, 224) allowed"),
        ("study.seeds=0", "study.seeds: 0 given"),
        ("seed={a: 1}", "seed: {'a': 1} given"),
        ("study.curve_seeds=31", "study.curve_seeds: 31 given, at most study.seeds (30) allowed"),
        ("study.keep_weights=[99]", "study.keep_weights: [99] given, seeds below study.seeds (30)"),
        ("pretrain.study_checkpoint=3", "pretrain.study_checkpoint: 3 given, one of"),
        ("pretrain.checkpoints=[20, 10]", "pretrain.checkpoints: [20, 10] given, rising steps"),
        ("pretrain.patch_size=5", "pretrain.patch_size: 5 given, a divisor of phantoms.size (28)"),
        ("pretrain.width=100", "pretrain.width: 100 given, a multiple of 32 allowed"),
        ("pseudolabel.templates=['no slot']", "pseudolabel.templates: 'no slot' given"),
        ("mixture.name=phantom_x", "mixture.name: 'phantom_x' given"),
        ("pseudolabel.prompts=[]", "pseudolabel.prompts: labels [] given"),
        ("colour=blue", "colour: unknown key (value 'blue'); allowed here: seed, device"),
    ],
)
def test_a_wrong_value_is_told_in_one_line(override: str, expected: str) -> None:
    with pytest.raises(MedlabelError) as caught:
        parameters.read([DEFAULT], [override])
    message = str(caught.value)
    assert message.startswith(f"{DEFAULT}: {expected}")
    assert "\n" not in message


def test_a_wrong_dataset_names_its_place_and_those_that_exist(default_params) -> None:
    classes = default_params.model_dump()["mixture"]["classes"]
    classes[1]["dataset"] = "brestmnist"
    override = f"mixture.classes={json.dumps(classes)}"
    with pytest.raises(MedlabelError, match=r"mixture\.classes\.1\.dataset: 'brestmnist' given"):
        parameters.read([DEFAULT], [override])


def test_an_image_cannot_serve_in_both_roles(default_params) -> None:
    classes = default_params.model_dump()["mixture"]["classes"]
    classes[0]["train"]["splits"] = ["train", "test"]
    with pytest.raises(MedlabelError, match=r"mixture\.classes\.0\.train\.splits and test\.splits"):
        parameters.read([DEFAULT], [f"mixture.classes={json.dumps(classes)}"])


def test_a_missing_key_is_named() -> None:
    content = parameters.read_yaml(DEFAULT)
    del content["student"]["epochs"]
    with pytest.raises(MedlabelError, match=r"params: student\.epochs: missing"):
        parameters.validate(content, "params")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("- a\n- b\n", "expected a YAML mapping, found list"), ("a: [", "found a syntax error")],
)
def test_a_file_that_is_no_mapping_is_told(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(MedlabelError, match=expected):
        parameters.read([path])


@pytest.mark.parametrize("override", ["seed", "=1", "seed=["])
def test_a_malformed_override_is_told(override: str) -> None:
    with pytest.raises(MedlabelError, match=r"^--set "):
        parameters.read([DEFAULT], [override])


def test_curve_students_may_be_fewer(default_params: parameters.Params) -> None:
    arms = default_params.arms
    study = f"teacher_{default_params.study_encoder}"
    assert arms[study] == arms["true"] == default_params.seed_blocks
    others = {arm: blocks for arm, blocks in arms.items() if arm.startswith("teacher_")}
    assert len(others) == len(default_params.encoders)
    assert all(blocks == ["0000-0009"] for arm, blocks in others.items() if arm != study)
    assert default_params.draw_blocks == default_params.seed_blocks


def benchmark_of(default_params: parameters.Params, **recipe: object) -> parameters.Benchmark:
    """A benchmark of one row whose recipe is ViT3D's with these changes."""
    content = default_params.benchmark.model_dump(mode="json")
    content["recipes"]["changed"] = content["recipes"]["vit3d"] | recipe
    row = {"dataset": "vesselmnist3d", "model": "vit3d", "recipe": "changed", "seeds": 2}
    return parameters.Benchmark.model_validate(content | {"rows": [row]})


ACS = {"dataset": "vesselmnist3d", "model": "resnet18_acs", "recipe": "official_3d"}


def test_what_a_row_needs_comes_before_it_once(default_params: parameters.Params) -> None:
    start = {"source": "row", **ACS, "model": "vit3d"}
    found = benchmark_of(default_params, start=start, distillation={**ACS, "part": 0.5})
    (row,) = found.rows
    names = [one.name for one in found.with_sources(row)]
    assert names == [
        "vesselmnist3d/vit3d/official_3d",
        "vesselmnist3d/resnet18_acs/official_3d",
        "vesselmnist3d/vit3d/changed",
    ]
    assert {one.seeds for one in found.with_sources(row)} == {2}
    assert found.find("vesselmnist3d/resnet18_acs/official_3d").seeds == 2


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({**ACS, "recipe": "none"}, "recipe 'none' given"),
        ({**ACS, "model": "resnet18"}, "does not fit volumes"),
        ({**ACS, "model": "vit3d", "recipe": "changed"}, "starts or learns from itself"),
        (
            {"dataset": "pneumoniamnist", "model": "resnet18", "recipe": "enlarged"},
            r"distillation: pneumoniamnist/resnet18/enlarged given, which sees other images",
        ),
    ],
)
def test_a_teacher_that_cannot_be_is_told(
    default_params: parameters.Params, teacher: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        benchmark_of(default_params, distillation={**teacher, "part": 0.5})


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="no such parameter file"):
        parameters.read([tmp_path / "absent.yaml"])


def test_the_committed_schema_is_current_and_accepts_the_parameters() -> None:
    committed = (ROOT / "workflow" / "schemas" / "params.schema.json").read_text()
    assert committed == parameters.schema(), "run: medlabel schema --target workflow/schemas/..."
    jsonschema.validate(yaml.safe_load(DEFAULT.read_text()), json.loads(committed))


def test_every_key_has_a_description() -> None:
    definitions = json.loads(parameters.schema())["$defs"]
    missing = [
        f"{model}.{key}"
        for model, entry in definitions.items()
        for key, spec in entry["properties"].items()
        if "description" not in spec and "$ref" not in spec
    ]
    assert not missing


@given(seeds=st.integers(1, 200), more=st.integers(0, 200), size=st.integers(1, 50))
def test_more_seeds_leave_full_blocks_as_they_are(seeds: int, more: int, size: int) -> None:
    blocks = [_blocks(seeds, size), _blocks(seeds + more, size)]
    full = seeds // size
    assert blocks[0][:full] == blocks[1][:full]
    covered = [
        seed
        for block in blocks[1]
        for first, last in [map(int, block.split("-"))]
        for seed in range(first, last + 1)
    ]
    assert covered == list(range(seeds + more))


def _blocks(seeds: int, size: int) -> list[str]:
    study = parameters.read([DEFAULT]).study.model_copy(
        update={"seeds": seeds, "seeds_per_job": size}
    )
    return parameters.read([DEFAULT]).model_copy(update={"study": study}).seed_blocks


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.just({"x": 1})),
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.just({"y": 2})),
)
def test_overlays_merge_as_snakemake_merges(base: dict, upper: dict) -> None:
    from snakemake.utils import update_config

    ours, theirs = json.loads(json.dumps(base)), json.loads(json.dumps(base))
    parameters.overlay(ours, upper)
    update_config(theirs, upper)
    assert ours == theirs


@pytest.mark.parametrize("step", STEPS.values(), ids=lambda step: step.name)
def test_steps_declare_parameters_and_code_that_exist(step, default_params) -> None:
    for key in (*step.reads, *step.operates, *step.fans_out):
        lookup(default_params, key)
    assert all((ROOT / file).is_file() for file in step.code)
    json.dumps(step.triggers(default_params))


def test_a_step_depends_on_what_its_code_imports_inside_functions_too() -> None:
    assert "src/medlabel/teacher/embed.py" in STEPS["pseudolabel"].code
    assert "src/medlabel/data/phantoms/scanner.py" in STEPS["phantoms"].code
    assert "src/medlabel/report/page.html.j2" in STEPS["report"].code
    assert not [file for file in STEPS["mix"].code if "/teacher/" in file]


def test_a_step_cannot_read_what_it_does_not_declare(default_params) -> None:
    with pytest.raises(KeyError):
        STEPS["embed"].settings(default_params)["student"]
