"""What an encoder makes of the sentences about classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel import compute
from medlabel.annotation import naming
from medlabel.annotation.request import Request
from medlabel.data.vectors import Vectors
from medlabel.labels import prompts, zeroshot

if TYPE_CHECKING:
    from medlabel.teacher import encoder

logger = logging.getLogger("medlabel")


@dataclass(frozen=True)
class Wording:
    """What an encoder makes of the sentences.

    Attributes
    ----------
    described
        The classes, float32 (classes, dimension).
    each
        The first sentence of every class, the second, and so on, float32 (sentences, classes,
        dimension), where they are to be weighed.
    unknown, swapped, mute
        Classes whose words it never learnt, whose names say what is said of another one, and whose
        names say nothing.
    """

    described: Vectors
    each: Vectors | None = None
    unknown: Sequence[str] = ()
    swapped: Sequence[str] = ()
    mute: Sequence[str] = ()

    def weighted(self, images: Vectors) -> Vectors:
        """Return the classes, their sentences weighed by these images if that was asked for."""
        return self.described if self.each is None else prompts.weighted(images, self.each)


def read(folder: Path, request: Request) -> tuple[encoder.Encoder, Wording]:
    """Load an encoder and let it read all that is said: its words are gone once it sees images.

    Raises
    ------
    MedlabelError
        When the encoder is missing or damaged, reads nothing of a class, or reads the same in two.
    """
    from medlabel.teacher import encoder, locked, words

    loaded = encoder.load(folder, compute.prepare(request.device, request.threads))
    sentences = request.sentences
    if not sentences:
        return loaded, Wording(np.empty((0, loaded.manifest.dimension), np.float32))
    described = words.class_embeddings(loaded, list(sentences.values()))
    zeroshot.require_distinct(described, list(sentences))
    manifest = loaded.manifest
    if manifest.trained_on == "phantoms" and locked.CONFIG_KEY not in manifest.config:
        logger.warning(
            "%s was trained on drawn phantoms alone: of real images its labels say little", folder
        )
    return loaded, Wording(
        described,
        each=_each(loaded, sentences) if request.weigh else None,
        unknown=list(words.check(loaded, sentences)),
        swapped=naming.swapped(loaded, sentences, described),
        mute=naming.mute(loaded, sentences),
    )


def _each(loaded: encoder.Encoder, sentences: Mapping[str, Sequence[str]]) -> Vectors:
    from medlabel.teacher import words

    said = zip(*sentences.values(), strict=True)
    return np.stack([words.class_embeddings(loaded, [[one] for one in some]) for some in said])
