"""Words are read without the image tower, and as the whole encoder reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medlabel import files
from medlabel.annotation import embedding
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, halves, locked, trunks, words
from tests.teacher.conftest import drawn, locked_folder, locked_settings, teach

__all__ = ["drawn", "locked_folder", "locked_settings", "teach"]

SAID = [["a chest x-ray", "a picture of the chest"], ["a breast ultrasound"]]
CPU = torch.device("cpu")


def test_the_text_tower_alone_reads_as_the_whole_encoder(
    locked_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoder.load(locked_folder, CPU)
    monkeypatch.setattr(trunks, "build", lambda *_: pytest.fail("an image tower was built"))
    loaded = halves.with_words(locked_folder, CPU)
    np.testing.assert_array_equal(
        words.class_embeddings(loaded, SAID), words.class_embeddings(whole, SAID)
    )
    assert loaded.logit_scale == whole.logit_scale
    assert loaded.manifest == whole.manifest


def test_images_bring_the_whole_encoder(locked_folder: Path) -> None:
    whole = halves.with_images(halves.with_words(locked_folder, CPU))
    assert halves.with_images(whole) is whole
    edge = whole.manifest.preprocessing.size[0]
    with torch.inference_mode():
        assert whole.model.encode_image(torch.zeros(1, 3, edge, edge)).isfinite().all()


def test_an_encoder_of_open_clip_is_loaded_whole(tiny_encoder: Path) -> None:
    loaded = halves.with_words(tiny_encoder, CPU)
    assert halves.with_images(loaded) is loaded


def test_an_encoder_that_is_replaced_meanwhile_is_told(locked_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    encoder.copy(locked_folder, folder)
    loaded = halves.with_words(folder, CPU)
    record = files.read_json(folder / encoder.PROVENANCE, "test")
    files.write_json(folder / encoder.PROVENANCE, {**record, "trained_on": "other images"})
    with pytest.raises(MedlabelError, match="was replaced while it was in use"):
        halves.with_images(loaded)


def test_weights_that_do_not_fit_are_one_line(locked_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    encoder.copy(locked_folder, folder)
    config = files.read_json(folder / encoder.CONFIG, "test")
    config[locked.CONFIG_KEY]["hidden"] += 1
    files.write_json(folder / encoder.CONFIG, config)
    with pytest.raises(MedlabelError, match="cannot be loaded"):
        halves.with_words(folder, CPU)


def test_a_tower_of_convolutions_stays_in_float32_unless_asked(
    locked_folder: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    folded, attending = (halves.with_words(one, CPU) for one in (locked_folder, tiny_encoder))
    assert embedding.arithmetic("auto", folded) == "fp32"
    assert embedding.arithmetic("bf16", folded) == "bf16"
    assert embedding.arithmetic("auto", attending) == "bf16"
