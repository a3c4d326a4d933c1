"""What images are, whatever they show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medlabel.annotation import looks


@pytest.fixture
def image() -> np.ndarray:
    rough = np.random.default_rng(0).integers(0, 256, (60, 40)).astype(np.float32)
    smooth = gaussian_filter(rough, 2)
    return np.uint8(np.clip(128 + 4 * (smooth - smooth.mean()), 10, 245))


def named(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(looks.NAMES, looks.look(pixels), strict=True))


def test_size_and_colour_are_seen(image: np.ndarray) -> None:
    found = named(image)
    assert np.exp([found["width"], found["height"]]) == pytest.approx([40, 60])
    assert found["colour"] == found["border"] == 0
    tinted = np.stack([image, image, image // 2], axis=2)
    assert named(tinted)["colour"] == pytest.approx(np.ptp(tinted, axis=2).mean())


def test_a_border_changes_nothing_but_the_border(image: np.ndarray) -> None:
    framed = np.pad(image, 10)
    plain, found = named(image), named(framed)
    assert found["border"] == pytest.approx((20 / 80 + 20 / 60) / 4)
    for name in looks.NAMES[4:]:
        assert found[name] == pytest.approx(plain[name]), name


def test_contrast_blur_and_noise_are_told_apart(image: np.ndarray) -> None:
    plain = named(image)
    wide = image.astype(np.float32)
    faint = named(np.uint8(np.rint(wide.mean() + 0.5 * (wide - wide.mean()))))
    assert faint["grey range"] == pytest.approx(plain["grey range"] - np.log(2), abs=0.02)
    assert faint["contrast"] == pytest.approx(plain["contrast"] - np.log(2), abs=0.02)
    for name in looks.TILES:
        assert faint[name] == pytest.approx(plain[name], abs=0.02), name
    blurred = named(np.uint8(gaussian_filter(wide, 1.5)))
    assert blurred["sharpness"] < plain["sharpness"] - 0.3
    random = np.random.default_rng(1)
    noisy = named(np.uint8(np.clip(wide + 9 * random.standard_normal(wide.shape), 0, 255)))
    assert np.exp(noisy["noise"]) == pytest.approx(9, rel=0.2)
    assert noisy["noise"] > plain["noise"] + 1


def test_tiles_tell_where_an_image_is_bright() -> None:
    image = np.zeros((40, 30), np.uint8)
    image[:10, 22:] = 200
    image[0, 0] = image[-1, -1] = 9  # no border
    tiles = np.array([named(image)[name] for name in looks.TILES]).reshape(4, 4)
    assert tiles.argmax() == 3
    assert tiles[0, 3] == pytest.approx((200 - image.mean()) / image.std(), rel=0.1)
    assert tiles[1:, :3].max() < 0


@pytest.mark.parametrize("shape", [(2, 2), (2, 90), (700, 500), (3, 3, 3)])
def test_any_image_has_looks(shape: tuple[int, ...]) -> None:
    for pixels in (np.zeros(shape, np.uint8), np.arange(np.prod(shape)).reshape(shape) % 256):
        found = looks.look(np.uint8(pixels))
        assert len(found) == len(looks.NAMES)
        assert np.isfinite(found).all()
