"""Labels by a student: what embeddings are to words, its answers are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel import files, fingerprint
from medlabel.annotation import embedding, grouping, labelling, students
from medlabel.annotation.labelling import Opinion
from medlabel.data.pixels import Pixels
from medlabel.data.vectors import Vectors
from medlabel.labels.estimate import Estimate
from medlabel.networks.names import module_of

if TYPE_CHECKING:
    from medlabel.annotation.sources import Source
    from medlabel.data.reading.page import Reading

REASON = "a student labelled these images, and nothing estimates how right it is: check some"


@dataclass(frozen=True)
class ByStudent(Opinion):
    """What a student thinks of n images, of which nothing is estimated."""

    @property
    def told(self) -> str:
        """What is thought of the labels, in a line."""
        return f"{self.verdict}: {self.reason}"


@dataclass(frozen=True)
class _Seeing:
    """A student in the place of an image tower."""

    student: students.Student
    batch_size: int

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """Return probabilities of images of any shapes, at most a batch of them."""
        facts = self.student.facts
        small = [students.shrunken(one, facts.size, facts.channels) for one in pixels]
        # Sums depend on the number of images, and a run that was killed ends with the same bytes.
        small += small[-1:] * (self.batch_size - len(small))
        return self.student.predict(np.stack(small))[: len(pixels)]


def embed(
    sources: Sequence[Source],
    reading: Reading,
    student: students.Student,
    path: Path,
    settings: embedding.Settings,
) -> embedding.Embedded:
    """Let a student answer for every image of some files; its probabilities are the vectors.

    Parameters
    ----------
    sources, reading, settings
        As `embedding.embed` takes them.
    student, path
        The student, and the file that it is from.
    """
    name = student.facts.network if isinstance(student.facts.network, str) else ""
    modules = ("annotation.students", "annotation.student_labelling", module_of(name))
    recipe = {
        "student": files.digest(path),
        "device": student.training.device.type,
        "batch": settings.batch_size,
        "threads": settings.threads,
        "code": fingerprint.of(*modules),
    }
    seeing = _Seeing(student, settings.batch_size)
    return embedding.through(sources, reading, seeing, recipe, len(student.facts.classes), settings)


def opinion(chances: Vectors) -> ByStudent:
    """Turn a student's probabilities, float32 (n, classes), into what is thought of n images."""
    nothing = float("nan")
    estimate = Estimate(
        accuracy=nothing,
        low=nothing,
        high=nothing,
        confidence=float(chances.max(axis=1).mean()),
        clearness=nothing,
        agreement=nothing,
        stray=np.zeros(len(chances), bool),
        verdict="check",
        reason=REASON,
    )
    alike = np.ones(len(chances))  # neighbours are those of whom the student thinks the same
    return ByStudent(chances, alike, labelling.margins_of(chances), estimate, _AsTheyAre())


def groups(chances: Vectors, digests: Sequence[str]) -> grouping.Groups:
    """Group images by a student's probabilities, float32 (n, classes), as `grouping.find` does."""
    # The roots of probabilities are a vector of length 1.
    return grouping.find(np.sqrt(chances), digests, chances)


class _AsTheyAre:
    """The labeller of answers."""

    def predict(self, images: Vectors) -> Vectors:
        """Return the probabilities that the student gave."""
        return images
