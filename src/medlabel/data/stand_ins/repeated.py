"""STAND-INS as large as official files, of few drawings that come again, changed a little.

They are for trying what a large file costs: to draw all of its images would cost more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medlabel import files, progress
from medlabel.data import catalogue, stand_ins
from medlabel.data.pixels import Pixels
from medlabel.randomness import stream

SHIFT = 2 / 28  # of the edge, at most
GAIN, NOISE = 0.15, 4.0  # a share of the brightness; grey levels
PART = 4096  # images changed at a time, to bound memory


def write(
    flag: str, target: Path, counts: Mapping[str, int], drawings: int, size: int, seed: int
) -> None:
    """Write a stand-in of so many images, of `drawings` a split; the rest as `stand_ins.write`."""
    arrays: dict[str, NDArray[np.uint8]] = {}
    official = catalogue.INFO[flag]["n_samples"]
    for split, count in progress.track(counts.items(), f"draw stand-in {flag}", len(counts)):
        wanted = min(count, official[split])
        images, labels = stand_ins.draw(flag, min(drawings, wanted), size, seed, split)
        rows = np.arange(wanted) % len(images)
        rng = stream(seed, "stand-in again", flag, split)
        parts = np.split(rows, range(PART, wanted, PART))
        arrays[f"{split}_images"] = np.concatenate([changed(images[one], rng) for one in parts])
        arrays[f"{split}_labels"] = labels[rows]
    files.write_npz(target, arrays)


def changed(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Shift, dim or light, and add noise to images (n, size, size) or (n, size, size, 3)."""
    count, size = images.shape[:2]
    furthest = round(SHIFT * size)
    down, across = rng.integers(-furthest, furthest + 1, (2, count, 1)) + np.arange(size)
    each = np.arange(count)[:, np.newaxis, np.newaxis]
    rows, columns = (np.clip(one, 0, size - 1) for one in (down, across))
    moved = images[each, rows[:, :, np.newaxis], columns[:, np.newaxis]].astype(np.float32)
    gain = rng.uniform(1 - GAIN, 1 + GAIN, (count, *[1] * (images.ndim - 1)))
    noise = rng.normal(0, NOISE, images.shape)
    found: Pixels = np.clip(np.round(moved * gain + noise), 0, 255).astype(np.uint8)
    return found
