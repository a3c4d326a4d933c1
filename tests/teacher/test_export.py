"""Encoders for others: open_clip loads them, with the same embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medlabel import params
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, pretrain, tower
from medlabel.teacher.export import export

CPU = torch.device("cpu")
SAID = ["a chest X-ray", "retina, fundus image"]


@pytest.fixture
def timm_tower(tiny_settings: params.Contrastive, tmp_path: Path) -> Path:
    """An encoder whose image tower is timm's."""
    import open_clip

    config = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {
                "timm_model_name": "test_efficientnet",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": 32,
            },
            "text_cfg": pretrain.model_config(tiny_settings, 14)["text_cfg"],
        },
        "preprocess_cfg": pretrain.preprocess_config(32),
    }
    torch.manual_seed(0)
    model = open_clip.CLIP(**config["model_cfg"])
    encoder.save(model, config, tmp_path / "timm", {"model": "untrained"})
    return tmp_path / "timm"


def assert_open_clip_reads(folder: Path, target: Path) -> None:
    import open_clip

    ours = encoder.load(folder, CPU)
    name = f"local-dir:{target}"
    theirs, transform = open_clip.create_model_from_pretrained(name)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    from PIL import Image

    given = torch.stack([transform(Image.fromarray(one)) for one in images])
    batch = tower.preprocess(images, ours.manifest.preprocessing)
    with torch.inference_mode():
        seen = theirs.eval().encode_image(given, normalize=True)
        said = theirs.encode_text(open_clip.get_tokenizer(name)(SAID), normalize=True)
        torch.testing.assert_close(
            ours.model.encode_image(batch, normalize=True), seen, atol=2e-3, rtol=0
        )
        assert torch.equal(ours.model.encode_image(given, normalize=True), seen)
        assert torch.equal(ours.model.encode_text(ours.tokenizer(SAID), normalize=True), said)


def test_open_clip_reads_a_timm_tower_with_equal_embeddings(
    timm_tower: Path, tmp_path: Path
) -> None:
    export(timm_tower, tmp_path / "out")
    assert_open_clip_reads(timm_tower, tmp_path / "out")


def test_open_clip_reads_its_own_tower_and_further_files_come_along(
    make_encoder: Callable, tmp_path: Path
) -> None:
    folder = make_encoder(tmp_path / "own")
    (folder / "tokenizer.json").write_text("{}")
    export(folder, tmp_path / "out")
    assert_open_clip_reads(folder, tmp_path / "out")
    for path in folder.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_locked_encoder_is_refused_with_the_reason(locked_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="which open_clip cannot load: its") as caught:
        export(locked_folder, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(MedlabelError, match="expected a new or empty folder"):
        export(tiny_encoder, tmp_path)
