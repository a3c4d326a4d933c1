"""DICOM is shown as a viewing station shows it, and nothing of a header comes along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from medlabel.data.reading.images import read_pages
from medlabel.data.reading.page import Page, Reading, UnreadableError
from medlabel.randomness import stream

OWN = Path(pydicom.__file__).parent / "data" / "test_files"
# Of pydicom's own files with pixels, those that are broken on purpose: cut short, an impossible
# tag, no size, a marker in the middle of the compressed stream.
BROKEN = {
    "MR_truncated.dcm",
    "badVR.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "JPEG2000-embedded-sequence-delimiter.dcm",
}


def grey(*shape: int) -> np.ndarray:
    found = stream(0, "dicom", *shape).integers(0, 4096, shape, dtype=np.uint16)
    found.flat[0], found.flat[-1] = 0, 4095
    return found


def write(path: Path, pixels: np.ndarray, **elements: object) -> Path:
    """Write a radiograph with the elements that are given, and with a patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientName = "Planted^Name"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored = bits, 12 if bits == 16 else bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def only(path: Path, reading: Reading | None = None) -> Page:
    (page,) = read_pages(path, reading)
    assert page.number is None
    return page


def test_a_window_of_the_file_counts(tmp_path: Path) -> None:
    values = np.array([[0, 1000], [1500, 2000]], np.uint16)
    path = write(tmp_path / "a.dcm", values, WindowCenter=1500, WindowWidth=1000)
    page = only(path)
    assert page.note == "window of the file"
    np.testing.assert_array_equal(page.pixels, [[0, 0], [128, 255]])


def test_rescaling_comes_before_the_window(tmp_path: Path) -> None:
    """Hounsfield units: the window is stated in them."""
    values = np.array([[0, 1024], [1064, 3000]], np.uint16)
    elements = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 80}
    found = only(write(tmp_path / "a.dcm", values, **elements)).pixels
    assert found[0].tolist() == [0, 0]
    assert found[1, 1] == 255
    assert 126 <= found[1, 0] <= 131


def test_without_a_window_most_intensities_are_shown(tmp_path: Path) -> None:
    values = grey(40, 30)
    page = only(write(tmp_path / "a.dcm", values))
    assert page.note.startswith("window ")
    assert "percentiles" in page.note
    assert np.abs(page.pixels - values / 16).max() < 4
    given = only(tmp_path / "a.dcm", Reading((0.0, 4095.0)))
    np.testing.assert_array_equal(given.pixels, np.rint(values * (255 / 4095)))


def test_monochrome1_is_turned_round_once(tmp_path: Path) -> None:
    """White is air; radiographs say so twice."""
    values = grey(20, 20)
    plain = only(write(tmp_path / "a.dcm", values)).pixels
    once = {"PhotometricInterpretation": "MONOCHROME1"}
    for elements in (once, {**once, "PresentationLUTShape": "INVERSE"}):
        turned = only(write(tmp_path / "b.dcm", values, **elements)).pixels
        np.testing.assert_array_equal(turned, 255 - plain)


def test_a_table_of_intensities_counts(tmp_path: Path) -> None:
    entry = Dataset()
    entry.add_new(0x00283002, "US", [4, 0, 8])
    entry.add_new(0x00283006, "US", [0, 255, 100, 50])
    values = np.array([[0, 1], [2, 3]], np.uint16)
    page = only(write(tmp_path / "a.dcm", values, VOILUTSequence=[entry]))
    assert page.note == "table of the file"
    np.testing.assert_array_equal(page.pixels, [[0, 255], [100, 50]])


def test_each_frame_has_its_own_window(tmp_path: Path) -> None:
    """Enhanced files state it frame by frame."""
    groups = []
    for centre in (1000, 3000):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 1000
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    values = np.full((2, 4, 4), 2000, np.uint16)
    path = write(tmp_path / "a.dcm", values, PerFrameFunctionalGroupsSequence=groups)
    pages = list(read_pages(path))
    assert [page.number for page in pages] == [1, 2]
    assert [int(page.pixels[0, 0]) for page in pages] == [255, 0]


def test_compressed_pixels_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", grey(32, 24), WindowCenter=2048, WindowWidth=4096)
    plain = only(path).pixels
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(only(tmp_path / "b.dcm").pixels, plain)


@pytest.mark.parametrize("name", ["a.png", "noext", "a.dcm"])
def test_the_content_tells_dicom(tmp_path: Path, name: str) -> None:
    """F17: DICOM under another name."""
    assert only(write(tmp_path / name, grey(8, 8))).pixels.shape == (8, 8)


def own(*patterns: str) -> list[Path]:
    found = [path for pattern in patterns for path in OWN.glob(pattern)]
    if not found:
        pytest.skip("this pydicom comes without its test files")
    return sorted(found)


def test_pydicoms_own_images_are_read() -> None:
    """All of them with pixels, but for those that are broken on purpose."""
    failed = set()
    count = 0
    for path in own("*.dcm"):
        if "PixelData" not in pydicom.dcmread(path, force=True):
            continue
        count += 1
        try:
            pages = list(read_pages(path))
        except UnreadableError:
            failed.add(path.name)
        else:
            assert pages
    assert count > 50
    assert failed == BROKEN


def test_lossless_siblings_look_the_same() -> None:
    """One image as pydicom keeps it in six transfer syntaxes."""
    by_name = {path.name: path for path in own("MR_small*.dcm")}
    plain = only(by_name["MR_small.dcm"]).pixels
    assert len(by_name) >= 6
    for path in by_name.values():
        np.testing.assert_array_equal(only(path).pixels, plain)


def test_colours_of_all_codings_look_alike() -> None:
    """YBR, RGB, planes or pixels, palettes: the flag of pydicom's test images begins with red."""
    for path in own("SC_rgb_dcmtk*.dcm", "SC_rgb_gdcm*.dcm", "SC_rgb_rle.dcm", "SC_ybr*.dcm"):
        page = only(path)
        assert page.pixels.shape == (100, 100, 3)
        assert page.pixels[5, 50].argmax() == 0
        assert page.pixels[5, 50, 0] > 200


def test_records_without_images_say_so() -> None:
    for path in own("rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm"):
        with pytest.raises(UnreadableError, match="a DICOM file without an image") as caught:
            list(read_pages(path))
        assert caught.value.outcome == "no image"


def test_reasons_quote_nothing_of_a_header(tmp_path: Path) -> None:
    """Messages of libraries do: the value of an impossible element."""
    for path in [*own("*.dcm"), write(tmp_path / "a.dcm", grey(8, 8), BitsAllocated=13)]:
        dataset = pydicom.dcmread(path, force=True)
        values = {str(one.value) for one in dataset if one.VR in ("PN", "LO", "UI", "DA", "SH")}
        try:
            told = " ".join(page.note for page in read_pages(path))
        except UnreadableError as error:
            told = str(error)
        assert not [one for one in values if len(one) > 3 and one in told]


def test_no_damage_is_anything_else(tmp_path: Path) -> None:
    """F08's sibling: cut by cut and bit by bit."""
    path = write(tmp_path / "a.dcm", grey(12, 12), WindowCenter=2048, WindowWidth=4096)
    whole = path.read_bytes()
    for step in range(0, len(whole), 7):
        broken = bytearray(whole)
        if step % 2:
            broken[step] ^= 1 << step % 8
        else:
            del broken[step:]
        path.write_bytes(bytes(broken))
        try:
            list(read_pages(path))
        except UnreadableError as error:
            assert "Planted" not in str(error)  # noqa: PT017
