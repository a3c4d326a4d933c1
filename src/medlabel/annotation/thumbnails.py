"""Small copies of images, encoded anew from pixels alone: nothing that a file says comes along."""

from __future__ import annotations

import io

import numpy as np

from medlabel.data.pixels import Pixels

EDGES = (72, 56, 40)  # pixels, tried in this order
QUALITIES = (60, 35, 15)
MOST_BYTES = 900  # so that a page of 10,000 images stays below 15 MB


def encode(pixels: Pixels) -> bytes:
    """Return an image as WebP of at most `MOST_BYTES`, or the smallest that was tried.

    Pixels are uint8 of shape (H, W) or (H, W, 3).
    """
    from PIL import Image

    found = b""
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    for edge in EDGES:
        small = image.copy()
        small.thumbnail((edge, edge), Image.Resampling.BICUBIC, reducing_gap=2.0)
        for quality in QUALITIES:
            stream = io.BytesIO()
            small.save(stream, "WEBP", quality=quality, method=2)
            found = stream.getvalue()
            if len(found) <= MOST_BYTES:
                return found
    return found
