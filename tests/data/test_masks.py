"""Masks of phantoms: each is what the artist of the image painted, and nothing else changes."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

from medlabel.data import phantoms
from medlabel.data.phantoms import (
    abdomen,
    brain,
    canvas,
    chest,
    fundus,
    masks,
    microscopy,
    photography,
    ultrasound,
)

COUNT, SIZE, SEED = 12, 28, 5
RIMS = ("phantom_breast",)  # a mass is found from echoes, to a thousandth
ARTISTS = {
    "phantom_breast": (ultrasound, ultrasound.breast),
    "phantom_brain": (brain, brain.brain),
    "phantom_abdomen": (abdomen, abdomen.abdomen),
    "phantom_retina": (fundus, fundus.retina),
    "phantom_blood": (microscopy, microscopy.blood),
    "phantom_skin": (photography, photography.skin),
}


def covered_in(
    artist: ModuleType, draw: object, kind: str, index: int, monkeypatch: pytest.MonkeyPatch
) -> list[np.ndarray]:
    """Return every coverage that an artist computes for an image, as a mask of its pixels."""
    recorded = []

    def recorder(distance: np.ndarray, softness: float) -> np.ndarray:
        recorded.append(canvas.cover(distance, softness))
        return recorded[-1]

    finding, rng = masks._state(kind, SEED, "train", index)
    factor = canvas.oversampling(SIZE)
    with monkeypatch.context() as patched:
        patched.setattr(artist, "cover", recorder)
        draw(rng, finding, canvas.plane(SIZE * factor))  # type: ignore[operator]
    return [canvas.average_down(one, factor) >= masks.INSIDE for one in recorded]


@pytest.mark.parametrize("kind", masks.REGIONS)
def test_findings_and_images_are_those_of_the_series(kind: str) -> None:
    drawing = phantoms.draw(kind, COUNT, SIZE, SEED, "train", artefacts=False)
    located = masks.locate(kind, COUNT, SIZE, SEED, "train")
    assert located.findings == drawing.findings
    assert tuple(located.masks) == masks.REGIONS[kind]
    for mask in located.masks.values():
        assert mask.shape == (COUNT, SIZE, SIZE)
        assert mask.dtype == bool
    shorter = masks.locate(kind, 3, SIZE, SEED, "train")
    for region, mask in shorter.masks.items():
        assert np.array_equal(mask, located.masks[region][:3])


@pytest.mark.parametrize(
    ("kind", "region"),
    [
        ("phantom_breast", "mass"),
        ("phantom_abdomen", "liver"),
        ("phantom_retina", "optic disc"),
        ("phantom_blood", "cell"),
        ("phantom_skin", "lesion"),
    ],
)
def test_a_region_is_a_shape_that_the_artist_paints(
    kind: str, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    located = masks.locate(kind, COUNT, SIZE, SEED, "train").masks[region]
    shown = [index for index in range(COUNT) if located[index].any()]
    assert shown
    for index in shown:
        painted = covered_in(*ARTISTS[kind], kind, index, monkeypatch)
        assert min(int((located[index] ^ one).sum()) for one in painted) <= (kind in RIMS)


def test_a_tumour_lies_in_a_shape_that_the_artist_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    located = masks.locate("phantom_brain", COUNT, SIZE, SEED, "train")
    ill = [index for index in range(COUNT) if located.masks["tumour"][index].any()]
    assert ill
    for index in ill:
        assert located.findings[index] == "tumour"
        painted = covered_in(*ARTISTS["phantom_brain"], "phantom_brain", index, monkeypatch)
        own = located.masks["tumour"][index]
        # The smallest shape that holds it is the tumour itself, not the brain around it.
        smallest = min(int(one.sum()) for one in painted if not (own & ~one).any())
        assert smallest <= 2 * own.sum()


def test_lesions_of_the_liver_are_shapes_that_the_artist_paints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    located = masks.locate("phantom_abdomen", COUNT, SIZE, SEED, "train")
    ill = [index for index in range(COUNT) if located.masks["lesion"][index].any()]
    assert ill
    for index in ill:
        assert located.findings[index] == "liver lesion"
        painted = covered_in(*ARTISTS["phantom_abdomen"], "phantom_abdomen", index, monkeypatch)
        own = located.masks["lesion"][index]
        near = ndimage.binary_dilation(own, np.ones((3, 3)))
        within = np.any([one for one in painted if not (one & ~near).any()], axis=0)
        assert not (ndimage.binary_erosion(own) & ~within).any()
        assert within.any()


def test_pneumonia_is_where_the_ill_chest_differs_from_the_clear_one() -> None:
    images = phantoms.draw("phantom_chest", 2 * COUNT, SIZE, SEED, "train", artefacts=False).images
    found = masks.locate("phantom_chest", 2 * COUNT, SIZE, SEED, "train").masks
    clear, ill = images[::2].astype(float), images[1::2].astype(float)
    assert np.array_equal(found["lungs"][::2], found["lungs"][1::2])
    assert not found["pneumonia"][::2].any()
    for brighter, mask, lungs in zip(
        ill - clear, found["pneumonia"][1::2], found["lungs"][1::2], strict=True
    ):
        assert mask.any()
        assert brighter[mask].mean() > brighter[~mask & ~lungs].mean() + 5
        assert (mask & lungs).sum() >= 0.8 * mask.sum()
    assert chest.DENSEST < 1


def test_a_normal_breast_has_no_mass_and_both_masses_lie_at_one_place() -> None:
    located = masks.locate("phantom_breast", 30, SIZE, SEED, "train")
    mass = located.masks["mass"].reshape(10, 3, SIZE, SIZE)
    assert located.findings[:3] == ["malignant mass", "benign mass", "normal"]
    assert not mass[:, 2].any()
    together = (mass[:, 0] & mass[:, 1]).any((1, 2))
    assert together.mean() > 0.7


def test_size_changes_resolution_and_not_where_a_region_lies() -> None:
    for kind in masks.REGIONS:
        small, large = (masks.locate(kind, 6, size, SEED, "train").masks for size in (28, 56))
        for region, mask in small.items():
            blocks = large[region].reshape(6, 28, 2, 28, 2).mean((2, 4)) >= 0.5
            assert (blocks ^ mask).mean() < 0.02
