"""Volumes such as NIfTI, NRRD and MetaImage, slice by slice or projected.

Slices lie as radiologists see axial ones: rows from front to back, columns from the patient's right
to the left (LPS, as in DICOM).
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from medlabel.data.reading import windows
from medlabel.data.reading.page import Page, Reading, UnreadableError

MOST_VOXELS = 1 << 30
GZIP = b"\x1f\x8b"
NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".mha", ".nrrd", ".nhdr", ".mhd")


def read_nifti(content: bytes, reading: Reading) -> Iterator[Page]:
    """Read a NIfTI volume, compressed or not.

    Raises
    ------
    UnreadableError
        When it is damaged, too large or of complex numbers.
    """
    import nibabel

    try:
        plain = gzip.decompress(content) if content.startswith(GZIP) else content
        kind = nibabel.Nifti2Image if plain[:4] in _SIZES_OF_TWO else nibabel.Nifti1Image
        image = kind.from_stream(io.BytesIO(plain))
        if int(np.prod(image.shape)) > MOST_VOXELS:
            raise UnreadableError(f"too large (more than {MOST_VOXELS} voxels); make it smaller")
        turned = _lps(image)
        values = np.asanyarray(turned.dataobj)
        ends = float(image.header["cal_min"]), float(image.header["cal_max"])
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(
            f"damaged NIfTI ({type(error).__name__}); remove or replace it"
        ) from error
    yield from _pages(values, ends if ends[0] < ends[1] else None, reading)


_SIZES_OF_TWO = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # 540 in either byte order


def _lps(image: Any) -> Any:
    """Turn axes so that they run to the left, to the back and up; what has no axes stays."""
    from nibabel import orientations

    if image.ndim < 2:
        raise UnreadableError("fewer than two axes; an image or volume expected", "wrongly shaped")
    if image.ndim == 2:  # nibabel turns volumes alone
        image = type(image)(np.asanyarray(image.dataobj)[..., None], image.affine, image.header)
    now = orientations.io_orientation(image.affine)
    turn = orientations.ornt_transform(now, orientations.axcodes2ornt(("L", "P", "S")))
    return image.as_reoriented(turn)


def read_other(content: bytes, suffix: str, path: Path | None, reading: Reading) -> Iterator[Page]:
    """Read NRRD or MetaImage; `path` is where it lies, for those whose pixels are in a second file.

    Raises
    ------
    UnreadableError
        When SimpleITK is not installed, or the volume is damaged or too large.
    """
    if importlib.util.find_spec("SimpleITK") is None:
        raise UnreadableError(
            "a volume that SimpleITK reads: run `pip install 'medlabel[volumes]'`", "skipped"
        )
    import SimpleITK as itk  # noqa: N813

    itk.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder) / f"volume{suffix}"
            path.write_bytes(content)
        try:
            reader = itk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            if int(np.prod(reader.GetSize())) > MOST_VOXELS:
                raise UnreadableError(
                    f"too large (more than {MOST_VOXELS} voxels); make it smaller"
                )
            image = reader.Execute()
            if image.GetDimension() == 3:
                image = itk.DICOMOrient(image, "LPS")
            values = itk.GetArrayFromImage(image)
            channels = image.GetNumberOfComponentsPerPixel()
        except RuntimeError as error:
            raise UnreadableError("damaged volume; remove or replace it") from error
    if channels > 1:
        from medlabel.data.reading import arrays

        yield from arrays.pages_of(values, reading)
        return
    yield from _pages(values.T, None, reading)


def _pages(values: Any, ends: tuple[float, float] | None, reading: Reading) -> Iterator[Page]:
    """Give the images of an array (x, y[, z[, …]]), in the order of the last axis, then z."""
    if values.dtype.names:  # colours: a record a voxel
        values = np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
        stack = np.moveaxis(values.reshape(*values.shape[:2], -1, 3), (2, 1, 0, 3), (0, 1, 2, 3))
    elif values.dtype.kind not in "buif":
        raise UnreadableError("a volume of complex numbers; real ones expected", "no image")
    else:
        if reading.volumes == "projection" and values.ndim > 2:
            values = values.max(axis=2)
        stack = values.reshape(*values.shape[:2], -1, order="F").T
    if not stack.size:
        raise UnreadableError("a volume without a voxel", "empty")
    deep = stack.dtype not in (np.dtype(np.uint8), np.dtype(bool))
    window = None
    if ends and reading.window is None:
        window = windows.Window(*ends, "of the file")
    elif deep or reading.window:
        window = windows.choose(stack, reading.window)
    for number, image in enumerate(stack, start=1):
        pixels = windows.shown(image, window) if window else windows.narrowed(image, None)[0]
        yield Page(number if len(stack) > 1 else None, pixels, window.told() if window else "")
