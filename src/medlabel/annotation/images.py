"""One's own images: found in a folder, and read as a viewer shows them."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel.data.pixels import Pixels
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    from PIL.Image import Image

# What holds pictures and nothing else: Pillow also opens tables of numbers, documents and fonts.
PHOTOGRAPHS = ".jpg .jpeg .jpe .jfif .jp2 .j2k .webp .avif"
GRAPHICS = ".png .apng .gif .bmp .tif .tiff .tga .pbm .pgm .ppm .pnm"
SUFFIXES = frozenset(f"{PHOTOGRAPHS} {GRAPHICS}".split())
LEFT_BY_SYSTEMS = frozenset({".ds_store", "desktop.ini", "thumbs.db"})
MEDICAL = frozenset({".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd"})
GREY_MODES = ("1", "L", "LA")
DEEP_MODES = ("I", "F")  # 16 and 32 bits a pixel
STACKED = "TIFF"  # pages of it are images of their own; frames of other formats are a film
BITS_A_SAMPLE, KIND_OF_PAGE, REDUCED = 258, 254, 1  # tags and a flag of TIFF
SIZ = b"\xff\x51"  # JPEG 2000: the marker before the sizes, 38 bytes before the bits of a channel
OPAQUE = 255


class UnreadableError(Exception):
    """Why an image cannot be read, in a few words."""


@dataclass(frozen=True)
class Found:
    """The images of a folder, sorted by name, and how many other files there are of each kind."""

    paths: list[Path]
    left_out: Counter[str]

    def told(self) -> str:
        """Return what was left out, in words."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))


@dataclass(frozen=True)
class Page:
    """One image of a file, with what a reader should know of it.

    Pages are numbered from 1 where a file has several. Pixels are uint8 of shape (H, W) for grey or
    (H, W, 3) for colour.
    """

    number: int | None
    pixels: Pixels
    note: str = ""


def find_images(folder: Path) -> Found:
    """Find the images in a folder and its subfolders, linked ones too.

    Raises
    ------
    MedlabelError
        When the folder does not exist or holds no image.
    """
    try:
        found = "" if folder.is_dir() else "a file" if folder.exists() else "no such folder"
    except OSError as error:
        found = f"none that may be read ({error.strerror})"
    if found:
        raise MedlabelError(f"{folder}: expected a folder of images, found {found}.")
    left_out: Counter[str] = Counter()
    paths = list(_walk(folder, (), left_out))
    everything = Found(paths, left_out)
    if paths:
        return everything
    hint = ""
    if left_out.keys() & MEDICAL:
        hint = "; DICOM and volumes are not read: save PNG images with the window that matters"
    others = f" ({everything.told()})" if left_out else ""
    raise MedlabelError(
        f"{folder}: expected images such as .png or .jpg in it or its subfolders, found "
        f"none{others}{hint}."
    )


def _walk(folder: Path, above: tuple[Path, ...], left_out: Counter[str]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        left_out["links to a folder above"] += 1
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        left_out["folders that may not be read"] += 1
        return
    for entry in entries:
        kind = _kind(entry)
        if kind == "folder":
            yield from _walk(Path(entry.path), (*above, here), left_out)
        elif kind == "image":
            yield Path(entry.path)
        elif kind:
            left_out[kind] += 1


def _kind(entry: os.DirEntry[str]) -> str:
    """Say what an entry is: a folder, an image, something to leave out, or nothing of note."""
    try:
        if entry.is_dir():
            return "folder"
        if not entry.is_file():
            return "broken links" if entry.is_symlink() else "that are no regular files"
    except OSError:
        return "that may not be read"
    name = entry.name.lower()
    if name in LEFT_BY_SYSTEMS:
        return ""
    if name.startswith("._"):  # macOS keeps a file's attributes in them, under its suffix
        return "._ files of macOS"
    suffixes = Path(name).suffixes
    suffix = "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])
    return "image" if suffix in SUFFIXES else suffix or "without suffix"


def read_pages(path: Path) -> Iterator[Page]:
    """Read the images of a file: one, but for stacks.

    Raises
    ------
    UnreadableError
        When the file is damaged, too large, or has more than 8 bits a channel, which cannot be
        brought to 8 without knowing the window of intensities that matters. Pages before the
        damage were given by then.
    """
    from PIL import Image

    # Pillow warns of odd tags and of large images on two lines each; both are dealt with here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                yield from _pages(image)
        except Image.DecompressionBombError as error:
            found, most = re.findall(r"\d+", str(error))[:2]
            raise UnreadableError(
                f"too large ({found} pixels, at most {most} are read); make it smaller"
            ) from error
        except UnreadableError:
            raise
        except Exception as error:  # Pillow's readers let nearly anything through
            if isinstance(error, OSError) and error.errno is not None:
                raise UnreadableError(f"cannot be read ({error.strerror})") from error
            reason = " ".join(str(error).split()).replace(str(path), path.name)
            raise UnreadableError(
                f"damaged or no image ({reason or type(error).__name__}); remove or replace it"
            ) from error


def _pages(image: Image) -> Iterator[Page]:
    count = getattr(image, "n_frames", 1)
    if image.format != STACKED:
        film = count > 1 and image.format != "MPO"  # cameras put previews behind the picture
        yield Page(None, _pixels(image), f"the first of {count} frames" if film else "")
        return
    numbers = []
    for number in range(count):
        image.seek(number)
        if not _tag(image, KIND_OF_PAGE, 0) & REDUCED:
            numbers.append(number)
    for number in numbers:
        image.seek(number)
        yield Page(number + 1 if len(numbers) > 1 else None, _pixels(image))


def _tag(image: Image, tag: int, default: int) -> int:
    """Return a tag of the current page of a TIFF; of several values the largest."""
    value = image.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    return int(max(value)) if isinstance(value, tuple) else int(value)


def _pixels(image: Image) -> Pixels:
    from PIL import ImageOps

    if _is_deep(image):
        raise UnreadableError(
            f"more than 8 bits a channel (Pillow's mode {image.mode}); choose the window of "
            f"intensities that matters and save it with 8 bits"
        )
    image.load()
    upright = ImageOps.exif_transpose(image)
    kind = "L" if upright.mode in GREY_MODES else "RGB"
    if not upright.has_transparency_data:
        return np.array(upright.convert(kind), dtype=np.uint8)
    # What shines through is nothing: the colours that hide there are seen by nobody.
    bands = np.array(upright.convert("RGBA"), dtype=np.uint16)
    shown = ((bands[..., :3] * bands[..., 3:] + OPAQUE // 2) // OPAQUE).astype(np.uint8)
    return shown[..., 0] if kind == "L" else shown


def _is_deep(image: Image) -> bool:
    """Say whether a channel has more than 8 bits, which Pillow cuts silently in colour images."""
    if image.mode.startswith(DEEP_MODES):
        return True
    if image.format == STACKED:
        return _tag(image, BITS_A_SAMPLE, 8) > 8
    if image.format == "JPEG2000":
        return _jpeg2000_bits(image) > 8
    arguments = [part for tile in image.tile for part in np.atleast_1d(tile.args)]  # type: ignore[attr-defined]
    if image.format == "PPM":  # the highest value, where it is not 255
        return any(str(part).isdecimal() and int(part) > OPAQUE for part in arguments)
    return any(";16" in str(part) for part in arguments)


def _jpeg2000_bits(image: Image) -> int:
    stream = image.fp  # type: ignore[attr-defined]
    place = stream.tell()
    stream.seek(0)
    content = stream.read(1 << 16)
    stream.seek(place)
    bits = content.find(SIZ) + 40
    return (content[bits] & 0x7F) + 1 if bits < len(content) else 8
