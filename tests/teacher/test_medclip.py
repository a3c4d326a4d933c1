"""MedCLIP in the layout of its release, with random weights: the same embeddings as theirs.

What is expected is computed by transformers and torchvision alone.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.teacher import clip_folders, encoder, export, hub, medclip, tower, verify

transformers = pytest.importorskip("transformers", reason="the extra `hub` is not installed")
torchvision = pytest.importorskip("torchvision")

CPU = torch.device("cpu")
SENTENCES = ["a chest x-ray with pneumonia", "a chest"]
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "chest",
    "x",
    "-",
    "ray",
    "with",
    "pneumonia",
]
WIDTH, DIMENSION = 32, 512
TOLERANCE = 1e-6
SCALE = 4.7  # above what their forward pass allows

Weights = dict[str, torch.Tensor]


def settings(**given: Any) -> params.Published:
    fixed = {"batch_size": 2, "threads": 1, "precision": "fp32", "runtime": "torch"}
    return params.Published.model_validate({"kind": "medclip", **fixed, **given})


def stirred(model: torch.nn.Module) -> Any:
    """Biases and norms start as zeros and ones, which hides what is swapped."""
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return model.eval()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The text tower: a folder of configuration and tokenizer, and a random network."""
    folder = tmp_path_factory.mktemp("hub") / "bert"
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=96,
    )  # fmt: skip
    config.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    files.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    torch.manual_seed(1)
    return folder, stirred(transformers.BertModel(config))


@pytest.fixture(scope="module")
def swin() -> Any:
    torch.manual_seed(2)
    return stirred(transformers.SwinModel(transformers.SwinConfig()))


@pytest.fixture(scope="module")
def swin_weights(swin: Any, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Its weights under the names that its configuration's files have carried since 2022."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("swin")
    swin.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def released(seen: Mapping[str, torch.Tensor], head: str, width: int, bert: Any) -> Weights:
    """Return what `MedCLIPModel.state_dict` of the package medclip holds, counters among it."""
    torch.manual_seed(4)
    said = {f"text_model.model.{name}": value for name, value in bert.state_dict().items()}
    return {
        "logit_scale": torch.tensor(SCALE),
        **{f"vision_model.model.{name}": value for name, value in seen.items()},
        head: 0.05 * torch.randn(DIMENSION, width),
        **said,
        "text_model.model.embeddings.position_ids": torch.arange(96)[None],
        "text_model.projection_head.weight": 0.05 * torch.randn(DIMENSION, WIDTH),
    }


@pytest.fixture(scope="module")
def vit(swin_weights: Weights, bert: tuple[Path, Any]) -> Weights:
    index = "encoder.layers.0.blocks.0.attention.self.relative_position_index"
    seen = {**swin_weights, index: torch.zeros(49, 49, dtype=torch.int64)}
    return released(seen, "vision_model.projection_head.weight", 768, bert[1])


@pytest.fixture(scope="module")
def adopted(vit: Weights, bert: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    torch.save(vit, folder / "pytorch_model.bin")
    with zipfile.ZipFile(folder / "medclip-vit-pretrained.zip", "w") as archive:
        archive.write(folder / "pytorch_model.bin", "pytorch_model.bin")
    archive = folder / "medclip-vit-pretrained.zip"
    medclip.adopt(
        settings(model=medclip.SWIN, words=str(bert[0]), pretrained=str(archive)), folder / "vit"
    )
    return folder / "vit"


def close(own: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.allclose(own, other, rtol=0, atol=TOLERANCE * float(other.abs().max())))


def prepared(image: Image.Image) -> torch.Tensor:
    """Their preprocessing of an image of at least 224 pixels: grey, square, 224 pixels, scaled."""
    edge = max(image.size)
    square = Image.new("L", (edge, edge), 0)
    square.paste(image, ((edge - image.width) // 2, (edge - image.height) // 2))
    small = square.resize((224, 224), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(small)).float() / 255
    return ((pixels - 0.5862785803043838) / 0.27950088968644304).expand(1, 3, 224, 224)


def test_images_are_embedded_as_transformers_does(adopted: Path, swin: Any, vit: Weights) -> None:
    loaded = encoder.load(adopted, CPU)
    grey = np.random.default_rng(0).integers(0, 256, (224, 224), np.uint8)
    expected = prepared(Image.fromarray(grey))
    batch = tower.preprocess(grey[None], loaded.manifest.preprocessing)
    assert close(batch, expected)
    with torch.no_grad():
        other = swin(pixel_values=expected).pooler_output
        other = other @ vit["vision_model.projection_head.weight"].T
        assert close(loaded.model.encode_image(batch), other)


def test_colours_are_seen_as_their_grey(adopted: Path) -> None:
    loaded = encoder.load(adopted, CPU)
    batch = torch.rand(1, 3, 224, 224)
    shares = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (batch * shares).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    with torch.no_grad():
        own, other = (loaded.model.encode_image(one) for one in (batch, grey))
    assert torch.allclose(own, other, rtol=0, atol=1e-5 * float(other.abs().max()))
    assert not torch.allclose(batch, grey, atol=0.1)


def test_oblong_images_are_padded_to_squares(adopted: Path) -> None:
    expected = encoder.inspect(adopted).preprocessing
    image = np.random.default_rng(1).integers(0, 256, (224, 112), np.uint8)
    own = tower.preprocess(image[None], expected)
    assert close(own, prepared(Image.fromarray(image)))


def test_sentences_are_three_layers_of_bert(
    adopted: Path, bert: tuple[Path, Any], vit: Weights
) -> None:
    loaded = encoder.load(adopted, CPU)
    tokenizer = transformers.BertTokenizer.from_pretrained(bert[0])
    tokens = loaded.tokenizer(SENTENCES)
    assert tokens.shape == (2, loaded.context_length) == (2, 77)
    with torch.no_grad():
        own = loaded.model.encode_text(tokens)
        for row, sentence in zip(own, SENTENCES, strict=True):
            said = tokenizer(sentence, return_tensors="pt")  # by itself, so without padding
            states = bert[1](**said, output_hidden_states=True).hidden_states
            layers = torch.stack([states[1], states[2], states[-1]])
            expected = layers.permute(1, 0, 2, 3).mean(2).mean(1)
            assert close(row[None], expected @ vit["text_model.projection_head.weight"].T)


def test_its_folder_is_an_encoder_like_any(adopted: Path, tmp_path: Path) -> None:
    assert verify.verify(adopted) == 0
    loaded = encoder.load(adopted, CPU)
    assert loaded.logit_scale == pytest.approx(100, rel=1e-4)
    record = json.loads((adopted / encoder.PROVENANCE).read_text())
    assert record["pretrained"] == "medclip-vit-pretrained.zip"
    with pytest.raises(MedlabelError, match="three_layers_pooler given, which this package alone"):
        export.export(adopted, tmp_path / "out")


def test_other_text_towers_of_transformers_are_as_they_were(bert: tuple[Path, Any]) -> None:
    text = {
        "hf_model_name": str(bert[0]),
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
        "context_length": 77,
    }
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    network, _ = hub.with_words({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text})
    assert not network.text.transformer.config.output_hidden_states


def test_the_resnet_is_torchvisions(bert: tuple[Path, Any], tmp_path: Path) -> None:
    torch.manual_seed(5)
    resnet = stirred(torchvision.models.resnet50(weights=None))
    seen = {n: v for n, v in resnet.state_dict().items() if not n.startswith("fc.")}
    weights = released(seen, "vision_model.model.fc.weight", 2048, bert[1])
    torch.save(weights, tmp_path / "pytorch_model.bin")
    asked = settings(model=medclip.RESNET, words=str(bert[0]), pretrained=str(tmp_path))
    medclip.adopt(asked, tmp_path / "ours")
    batch = torch.randn(1, 1, 224, 224).expand(-1, 3, -1, -1)
    resnet.fc = torch.nn.Identity()
    with torch.no_grad():
        own = encoder.load(tmp_path / "ours", CPU).model.encode_image(batch)
        other = functional.linear(resnet(batch), weights["vision_model.model.fc.weight"])
    assert close(own, other)
    with pytest.raises(MedlabelError, match=r"with the image tower resnet50, model: 'swin.* set"):
        medclip.adopt(asked.model_copy(update={"model": medclip.SWIN}), tmp_path / "theirs")


@pytest.fixture(scope="module")
def network(bert: tuple[Path, Any]) -> Any:
    asked = settings(model=medclip.SWIN, words=str(bert[0]), pretrained="any")
    return hub.with_words(medclip.model_config(asked))[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_model.projection_head.weight": None}, r"1 of \d+ tensors do not fit, such as text"),
        ({"vision_model.projection_head.weight": torch.zeros(9, 768)}, r"expected \(512, 768\), f"),
        ({"vision_model.model.head.weight": torch.zeros(1)}, r"visual.trunk.head.weight.* none"),
        ({"vision_model.model.encoder.layers.0.blocks.0.attention.self.key.bias": None}, "qkv"),
    ],
)
def test_misfits_name_the_tensor(
    change: dict[str, torch.Tensor | None], message: str, vit: Weights, network: Any
) -> None:
    given = {name: value for name, value in {**vit, **change}.items() if value is not None}
    with pytest.raises(MedlabelError, match=message) as caught:
        clip_folders.fill(network, medclip.renamed(given), Path("medclip.zip"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "resnet18"}, r"model: 'resnet18' given, swin_tiny.* or resnet50 allowed"),
        ({"pretrained": "nowhere.zip"}, r"pretrained: nowhere\.zip given, which does not exist"),
        ({"pretrained": "empty"}, r"pytorch_model\.bin: cannot be read .*give the zip"),
        ({"pretrained": "other.zip"}, r"other\.zip: cannot be read .*no item named"),
        ({"pretrained": "broken.zip"}, r"broken\.zip: cannot be read \(File is not a zip file\)"),
        ({"pretrained": "list.bin"}, r"list\.bin: expected tensors by name, found none"),
        ({"pretrained": "evil.bin"}, r"evil\.bin: cannot be read"),
        ({"words": "empty"}, r"words: 'empty' given, whose configuration and tokenizer could not"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(
    given: dict[str, str], message: str, bert: tuple[Path, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "touched",)

    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with zipfile.ZipFile("other.zip", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    Path("broken.zip").write_bytes(b"PK")
    torch.save([1], "list.bin")
    torch.save({"logit_scale": Evil()}, "evil.bin")
    fixed = {"model": medclip.SWIN, "words": str(bert[0]), "pretrained": "list.bin"}
    with pytest.raises(MedlabelError, match=message) as caught:
        medclip.adopt(settings(**{**fixed, **given}), tmp_path / "ours")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours").exists()
    assert not (tmp_path / "touched").exists()


def test_without_a_network_the_hub_and_the_text_tower_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    torch.save({}, tmp_path / "pytorch_model.bin")
    asked = settings(model=medclip.SWIN, words="org/bert", pretrained=str(tmp_path))
    with pytest.raises(MedlabelError, match=r"words: 'org/bert' given, .*127\.0\.0\.1.*a folder"):
        medclip.adopt(asked, tmp_path / "ours")
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MedlabelError, match=r"org/bert .*run `pip install 'medlabel\[hub\]'`"):
        medclip.adopt(asked, tmp_path / "ours")
