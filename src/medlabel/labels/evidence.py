"""What labellings learn from: distinct images, and the words of the classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.labels import zeroshot

Floats = npt.NDArray[np.float64]
# Of another encoder in squared distances. Of 0.5 and 0.8, chosen on training images of chest and
# breast with the words of twenty weak teachers.
SHARE = 0.8
LENGTH = 1e-3  # largest difference of a row's length from 1


@dataclass(frozen=True)
class Evidence:
    """Images to learn from, and words.

    Attributes
    ----------
    images
        float32 of shape (n, dimension), rows of length 1: every image once, in an order that their
        content alone decides. So copies of an image change nothing, and neither does the order
        in which images come.
    words
        float32 of shape (classes, dimension), rows of length 1.
    logit_scale
        Factor on the cosines of both before softmax.
    classes
        Names of the classes.
    count
        Number of images, copies among them.
    """

    images: Vectors
    words: Vectors
    logit_scale: float
    classes: Sequence[str]
    count: int

    @cached_property
    def logits(self) -> Floats:
        """Scaled cosines, (n, classes)."""
        return logits(self.images, self.words, self.logit_scale)

    @cached_property
    def chances(self) -> Floats:
        """Probabilities by words alone, (n, classes)."""
        return zeroshot.softmax(self.logits)


class Labeller(Protocol):
    """A labelling that was fitted."""

    def predict(self, images: Vectors) -> Vectors:
        """Return probabilities, float32 (n, classes), of images (n, dimension), old or new."""


Fit = Callable[[Evidence, Any], Labeller]


def gather(images: Vectors, words: Vectors, logit_scale: float, classes: Sequence[str]) -> Evidence:
    """Check what a labelling learns from, and put images in their order.

    Parameters
    ----------
    images, words, logit_scale
        As `Evidence` has them, images in any order and several times.
    classes
        Names, for messages.

    Raises
    ------
    MedlabelError
        When there is no image, a number is not finite or a row not of length 1, images and words
        come from other spaces, or two classes have the same words.
    """
    _require_unit(images, "embeddings", "embed")
    _require_unit(words, "words", "words")
    if len(words) != len(classes):
        raise MedlabelError(
            f"words: expected one vector for each of {', '.join(classes)}, found {len(words)}; run "
            f"`medlabel words` again."
        )
    if images.shape[1] != words.shape[1]:
        raise MedlabelError(
            f"words: expected vectors of length {images.shape[1]}, as the embeddings have, found "
            f"{words.shape[1]}; make both with the same encoder."
        )
    zeroshot.require_distinct(words, classes)
    return Evidence(images[distinct(images)], words, logit_scale, classes, len(images))


def joined(parts: Sequence[tuple[Vectors, Vectors, float]]) -> tuple[Vectors, Vectors, float]:
    """Join the embeddings of several encoders to one space.

    Its logits are the means of theirs: a product of experts (Hinton, *Neural Computation* 14:1771,
    2002), to the power of one over the number of encoders.

    Parameters
    ----------
    parts
        Of each encoder: images (n, dimension), words (classes, dimension), logit scale.

    Returns
    -------
    tuple
        Images, words and logit scale of the joint space; rows have length 1.
    """
    total = sum(scale for _, _, scale in parts)
    weights = [np.float32(np.sqrt(scale / total)) for _, _, scale in parts]
    images = [weight * part[0] for weight, part in zip(weights, parts, strict=True)]
    words = [weight * part[1] for weight, part in zip(weights, parts, strict=True)]
    return np.hstack(images), np.hstack(words), total / len(parts)


def compared_in(
    images: Vectors, words: Vectors, logit_scale: float, others: Vectors
) -> tuple[Vectors, Vectors, float]:
    """Let images be compared by another encoder too, of whose words nothing is known.

    Words of a weak encoder may be right on average where its embeddings do not tell images apart.

    Parameters
    ----------
    images, words, logit_scale
        Of the encoder whose words are used.
    others
        float32 of shape (n, dimension): the other encoder's embeddings of the same images.

    Returns
    -------
    tuple
        Images, words and logit scale of the joint space: logits are what they were; rows have
        length 1.
    """
    own, other = np.float32(np.sqrt(1 - SHARE)), np.float32(np.sqrt(SHARE))
    nothing = np.zeros((len(words), others.shape[1]), np.float32)
    joint = np.hstack([own * images, other * others])
    return joint, np.hstack([words, nothing]), logit_scale / float(own)


def distinct(images: Vectors) -> npt.NDArray[np.intp]:
    """Return where each different image first stands, in an order by the images' content.

    The order is that of checksums: as good as random, and the same whatever order images came in.
    """
    first: dict[bytes, int] = {}
    for row, image in enumerate(np.ascontiguousarray(images)):
        first.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), row)
    return np.array([first[key] for key in sorted(first)], np.intp)


def logits(images: Vectors, words: Vectors, logit_scale: float) -> Floats:
    """Return scaled cosines of images (n, dimension) and words (classes, dimension)."""
    found: Floats = logit_scale * (images @ words.T).astype(np.float64)
    return found


def _require_unit(rows: Vectors, what: str, made_by: str) -> None:
    if not rows.size:
        raise MedlabelError(f"{what}: expected at least one, found none.")
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    bad = ~(np.abs(lengths - 1) < LENGTH)
    if bad.any():
        found = "not finite" if not np.isfinite(lengths[bad][0]) else f"{lengths[bad][0]:.3g}"
        raise MedlabelError(
            f"{what}: expected vectors of length 1, found {int(bad.sum())} of other length (the "
            f"first: {found}); run `medlabel {made_by}` again."
        )
