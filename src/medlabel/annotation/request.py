"""What a person asks of a labelling, and which options do not go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medlabel.annotation import classes, exports
from medlabel.data.reading.page import Reading
from medlabel.errors import MedlabelError

ARITHMETICS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")
VOLUMES = ("slices", "projection")
LABELS, PARQUET, REVIEW = "labels.csv", "labels.parquet", "review.csv"
CARD, PAGE, AUDIT = "card.md", "page.html", "audit.csv"
CLUSTERS, CORRECTIONS, STUDENT = "clusters.csv", "corrections.csv", "student.safetensors"


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes
    ----------
    images
        A folder, archive, list or file, as `sources.find` has it.
    out
        Folder to write.
    sentences
        What to say of each class; of none where images are only grouped.
    encoder
        As `teachers.find` has it; None is the default teacher.
    reading
        Windows, and how volumes become images.
    student
        The file of a student that labels in the teacher's place; it has its own classes.
    train_student
        Whether a student learns the labels.
    precision
        Share of the labels that are to be right: images that are less sure get none. None labels
        all that fit a class.
    batch_size, arithmetic, device, threads
        Images a forward pass, its arithmetic (auto, fp32 or bf16), and as `compute.prepare`.
    workers
        Processes that decode; 0 decodes in this one.
    corrections
        A table of what a person checked.
    audit, audit_clusters
        How many images chance chooses for a person to check, of all or of each cluster.
    by_label
        Whether to make folders of links by label.
    weigh
        Whether sentences weigh more that tell these images apart (`medlabel.labels.prompts`).
    anyway
        Whether labels are written even if they are thought to be wrong too often.
    force
        Whether files that a person changed are replaced; a copy is kept.
    cache
        Folder of embeddings; None is the user's own.
    """

    images: Path
    out: Path
    sentences: Mapping[str, Sequence[str]]
    encoder: str | None = None
    reading: Reading = field(default_factory=Reading)
    student: Path | None = None
    train_student: bool = False
    precision: float | None = None
    batch_size: int = 64
    arithmetic: str = "auto"
    device: str = "auto"
    threads: int = 1
    workers: int = 0
    corrections: Path | None = None
    audit: int | None = None
    audit_clusters: int | None = None
    by_label: bool = False
    weigh: bool = False
    anyway: bool = False
    force: bool = False
    cache: Path | None = None

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the files that a person might change."""
        audit = (AUDIT,) if self.audit or self.audit_clusters else ()
        student = (STUDENT,) if self.train_student else ()
        tables = (LABELS, PARQUET, REVIEW, CLUSTERS)
        return (*tables, CARD, PAGE, *exports.FILES, *audit, *student)

    def check(self) -> None:
        """Refuse what means nothing.

        Raises
        ------
        MedlabelError
            When an option has no such value, classes are too few, or two options contradict each
            other.
        """
        for name, given, allowed in (
            ("arithmetic", self.arithmetic, ARITHMETICS),
            ("device", self.device, DEVICES),
            ("volumes", self.reading.volumes, VOLUMES),
        ):
            if given not in allowed:
                raise MedlabelError(
                    f"{name}: {given!r} given, one of {', '.join(allowed)} expected."
                )
        if not self.sentences:
            self._check_unnamed()
        else:
            classes.require_two(self.sentences)
        if self.student is not None:
            self._check_alone()
        counts = {len(said) for said in self.sentences.values()}
        if self.weigh and (len(counts) != 1 or counts == {1}):
            raise MedlabelError(
                f"weigh: {', '.join(map(str, sorted(counts)))} sentences of a class given; as many "
                f"of every class, and at least two, expected."
            )
        if self.audit and self.audit_clusters:
            raise MedlabelError(
                f"--audit {self.audit} --audit-clusters {self.audit_clusters}: both write "
                f"{AUDIT}; give one of them."
            )

    def _check_unnamed(self) -> None:
        _refuse(
            "--clusters-only",
            ("--student", self.student is not None, "which asks for no label"),
            ("--train-student", self.train_student, "which gives no label to learn"),
            ("--weigh", self.weigh, "which reads no words"),
            ("--precision", self.precision is not None, "which gives no label to be sure of"),
        )

    def _check_alone(self) -> None:
        _refuse(
            "--student",
            ("--encoder", self.encoder is not None, "which needs no teacher"),
            ("--weigh", self.weigh, "which reads no words"),
            ("--train-student", self.train_student, "which is one already"),
            ("--precision", self.precision is not None, "of which nothing is estimated"),
        )


def _refuse(beside: str, *options: tuple[str, bool, str]) -> None:
    """Refuse the first option, by its name, that is given beside another, and say why."""
    for option, given, reason in options:
        if given:
            raise MedlabelError(f"{option}: given with {beside}, {reason}; leave one of them out.")
