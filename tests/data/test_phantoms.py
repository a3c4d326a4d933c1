from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from medlabel import files
from medlabel.data import archive, catalogue, phantoms
from medlabel.data.phantoms import canvas, scanner, vessels
from medlabel.params import Counts, Phantoms

COLOUR = {"phantom_retina", "phantom_blood", "phantom_skin", "phantom_colon"}


@cache
def drawn(kind: str, count: int = 40, size: int = 28, seed: int = 5) -> phantoms.Drawing:
    return phantoms.draw(kind, count, size, seed, "train", artefacts=False)


def shape(kind: str, count: int, size: int) -> tuple[int, ...]:
    if kind in COLOUR:
        return (count, size, size, 3)
    return (count, *[size] * (3 if catalogue.is_volumetric(kind) else 2))


def test_every_kind_of_the_catalogue_can_be_drawn() -> None:
    assert tuple(phantoms.FINDINGS) == catalogue.PHANTOMS


def test_labels_have_the_order_of_the_real_sets() -> None:
    for kind, flag in (
        ("phantom_chest", "pneumoniamnist"),
        ("phantom_breast", "breastmnist"),
        ("phantom_vessel3d", "vesselmnist3d"),
    ):
        assert phantoms.FINDINGS[kind] == catalogue.source(flag, 28).labels
    for kind, flag in (
        ("phantom_retina", "retinamnist"),
        ("phantom_blood", "bloodmnist"),
        ("phantom_skin", "dermamnist"),
        ("phantom_colon", "pathmnist"),
        ("phantom_oct", "octmnist"),
    ):
        real = catalogue.source(flag, 28).labels
        assert len(phantoms.FINDINGS[kind]) == len(real)
        for ours, theirs in zip(phantoms.FINDINGS[kind], real, strict=True):
            if kind != "phantom_retina":  # whose labels are bare grades
                assert ours.split()[0][:5] in theirs.lower() or ours.split()[-1][:5] in theirs


@pytest.mark.parametrize("kind", catalogue.PHANTOMS)
@pytest.mark.parametrize("size", [14, 28, 31, 64])
def test_layout(kind: str, size: int) -> None:
    drawing = drawn(kind, 3, size)
    assert drawing.images.shape == shape(kind, 3, size)
    assert drawing.images.dtype == np.uint8
    assert drawing.images.flags.c_contiguous
    assert drawing.labels.shape == (3, 1)
    assert drawing.labels.dtype == np.uint8
    assert len(drawing.findings) == len(drawing.captions) == len(drawing.styles) == 3


@pytest.mark.parametrize("kind", catalogue.PHANTOMS)
def test_all_labels_occur_and_no_image_is_blank(kind: str) -> None:
    drawing = drawn(kind, 150)
    assert set(np.unique(drawing.labels)) == set(range(len(phantoms.FINDINGS[kind])))
    spread = drawing.images.reshape(150, -1).std(1)
    blank = np.array([finding == "background" for finding in drawing.findings])
    assert (spread[~blank] > 4).all()
    assert len({image.tobytes() for image in drawing.images}) == 150


@pytest.mark.parametrize("kind", catalogue.PHANTOMS)
def test_same_seed_same_bytes_and_a_longer_series_begins_with_the_shorter(kind: str) -> None:
    again = phantoms.draw(kind, 6, 28, 5, "train", artefacts=False)
    assert np.array_equal(again.images, drawn(kind).images[:6])
    assert again.captions == drawn(kind).captions[:6]
    assert np.array_equal(again.labels, drawn(kind).labels[:6])
    for seed, purpose in ((6, "train"), (5, "val")):
        other = phantoms.draw(kind, 6, 28, seed, purpose, artefacts=False)
        assert not np.array_equal(other.images, again.images)


@pytest.mark.parametrize("kind", [k for k in catalogue.PHANTOMS if not catalogue.is_volumetric(k)])
def test_size_changes_resolution_and_not_anatomy(kind: str) -> None:
    small, large = drawn(kind, 12), drawn(kind, 12, 56)
    assert small.captions == large.captions
    blocks = large.images.reshape(12, 28, 2, 28, 2, -1).mean((2, 4)).reshape(small.images.shape)
    correlations = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b, finding in zip(small.images, blocks, small.findings, strict=True)
        if finding != "background"
    ]
    assert min(correlations) > 0.93


@pytest.mark.parametrize("kind", ["phantom_chest", "phantom_blood", "phantom_vessel3d"])
def test_artefacts_are_reproducible_and_leave_the_subject(kind: str) -> None:
    clean = drawn(kind, 12)
    first = phantoms.draw(kind, 12, 28, 5, "train", artefacts=True)
    again = phantoms.draw(kind, 5, 28, 5, "train", artefacts=True)
    assert np.array_equal(first.images[:5], again.images)
    assert first.images.shape == clean.images.shape
    assert not np.array_equal(first.images, clean.images)
    changes = np.abs(first.images.astype(float) - clean.images).reshape(12, -1).mean(1)
    assert changes.max() < 50
    assert first.captions == clean.captions


def test_each_artefact_alone_is_seeded_by_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "PROBABILITY", 1.1)
    image = np.random.default_rng(0).random((1, 28, 28), np.float32)
    for transform in scanner.artefacts(28):
        one, same, other = (
            scanner.degrade(image, [transform], np.random.default_rng(seed)) for seed in (1, 1, 2)
        )
        assert one.shape == image.shape
        assert one.dtype == np.float32
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)
        assert not np.array_equal(one, image)
        assert one.min() >= 0
        assert one.max() <= 1


def test_artefacts_leave_a_flat_image_flat_at_its_border(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "PROBABILITY", 1.1)
    blur = scanner.artefacts(28)[1]
    flat = np.full((1, 28, 28), 0.5, np.float32)
    blurred = scanner.degrade(flat, [blur], np.random.default_rng(0))
    assert np.allclose(blurred, 0.5, atol=0.01)


def test_a_large_image_may_be_as_blurred_as_a_small_one_enlarged() -> None:
    small, large = (scanner.artefacts(size)[1] for size in (28, 112))
    assert large.sigma_x[1] == pytest.approx(4 * small.sigma_x[1])
    assert large.sigma_x[0] == small.sigma_x[0]


def test_vessels_are_binary_and_of_one_piece() -> None:
    drawing = phantoms.draw("phantom_vessel3d", 30, 28, 5, "train", artefacts=True)
    assert set(np.unique(drawing.images)) == {0, 255}
    for volume in drawing.images:
        assert ndimage.label(volume, np.ones((3, 3, 3)))[1] == 1


def test_an_aneurysm_adds_volume_to_the_same_kind_of_tree() -> None:
    drawing = drawn("phantom_vessel3d", 150)
    filled = (drawing.images > 0).reshape(150, -1).mean(1)
    sac = drawing.labels[:, 0] == 1
    assert filled[sac].mean() > 1.15 * filled[~sac].mean()


def test_segment_keeps_the_largest_part() -> None:
    volume = np.zeros((1, 12, 12, 12), np.float32)
    volume[0, 1:3, 1:3, 1:3] = 1
    volume[0, 6:10, 6:10, 6:10] = 0.6
    kept = vessels.segment(volume)
    assert kept.sum() == 64
    assert kept[0, 7, 7, 7] == 1


def test_segment_of_nothing_is_nothing() -> None:
    assert vessels.segment(np.zeros((1, 5, 5, 5), np.float32)).sum() == 0


def test_breast_merges_benign_and_normal_into_one_label() -> None:
    drawing = drawn("phantom_breast", 150)
    pairs = set(zip(drawing.findings, drawing.labels[:, 0].tolist(), strict=True))
    assert pairs == {("malignant mass", 0), ("benign mass", 1), ("normal", 1)}


@pytest.mark.parametrize("artefacts", [False, True])
def test_each_chest_is_drawn_clear_and_ill_and_differs_in_its_lungs_alone(artefacts: bool) -> None:
    drawing = phantoms.draw("phantom_chest", 60, 28, 5, "train", artefacts)
    assert drawing.findings == ["normal", "pneumonia"] * 30
    clear, ill = drawing.images[::2].astype(float), drawing.images[1::2].astype(float)
    for a, b in zip(clear, ill, strict=True):
        assert not np.array_equal(a, b)
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(clear, ill, strict=True)]
    strangers = np.corrcoef(clear[:-1].reshape(29, -1), ill[1:].reshape(29, -1))[:29, 29:]
    assert np.median(alike) > np.median(np.diag(strangers)) + 0.1


def test_brightness_alone_tells_no_pneumonia() -> None:
    drawing = drawn("phantom_chest", 150)
    brightness = drawing.images.mean((1, 2))
    ill = drawing.labels[:, 0] == 1
    pairs = brightness[ill][:, np.newaxis] - brightness[~ill]
    assert abs((pairs > 0).mean() - 0.5) < 0.1


def test_write_makes_an_archive_and_its_captions(tmp_path: Path) -> None:
    counts = Counts(train=5, val=3, test=2)
    settings = Phantoms(size=28, counts=counts, volumes=counts, stand_ins=counts, artefacts=False)
    targets = [
        (tmp_path / f"{name}.npz", tmp_path / f"{name}.parquet") for name in ("first", "second")
    ]
    for target, captions in targets:
        phantoms.write("phantom_skin", target, captions, counts, settings, seed=5)
    (target, captions), (again, captions_again) = targets
    assert target.read_bytes() == again.read_bytes()
    assert captions.read_bytes() == captions_again.read_bytes()
    read = archive.read(target, "phantom_skin", size=28)
    assert {split: len(images) for split, images in read.images.items()} == {
        "train": 5,
        "val": 3,
        "test": 2,
    }
    assert np.array_equal(read.images["train"], drawn("phantom_skin").images[:5])
    columns = ["split", "row", "kind", "finding", "style", "caption"]
    table = files.read_parquet(captions, "phantoms", columns)
    assert list(table.columns) == columns
    assert table["row"].dtype == np.int32
    assert table["split"].tolist() == ["train"] * 5 + ["val"] * 3 + ["test"] * 2
    assert table["row"].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 1]
    assert set(table["kind"]) == {"phantom_skin"}
    labels = np.concatenate([read.labels[split][:, 0] for split in archive.SPLITS])
    expected = [phantoms.FINDINGS["phantom_skin"][label] for label in labels]
    pd.testing.assert_series_equal(table["finding"], pd.Series(expected, name="finding"))


def test_kinds_drawn_side_by_side_have_the_same_bytes(tmp_path: Path) -> None:
    counts = Counts(train=2, val=1, test=1)
    settings = Phantoms(size=28, counts=counts, volumes=counts, stand_ins=counts, artefacts=True)
    for threads in (1, 2):
        wanted = [
            (kind, tmp_path / f"{kind}-{threads}.npz", tmp_path / f"{threads}.pq", counts, settings)
            for kind in ("phantom_hand", "phantom_oct")
        ]
        phantoms.write_all(wanted, seed=5, threads=threads)
    for kind in ("phantom_hand", "phantom_oct"):
        one, other = (tmp_path / f"{kind}-{threads}.npz" for threads in (1, 2))
        assert one.read_bytes() == other.read_bytes()


def test_texture_is_standard_noise_and_independent_of_resolution() -> None:
    fine = np.stack(
        [canvas.texture(np.random.default_rng(seed), 60, (9, 5)) for seed in range(300)]
    )
    coarse = canvas.texture(np.random.default_rng(0), 20, (9, 5))
    assert abs(fine.mean()) < 0.05
    assert abs(fine.std() - 1) < 0.05
    assert np.allclose(coarse, fine[0].reshape(20, 3, 20, 3)[:, 1, :, 1], atol=1e-5)


def test_circle_and_stroke_are_exact_distances() -> None:
    where = canvas.plane(40)
    circle = canvas.ellipse(where, (0.2, -0.1), (0.5, 0.5))
    assert np.allclose(circle, np.hypot(where.x - 0.2, where.y + 0.1) - 0.5, atol=1e-6)
    line = canvas.strokes(where, np.array([[[-2.0, 0.0], [2.0, 0.0]]]), np.array([0.1]))
    assert np.allclose(line, np.abs(where.y) - 0.1, atol=1e-5)


def test_covered_area_of_a_disc() -> None:
    where = canvas.plane(200)
    area = 4 * canvas.cover(canvas.ellipse(where, (0, 0), (0.6, 0.6)), 0.02).mean()
    assert area == pytest.approx(np.pi * 0.36, rel=0.003)
    spots = canvas.spots(where, np.array([[-0.5, 0.5], [0.4, 0.0]]), np.array([0.2, 0.3]), 0.02)
    assert 4 * spots.mean() == pytest.approx(np.pi * (0.04 + 0.09), rel=0.01)


def test_tissue_finds_the_two_nearest_seeds_in_order() -> None:
    first, second, identity = canvas.tissue(np.random.default_rng(2), canvas.plane(60), 4)
    assert (first <= second).all()
    assert first.min() >= 0
    assert first.max() < 1.5
    # Each cell has one number: far fewer numbers than pixels, about one for each square.
    assert 40 < len(np.unique(identity)) < 130


def test_average_down_keeps_the_mean_of_grey_and_colour() -> None:
    image = np.random.default_rng(0).random((3, 12, 12)).astype(np.float32)
    small = canvas.average_down(image, 3)
    assert small.shape == (3, 4, 4)
    assert np.allclose(small[1, 0, 2], image[1, 0:3, 6:9].mean())
    assert np.allclose(canvas.average_down(image[1], 3), small[1])


@pytest.mark.real
@pytest.mark.parametrize(
    ("kind", "flag"), [("phantom_chest", "pneumoniamnist"), ("phantom_breast", "breastmnist")]
)
def test_phantoms_resemble_the_real_set(mirror: Path, kind: str, flag: str) -> None:
    real = archive.read(mirror / f"{flag}.npz", flag).images["train"].astype(float)
    ours = drawn(kind, 150).images.astype(float)
    assert abs(ours.mean() - real.mean()) < 12
    assert ours.std((1, 2)).mean() == pytest.approx(real.std((1, 2)).mean(), rel=0.25)
    for axis in (1, 2):
        profile, expected = ours.mean((0, axis)), real.mean((0, axis))
        assert np.abs(profile - expected).max() < 25
    histograms = [np.histogram(x, 16, (0, 256))[0] / x.size for x in (ours, real)]
    assert np.abs(histograms[0] - histograms[1]).sum() / 2 < 0.15
    spectra = [_radial_spectrum(x) for x in (ours, real)]
    assert np.abs(np.log10(spectra[0]) - np.log10(spectra[1])).max() < 0.3


def _radial_spectrum(images: np.ndarray) -> np.ndarray:
    centred = images - images.mean((1, 2), keepdims=True)
    centred /= centred.std((1, 2), keepdims=True)
    power = np.abs(np.fft.fftshift(np.fft.fft2(centred), (1, 2))) ** 2
    rows, columns = np.indices(power.shape[1:]) - power.shape[1] // 2
    ring = np.hypot(rows, columns).round().astype(int)
    return (np.bincount(ring.ravel(), power.mean(0).ravel()) / np.bincount(ring.ravel()))[1:14]


@pytest.mark.real
def test_vessels_fill_as_much_as_the_real_ones(mirror: Path) -> None:
    real = archive.read(mirror / "vesselmnist3d.npz", "vesselmnist3d").images["train"] > 0
    ours = drawn("phantom_vessel3d", 150).images > 0
    filled, expected = (np.median(x.reshape(len(x), -1).sum(1)) for x in (ours, real))
    assert 0.6 < filled / expected < 1.6
