"""What an image is, whatever it shows: size, colour, border, contrast, sharpness, noise.

Images of another scanner, export or crop differ in these, and clusters may follow them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medlabel.data.pixels import Pixels, luma

EDGE = 256  # pixels: larger images are looked at in steps, which is what a tower sees at most
FLAT = 2  # grey levels that a border's line may spread over
LEAST = 0.05  # grey levels, before logarithms
SIDE = 4  # tiles from top to bottom, and from side to side
NAMES = (
    "width",
    "height",
    "colour",
    "border",
    "contrast",
    "sharpness",
    "noise",
    "brightness",
    "grain",
    "range",
    "quartiles",
    "grey range",
    *(TILES := tuple(f"tile {place + 1}" for place in range(SIDE**2))),
)
# Names, those that may tell a source, and what a scale of grey levels leaves as it is, by which
# contrast and grey range are foretold: for `medlabel.labels.sources.measured`.
ALONE = ("width", "height", "colour", "border", "sharpness", "noise", "grey range")
UNSCALED = ("sharpness", "brightness", "grain", "range", "quartiles")
COLUMNS = NAMES, ALONE, {"contrast": UNSCALED, "grey range": TILES}


def look(pixels: Pixels) -> tuple[float, ...]:
    """Measure an image.

    Parameters
    ----------
    pixels
        uint8 of shape (H, W) or (H, W, 3).

    Returns
    -------
    tuple of float
        In the order of `NAMES`. Width and height: logarithms of pixels. Colour: mean
        difference of the channels. Border: mean over the sides of the part of the edge that is of
        one grey level. Of what is within: contrast, sharpness and noise are logarithms of the
        standard deviation, of the Laplacian's standard deviation over it, and of the noise
        (Immerkær, *Computer Vision and Image Understanding* 64:300, 1996). Brightness is the mean;
        grain, range and quartiles are logarithms over the standard deviation, of the noise, from
        the 1st to the 99th percentile, and from the 25th to the 75th. Grey range is the logarithm
        from the darkest to the brightest: images of one export are often spread over all levels.
        Tiles tell where an image is bright: means, row by row, as standard deviations from the
        image's mean.
    """
    height, width = pixels.shape[:2]
    step = max(1, max(height, width) // EDGE)
    seen = pixels[::step, ::step]
    colour = float(np.ptp(seen, axis=2).mean()) if seen.ndim == 3 else 0.0
    grey = luma(seen) if seen.ndim == 3 else seen
    sides, inner = _framed(grey)
    wide = inner.astype(np.float32)
    contrast = float(np.log(max(wide.std(), LEAST)))
    lowest, lower, upper, highest = np.percentile(wide, [1, 25, 75, 99])
    laplacian, rough = _roughness(wide)
    noise = float(np.log(max(rough, LEAST)))
    return (
        float(np.log(width)),
        float(np.log(height)),
        colour,
        sides,
        contrast,
        float(np.log(max(laplacian, LEAST))) - contrast,
        noise,
        float(wide.mean()),
        noise - contrast,
        float(np.log(max(highest - lowest, LEAST))) - contrast,
        float(np.log(max(upper - lower, LEAST))) - contrast,
        float(np.log(max(float(np.ptp(wide)), LEAST))),
        *((_tiles(wide) - wide.mean()) / max(wide.std(), LEAST)).tolist(),
    )


def _framed(grey: Pixels) -> tuple[float, Pixels]:
    """Return how much of the sides is a border of one grey level, and what is within."""
    flat = [np.ptp(grey, axis=axis) <= FLAT for axis in (1, 0)]
    if flat[0].all() or flat[1].all():
        return 0.0, grey
    (top, bottom), (left, right) = (_ends(one) for one in flat)
    height, width = grey.shape
    sides = ((top + bottom) / height + (left + right) / width) / 4
    return sides, grey[top : height - bottom, left : width - right]


def _ends(flat: npt.NDArray[np.bool_]) -> tuple[int, int]:
    return int((~flat).argmax()), int((~flat[::-1]).argmax())


def _tiles(wide: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the means of tiles, which overlap where a side has fewer pixels than tiles."""
    for axis in (0, 1):
        size = wide.shape[axis]
        edges = [(place * size // SIDE, -(-(place + 1) * size // SIDE)) for place in range(SIDE)]
        parts = [wide.take(range(*edge), axis).mean(axis=axis) for edge in edges]
        wide = np.stack(parts, axis)
    return wide.ravel()


def _roughness(wide: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the standard deviation of the Laplacian, and of the noise; 0 of tiny images."""
    if min(wide.shape) < 3:
        return 0.0, 0.0
    across = wide[:, :-2] - 2 * wide[:, 1:-1] + wide[:, 2:]
    down = wide[:-2] - 2 * wide[1:-1] + wide[2:]
    both = across[:-2] - 2 * across[1:-1] + across[2:]
    laplacian = across[1:-1] + down[:, 1:-1]
    return float(laplacian.std()), float(np.sqrt(np.pi / 2) * np.abs(both).mean() / 6)
