"""Training a tower's last parts: what changes, what stays, what is kept and repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.nn import functional

from medlabel import files, fingerprint, params
from medlabel.data import phantoms
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, heads, last_parts, runtime, sources, towers, trunks, tuning
from medlabel.teacher.groups import Groups

CPU = torch.device("cpu")
PARTS = ("blocks.4", "conv_head", "bn2")
TUNED = params.Tuned(
    parts=list(PARTS),
    edge=32,
    images=12,
    phantoms=10,
    epochs=3,
    pairs=8,
    learning_rate=0.0003,
    kept=0.1,
)
RANDOM = params.Tower(source="random", model="test_efficientnet", weights=None)


@pytest.fixture(scope="module")
def captioned(
    drawn: list[sources.Source], tmp_path_factory: pytest.TempPathFactory
) -> list[sources.Source]:
    """Captioned phantoms, and others of the chest that stand for measured images."""
    folder = tmp_path_factory.mktemp("measured")
    counts = params.Counts(train=40, val=16, test=1)
    drawing = params.Phantoms(
        size=28, counts=counts, volumes=counts, stand_ins=counts, artefacts=False
    )
    measured = sources.Source(
        "phantom_chest", 28, folder / "chest.npz", folder / "chest.parquet", measured=True
    )
    phantoms.write("phantom_chest", measured.archive, measured.captions, counts, drawing, seed=5)
    return [*drawn, measured]


@pytest.fixture
def tune(
    captioned: list[sources.Source], locked_settings: params.Locked, tmp_path: Path
) -> Callable[..., Path]:
    """Return a function that tunes a random tower, with a cache of the test's own."""

    def run(name: str, cache: str = "cache", module: Any = tuning, **changes: Any) -> Path:
        tuned = TUNED.model_copy(update=changes)
        short = {"epochs": 2, "caption_steps": 20, "phantoms": 12}
        settings = locked_settings.model_copy(update={"tower": RANDOM, "tuned": tuned, **short})
        folder = tmp_path / name
        module.train(captioned, {0: folder}, settings, 0, "cpu", 1, tmp_path / cache)
        return folder

    return run


@pytest.fixture
def later_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the last epoch be the best one, whatever a random tower learns."""
    monkeypatch.setattr(
        tuning._Tuning,
        "_judge",
        lambda _, epoch: {"epoch": epoch, "validation_loss": 1.0 / (1 + epoch)},
    )


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(folder / encoder.PROVENANCE, "")
    return found


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def trunk_of(folder: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(folder / encoder.WEIGHTS)
    start = "visual.trunk."
    return {
        name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)
    }


@pytest.mark.usefixtures("later_is_better")
def test_the_named_parts_alone_change_and_no_statistics(tune: Callable[..., Path]) -> None:
    before = towers.load(RANDOM, 64, 0).trunk
    after = trunk_of(tune("tuned"))
    trained = {name for name, _ in before.named_parameters() if name.startswith(PARTS)}
    changed = {
        name for name, one in before.state_dict().items() if not torch.equal(one, after[name])
    }
    assert changed == trained
    assert any("running_mean" in name for name in after if name.startswith(PARTS))


@pytest.mark.usefixtures("later_is_better")
def test_a_run_killed_while_it_tunes_or_after_ends_with_the_same_bytes(
    tune: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(tune("whole", "another"))
    runs = []
    real = tuning._Tuning.run

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tuning._Tuning, "_state", killed)
        with pytest.raises(KeyboardInterrupt):
            tune("resumed")
    monkeypatch.setattr(tuning._Tuning, "run", lambda self: runs.append(1) or real(self))
    with monkeypatch.context() as patch:
        patch.setattr(heads, "join", killed)
        with pytest.raises(KeyboardInterrupt):
            tune("resumed")
    assert written(tune("resumed")) == whole
    assert len(runs) == 1  # what was tuned is not tuned again


@pytest.mark.usefixtures("later_is_better")
def test_a_tuned_tower_takes_no_features_of_the_one_before(tune: Callable[..., Path]) -> None:
    alone = written(tune("alone", "another"))
    untuned = tune("untuned", module=heads)
    beside = tune("beside")
    assert written(beside) == alone
    assert written(untuned)[encoder.WEIGHTS] != alone[encoder.WEIGHTS]
    assert "tuned" not in record(untuned)["tower"]
    told = record(beside)["tower"]["tuned"]
    assert told["parts"] == list(PARTS)
    assert [one["epoch"] for one in told["curve"]] == [0, 1, 2, 3]


def test_the_best_epoch_is_kept(tune: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    losses, states = iter([0.9, 0.5, 0.1, 0.3]), []

    def judge(self: tuning._Tuning, epoch: int) -> dict[str, float]:
        states.append(self._state())
        return {"epoch": epoch, "validation_loss": next(losses)}

    monkeypatch.setattr(tuning._Tuning, "_judge", judge)
    found = trunk_of(tune("tuned"))
    assert len(states) == 4
    assert all(torch.equal(found[name], one) for name, one in states[2].items())
    assert not all(torch.equal(found[name], one) for name, one in states[3].items())


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.usefixtures("later_is_better")
def test_an_encoder_embeds_as_its_two_halves_do(tune: Callable[..., Path], engine: Any) -> None:
    found = encoder.load(tune("tuned"), CPU)
    visual = found.model.visual
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 3, 64, 64), np.float32))
    untouched = towers.load(RANDOM, 64, 0).trunk
    by_scale = []
    for factor in (1, 2):
        halves = last_parts.LastParts(visual.trunk, PARTS, 64 // factor)
        with torch.inference_mode():
            seen = last_parts.Before(untouched, PARTS[0], factor)(images)
            last = halves(seen[:, halves.length :])
        by_scale.append(functional.normalize(last, dim=-1))
    with torch.inference_mode():
        scales = trunks.Scales(untouched, [64, 32], "blocks.3")(images)
        middle = scales[:, 2 * halves.length :]
        expected = functional.normalize(visual.project(torch.cat([*by_scale, middle], 1)), dim=-1)
    side = runtime.compiled(runtime.ImageSide(found.model), images, engine, "fp32", 1)
    np.testing.assert_allclose(side.embed(images), expected, atol=runtime.TOLERANCE)


def test_what_a_finding_does_not_tell_moves_less_the_more_it_is_to_be_kept(
    tune: Callable[..., Path],
) -> None:
    moved = {
        kept: record(tune(f"kept{kept}", kept=kept))["tower"]["tuned"]["curve"][-1]
        for kept in (0.0, 100.0)
    }
    assert moved[100.0]["validation_moved"] < 0.5 * moved[0.0]["validation_moved"]


def test_small_heads_learn_before_the_tower_does(tune: Callable[..., Path]) -> None:
    curve = record(tune("tuned", kept=0.0))["tower"]["tuned"]["curve"]
    assert curve[0]["validation_moved"] == pytest.approx(0, abs=1e-4)
    assert curve[1]["validation_moved"] > 1e-3


def test_right_captions_are_of_the_finding_where_measured_images_tell_it() -> None:
    rows = [
        ("chest", "normal", "no finding", True, True),
        ("chest", "pneumonia", "a pneumonia", True, True),
        ("chest", "pneumonia", "a chest", False, True),
        ("chest", "pneumonia", "a drawn pneumonia", True, False),
        ("hand", "normal", "a hand", False, False),
        ("hand", "fracture", "a fracture", True, False),
    ]
    table = pd.DataFrame(rows, columns=["kind", "finding", "caption", "named", "measured"])
    groups = Groups.of(table)
    asked = tuning._Asked(table, groups)
    classes = [{asked.sentences[row] for row in rows} for rows in asked.classes]
    assert classes == [{"no finding"}, {"a pneumonia"}, {"a chest"}, {"a hand", "a fracture"}]
    right, counts, tells = asked.of(groups)
    assert tells.tolist() == [True, True, True, False, False, False]
    pneumonia, chest, hand = [0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]
    expected = [[1, 0, 0, 0], pneumonia, pneumonia, chest, hand, hand]
    assert right.int().tolist() == expected
    assert counts.int().tolist() == [[1, 1, 0, 1]] * 3 + [[1, 1, 1, 1]] * 3


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (["blocks.9"], r"tuned\.parts: 'blocks\.9' given, which the tower does not have; it has b"),
        (["blocks.4", "bn2"], r"blocks\.4, bn2 given, which are not the tower's last parts"),
        (["conv_head", "blocks.4", "bn2"], r"which are not the tower's last parts in their order"),
        (["blocks.4"], r"name all from the first one to the end"),
    ],
)
def test_parts_that_are_not_the_last_ones_are_refused_in_one_line(
    tune: Callable[..., Path], parts: list[str], told: str
) -> None:
    with pytest.raises(MedlabelError, match=told) as caught:
        tune("wrong", parts=parts)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_no_number_is_told(tune: Callable[..., Path]) -> None:
    with pytest.raises(MedlabelError, match=r"tuned: the loss is \w+; lower tuned\.learning_rate"):
        tune("wrong", learning_rate=1e30)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"datasets": []}, "tuned: given without datasets"),
        ({"edges": [64]}, r"tuned\.edge: 32 given, one of edges \(64\) allowed"),
    ],
)
def test_what_tuning_needs_is_checked_before_any_job(
    locked_settings: params.Locked, changes: dict[str, Any], told: str
) -> None:
    content = locked_settings.model_dump() | {
        "datasets": [{"images": "pneumoniamnist"}],
        "tuned": TUNED.model_dump(),
    }
    assert params.Locked.model_validate(content).module == "teacher.tuning"
    with pytest.raises(ValidationError, match=told):
        params.Locked.model_validate(content | changes)


def test_heads_alone_do_not_depend_on_how_towers_are_tuned(locked_settings: params.Locked) -> None:
    assert locked_settings.module == "teacher.heads"
    reached = {path.name for path in fingerprint.closure(Path(str(heads.__file__)))}
    assert not reached & {"tuning.py", "last_parts.py"}
