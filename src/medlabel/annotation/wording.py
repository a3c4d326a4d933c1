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


def read(
    folder: Path,
    sentences: Mapping[str, Sequence[str]],
    device: str,
    threads: int,
    weigh: bool = False,
) -> tuple[encoder.Encoder, Wording]:
    """Load what an encoder reads with, as `halves.with_words`, and let it read all that is said.

    Parameters
    ----------
    folder
        Of the encoder.
    sentences
        What to say of each class; of none where images are only grouped.
    device, threads
        As for `medlabel.compute.prepare`.
    weigh
        Whether single sentences are wanted, too.

    Raises
    ------
    MedlabelError
        When the encoder is missing or damaged, reads nothing of a class, or reads the same in two.
    """
    from medlabel.teacher import halves, locked, words

    loaded = halves.with_words(folder, compute.prepare(device, threads))
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
        each=words.sentence_embeddings(loaded, list(sentences.values())) if weigh else None,
        unknown=list(words.check(loaded, sentences)),
        swapped=naming.swapped(loaded, sentences, described),
        mute=naming.mute(loaded, sentences),
    )
