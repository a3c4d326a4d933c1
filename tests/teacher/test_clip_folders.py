"""Published CLIPs in the layout of transformers: the same embeddings as the library's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medlabel import files, params
from medlabel.annotation import teachers
from medlabel.errors import MedlabelError
from medlabel.layout import ENCODER_FILES
from medlabel.teacher import clip_folders, encoder, tower

transformers = pytest.importorskip("transformers", reason="the extra `hub` is not installed")

CPU = torch.device("cpu")
EDGE = 32
SENTENCES = ["a chest X-ray with pneumonia", "Normal breast ultrasound, 28 pixels.", "it's a scan"]
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
PREPROCESSING = {
    "do_resize": True,
    "size": {"shortest_edge": EDGE},
    "do_center_crop": True,
    "crop_size": {"height": EDGE, "width": EDGE},
    "resample": 3,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
    "image_processor_type": "CLIPImageProcessor",
}


def settings(model: Path | str) -> params.Published:
    return params.Published(
        kind="transformers",
        model=str(model),
        pretrained=None,
        batch_size=2,
        threads=1,
        precision="fp32",
        runtime="torch",
    )


def vocabulary(merges: int | None) -> tuple[dict[str, int], list[str]]:
    """Return OpenAI's vocabulary and merges, or one of our own with the first merges alone."""
    import open_clip

    own = open_clip.SimpleTokenizer()
    pairs = [" ".join(pair) for pair in own.bpe_ranks]
    if merges is None:
        return {clip_folders.SPECIAL.get(one, one): own.encoder[one] for one in own.encoder}, pairs
    pairs = pairs[:merges]
    letters = list(own.byte_encoder.values())
    words = [*letters, *(f"{one}</w>" for one in letters), *(one.replace(" ", "") for one in pairs)]
    return {
        word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])
    }, pairs


def write(
    folder: Path,
    *,
    merges: int | None = None,
    end: int | None = None,
    activation: str = "quick_gelu",
) -> Any:
    """Write a small random CLIP as transformers does, with its tokenizer; return the model."""
    words, pairs = vocabulary(merges)
    torch.manual_seed(1)
    config = transformers.CLIPConfig(
        text_config={
            **TOWER,
            "num_attention_heads": 4,
            "max_position_embeddings": 24,
            "vocab_size": len(words),
            "eos_token_id": len(words) - 1 if end is None else end,
            "bos_token_id": len(words) - 2,
            "hidden_act": activation,
        },
        vision_config={
            **TOWER,
            "num_attention_heads": 2,
            "image_size": EDGE,
            "patch_size": 8,
            "hidden_act": activation,
        },
        projection_dim=16,
    )
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():  # biases and norms start as zeros and ones, which hides what is swapped
        for value in model.parameters():
            value.add_(0.2 * torch.randn_like(value))
    model.save_pretrained(folder)
    files.write_json(folder / "vocab.json", words)
    (folder / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *pairs]) + "\n", encoding="utf-8"
    )
    files.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer"})
    files.write_json(folder / "preprocessor_config.json", PREPROCESSING)
    return model


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("hub") / "pubmed-clip"
    return folder, write(folder, end=clip_folders.LEGACY_END)


@pytest.fixture(scope="module")
def adopted(theirs: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "pubmed_clip"
    clip_folders.adopt(settings(theirs[0]), folder)
    return folder


def embeddings(model: Any, folder: Path, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Embed with transformers alone: its own image processor, tokenizer and network."""
    from PIL import Image

    processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
    pixels = processor([Image.fromarray(one) for one in images], return_tensors="pt")
    tokens = transformers.CLIPTokenizer.from_pretrained(folder)(
        SENTENCES, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        seen = model.get_image_features(**pixels).pooler_output
        said = model.get_text_features(**tokens).pooler_output
    return seen, said


def ours(folder: Path, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    loaded = encoder.load(folder, CPU)
    with torch.no_grad():
        seen = loaded.model.encode_image(tower.preprocess(images, loaded.manifest.preprocessing))
        said = loaded.model.encode_text(loaded.tokenizer(SENTENCES))
    return seen, said


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, EDGE, EDGE, 3), np.uint8)


def test_embeddings_are_those_of_transformers(theirs: tuple[Path, Any], adopted: Path) -> None:
    folder, model = theirs
    assert sorted(path.name for path in adopted.iterdir()) == sorted(ENCODER_FILES)
    for own, other in zip(
        ours(adopted, images()), embeddings(model, folder, images()), strict=True
    ):
        assert own.shape == other.shape == (3, 16)
        assert torch.allclose(own, other, rtol=0, atol=1e-6 * float(other.abs().max()))
    assert encoder.load(adopted, CPU).logit_scale == pytest.approx(
        float(model.logit_scale.detach().exp())
    )


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_a_vocabulary_of_its_own_comes_along(activation: str, tmp_path: Path) -> None:
    model = write(tmp_path / "theirs", merges=300, activation=activation)
    clip_folders.adopt(settings(tmp_path / "theirs"), tmp_path / "ours")
    for own, other in zip(
        ours(tmp_path / "ours", images()),
        embeddings(model, tmp_path / "theirs", images()),
        strict=True,
    ):
        assert torch.allclose(own, other, rtol=0, atol=1e-6 * float(other.abs().max()))


def test_the_old_file_of_weights_is_read_too(
    theirs: tuple[Path, Any], adopted: Path, tmp_path: Path
) -> None:
    folder, model = theirs
    shutil.copytree(folder, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").unlink()
    counters = {"text_model.embeddings.position_ids": torch.arange(24)[None]}
    torch.save({**model.state_dict(), **counters}, tmp_path / "old" / "pytorch_model.bin")
    clip_folders.adopt(settings(tmp_path / "old"), tmp_path / "ours")
    one, two = (encoder.inspect(path).weights_sha256 for path in (adopted, tmp_path / "ours"))
    assert one == two


def change(folder: Path, name: str, **content: object) -> None:
    files.write_json(folder / name, json.loads((folder / name).read_text()) | content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: change(folder, "config.json", model_type="siglip"), "expected clip, found"),
        (lambda folder: change(folder, "config.json", projection_dim=8), r"tensors do not fit"),
        (
            lambda folder: change(folder, "preprocessor_config.json", resample=1),
            "resample: expected",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text("{}"),
            "size.*give a folder",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "found neither"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 9), "cannot be read"),
    ],
)
def test_other_folders_are_one_line(
    spoil: Any, message: str, theirs: tuple[Path, Any], tmp_path: Path
) -> None:
    shutil.copytree(theirs[0], tmp_path / "theirs")
    spoil(tmp_path / "theirs")
    with pytest.raises(MedlabelError, match=message) as caught:
        clip_folders.adopt(settings(tmp_path / "theirs"), tmp_path / "ours")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours" / encoder.CONFIG).exists()


def test_unlike_activations_are_refused() -> None:
    given = {"vision_config": {"hidden_act": "gelu"}, "text_config": {"hidden_act": "quick_gelu"}}
    with pytest.raises(MedlabelError, match="hidden_act: expected quick_gelu or gelu in both"):
        clip_folders.model_config(given)


def test_without_a_network_the_hub_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MedlabelError, match=r"org/name.*could not be downloaded") as caught:
        clip_folders.adopt(settings("org/name"), tmp_path / "ours")
    assert "\n" not in str(caught.value)
    assert "127.0.0.1:9 does not answer: looking for the files in its cache" in caplog.text


def test_people_label_with_such_a_folder(
    theirs: tuple[Path, Any], adopted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = teachers.find(str(theirs[0]), "cpu", 1)
    assert found == teachers.find(str(theirs[0]), "cpu", 1)
    assert found.is_relative_to(tmp_path / "cache")
    assert encoder.inspect(found).weights_sha256 == encoder.inspect(adopted).weights_sha256
