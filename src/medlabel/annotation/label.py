"""Label images of one's own, from text alone or by a student: files in, a folder of labels out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medlabel import compute, files
from medlabel.annotation import (
    abstaining,
    classes,
    corrections,
    embedding,
    exports,
    gallery,
    labelling,
    links,
    places,
    record,
    sources,
    summaries,
    tables,
    teachers,
)
from medlabel.annotation.outputs import Outputs
from medlabel.data.reading.page import Reading
from medlabel.errors import MedlabelError
from medlabel.labels import zeroshot

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from medlabel.annotation.student_training import Learned
    from medlabel.teacher import encoder

logger = logging.getLogger("medlabel")

NAMED = 10  # files that are told one by one; the table has all of them
ARITHMETICS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")
VOLUMES = ("slices", "projection")
LABELS, PARQUET, REVIEW = "labels.csv", "labels.parquet", "review.csv"
CARD, PAGE, AUDIT = "card.md", "page.html", "audit.csv"
CORRECTIONS, STUDENT = "corrections.csv", "student.safetensors"


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
        What to say of each class.
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
    audit
        How many images chance chooses for a person to check.
    by_label
        Whether to make folders of links by label.
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
    by_label: bool = False
    anyway: bool = False
    force: bool = False
    cache: Path | None = None

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the files that a person might change."""
        audit = (AUDIT,) if self.audit else ()
        student = (STUDENT,) if self.train_student else ()
        return (LABELS, PARQUET, REVIEW, CARD, PAGE, *exports.FILES, *audit, *student)


@dataclass(frozen=True)
class Thought:
    """What is thought of the images, and by whom.

    Attributes
    ----------
    embedded, opinion
        All files, and labels of their distinct images.
    facts
        What decided on the labels.
    device
        Where the network ran.
    unknown
        Classes of whose words the teacher learnt none.
    """

    embedded: embedding.Embedded
    opinion: labelling.Opinion
    facts: dict[str, Any]
    device: torch.device
    unknown: Sequence[str] = ()


def label(request: Request) -> summaries.Summary:
    """Label every image, and write the folder of labels.

    Returns
    -------
    Summary
        Of what was written; its table is as `tables.build` has it, with the corrections.

    Raises
    ------
    MedlabelError
        Before the first image is read: when the target may not be written or was changed by a
        person, when there are no files, when classes cannot be told apart, or when a student is
        none or does not go with the other options. After it: when not one image can be read, when
        labels are refused, or when they are too few for a student. Nothing is written then.
    """
    started = time.time()
    _check(request)
    given = (request.corrections,) if request.corrections else ()
    outputs = Outputs(request.out, given, request.force)
    outputs.require_unchanged(request.written)
    found = sources.find(request.images, request.out)
    checked = corrections.read(request.corrections) if request.corrections else {}
    thought = _by_student(found, request) if request.student else _by_words(found, request)
    embedded, opinion = thought.embedded, thought.opinion
    if opinion.estimate.verdict == "refused" and not (request.anyway or checked):
        raise MedlabelError(
            f"{request.images}: {opinion.told}; say in other words what the classes are, or give "
            f"--anyway to write these labels all the same."
        )
    table, choice = _decided(request, thought, checked)
    learned = _learned(table, found, thought, request)
    if learned is not None:
        table = tables.beside(table, embedded.digests, learned.answers)
    names = list(request.sentences)
    told = ". ".join(one.told for one in (opinion, choice) if one is not None)
    facts = {**thought.facts, "unknown_words": list(thought.unknown), "verdict": told}
    facts |= {} if learned is None else {"student_learnt": learned.told}
    times = {"started": started, "seconds": round(time.time() - started, 3)}
    with outputs.writing({**facts, **times, "images_embedded_now": embedded.computed}) as staging:
        _write(staging, table, request, facts)
        exports.write(staging, table, embedded, names)
        gallery.write(staging / PAGE, table, names, embedded.thumbnails, told)
        if learned is not None:
            learned.student.save(staging / STUDENT)
    if request.by_label:
        links.write(request.out, table, embedded.files)
    _tell_thoughts(opinion, choice, learned)
    _tell(table, request, thought.unknown, choice)
    paths = {name: request.out / name for name in request.written}
    return summaries.Summary(table, names, opinion, choice, paths)


def _check(request: Request) -> None:
    for name, given, allowed in (
        ("arithmetic", request.arithmetic, ARITHMETICS),
        ("device", request.device, DEVICES),
        ("volumes", request.reading.volumes, VOLUMES),
    ):
        if given not in allowed:
            raise MedlabelError(f"{name}: {given!r} given, one of {', '.join(allowed)} expected.")
    classes.require_two(request.sentences)
    if request.student is not None:
        _check_alone(request)


def _check_alone(request: Request) -> None:
    """Refuse what goes with a teacher alone."""
    for option, given, reason in (
        ("--encoder", request.encoder is not None, "which needs no teacher"),
        ("--train-student", request.train_student, "which is one already"),
        ("--precision", request.precision is not None, "of which nothing is estimated"),
    ):
        if given:
            raise MedlabelError(f"{option}: given with --student, {reason}; leave one of them out.")


def _decided(
    request: Request, thought: Thought, checked: Mapping[tuple[str, str], str]
) -> tuple[pd.DataFrame, abstaining.Choice | None]:
    """Put labels, what is not sure enough, and what a person said into one table."""
    table, choice = tables.build(thought.embedded, thought.opinion, list(request.sentences)), None
    if request.precision is not None:
        choice = abstaining.choose(thought.opinion, request.precision)
        table = abstaining.apply(table, thought.embedded.digests, choice)
    known = {**corrections.remembered(request.out / CORRECTIONS, table), **checked}
    if known:
        table = corrections.apply(table, known, str(request.corrections or CORRECTIONS))
    return table, choice


def _by_words(found: Sequence[sources.Source], request: Request) -> Thought:
    folder = teachers.find(request.encoder, request.device, request.threads)
    loaded, described, unknown = _prepared(folder, request)
    arithmetic = compute.choose_precision(request.arithmetic, loaded.device)  # type: ignore[arg-type]
    settings = _settings(request, arithmetic)
    embedded = embedding.embed(found, request.reading, loaded, settings)
    _require_images(request.images, embedded)
    names = list(request.sentences)
    opinion = labelling.judge(embedded.vectors, described, loaded.logit_scale, names, unknown)
    own = {
        "labelling": labelling.NAME,
        "encoder": loaded.manifest.folder.name,
        "encoder_sha256": loaded.manifest.weights_sha256,
        "logit_scale": round(loaded.logit_scale, 6),
    }
    facts = _facts(request, settings, loaded.device, own)
    return Thought(embedded, opinion, facts, loaded.device, unknown)


def _by_student(found: Sequence[sources.Source], request: Request) -> Thought:
    from medlabel.annotation import student_labelling, students

    assert request.student is not None
    device = compute.prepare(request.device, request.threads)
    student = students.load(request.student, device)
    settings = _settings(request, student.facts.arithmetic)
    embedded = student_labelling.embed(found, request.reading, student, request.student, settings)
    _require_images(request.images, embedded)
    own = {
        "labelling": "student",
        "student": request.student.name,
        "student_sha256": files.digest(request.student),
        "student_origin": student.facts.origin,
    }
    facts = _facts(request, settings, device, own)
    return Thought(embedded, student_labelling.opinion(embedded.vectors), facts, device)


def _learned(
    table: pd.DataFrame, found: Sequence[sources.Source], thought: Thought, request: Request
) -> Learned | None:
    if not request.train_student:
        return None
    from medlabel.annotation import student_training

    return student_training.learn(
        table,
        thought.embedded.digests,
        list(request.sentences),
        found,
        request.reading,
        request.workers,
        thought.device,
    )


def _prepared(folder: Path, request: Request) -> tuple[encoder.Encoder, Any, list[str]]:
    """Return the encoder, what it says of the classes, and those whose words it never learnt."""
    from medlabel.teacher import encoder, locked, words

    loaded = encoder.load(folder, compute.prepare(request.device, request.threads))
    described = words.class_embeddings(loaded, list(request.sentences.values()))
    zeroshot.require_distinct(described, list(request.sentences))
    manifest = loaded.manifest
    if manifest.trained_on == "phantoms" and locked.CONFIG_KEY not in manifest.config:
        logger.warning(
            "%s was trained on drawn phantoms alone: of real images its labels say little", folder
        )
    return loaded, described, list(words.check(loaded, request.sentences))


def _settings(request: Request, arithmetic: Literal["fp32", "bf16"]) -> embedding.Settings:
    return embedding.Settings(
        request.batch_size,
        arithmetic,
        request.threads,
        request.workers,
        (request.cache or places.cache()) / "images",
    )


def _require_images(images: Path, embedded: embedding.Embedded) -> None:
    if embedded.digests:
        return
    bad = embedded.files[0]
    raise MedlabelError(
        f"{images}: not one of {len(embedded.files)} files could be read as an image; "
        f"{tables.text_of(bad.source.name)}: {bad.facts.reason}."
    )


def _facts(
    request: Request, settings: embedding.Settings, device: torch.device, own: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what decides on the labels; nothing of it names a place on this machine."""
    window = request.reading.window
    return {
        **own,
        "prompts": {name: list(said) for name, said in request.sentences.items()},
        "window": f"{window[0]:g},{window[1]:g}" if window else "auto",
        "volumes": request.reading.volumes,
        "precision": request.precision,
        "arithmetic": settings.precision,
        "batch_size": settings.batch_size,
        "device": compute.processor(device, request.threads),
        "versions": record.versions(),
    }


def _write(staging: Path, table: pd.DataFrame, request: Request, facts: Mapping[str, Any]) -> None:
    names = list(request.sentences)
    public = table.drop(columns="digest")
    _write_csv(staging / LABELS, public)
    public.to_parquet(staging / PARQUET, index=False, compression="zstd")
    _write_csv(staging / REVIEW, tables.review(table, names))
    checked = corrections.saved(table)
    if len(checked):
        _write_csv(staging / CORRECTIONS, checked)
    if request.audit:
        _write_csv(staging / AUDIT, corrections.audit_table(table, request.audit))
    apart = ("prompts", "versions")
    shown = {
        name: value for name, value in facts.items() if name not in apart and value is not None
    }
    told = record.card(
        table,
        request.sentences,
        {**shown, **record.versions()},
        corrections.accuracy(table),
        corrections.audited(table),
    )
    (staging / CARD).write_text(told, encoding="utf-8")


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(
        path,
        index=False,
        lineterminator="\n",
        float_format=f"%.{tables.DIGITS}f",
        encoding="utf-8",
    )


def _tell_thoughts(
    opinion: labelling.Opinion, choice: abstaining.Choice | None, learned: Learned | None
) -> None:
    trusted = opinion.estimate.verdict == "trusted"
    logger.log(logging.INFO if trusted else logging.WARNING, "%s", opinion.told)
    for one in (choice, learned):
        if one is not None:
            logger.info("%s", one.told)


def _tell(
    table: pd.DataFrame,
    request: Request,
    unknown: Sequence[str],
    choice: abstaining.Choice | None,
) -> None:
    bad = table[(table["digest"] == "") & (table["status"] != "no image")]
    for row in bad.head(NAMED).itertuples():
        logger.warning("%s: %s", row.file, row.note)
    if len(bad) > NAMED:
        logger.warning("%d more files could not be read: see the column note", len(bad) - NAMED)
    checked = corrections.accuracy(table)
    if checked.checked:
        logger.info("teacher, of the checked images: %s", checked.told())
    if request.audit:
        logger.info(
            "audit: write the right label, or y, into the column correction of %s, then give it "
            "as --corrections",
            request.out / AUDIT,
        )
    guessed = "; guessed, because the teacher learnt none of their words: " if unknown else ""
    left = "" if choice is None else f"; {choice.left:.1%} left, not sure enough"
    logger.info(
        "%s; table: %s; page: %s",
        tables.told(table, list(request.sentences)) + left + guessed + ", ".join(unknown),
        request.out / LABELS,
        request.out / PAGE,
    )
