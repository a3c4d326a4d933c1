"""What a reader should know of the teachers: words that they never learnt, weights of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medlabel import files
from medlabel.data import vectors
from medlabel.params import EncoderReference
from medlabel.report.sources import Source
from medlabel.report.table import Table, distinct
from medlabel.report.text import NONE
from medlabel.teacher.sources import TRUE_LABELS

PARTS = {"tower": "image tower", "words": "word vectors"}


def unknown_words(sources: Sequence[Source]) -> Table:
    """Return the classes of whose words a teacher knows none."""
    return Table(
        title="Words that a teacher does not know",
        note="No word of these occurs in the captions that the teacher learnt from. It guesses "
        "from words of like meaning: trust its labels of these classes less.",
        rows=distinct(_unknown(sources)),
    )


def _unknown(sources: Sequence[Source]) -> Iterator[dict[str, str]]:
    for source in sources:
        for teacher in source.cell.teachers:
            words = Path(source.layout.words(teacher.name, str(source.cell.prompts)))
            said = vectors.read_unknown_words(words, str(teacher))
            for name in source.found.classes:
                if name in said:
                    yield {"Teacher": str(teacher), "Class": name, "Words": said[name]}


def taught_by_labels(sources: Sequence[Source]) -> Table:
    """Return the teachers that true labels taught, and what they learnt from."""
    return Table(
        title="Teachers that learnt from true labels",
        note="What these say of such images is not labelled without a human. Only training and "
        "validation splits taught them.",
        rows=distinct(_taught_by_labels(sources)),
    )


def _taught_by_labels(sources: Sequence[Source]) -> Iterator[dict[str, str]]:
    for source in sources:
        for teacher in source.cell.teachers:
            learnt_from = provenance(source, teacher).get("trained_on") or ""
            if TRUE_LABELS in learnt_from:
                yield {"Teacher": teacher.name, "Learnt from": learnt_from}


def weights(sources: Sequence[Source]) -> Table:
    """Return what others made of the teachers, with its licence."""
    return Table(
        title="Weights of others in the teachers",
        note="Their licences bind whoever uses the teacher; NOTICE has the details.",
        rows=distinct(_weights(sources)),
    )


def _weights(sources: Sequence[Source]) -> Iterator[dict[str, str]]:
    for source in sources:
        for teacher in source.cell.teachers:
            record = provenance(source, teacher)
            for key, part in PARTS.items():
                if facts := record.get(key):
                    yield {
                        "Teacher": teacher.name,
                        "Part": part,
                        "Name": facts["name"],
                        "Source": facts["source"],
                        "Version": facts.get("version") or NONE,
                        "Licence": facts["licence"],
                        "SHA-256": facts.get("sha256") or NONE,
                    }


def provenance(source: Source, teacher: EncoderReference) -> Any:
    """Return the record of a teacher's weights.

    Raises
    ------
    MedlabelError
        When it is missing or damaged.
    """
    path = Path(source.layout.encoder(teacher)) / "provenance.json"
    return files.read_json(path, "pretrain")
