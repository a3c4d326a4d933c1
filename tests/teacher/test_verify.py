"""Verifying an encoder, and adopting one from elsewhere: what is wrong is told in one line."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from medlabel import files, params
from medlabel.cli import app
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, locked, probe, published, trunks, verify

CPU = torch.device("cpu")


def copy(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def local(folder: Path) -> params.Published:
    return params.Published(
        kind="open_clip",
        model=f"local-dir:{folder}",
        pretrained=None,
        batch_size=1,
        threads=1,
        precision="fp32",
        runtime="torch",
    )


def change(folder: Path, name: str, **changes: object) -> Path:
    files.write_json(folder / name, files.read_json(folder / name, "") | changes)
    return folder


def refused(call: Callable[..., object], *given: object) -> str:
    with pytest.raises(MedlabelError) as caught:
        call(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["locked", "contrastive"])
def test_a_whole_encoder_reproduces_its_probe(
    kind: str, locked_folder: Path, tiny_encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="medlabel")
    folder = locked_folder if kind == "locked" else tiny_encoder
    assert verify.verify(folder) <= 1e-5
    assert "probe reproduced within" in caplog.records[-1].getMessage()
    kept = files.read_json(folder / encoder.PROVENANCE, "")["probe"]
    assert len(kept["image"]) == len(kept["text"]) == probe.ENTRIES
    loaded = encoder.load(folder, CPU)
    assert probe.of(loaded.model, loaded.manifest.config)["cosine"] == pytest.approx(
        kept["cosine"], abs=2e-5
    )
    assert not loaded.model.training


def test_a_probe_leaves_the_network_as_it_was(locked_folder: Path) -> None:
    loaded = encoder.load(locked_folder, CPU)
    loaded.model.train()
    first, again = (probe.of(loaded.model, loaded.manifest.config) for _ in range(2))
    assert first == again  # without dropout
    assert loaded.model.training


def test_a_wrong_checksum_names_both(locked_folder: Path, tmp_path: Path) -> None:
    folder = copy(locked_folder, tmp_path / "altered")
    weights = bytearray((folder / encoder.WEIGHTS).read_bytes())
    weights[-9] ^= 1
    (folder / encoder.WEIGHTS).write_bytes(weights)
    told = refused(verify.verify, folder)
    assert "expected sha256" in told
    assert "the file was altered" in told
    assert files.digest(folder / encoder.WEIGHTS) in told


def test_tensors_that_do_not_fit_name_the_layers(locked_folder: Path, tmp_path: Path) -> None:
    folder = copy(locked_folder, tmp_path / "other")
    config = files.read_json(folder / encoder.CONFIG, "")
    config[locked.CONFIG_KEY]["tower"]["model"] = "test_efficientnet"
    files.write_json(folder / encoder.CONFIG, config)
    assert "the weights are of another architecture: layers" in refused(verify.verify, folder)


def test_another_computation_is_told(locked_folder: Path, tmp_path: Path) -> None:
    folder = copy(locked_folder, tmp_path / "other")
    kept = files.read_json(folder / encoder.PROVENANCE, "")["probe"]
    change(folder, encoder.PROVENANCE, probe=kept | {"cosine": kept["cosine"] + 0.01})
    told = refused(verify.verify, folder)
    assert "the probe differs by 0.01 from the one that provenance.json keeps" in told


def test_other_preprocessing_is_another_computation(locked_folder: Path, tmp_path: Path) -> None:
    folder = copy(locked_folder, tmp_path / "other")
    entry = files.read_json(folder / encoder.CONFIG, "")["preprocess_cfg"]
    change(folder, encoder.CONFIG, preprocess_cfg=entry | {"mean": [0.1, 0.1, 0.1]})
    assert "the probe differs by" in refused(verify.verify, folder)


def test_an_encoder_of_an_older_version_has_no_probe(locked_folder: Path, tmp_path: Path) -> None:
    folder = copy(locked_folder, tmp_path / "old")
    change(folder, encoder.PROVENANCE, probe=None)
    assert "expected a probe, found none" in refused(verify.verify, folder)


@pytest.mark.parametrize("name", [encoder.WEIGHTS, encoder.PROVENANCE, encoder.CONFIG])
def test_a_missing_file_is_named(name: str, locked_folder: Path, tmp_path: Path) -> None:
    folder = copy(locked_folder, tmp_path / "part")
    (folder / name).unlink()
    assert f"{name}: no such file or folder" in refused(verify.verify, folder)


def test_an_architecture_that_is_not_installed_is_told(
    locked_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise MedlabelError(
            "tower.model: timm has no 'tf_efficientnet_lite0'; names like it: none."
        )

    monkeypatch.setattr(trunks, "timm_network", missing)
    assert "timm has no" in refused(verify.verify, locked_folder)


def test_a_locked_encoder_from_elsewhere_is_adopted_with_its_record(
    locked_folder: Path, tmp_path: Path
) -> None:
    published.adopt(local(locked_folder), tmp_path / "ours")
    assert sorted(one.name for one in (tmp_path / "ours").iterdir()) == sorted(
        (encoder.WEIGHTS, encoder.PROVENANCE, encoder.CONFIG)
    )
    for path in (tmp_path / "ours").iterdir():
        assert path.read_bytes() == (locked_folder / path.name).read_bytes()
    theirs, ours = (encoder.load(one, CPU) for one in (locked_folder, tmp_path / "ours"))
    tokens = theirs.tokenizer(["a chest X-ray"])
    with torch.inference_mode():
        said = [one.model.encode_text(tokens).numpy() for one in (theirs, ours)]
    np.testing.assert_array_equal(*said)


def test_an_altered_locked_encoder_is_not_adopted(locked_folder: Path, tmp_path: Path) -> None:
    folder = copy(locked_folder, tmp_path / "theirs")
    with (folder / encoder.WEIGHTS).open("ab") as stream:
        stream.write(b" ")
    assert "expected sha256" in refused(published.adopt, local(folder), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_the_command_needs_no_parameters(
    locked_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["verify", str(locked_folder)])
    assert result.exit_code == 0, result.output
