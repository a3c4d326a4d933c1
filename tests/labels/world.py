"""Images in clusters, and words that err, for labellings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CLASSES = ("chest", "breast", "vessel")
DIMENSION = 24


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def folder(
    counts: Sequence[int], seed: int = 0, spread: float = 0.35, error: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give images (n, dimension), words (classes, dimension) and the truth.

    Each class is one blob around a direction of its own; the words of a class lie off its
    direction, the farther the greater the error.
    """
    random = np.random.default_rng(seed)
    centres = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))[0][: len(counts)]
    truth = np.repeat(np.arange(len(counts)), counts)
    noise = random.standard_normal((len(truth), DIMENSION)) / np.sqrt(DIMENSION)
    images = units(centres[truth] + 3 * spread * noise)
    words = units(centres + error * units(random.standard_normal((len(counts), DIMENSION))))
    order = random.permutation(len(truth))
    return images[order], words, truth[order]
