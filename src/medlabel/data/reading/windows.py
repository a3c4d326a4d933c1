"""Windows of intensities: what of 16 bits, floats or Hounsfield units is shown in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medlabel.data.pixels import Pixels
from medlabel.errors import MedlabelError

Intensities = npt.NDArray[Any]

AUTO = "auto"
WHITE = 255
DEPTHS = (8, 10, 12, 14, 16)  # bits that devices store
TAILS = (0.5, 99.5)  # percentiles, for intensities without a natural end
MOST_SAMPLED = 1 << 20  # pixels that percentiles are taken of


@dataclass(frozen=True)
class Window:
    """The intensities that become black and white, and where they come from."""

    low: float
    high: float
    source: str

    def told(self) -> str:
        """Say it in words, for the table."""
        return f"window {self.low:g} to {self.high:g} ({self.source})"


def parse(text: str) -> tuple[float, float] | None:
    """Read ``LOW,HIGH``; ``auto`` is None.

    Raises
    ------
    MedlabelError
        When it is neither.
    """
    if text == AUTO:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not (np.isfinite([low, high]).all() and low < high):
        raise MedlabelError(
            f"window: {text!r} given, {AUTO} or LOW,HIGH (two numbers, rising) expected."
        )
    return low, high


def choose(
    values: Intensities, given: tuple[float, float] | None, stretched: bool = False
) -> Window:
    """Choose the window of an image.

    Parameters
    ----------
    values
        Intensities of any shape; those that are not finite have no say.
    given
        By the user; it holds for all images.
    stretched
        Percentiles, whatever the intensities are: as viewers show DICOM that names no window.

    Notes
    -----
    Whole numbers from zero have the fewest bits of `DEPTHS` that hold the brightest, so that
    12 bits in a file of 16 are seen as a scanner shows them. Fractions from 0 to 1 are shown so.
    Everything else lies between two percentiles.
    """
    if given is not None:
        return Window(*given, "given")
    finite = values if values.dtype.kind in "ui" else values[np.isfinite(values)]
    if not finite.size:
        return Window(0.0, 1.0, "no intensity is finite")
    low, high = float(finite.min()), float(finite.max())
    if not stretched and finite.dtype.kind in "ui" and low >= 0 and high < 2 ** DEPTHS[-1]:
        bits = next(depth for depth in DEPTHS if high < 2**depth)
        return Window(0.0, 2.0**bits - 1, f"{bits} bits")
    if not stretched and finite.dtype.kind == "f" and low >= 0 and high <= 1:
        return Window(0.0, 1.0, "fractions")
    step = max(1, finite.size // MOST_SAMPLED)
    low, high = np.percentile(finite.reshape(-1)[::step].astype(np.float64), TAILS)
    if low == high:
        low, high = float(finite.min()), float(finite.max())
    if low == high:
        high = low + 1.0
    return Window(float(low), float(high), f"percentiles {TAILS[0]:g} and {TAILS[1]:g}")


def shown(values: Intensities, window: Window) -> Pixels:
    """Bring intensities to 8 bits: linear within the window, clipped outside, rounded."""
    scaled = (values.astype(np.float64) - window.low) * (WHITE / (window.high - window.low))
    clipped = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=WHITE, neginf=0.0), 0, WHITE)
    found: Pixels = np.rint(clipped).astype(np.uint8)
    return found


def narrowed(values: Intensities, given: tuple[float, float] | None) -> tuple[Pixels, str]:
    """Return pixels and a note on the window; what has 8 bits or 1 already stays as it is."""
    if values.dtype == np.uint8 and given is None:
        return np.ascontiguousarray(values), ""
    if values.dtype == bool:
        return values.astype(np.uint8) * WHITE, ""
    window = choose(values, given)
    return shown(values, window), window.told()
