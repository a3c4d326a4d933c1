"""Pictures such as PNG, JPEG and TIFF, read as a viewer shows them."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from medlabel.data.pixels import Pixels
from medlabel.data.reading import windows
from medlabel.data.reading.page import Page, Reading, UnreadableError

if TYPE_CHECKING:
    from PIL.Image import Image

# What holds pictures and nothing else: Pillow also opens tables of numbers, documents and fonts.
FORMATS = (
    "AVIF BMP DIB GIF JPEG JPEG2000 PNG PPM TGA TIFF WEBP ICO PCX".split()  # noqa: SIM905
)
GREY_MODES = ("1", "L", "LA")
DEEP_MODES = ("I", "F")  # 16 and 32 bits a pixel
STACKED = "TIFF"  # it alone holds reduced copies beside its pages
BITS_A_SAMPLE, KIND_OF_PAGE, PHOTOMETRIC, REDUCED = 258, 254, 262, 1  # tags and a flag of TIFF
WHITE_IS_ZERO = 0
ORIENTATION = 0x112
SIZ = b"\xff\x51"  # JPEG 2000: the marker before the sizes, 38 bytes before the bits of a channel
OPAQUE = 255


def read(content: bytes, reading: Reading) -> Iterator[Page]:
    """Read the images of a file: one, but for stacks.

    Raises
    ------
    UnreadableError
        When the file is damaged, too large or no picture. Pages before the damage were given.
    """
    from PIL import Image, UnidentifiedImageError

    # Pillow warns of odd tags and of large images on two lines each; both are dealt with here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                yield from _pages(image, content, reading)
        except Image.DecompressionBombError as error:
            found, most = re.findall(r"\d+", str(error))[:2]
            raise UnreadableError(
                f"too large ({found} pixels, at most {most} are read); make it smaller"
            ) from error
        except UnreadableError:
            raise
        except UnidentifiedImageError as error:
            raise UnreadableError("damaged or no image; remove or replace it") from error
        except Exception as error:  # readers let nearly anything through
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnreadableError(f"damaged ({reason}); remove or replace it") from error


def _pages(image: Image, content: bytes, reading: Reading) -> Iterator[Page]:
    count = getattr(image, "n_frames", 1)
    if image.format == "MPO":  # cameras put previews behind the picture
        count = 1
    numbers = []
    for number in range(count):
        if image.format == STACKED:
            image.seek(number)
        if image.format != STACKED or not _tag(image, KIND_OF_PAGE, 0) & REDUCED:
            numbers.append(number)
    for number in numbers:
        if count > 1:
            image.seek(number)
        pixels, note = _pixels(image, content, number, reading)
        yield Page(number + 1 if len(numbers) > 1 else None, pixels, note)


def _tag(image: Image, tag: int, default: int) -> int:
    """Return a tag of the current page of a TIFF; of several values the largest."""
    value = image.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    return int(max(value)) if isinstance(value, tuple) else int(value)


def _pixels(image: Image, content: bytes, page: int, reading: Reading) -> tuple[Pixels, str]:
    if _is_deep(image):
        deep = _turned(_deep(image, content, page), image.getexif().get(ORIENTATION, 1))
        opaque, depth = _without_transparency(deep)
        pixels, note = windows.narrowed(opaque, reading.window)
        return pixels, note or f"{depth} bits"
    from PIL import ImageOps

    image.load()
    upright = ImageOps.exif_transpose(image)
    kind = "L" if upright.mode in GREY_MODES else "RGB"
    if not upright.has_transparency_data:
        return np.array(upright.convert(kind), dtype=np.uint8), ""
    # What shines through is nothing: the colours that hide there are seen by nobody.
    bands = np.array(upright.convert("RGBA"), dtype=np.uint16)
    shown = ((bands[..., :3] * bands[..., 3:] + OPAQUE // 2) // OPAQUE).astype(np.uint8)
    return (shown[..., 0] if kind == "L" else shown), ""


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


def _deep(image: Image, content: bytes, page: int) -> windows.Intensities:
    """Decode an image with all its bits: (H, W), or (H, W, channels)."""
    import imagecodecs

    if image.format == "PNG":
        found: Any = imagecodecs.png_decode(content)
    elif image.format == "JPEG2000":
        found = imagecodecs.jpeg2k_decode(content)
    elif image.format == STACKED:
        found = _tiff(content, page)
    elif image.format == "PPM" and image.mode == "RGB":
        found = _wide_ppm(image, content)
    else:
        image.load()
        found = np.array(image)
    return np.asarray(found)


def _tiff(content: bytes, page: int) -> windows.Intensities:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        one: Any = file.pages[page]
        found = np.asarray(one.asarray())
        apart = one.planarconfig == tifffile.PLANARCONFIG.SEPARATE and found.ndim == 3
        inverted = one.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    found = np.moveaxis(found, 0, -1) if apart else found
    if not inverted:
        return found
    if found.dtype.kind == "u":
        return np.iinfo(found.dtype).max - found
    return -found


def _wide_ppm(image: Image, content: bytes) -> windows.Intensities:
    count = image.width * image.height * 3
    raw = np.frombuffer(content[-2 * count :], dtype=">u2")
    if raw.size < count:
        raise UnreadableError("damaged (cut short); remove or replace it")
    return raw.reshape(image.height, image.width, 3).astype(np.uint16)


def _turned(pixels: windows.Intensities, orientation: int) -> windows.Intensities:
    """Turn as EXIF's orientation asks, which Pillow does for 8 bits alone."""
    turns: dict[int, Callable[[Any], Any]] = {
        2: lambda one: one[:, ::-1],
        3: lambda one: one[::-1, ::-1],
        4: lambda one: one[::-1],
        5: lambda one: one.swapaxes(0, 1),
        6: lambda one: np.rot90(one, -1),
        7: lambda one: one[::-1, ::-1].swapaxes(0, 1),
        8: lambda one: np.rot90(one, 1),
    }
    turned = turns[orientation](pixels) if orientation in turns else pixels
    return np.ascontiguousarray(turned)


def _without_transparency(pixels: windows.Intensities) -> tuple[windows.Intensities, int]:
    """Show what is transparent as black; return the image and the bits of a channel."""
    depth = 8 * pixels.dtype.itemsize
    if pixels.ndim == 2:
        return pixels, depth
    channels = pixels.shape[2]
    if channels in (2, 4) and pixels.dtype.kind == "u":
        share = pixels[..., -1:] / np.iinfo(pixels.dtype).max
        pixels = np.rint(pixels[..., :-1] * share).astype(pixels.dtype)
    if pixels.shape[2] == 1:
        return pixels[..., 0], depth
    if pixels.shape[2] < 3:
        raise UnreadableError(f"{channels} channels, 1, 3 or 4 expected", "wrongly shaped")
    return pixels[..., :3], depth
