"""Images are read as a viewer shows them, or not at all, and none is left out without a word."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medlabel.data.reading.images import read_pages
from medlabel.data.reading.page import Reading, UnreadableError
from medlabel.randomness import stream

ORIENTATION = 0x112


def picture(*shape: int) -> np.ndarray:
    return stream(0, "picture", *shape).integers(0, 256, shape, dtype=np.uint8)


def only(path: Path) -> np.ndarray:
    (page,) = read_pages(path)
    assert page.number is None
    return page.pixels


def png(path: Path, array: np.ndarray, bits: int, colour: int) -> Path:
    """Write a PNG of 16 bits a channel, which Pillow itself does not write in colour."""
    rows = b"".join(b"\0" + row.tobytes() for row in array.astype(">u2" if bits == 16 else "u1"))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, colour, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize(
    ("tag", "stored"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.swapaxes(0, 1)),
        (6, lambda image: np.rot90(image)),
        (7, lambda image: np.rot90(image.swapaxes(0, 1), 2)),
        (8, lambda image: np.rot90(image, -1)),
    ],
)
def test_turned_images_are_turned_back(tmp_path: Path, suffix: str, tag: int, stored) -> None:
    """F01: the EXIF orientation counts, in whatever format it stands."""
    upright = picture(20, 30, 3)
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    turned = Image.fromarray(np.ascontiguousarray(stored(upright)))
    turned.save(path, exif=exif, **options)
    np.testing.assert_array_equal(only(path), upright)


def test_a_turned_jpeg_is_turned_back(tmp_path: Path) -> None:
    """F01, as phones write it."""
    grey = np.repeat(np.repeat(picture(4, 6), 8, axis=0), 8, axis=1)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.rot90(grey).copy()).save(tmp_path / "a.jpg", exif=exif, quality=100)
    found = only(tmp_path / "a.jpg")
    assert found.shape == grey.shape
    assert np.abs(found.astype(int) - grey).max() < 4


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_a_png_are_shown_by_a_stated_window(
    tmp_path: Path, colour: int, channels: int
) -> None:
    """F02, F03: grey, RGB, grey and RGB with transparency; 12 bits in 16, as scanners write."""
    shallow = picture(8, 8, channels)
    shallow[0, 0] = 255
    if channels in (2, 4):
        shallow[..., -1] = 255
    deep = 16 * shallow.astype(np.uint16)
    if channels in (2, 4):
        deep[..., -1] = 65535
    (page,) = read_pages(png(tmp_path / "a.png", deep, 16, colour))
    expected = shallow[..., :3] if channels > 2 else shallow[..., 0]
    assert np.abs(page.pixels.astype(int) - expected).max() <= 1
    assert page.note == "window 0 to 4095 (12 bits)"
    np.testing.assert_array_equal(
        only(png(tmp_path / "a.png", picture(8, 8, 3), 8, 2)), picture(8, 8, 3)
    )


@pytest.mark.parametrize("kind", ["grey.tif", "float.tif", "int.tif", "colour.tif", "colour.ppm"])
def test_deep_images_of_other_formats_are_shown_by_a_stated_window(
    tmp_path: Path, kind: str
) -> None:
    """F02's siblings: TIFF and PPM."""
    path = tmp_path / kind
    shallow = picture(8, 8)
    shallow[0, :2] = 0, 255
    deep = 16 * shallow.astype(np.uint16)
    if kind == "colour.tif":
        path.write_bytes(tiff48(np.repeat(deep[..., None], 3, axis=2)))
    elif kind == "colour.ppm":
        rgb = np.repeat(deep[..., None], 3, axis=2).astype(">u2")
        path.write_bytes(b"P6\n8 8\n65535\n" + rgb.tobytes())
    else:
        dtype = {"grey": np.uint16, "float": np.float32, "int": np.int32}[path.stem]
        Image.fromarray(deep.astype(dtype)).save(path)
    (page,) = read_pages(path)
    shown = page.pixels if page.pixels.ndim == 2 else page.pixels[..., 0]
    assert np.abs(shown.astype(int) - shallow).max() <= 3  # percentiles cut a little
    assert page.note.startswith("window ")


def test_a_given_window_holds_for_every_deep_image(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1000], [2000, 60000]], np.uint16)).save(tmp_path / "a.png")
    (page,) = read_pages(tmp_path / "a.png", Reading((1000.0, 2000.0)))
    np.testing.assert_array_equal(page.pixels, [[0, 0], [255, 255]])
    assert page.note == "window 1000 to 2000 (given)"


def test_a_deep_image_is_turned_as_its_tag_asks(tmp_path: Path) -> None:
    """F01 and F02 at once."""
    upright = np.arange(0, 6000, 1000, dtype=np.uint16).reshape(2, 3)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.png", exif=exif)
    assert only(tmp_path / "a.png").shape == (2, 3)
    assert (np.diff(only(tmp_path / "a.png").ravel().astype(int)) > 0).all()


def tiff48(rgb: np.ndarray) -> bytes:
    """Return a TIFF of 16 bits in each of three channels."""
    height, width, _ = rgb.shape
    pixels = rgb.astype("<u2").tobytes()
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, 8 + len(pixels)),  # the bits stand behind the pixels
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 3, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    where = 8 + len(pixels) + 6
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return (
        b"II*\0" + struct.pack("<I", where) + pixels + struct.pack("<HHH", 16, 16, 16) + directory
    )


def test_deep_jpeg2000_is_shown_by_a_window(tmp_path: Path) -> None:
    """F02's sibling: Pillow cuts it when it reads colour."""
    import imagecodecs

    Image.fromarray(picture(16, 16, 3)).save(tmp_path / "a.jp2", irreversible=False)
    np.testing.assert_array_equal(only(tmp_path / "a.jp2"), picture(16, 16, 3))
    shallow = picture(16, 16, 3)
    shallow[0, 0] = 255
    deep = imagecodecs.jpeg2k_encode(16 * shallow.astype(np.uint16), level=0, reversible=True)
    (tmp_path / "deep.jp2").write_bytes(deep)
    (page,) = read_pages(tmp_path / "deep.jp2")
    assert np.abs(page.pixels.astype(int) - shallow).max() <= 1
    assert page.note == "window 0 to 4095 (12 bits)"


def test_each_page_of_a_stack_is_an_image(tmp_path: Path) -> None:
    """F04: a TIFF of several slices."""
    slices = [Image.fromarray(picture(9, 8 + number)) for number in range(3)]
    slices[0].save(tmp_path / "a.tif", save_all=True, append_images=slices[1:])
    pages = list(read_pages(tmp_path / "a.tif"))
    assert [page.number for page in pages] == [1, 2, 3]
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(page.pixels, picture(9, 8 + number))


def test_a_thumbnail_is_no_page(tmp_path: Path) -> None:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    small = Image.fromarray(picture(4, 4))
    small.encoderinfo = {"tiffinfo": ImageFileDirectory_v2()}
    small.encoderinfo["tiffinfo"][254] = 1
    image = Image.fromarray(picture(8, 8))
    image.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    np.testing.assert_array_equal(only(tmp_path / "a.tif"), picture(8, 8))


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_each_frame_of_a_film_is_an_image(tmp_path: Path, suffix: str) -> None:
    """F04's sibling."""
    frames = [Image.fromarray(np.full((8, 8), 60 * number, np.uint8)) for number in range(1, 4)]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    pages = list(read_pages(path))
    assert [page.number for page in pages] == [1, 2, 3]
    for number, page in enumerate(pages, start=1):
        assert np.abs(page.pixels.astype(int) - 60 * number).max() <= 2


@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        ("1", (8, 9)),
        ("L", (8, 9)),
        ("LA", (8, 9)),
        ("P", (8, 9, 3)),
        ("RGB", (8, 9, 3)),
        ("RGBA", (8, 9, 3)),
        ("CMYK", (8, 9, 3)),
        ("LAB", (8, 9, 3)),
    ],
)
def test_grey_stays_grey_and_all_else_is_colour(tmp_path: Path, mode: str, shape: tuple) -> None:
    """F07, F19: modes that Pillow knows."""
    colour = Image.fromarray(picture(8, 9, 3))
    image = Image.new(mode, (9, 8)) if mode == "LAB" else colour.convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "LAB") else "a.png")
    image.save(path)
    assert only(path).shape == shape


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_is_not_seen(tmp_path: Path, mode: str) -> None:
    """F01's sibling: an editor that cuts a part out leaves its pixels under the transparency."""
    bands = picture(8, 9, len(mode))
    bands[..., -1] = 255
    bands[:3, :, -1] = 0
    Image.fromarray(bands, mode).save(tmp_path / "a.png")
    found = only(tmp_path / "a.png")
    assert not found[:3].any()
    np.testing.assert_array_equal(found[3:], bands[3:, :, 0] if mode == "LA" else bands[3:, :, :3])


def test_a_sound_image_that_is_too_large_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """F18: nothing is damaged."""
    Image.fromarray(picture(40, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    assert only(tmp_path / "a.png").shape == (40, 50)  # Pillow only warns so far
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    with pytest.raises(UnreadableError, match=r"too large \(2000 pixels, at most 1800 are read\)"):
        only(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\nbroken", b"II*\0\xff\xff\xff\xff"])
def test_damaged_files_are_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableError, match="damaged or no image") as caught:
        only(tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_what_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "a.png"))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnreadableError, match=r"^cannot be read \(Permission denied\)$"):
        only(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "content", "outcome", "reason"),
    [
        ("a.png", b"", "empty", "an empty file"),
        ("features.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), "no image", "no image (.h5)"),
        ("notes", b"hello", "no image", "no image (without suffix)"),
        ("photo.heic", b"\0\0\0\x18ftypheic" + bytes(64), "skipped", "HEIC, which is not read"),
        ("font.fon", b"MZ" + bytes(64), "no image", "no image (.fon)"),
    ],
)
def test_what_holds_no_image_says_why(
    tmp_path: Path, name: str, content: bytes, outcome: str, reason: str
) -> None:
    """F11, F15: tables of numbers, other formats, empty files."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        list(read_pages(tmp_path / name))
    assert caught.value.outcome == outcome
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("name", ["noext", "a.dat", "wrong.dcm", "wrong.jpg"])
def test_the_content_decides_what_a_file_is(tmp_path: Path, name: str) -> None:
    """F15, F17: a PNG without suffix, or under another one's."""
    Image.fromarray(picture(9, 9)).save(tmp_path / name, "PNG")
    np.testing.assert_array_equal(only(tmp_path / name), picture(9, 9))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (4, 300)])
def test_strips_and_single_pixels_are_wrongly_shaped(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    """F19: a single pixel was labelled breast with p 0.996."""
    Image.fromarray(picture(*shape)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableError) as caught:
        only(tmp_path / "a.png")
    assert caught.value.outcome == "wrongly shaped"
    assert f"{shape[1]} × {shape[0]} pixels" in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "bmp", "webp", "ppm", "jp2"])
def test_no_damage_is_anything_else(tmp_path: Path, suffix: str) -> None:
    """F08's siblings: whatever Pillow raises, bit by flipped bit and cut by cut."""
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture(12, 12, 3)).save(path)
    whole = path.read_bytes()
    for step in range(120):
        broken = bytearray(whole)
        place = step * len(whole) // 120
        if step % 3:
            broken[place] ^= 1 << step % 8
        else:
            del broken[place:]
        path.write_bytes(bytes(broken))
        with contextlib.suppress(UnreadableError):
            list(read_pages(path))
