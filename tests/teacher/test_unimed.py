"""UniMed-CLIP's single file of weights: random ones, under its own names, embed as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, tower, unimed

transformers = pytest.importorskip("transformers", reason="the extra `hub` is not installed")

SMALL = "medlabel-unimed-small"  # in the place of ViT-B-16-quickgelu
SENTENCES = ["a chest x-ray with pneumonia", "a breast ultrasound"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "chest", "x", "-", "ray", "with"]


@pytest.fixture(scope="module", autouse=True)
def _small_tower(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("configs") / f"{SMALL}.json"
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    files.write_json(
        path, {"embed_dim": 24, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    )
    open_clip.add_model_config(path)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=unimed.CONTEXT_LENGTH,
    ).save_pretrained(folder)  # fmt: skip
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    files.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    return folder


def settings(bert: Path, weights: Path) -> params.Published:
    return params.Published(
        kind="unimed_clip", batch_size=4, threads=1, precision="fp32", runtime="torch",
        model=SMALL, words=str(bert), pretrained=str(weights),
    )  # fmt: skip


def their_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name weights as the authors' training on several cards did."""
    return {
        "module." + name.replace("text.", "text_encoder.", 1)
        if name.startswith("text.")
        else f"module.{name}": value
        for name, value in state.items()
    }


@pytest.fixture(scope="module")
def published(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Random weights in the authors' file, and the network that they are of."""
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("weights") / "unimed_clip.pt"
    config = unimed.model_config(settings(bert, weights))
    text = {**config["text_cfg"], "hf_model_pretrained": False}
    network = open_clip.CustomTextCLIP(**{**config, "text_cfg": text}).eval()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.2 * torch.randn_like(value))
    torch.save({"epoch": 1, "state_dict": their_names(network.state_dict())}, weights)
    return weights, network


def test_embeddings_are_those_of_the_network_that_was_saved(
    bert: Path, published: tuple[Path, Any], tmp_path: Path
) -> None:
    weights, network = published
    unimed.adopt(settings(bert, weights), tmp_path / "unimed_clip")
    loaded = encoder.load(tmp_path / "unimed_clip", torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), np.uint8)
    pixels = tower.preprocess(images, loaded.manifest.preprocessing)
    tokens = open_clip.tokenizer.HFTokenizer(str(bert), unimed.CONTEXT_LENGTH)(SENTENCES)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.model.encode_image(pixels), network.encode_image(pixels), rtol=0, atol=1e-6
        )
        torch.testing.assert_close(
            loaded.model.encode_text(loaded.tokenizer(SENTENCES)),
            network.encode_text(tokens),
            rtol=0,
            atol=1e-6,
        )


def test_weights_of_another_tower_are_one_line(bert: Path, tmp_path: Path) -> None:
    weights = tmp_path / "other.pt"
    torch.save({"state_dict": {"module.visual.conv1.weight": torch.zeros(2, 3, 4, 4)}}, weights)
    with pytest.raises(MedlabelError, match="the weights are of another architecture") as caught:
        unimed.adopt(settings(bert, weights), tmp_path / "encoder")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "encoder").exists()


def test_a_missing_file_says_where_to_get_it(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="which is no file; download UniMed-CLIP's weights"):
        unimed.adopt(settings(bert, tmp_path / "none.pt"), tmp_path / "encoder")


def test_another_layout_has_no_text_tower_of_its_own() -> None:
    with pytest.raises(ValueError, match="words: 'org/repo' given, null allowed for open_clip"):
        params.Published(
            kind="open_clip", batch_size=4, threads=1, precision="fp32", runtime="torch",
            model="RN50", words="org/repo", pretrained="openai",
        )  # fmt: skip
