"""OpenAI's own file, a TorchScript archive, with random weights: the same network again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from bench.capstone import write_archive
from medlabel import files, params
from medlabel.annotation import teachers
from medlabel.cli import app
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, openai_archive, verify

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
VISION = {
    "Tiny-quickgelu": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
    "TinyResNet-quickgelu": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
}


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let open_clip know small networks, as it knows OpenAI's."""
    from open_clip import factory, pretrained

    for name, vision in VISION.items():
        config = {"embed_dim": 16, "quick_gelu": True, "vision_cfg": vision, "text_cfg": TEXT}
        monkeypatch.setitem(factory._MODEL_CONFIGS, name, config)
        monkeypatch.setitem(pretrained._PRETRAINED, name, {"openai": {"quick_gelu": True}})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp("openai") / f"{name}.pt" for name in VISION}


def written(weights: dict[str, Path], name: str) -> Path:
    if not weights[name].exists():
        write_archive(name, weights[name])
    return weights[name]


def settings(model: str, pretrained: Path | None, kind: str = "openai") -> params.Published:
    fixed: dict[str, Any] = {"batch_size": 2, "threads": 1, "precision": "fp32", "runtime": "torch"}
    given = None if pretrained is None else str(pretrained)
    return params.Published.model_validate(
        {"kind": kind, "model": model, "pretrained": given, **fixed}
    )


@pytest.mark.parametrize("name", VISION)
def test_it_says_what_open_clips_own_reader_of_it_says(
    name: str, weights: dict[str, Path], tmp_path: Path
) -> None:
    from open_clip.openai import load_openai_model

    path = written(weights, name)
    openai_archive.adopt(settings(name, path), tmp_path / "ours")
    loaded = encoder.load(tmp_path / "ours", CPU)
    original = load_openai_model(str(path), "fp32", "cpu")
    images = torch.rand(2, 3, 32, 32)
    tokens = loaded.tokenizer(["a chest x-ray", "a breast ultrasound"])
    with torch.no_grad():
        for own, other in (
            (loaded.model.encode_image(images), original.encode_image(images)),
            (loaded.model.encode_text(tokens), original.encode_text(tokens)),
        ):
            assert own.abs().max() > 0
            assert torch.allclose(own, other, rtol=0, atol=1e-6)
    assert loaded.manifest.preprocessing.size == (32, 32)
    assert files.read_json(tmp_path / "ours" / encoder.PROVENANCE, "")["pretrained"] == path.name
    verify.verify(tmp_path / "ours")


def test_other_files_and_networks_are_told(weights: dict[str, Path], tmp_path: Path) -> None:
    path = written(weights, "Tiny-quickgelu")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(path.read_bytes()[:1000])
    plain = tmp_path / "plain.pt"
    torch.save({"logit_scale": torch.zeros(())}, plain)
    for model, file, message in (
        ("Tiny", path, r"model: 'Tiny' given, .*ViT-L-14-quickgelu"),
        ("Tiny-quickgelu", tmp_path / "none.pt", r"none\.pt given, which is not OpenAI's own file"),
        ("Tiny-quickgelu", cut, r"cut\.pt given, which is not OpenAI's own file"),
        ("Tiny-quickgelu", plain, r"plain\.pt given.*kind: open_clip takes other files"),
        ("TinyResNet-quickgelu", path, r"of another architecture: .* tensors do not fit"),
    ):
        with pytest.raises(MedlabelError, match=message) as caught:
            openai_archive.adopt(settings(model, file), tmp_path / "ours")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_a_damaged_archive_is_told(weights: dict[str, Path], tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "damaged.pt", "w") as archive:
        archive.writestr(f"archive/{openai_archive.MARK}", b"nothing")
    with pytest.raises(MedlabelError, match=r"damaged\.pt: cannot be read .*download it again"):
        openai_archive.adopt(settings("Tiny-quickgelu", tmp_path / "damaged.pt"), tmp_path / "ours")


def test_the_commands_take_it(
    weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(weights, "Tiny-quickgelu")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    part = settings("Tiny-quickgelu", path).model_dump(mode="json")
    files.write_json(tmp_path / "own.json", {"encoders": {"own": part}})
    runner = CliRunner()
    adopted = runner.invoke(app, ["--overlay", "own.json", "adopt", "own"])
    assert adopted.exit_code == 0, adopted.output
    other = ["--overlay", "own.json", "--set", "encoders.own.kind=open_clip", "adopt", "own"]
    assert "encoders.own.kind: open_clip given" in str(runner.invoke(app, other).exception)
    own, found = (
        tmp_path / "data" / "encoders" / "own",
        teachers.find(f"Tiny-quickgelu:{path}", "cpu", 1),
    )
    assert files.digest(own / encoder.WEIGHTS) == files.digest(found / encoder.WEIGHTS)
