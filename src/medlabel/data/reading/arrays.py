"""NumPy files: images and stacks of images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from medlabel.data.reading import windows
from medlabel.data.reading.page import Page, Reading, UnreadableError

CHANNELS = (1, 3, 4)


def read(content: bytes, reading: Reading) -> Iterator[Page]:
    """Read a ``.npy``: (H, W), (H, W, channels), (n, H, W) or (n, H, W, channels).

    Raises
    ------
    UnreadableError
        When it is damaged, holds objects, or has another shape.
    """
    try:
        array: Any = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UnreadableError(
            "damaged, or an array of objects, which may run code; save it as numbers"
        ) from error
    yield from pages_of(array, reading)


def pages_of(array: Any, reading: Reading) -> Iterator[Page]:
    """Give the images of an array, whose window is one for all of them."""
    if array.dtype.kind not in "buif":
        raise UnreadableError(f"an array of type {array.dtype}; numbers expected", "no image")
    coloured = array.ndim in (3, 4) and array.shape[-1] in CHANNELS
    flat = array.ndim - coloured
    if flat not in (2, 3) or not array.size:
        shape = " × ".join(map(str, array.shape)) or "a single number"
        raise UnreadableError(
            f"an array of {shape}; height × width, with channels last and a stack first expected",
            "wrongly shaped",
        )
    stack = array[None] if flat == 2 else array
    if coloured:
        stack = stack[..., 0] if array.shape[-1] == 1 else stack[..., :3]
    deep = stack.dtype not in (np.dtype(np.uint8), np.dtype(bool))
    window = windows.choose(stack, reading.window) if deep or reading.window else None
    for number, image in enumerate(stack, start=1):
        given = (window.low, window.high) if window else None
        pixels, _ = windows.narrowed(image, given)
        yield Page(number if flat == 3 else None, pixels, window.told() if window else "")
