"""Images are read as a viewer shows them, or not at all, and none is left out without a word."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medlabel.annotation.images import UnreadableError, find_images, read_pages
from medlabel.errors import MedlabelError
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
def test_sixteen_bits_of_a_png_need_a_window(tmp_path: Path, colour: int, channels: int) -> None:
    """F02, F03: grey, RGB, grey and RGB with transparency."""
    deep = 16 * picture(8, 8, channels).astype(np.uint16)
    path = png(tmp_path / "a.png", deep, 16, colour)
    with pytest.raises(UnreadableError, match=r"more than 8 bits a channel .*choose the window"):
        only(path)
    np.testing.assert_array_equal(only(png(path, picture(8, 8, 3), 8, 2)), picture(8, 8, 3))


@pytest.mark.parametrize("kind", ["grey.tif", "float.tif", "int.tif", "colour.tif", "colour.ppm"])
def test_deep_images_of_other_formats_need_a_window(tmp_path: Path, kind: str) -> None:
    """F02's siblings: TIFF and PPM."""
    path = tmp_path / kind
    deep = 16 * picture(8, 8).astype(np.uint16)
    if kind == "colour.tif":
        path.write_bytes(tiff48(np.repeat(deep[..., None], 3, axis=2)))
    elif kind == "colour.ppm":
        rgb = np.repeat(deep[..., None], 3, axis=2).astype(">u2")
        path.write_bytes(b"P6\n8 8\n65535\n" + rgb.tobytes())
    else:
        dtype = {"grey": np.uint16, "float": np.float32, "int": np.int32}[path.stem]
        Image.fromarray(deep.astype(dtype)).save(path)
    with pytest.raises(UnreadableError, match="more than 8 bits a channel"):
        only(path)


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


def test_deep_jpeg2000_needs_a_window(tmp_path: Path) -> None:
    """F02's sibling: Pillow writes grey alone with 16 bits, and cuts colour when it reads."""
    Image.fromarray(picture(16, 16, 3)).save(tmp_path / "a.jp2", irreversible=False)
    np.testing.assert_array_equal(only(tmp_path / "a.jp2"), picture(16, 16, 3))
    content = bytearray((tmp_path / "a.jp2").read_bytes())
    siz = content.index(b"\xff\x51")
    for channel in range(3):
        assert content[siz + 40 + 3 * channel] == 7
        content[siz + 40 + 3 * channel] = 15
    (tmp_path / "deep.jp2").write_bytes(content)
    with pytest.raises(UnreadableError, match="more than 8 bits a channel"):
        only(tmp_path / "deep.jp2")


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
def test_of_a_film_the_first_frame_counts_and_that_is_told(tmp_path: Path, suffix: str) -> None:
    """F04's sibling."""
    frames = [Image.fromarray(picture(9, 9 + number)).resize((8, 8)) for number in range(3)]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    (page,) = read_pages(path)
    assert page.note == "the first of 3 frames"


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


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nbroken", b"II*\0\xff\xff\xff\xff"])
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

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(UnreadableError, match=r"^cannot be read \(Permission denied\)$"):
        only(tmp_path / "a.png")


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


def test_images_are_found_in_subfolders_and_everything_else_is_counted(tmp_path: Path) -> None:
    """F09, F11, F15, F20: what systems leave, tables of numbers, volumes, files without suffix."""
    (tmp_path / "deeper").mkdir()
    names = "b.png a.JPG deeper/c.TIFF ._b.png .DS_Store Thumbs.db desktop.ini features.h5 scan.dcm"
    for name in f"{names} deeper/two.dcm head.nii.gz notes noted.txt report.pdf font.fon".split():
        (tmp_path / name).touch()
    found = find_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.paths] == [
        "a.JPG",
        "b.png",
        "deeper/c.TIFF",
    ]
    assert found.told() == (
        "1 ._ files of macOS, 2 .dcm, 1 .fon, 1 .h5, 1 .nii.gz, 1 .pdf, 1 .txt, 1 without suffix"
    )


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    """F12: images that lie elsewhere; a link to a folder above; a broken one."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    (elsewhere / "deeper").mkdir(parents=True)
    folder.mkdir()
    for path in (elsewhere / "a.png", elsewhere / "deeper" / "b.png", folder / "c.png"):
        path.touch()
    (folder / "linked").symlink_to(elsewhere)
    (folder / "one.png").symlink_to(elsewhere / "a.png")
    (folder / "gone.png").symlink_to(elsewhere / "gone.png")
    (elsewhere / "deeper" / "up").symlink_to(elsewhere)
    found = find_images(folder)
    assert [path.relative_to(folder).as_posix() for path in found.paths] == [
        "c.png",
        "linked/a.png",
        "linked/deeper/b.png",
        "one.png",
    ]
    assert found.told() == "1 broken links, 1 links to a folder above"


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    os.mkfifo(tmp_path / "b.png")
    assert find_images(tmp_path).told() == "1 that are no regular files"


def test_folders_without_images_are_one_line(tmp_path: Path) -> None:
    """F17, F22b: nothing there, a file, an empty folder, DICOM alone."""
    with pytest.raises(MedlabelError, match="found no such folder"):
        find_images(tmp_path / "missing")
    with pytest.raises(MedlabelError, match=r"found none\."):
        find_images(tmp_path)
    (tmp_path / "one.dcm").touch()
    with pytest.raises(MedlabelError, match="found a file"):
        find_images(tmp_path / "one.dcm")
    with pytest.raises(MedlabelError, match=r"found none \(1 \.dcm\); DICOM .*save PNG images"):
        find_images(tmp_path)
