"""The image tower's preprocessing against open_clip's own, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medlabel import compute
from medlabel.errors import MedlabelError
from medlabel.randomness import stream
from medlabel.teacher import tower

CPU = torch.device("cpu")


def smooth(shape: tuple[int, ...]) -> np.ndarray:
    """Blurred noise: like an image, unlike white noise, it has no energy at single pixels."""
    noise = stream(1, "smooth", *shape).random(shape)
    for axis in (1, 2):
        noise = sum(np.roll(noise, shift, axis) for shift in range(-2, 3)) / 5
    return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((3, 28, 28), 224),
        ((3, 28, 28, 3), 224),
        ((2, 90, 61, 3), 28),
        ((2, 31, 47), 64),
        ((2, 28, 28), 28),
    ],
)
def test_preprocessing_agrees_with_open_clip(
    shape: tuple[int, ...], size: int, mode: str, interpolation: str
) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = PreprocessCfg(size=size, resize_mode=mode, interpolation=interpolation)
    transform = image_transform_v2(config, is_train=False)
    images = smooth(shape)
    reference = torch.stack([transform(Image.fromarray(image)) for image in images])
    expected = tower.Preprocessing(
        (size, size), config.mean, config.std, interpolation, mode, config.fill_color
    )
    ours = tower.preprocess(images, expected)
    assert ours.shape == reference.shape
    assert ours.dtype == torch.float32
    levels = (ours - reference).abs() * torch.tensor(config.std).view(1, 3, 1, 1) * 255
    assert levels.mean() < 0.05
    assert levels.max() < 2.01
    cosine = torch.nn.functional.cosine_similarity(ours.flatten(1), reference.flatten(1))
    assert cosine.min() > 0.9999


def test_images_of_the_right_size_are_not_resampled() -> None:
    images = smooth((2, 28, 28))
    expected = tower.Preprocessing((28, 28), (0, 0, 0), (1, 1, 1), "bicubic", "shortest", 0)
    ours = tower.preprocess(images, expected)
    np.testing.assert_array_equal(ours[:, 1].numpy(), images.astype(np.float32) / 255)


def test_other_interpolation_is_refused() -> None:
    expected = tower.Preprocessing((8, 8), (0, 0, 0), (1, 1, 1), "nearest", "shortest", 0)
    with pytest.raises(MedlabelError, match="expected bicubic or bilinear, found 'nearest'"):
        tower.preprocess(smooth((1, 28, 28)), expected)


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx2": True}, "fp32"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_bf16": True}, "bf16"),
    ],
)
def test_auto_takes_bf16_only_where_the_processor_multiplies_it(
    able: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert compute.choose_precision("auto", CPU) == expected
    assert compute.choose_precision("fp32", CPU) == "fp32"


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 900), (1, 900, 1, 3)])
def test_images_of_odd_shapes_are_brought_to_size(shape: tuple[int, ...], mode: str) -> None:
    """F19: a single pixel, a single row, a single column."""
    expected = tower.Preprocessing((28, 28), (0, 0, 0), (1, 1, 1), "bicubic", mode, 0)
    assert tower.preprocess(np.full(shape, 9, np.uint8), expected).shape == (1, 3, 28, 28)
