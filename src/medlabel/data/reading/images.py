"""What a file holds, by its content: pictures, DICOM, volumes, arrays, or no image."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from medlabel.data.reading import arrays, dicom, pictures, volumes
from medlabel.data.reading.page import Page, Reading, UnreadableError, checked

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima", ".dic"})
PHOTOGRAPHS = ".jpg .jpeg .jpe .jfif .jp2 .j2k .webp .avif"
GRAPHICS = ".png .apng .gif .bmp .tif .tiff .tga .pbm .pgm .ppm .pnm .ico .pcx .dib"
PICTURE_SUFFIXES = frozenset(f"{PHOTOGRAPHS} {GRAPHICS}".split())
HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"msf1")
PICTURE_STARTS = (
    *(
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF8",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"II+\0",
        b"MM\0+",
    ),
    *(b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
)
NIFTI_PLACES = ((344, 348, (b"n+1\0", b"ni1\0")), (4, 12, (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")))
HEADER = 600  # bytes that tell what a file is

Reader = Callable[[bytes, Reading], Iterator[Page]]


def suffix_of(name: str) -> str:
    """Return a name's ending in small letters: of ``.nii.gz`` both."""
    stem, dot, last = name.lower().rpartition("/")[2].rpartition(".")
    if not stem or not dot or not last:
        return ""
    before = f".{stem.rpartition('.')[2]}" if last == "gz" and "." in stem[1:] else ""
    return f"{before}.{last}"


def read_pages(path: Path, reading: Reading | None = None) -> Iterator[Page]:
    """Read the images of a file; as `pages`.

    Raises
    ------
    UnreadableError
        When there is none to read, too, for reasons of the file system.
    """
    yield from pages(content_of(path), path.name, reading or Reading(), path)


def content_of(path: Path) -> bytes:
    """Read a file's bytes.

    Raises
    ------
    UnreadableError
        When that is not possible.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from error


def pages(content: bytes, name: str, reading: Reading, path: Path | None = None) -> Iterator[Page]:
    """Read the images of a file: one, but for stacks and volumes.

    Parameters
    ----------
    content
        All bytes of the file.
    name
        Its name; the ending decides only where the content does not.
    reading
        Windows, and how volumes become images.
    path
        Where it lies, unless within an archive.

    Raises
    ------
    UnreadableError
        When the file is empty, damaged, too large, of another kind, or of a shape in which nothing
        can be seen. Pages before the damage were given by then.
    """
    if not content:
        raise UnreadableError("an empty file", "empty")
    suffix = suffix_of(name)
    reader = _reader(content, suffix, path)
    try:
        for page in reader(content, reading):
            yield checked(page)
    except MemoryError as error:
        raise UnreadableError("too large for this machine's memory; make it smaller") from error


def _reader(content: bytes, suffix: str, path: Path | None) -> Reader:
    head = content[:HEADER]
    if head[128:132] == b"DICM":
        return dicom.read
    if head.startswith(b"\x93NUMPY"):
        return arrays.read
    if _is_nifti(content, suffix):
        return volumes.read_nifti
    if suffix in volumes.ITK_SUFFIXES or head.startswith((b"NRRD", b"ObjectType")):
        return lambda given, reading: volumes.read_other(given, suffix or ".mha", path, reading)
    if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
        raise UnreadableError("HEIC, which is not read; save it as PNG or JPEG", "skipped")
    if head.startswith(PICTURE_STARTS) or suffix in PICTURE_SUFFIXES or _is_webp_or_avif(head):
        return pictures.read
    if suffix in DICOM_SUFFIXES or _may_be_bare_dicom(head, suffix):
        return dicom.read
    raise UnreadableError(f"no image ({suffix or 'without suffix'})", "no image")


def _is_webp_or_avif(head: bytes) -> bool:
    return head[8:12] == b"WEBP" or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"))


def _is_nifti(content: bytes, suffix: str) -> bool:
    if suffix in volumes.NIFTI_SUFFIXES:
        return True
    head = content[:HEADER]
    if head.startswith(volumes.GZIP):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                head = stream.read(HEADER)
        except (OSError, EOFError):
            return False
    return any(head[first:last] in magics for first, last, magics in NIFTI_PLACES)


def _may_be_bare_dicom(head: bytes, suffix: str) -> bool:
    """Tell DICOM without its preamble, as old devices write it: it begins with group 2 or 8."""
    if suffix:
        return False
    return head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0"
