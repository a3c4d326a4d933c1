from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medlabel import params
from medlabel.errors import MedlabelError
from medlabel.randomness import stream
from medlabel.teacher import encoder, pairs, pretrain, sources

Raw = tuple[dict[str, Path], dict[str, Path]]
SIZE = 14


def train(
    raw: Raw,
    tiny: params.Contrastive,
    folder: Path,
    seed: int = 3,
    run: int = 0,
    start: Path | None = None,
) -> dict[int, Path]:
    archives, captions = raw
    given = [sources.Source(kind, SIZE, path, captions[kind]) for kind, path in archives.items()]
    folders = {step: folder / f"step{step}" for step in tiny.checkpoints}
    pretrain.pretrain(given, folders, tiny, SIZE, run, "cpu", 1, seed, folder / "resume", start)
    return folders


@pytest.fixture(scope="module")
def trained(
    raw: Raw, tiny_settings: params.Contrastive, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Path]:
    return train(raw, tiny_settings, tmp_path_factory.mktemp("trained"))


def weights(folders: dict[int, Path]) -> list[bytes]:
    return [(folder / encoder.WEIGHTS).read_bytes() for folder in folders.values()]


def test_learning_rate_warms_up_then_falls_as_a_cosine(tiny_settings: params.Contrastive) -> None:
    slow = tiny_settings.model_copy(update={"warmup_steps": 2})
    rates = [pretrain.learning_rate(step, slow) / slow.learning_rate for step in range(1, 7)]
    cosine = [0.5 * (1 + math.cos(math.pi * part / 4)) for part in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.5, 1.0, *cosine])
    cold = tiny_settings.model_copy(update={"warmup_steps": 0})
    assert pretrain.learning_rate(1, cold) < cold.learning_rate


@settings(max_examples=25)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_batches_of_an_epoch_are_disjoint_and_full(count: int, batches: int, seed: int) -> None:
    size = max(count // batches, 1)
    steps = range(1, count // size + 1)
    epoch = [pretrain.batch_rows(step, count, size, seed, 0) for step in steps]
    rows = np.concatenate(epoch)
    assert len(set(rows.tolist())) == len(rows) == len(epoch) * size
    assert rows.max() < count


def test_same_inputs_same_bytes_and_another_seed_others(
    raw: Raw, tiny_settings: params.Contrastive, trained: dict[int, Path], tmp_path: Path
) -> None:
    again = train(raw, tiny_settings, tmp_path / "again")
    for step, folder in trained.items():
        for name in (encoder.WEIGHTS, encoder.CONFIG, encoder.PROVENANCE):
            assert (folder / name).read_bytes() == (again[step] / name).read_bytes()
    other = train(raw, tiny_settings, tmp_path / "other", seed=4)
    second = train(raw, tiny_settings, tmp_path / "second", run=1)
    assert len({weights(one)[-1] for one in (trained, other, second)}) == 3
    assert not list((tmp_path / "again" / "resume").iterdir())


def test_the_first_pretraining_has_the_streams_of_the_first_version() -> None:
    rows = pretrain.batch_rows(3, 50, 20, 7, 0)
    expected = stream(7, "pretrain", "epoch", 1).permutation(50)[:20]
    np.testing.assert_array_equal(rows, expected)
    assert pretrain.purpose(2, "weights") == ("pretrain", 2, "weights")


def test_how_images_are_embedded_changes_no_pretraining(
    raw: Raw, tiny_settings: params.Contrastive, trained: dict[int, Path], tmp_path: Path
) -> None:
    changes = {"batch_size": 9, "precision": "bf16", "pretrainings": 7}
    again = train(raw, tiny_settings.model_copy(update=changes), tmp_path)
    names = (encoder.WEIGHTS, encoder.PROVENANCE)
    for step, folder in trained.items():
        assert all((folder / n).read_bytes() == (again[step] / n).read_bytes() for n in names)


@pytest.mark.parametrize("killed_in", [2, 4, 6])
def test_killed_training_goes_on_to_identical_weights(
    killed_in: int,
    raw: Raw,
    tiny_settings: params.Contrastive,
    trained: dict[int, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    real = pretrain.Training._step
    monkeypatch.setattr(pretrain, "SECONDS_BETWEEN_STATES", 0.0)

    def step(self: pretrain.Training, number: int, given: pairs.Pairs) -> None:
        if number == killed_in:
            raise KeyboardInterrupt
        calls.append(number)
        real(self, number, given)

    with monkeypatch.context() as patch:
        patch.setattr(pretrain.Training, "_step", step)
        with pytest.raises(KeyboardInterrupt):
            train(raw, tiny_settings, tmp_path)
        killed_before, calls[:] = killed_in, []
        killed_in = 0
        resumed = train(raw, tiny_settings, tmp_path)
    assert calls == list(range(killed_before, 7))
    assert weights(resumed) == weights(trained)


def test_damaged_state_starts_anew(
    raw: Raw,
    tiny_settings: params.Contrastive,
    trained: dict[int, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "SECONDS_BETWEEN_STATES", 0.0)
        patch.setattr(encoder, "move", lambda kept, folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(raw, tiny_settings, tmp_path)
    (state,) = (tmp_path / "resume").glob("*/state.pt")
    state.write_bytes(state.read_bytes()[:1000])
    assert weights(train(raw, tiny_settings, tmp_path)) == weights(trained)
    assert "damaged" in caplog.text


def test_provenance_holds_the_curve_up_to_the_step(trained: dict[int, Path]) -> None:
    records = {s: json.loads((f / encoder.PROVENANCE).read_text()) for s, f in trained.items()}
    assert [len(record["losses"]) for record in records.values()] == [1, 3, 6]
    assert records[6]["losses"][:3] == records[3]["losses"]
    assert records[6]["losses"][-1] < records[6]["losses"][0]
    assert 0 <= records[6]["validation_accuracy"] <= 1


def test_two_kinds_of_different_brightness_are_told_apart(
    raw: Raw, tiny_settings: params.Contrastive, tmp_path: Path
) -> None:
    longer = tiny_settings.model_copy(update={"checkpoints": [60]})
    folder = train(raw, longer, tmp_path)[60]
    record = json.loads((folder / encoder.PROVENANCE).read_text())
    assert record["validation_accuracy"] == 1.0


def test_nan_loss_names_the_step(
    raw: Raw, tiny_settings: params.Contrastive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "_normalised", lambda images, device: images.float() * math.nan)
    with pytest.raises(MedlabelError, match=r"loss is nan in step 1; lower learning_rate"):
        train(raw, tiny_settings, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context_length": 8}, r"context_length: 8 given, but the caption .* needs \d+ tokens"),
        ({"pairs": 49}, r"pairs: 49 given, at most the 48 images"),
    ],
)
def test_settings_that_do_not_fit_the_phantoms(
    change: dict[str, int],
    message: str,
    raw: Raw,
    tiny_settings: params.Contrastive,
    tmp_path: Path,
) -> None:
    with pytest.raises(MedlabelError, match=message):
        train(raw, tiny_settings.model_copy(update=change), tmp_path)


def test_a_training_may_go_on_from_the_weights_of_another(
    raw: Raw, tiny_settings: params.Contrastive, trained: dict[int, Path], tmp_path: Path
) -> None:
    once = tiny_settings.model_copy(update={"checkpoints": [1], "learning_rate": 1e-9})
    (on,) = train(raw, once, tmp_path / "on", start=trained[6]).values()
    begun, gone = (
        encoder.load(one, torch.device("cpu")).model.state_dict() for one in (trained[6], on)
    )
    for name, value in begun.items():
        torch.testing.assert_close(gone[name], value, atol=1e-6, rtol=0)
    (anew,) = train(raw, once, tmp_path / "anew").values()
    assert weights({1: anew}) != weights({1: on})


def test_findings_as_hard_negatives_and_true_labels_are_recorded(
    raw: Raw, tiny_settings: params.Contrastive, tmp_path: Path
) -> None:
    labelled = params.Labelled(images="pneumoniamnist", labels=[0])
    short = {"checkpoints": [1], "positives": "finding", "datasets": [labelled]}
    (folder,) = train(raw, tiny_settings.model_copy(update=short), tmp_path).values()
    record = json.loads((folder / encoder.PROVENANCE).read_text())
    assert record["trained_on"] == "phantoms and true labels of pneumoniamnist (labels 0)"
    assert record["settings"]["positives"] == "finding"


def test_what_is_usual_is_not_recorded_so_that_older_records_hold(
    trained: dict[int, Path],
) -> None:
    record = json.loads((trained[6] / encoder.PROVENANCE).read_text())
    assert record["trained_on"] == "phantoms"
    assert not {"positives", "start", "datasets", "phantoms"} & record["settings"].keys()
