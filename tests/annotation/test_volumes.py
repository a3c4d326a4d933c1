"""Volumes and arrays: slices or projections, as radiologists see them."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medlabel.data.reading.images import read_pages
from medlabel.data.reading.page import Reading, UnreadableError
from medlabel.randomness import stream

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def volume(*shape: int) -> np.ndarray:
    return stream(0, "volume", *shape).integers(0, 256, shape, dtype=np.uint8)


def nifti(path: Path, values: np.ndarray, affine: np.ndarray = LPS, **header: float) -> Path:
    image = nibabel.Nifti1Image(values, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_each_slice_is_an_image(tmp_path: Path, name: str) -> None:
    """Rows run to the back, columns to the patient's left."""
    values = volume(5, 7, 3)
    pages = list(read_pages(nifti(tmp_path / name, values)))
    assert [page.number for page in pages] == [1, 2, 3]
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(page.pixels, values[:, :, number].T)


def test_the_way_that_axes_run_makes_no_difference(tmp_path: Path) -> None:
    values = volume(5, 7, 3)
    first = [page.pixels for page in read_pages(nifti(tmp_path / "a.nii", values))]
    turned = values[::-1].transpose(1, 0, 2)
    affine = np.array([[0, 1.0, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    again = [page.pixels for page in read_pages(nifti(tmp_path / "b.nii", turned, affine))]
    np.testing.assert_array_equal(first, again)


def test_a_projection_keeps_the_brightest_voxels(tmp_path: Path) -> None:
    values = volume(5, 7, 3)
    path = nifti(tmp_path / "a.nii", values)
    (page,) = read_pages(path, Reading(volumes="projection"))
    np.testing.assert_array_equal(page.pixels, values.max(axis=2).T)


def test_a_single_slice_is_one_image(tmp_path: Path) -> None:
    for values in (volume(6, 8), volume(6, 8, 1)):
        (page,) = read_pages(nifti(tmp_path / "a.nii", values))
        assert page.number is None
        np.testing.assert_array_equal(page.pixels, values.reshape(6, 8).T)


def test_films_of_volumes_go_on_counting(tmp_path: Path) -> None:
    values = volume(4, 5, 3, 2)
    pages = list(read_pages(nifti(tmp_path / "a.nii", values)))
    assert len(pages) == 6
    np.testing.assert_array_equal(pages[4].pixels, values[:, :, 1, 1].T)


def test_one_window_holds_for_a_volume_and_is_stated(tmp_path: Path) -> None:
    values = np.linspace(-1000, 1000, 60).reshape(3, 4, 5).astype(np.float32)
    pages = list(read_pages(nifti(tmp_path / "a.nii", values)))
    assert len({page.note for page in pages}) == 1
    assert "percentiles" in pages[0].note
    (first, *_) = read_pages(nifti(tmp_path / "b.nii", values, cal_min=0, cal_max=500))
    assert first.note == "window 0 to 500 (of the file)"
    assert first.pixels[0, 0] == 0


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b" + bytes(64), gzip.compress(bytes(400), mtime=0), b"x" * 400]
)
def test_damaged_volumes_say_so(tmp_path: Path, content: bytes) -> None:
    """F15: a stub of a compressed volume."""
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(UnreadableError, match="damaged NIfTI"):
        list(read_pages(tmp_path / "a.nii.gz"))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_other_volumes_are_read(tmp_path: Path, suffix: str) -> None:
    itk = pytest.importorskip("SimpleITK")
    values = volume(3, 7, 5)
    itk.WriteImage(itk.GetImageFromArray(values), str(tmp_path / f"a{suffix}"))
    pages = [page.pixels for page in read_pages(tmp_path / f"a{suffix}")]
    np.testing.assert_array_equal(pages, values)
    (tmp_path / f"b{suffix}").write_bytes(b"NRRD0004\nbroken")
    with pytest.raises(UnreadableError, match="damaged volume"):
        list(read_pages(tmp_path / f"b{suffix}"))


def test_a_missing_reader_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnreadableError, match=r"pip install 'medlabel\[volumes\]'"):
        list(read_pages(tmp_path / "a.nrrd"))


@pytest.mark.parametrize(
    ("shape", "numbers"),
    [
        ((6, 5), [None]),
        ((6, 5, 3), [None]),
        ((6, 5, 4), [None]),
        ((6, 5, 1), [None]),
        ((2, 6, 5), [1, 2]),
        ((2, 6, 5, 3), [1, 2]),
    ],
)
def test_arrays_are_images_or_stacks(
    tmp_path: Path, shape: tuple[int, ...], numbers: list[int | None]
) -> None:
    values = volume(*shape)
    np.save(tmp_path / "a.npy", values)
    pages = list(read_pages(tmp_path / "a.npy"))
    assert [page.number for page in pages] == numbers
    stack = values if len(numbers) > 1 else values[None]
    expected = stack[..., 0] if shape[-1] == 1 else stack[..., :3] if shape[-1] < 5 else stack
    np.testing.assert_array_equal([page.pixels for page in pages], expected)


def test_archives_of_arrays_are_read(tmp_path: Path) -> None:
    from medlabel.annotation.sources import find
    from medlabel.data.reading.images import pages

    np.savez(tmp_path / "a.npz", images=volume(2, 6, 5))
    (source,) = find(tmp_path)
    assert source.name == "a.npz/images.npy"
    found = [page.pixels for page in pages(source.content(), source.name, Reading())]
    np.testing.assert_array_equal(found, volume(2, 6, 5))


@pytest.mark.parametrize(
    ("array", "outcome"),
    [
        (np.zeros(5), "wrongly shaped"),
        (np.zeros((2, 3, 4, 5, 6)), "wrongly shaped"),
        (np.zeros((0, 4)), "wrongly shaped"),
        (np.array([["a", "b"]]), "no image"),
        (np.array([[{}, {}]], dtype=object), "unreadable"),
    ],
)
def test_other_arrays_say_why_not(tmp_path: Path, array: np.ndarray, outcome: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UnreadableError) as caught:
        list(read_pages(tmp_path / "a.npy"))
    assert caught.value.outcome == outcome
