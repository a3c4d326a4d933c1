"""DICOM images, windowed as a viewing station does; of the header nothing is kept or told.

Pixels are decoded by pydicom with the plugins that are installed (gdcm, OpenJPEG, Pillow, its own).
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from medlabel.data.pixels import Pixels
from medlabel.data.reading import windows
from medlabel.data.reading.page import Page, Reading, UnreadableError

FAR = 1e9  # beyond every intensity: what the ends of a window become
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
INVERTED = "MONOCHROME1"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


def read(content: bytes, reading: Reading) -> Iterator[Page]:
    """Read the frames of a DICOM file.

    Raises
    ------
    UnreadableError
        When it holds no image, or one that cannot be decoded. The reason quotes nothing of the
        header, as messages of libraries do.
    """
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield from _pages(content, reading)
        except UnreadableError:
            raise
        except Exception as error:  # a damaged header fails wherever it is first looked at
            raise UnreadableError(
                f"damaged DICOM ({type(error).__name__}); remove or replace it"
            ) from error


def _pages(content: bytes, reading: Reading) -> Iterator[Page]:
    dataset = _dataset(content)
    count = _frames(dataset)
    for number, raw in enumerate(_decoded(dataset, count), start=1):
        pixels, note = _shown(raw, dataset, number - 1, reading)
        yield Page(number if count > 1 else None, pixels, note)


def _dataset(content: bytes) -> Any:
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    if not any(name in dataset for name in PIXELS):
        kind = "a DICOM file without an image (a report, plan or other record)"
        known = "SOPClassUID" in dataset
        raise UnreadableError(kind if known else "no DICOM file, or a damaged one", "no image")
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise UnreadableError("DICOM without the size of its image; export it again")
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _plain_syntax(dataset)
    return dataset


def _plain_syntax(dataset: Any) -> Any:
    """Guess how pixels are stored where the file's own header is missing."""
    from pydicom import uid

    implicit, little = dataset.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _frames(dataset: Any) -> int:
    try:
        return max(int(dataset.get("NumberOfFrames", 1) or 1), 1)
    except (TypeError, ValueError):
        return 1


def _decoded(dataset: Any, count: int) -> Iterator[Any]:
    """Decode frame by frame: (H, W) as stored, or (H, W, 3) in RGB."""
    from pydicom.pixels import pixel_array

    try:
        if str(dataset.file_meta.TransferSyntaxUID) == JPEG_EXTENDED and dataset.BitsStored > 8:
            yield from _extended_jpeg(dataset, count)
            return
        for number in range(count):
            yield pixel_array(dataset, index=number)
    except Exception as error:
        raise UnreadableError(
            f"DICOM whose pixels cannot be decoded ({type(error).__name__}: damaged, or compressed "
            f"in a way that no installed plugin of pydicom reads); export it as PNG"
        ) from error


def _extended_jpeg(dataset: Any, count: int) -> Iterator[Any]:
    """Decode JPEG of 12 bits, which pydicom leaves to a plugin under another licence."""
    import imagecodecs
    from pydicom.encaps import generate_frames

    for frame in generate_frames(dataset.PixelData, number_of_frames=count):
        yield np.asarray(imagecodecs.jpeg_decode(frame))


def _shown(raw: Any, dataset: Any, frame: int, reading: Reading) -> tuple[Pixels, str]:
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        raw = apply_color_lut(raw, dataset)
    if raw.ndim == 3:
        return _colour(raw[..., :3], dataset)
    from pydicom.pixels import apply_modality_lut

    groups = _groups(dataset, frame)
    values = np.asarray(apply_modality_lut(raw, _with(dataset, groups, _MODALITY)))
    pixels, note = _windowed(values, raw, _with(dataset, groups, _VOI), reading)
    # Radiographs of MONOCHROME1 say INVERSE too: the two are one statement, not two.
    if photometric == INVERTED or dataset.get("PresentationLUTShape") == "INVERSE":
        return (windows.WHITE - pixels).astype(np.uint8), note
    return pixels, note


_MODALITY = ("PixelValueTransformationSequence",)
_VOI = ("FrameVOILUTSequence",)


def _groups(dataset: Any, frame: int) -> list[Any]:
    """Return what an enhanced file says of all frames, and of this one."""
    shared = list(dataset.get("SharedFunctionalGroupsSequence", None) or [])
    single = list(dataset.get("PerFrameFunctionalGroupsSequence", None) or [])
    return [*shared[:1], *single[frame : frame + 1]]


def _with(dataset: Any, groups: list[Any], names: tuple[str, ...]) -> Any:
    """Return the elements that decide on intensities, with those of the frame's own groups."""
    from pydicom.dataset import Dataset

    wanted = Dataset()
    for keyword in (
        *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence"),
        *("WindowCenter", "WindowWidth", "VOILUTFunction", "PhotometricInterpretation"),
        *("BitsStored", "BitsAllocated", "PixelRepresentation"),
    ):
        if keyword in dataset:
            wanted[keyword] = dataset[keyword]
    for group in groups:
        for name in names:
            for entry in group.get(name, None) or []:
                for element in entry:
                    wanted[element.tag] = element
    return wanted


def _windowed(values: Any, raw: Any, wanted: Any, reading: Reading) -> tuple[Pixels, str]:
    if reading.window is not None:
        return windows.narrowed(values, reading.window)
    if not (wanted.get("VOILUTSequence") or _has_window(wanted)):
        if values.dtype == np.uint8:  # masks have one bit
            top = 2.0 ** int(wanted.get("BitsStored", 8)) - 1
            return windows.shown(values, windows.Window(0.0, top, "")), ""
        window = windows.choose(values, None, stretched=True)
        return windows.shown(values, window), window.told()
    from pydicom.pixels import apply_voi_lut, apply_windowing

    if wanted.get("VOILUTSequence"):
        table = wanted.VOILUTSequence[0]
        curve = np.asarray(apply_voi_lut(raw if values is raw else values.astype(np.int64), wanted))
        data = table.LUTData
        entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
        top = min(2.0 ** int(table.LUTDescriptor[2]) - 1, float(entries.max()))
        return windows.shown(curve, windows.Window(0.0, max(top, 1.0), "")), "table of the file"
    # The ends tell which outputs are black and white.
    ends = np.append(values.astype(np.float64).ravel(), [-FAR, FAR])
    curve = np.asarray(apply_windowing(ends, wanted))
    window = windows.Window(float(curve[-2]), float(curve[-1]), "")
    return windows.shown(curve[:-2].reshape(values.shape), window), "window of the file"


def _has_window(wanted: Any) -> bool:
    """Say whether there is a centre and a width of at least 1, as the standard asks."""
    if wanted.get("WindowCenter") is None or wanted.get("WindowWidth") is None:
        return False
    widths = np.atleast_1d(np.asarray(wanted.WindowWidth, dtype=float))
    return bool(widths.size and widths[0] >= 1)


def _colour(raw: Any, dataset: Any) -> tuple[Pixels, str]:
    if raw.dtype == np.uint8:
        return np.ascontiguousarray(raw), ""
    bits = int(dataset.get("BitsStored", 8 * raw.dtype.itemsize))
    if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR":
        bits = 8 * raw.dtype.itemsize
    return windows.shown(raw, windows.Window(0.0, 2.0**bits - 1, "")), f"{bits} bits a channel"
