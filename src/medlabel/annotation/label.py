"""Label images of one's own, from text alone or by a student: files in, a folder of labels out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medlabel import compute, files
from medlabel.annotation import (
    abstaining,
    corrections,
    embedding,
    exports,
    gallery,
    grouping,
    labelling,
    links,
    places,
    processes,
    record,
    sources,
    summaries,
    tables,
    teachers,
    wording,
)
from medlabel.annotation.outputs import Outputs
from medlabel.annotation.request import (
    AUDIT,
    CARD,
    CLUSTERS,
    CORRECTIONS,
    LABELS,
    PAGE,
    PARQUET,
    REVIEW,
    STUDENT,
    Request,
)
from medlabel.errors import MedlabelError
from medlabel.labels import zeroshot

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from medlabel.annotation.grouping import Groups
    from medlabel.annotation.labelling import Opinion, Unnamed
    from medlabel.annotation.student_training import Learned
    from medlabel.data.vectors import Vectors
    from medlabel.teacher import encoder

logger = logging.getLogger("medlabel")

MANY = 5_000  # files from which on a second process saves more than its start costs
NAMED = 10  # files that are told one by one; the table has all of them
CALM = ("trusted", "clustered")  # verdicts that ask nobody to look first


@dataclass(frozen=True)
class Thought:
    """What is thought of the images, and by whom.

    Attributes
    ----------
    embedded, groups, opinion
        All files, and clusters and labels of their distinct images.
    facts
        What decided on the labels.
    device
        Where the network ran.
    unknown
        Classes of whose words the teacher learnt none.
    """

    embedded: embedding.Embedded
    groups: Groups
    opinion: Opinion | Unnamed
    facts: dict[str, Any]
    device: torch.device
    unknown: Sequence[str] = ()


def label(request: Request) -> summaries.Summary:
    """Label every image, or only group them where no class is given, and write the folder.

    Returns
    -------
    Summary
        Of what was written; its table is as `tables.build` has it, with the corrections.

    Raises
    ------
    MedlabelError
        Before the first image is read: when the target may not be written or was changed by a
        person, when there are no files, when classes cannot be told apart, when options do not go
        together, or when a student is none. After it: when not one image can be read, when
        labels are refused, or when they are too few for a student. Nothing is written then.
    """
    started = time.time()
    request.check()
    given = (request.corrections,) if request.corrections else ()
    outputs = Outputs(request.out, given, request.force)
    outputs.require_unchanged(request.written)
    found = sources.find(request.images, request.out)
    many = request.workers > 1 and len(found) >= MANY
    with processes.beside(many, exports.__name__, "pandas") as submit:
        return _label(request, outputs, found, submit, started)


def _label(
    request: Request,
    outputs: Outputs,
    found: Sequence[sources.Source],
    submit: processes.Submit,
    started: float,
) -> summaries.Summary:
    said = corrections.read(request.corrections) if request.corrections else corrections.Said()
    thought = _by_student(found, request) if request.student else _by_words(found, request)
    embedded, opinion = thought.embedded, thought.opinion
    if opinion.verdict == "refused" and not (request.anyway or said):
        raise MedlabelError(
            f"{request.images}: {opinion.told}; say in other words what the classes are, or give "
            f"--anyway to write these labels all the same."
        )
    table, choice = _decided(request, thought, said)
    if isinstance(opinion, labelling.Opinion):
        opinion = labelling.checked(opinion, corrections.audited(table))
    learned = _learned(table, found, thought, request)
    if learned is not None:
        table = tables.beside(table, embedded.digests, learned.answers)
    names = list(request.sentences)
    told = ". ".join(one.told for one in (opinion, choice) if one is not None)
    facts = {**thought.facts, "unknown_words": list(thought.unknown), "verdict": told}
    facts |= {} if learned is None else {"student_learnt": learned.told}
    times = {"started": started, "seconds": round(time.time() - started, 3)}
    with outputs.writing({**facts, **times, "images_embedded_now": embedded.computed}) as staging:
        exported = submit(exports.write, staging, exports.entries(table, embedded), names)
        _write(staging, table, request, facts)
        gallery.write(staging / PAGE, table, names, embedded.thumbnails, told)
        exported()
        if learned is not None:
            learned.student.save(staging / STUDENT)
    if request.by_label:
        links.write(request.out, table, embedded.files)
    _tell_thoughts(opinion, choice, learned)
    _tell(table, request, thought.unknown, choice)
    paths = {name: request.out / name for name in request.written}
    return summaries.Summary(table, names, opinion, choice, paths)


def _decided(
    request: Request, thought: Thought, said: corrections.Said
) -> tuple[pd.DataFrame, abstaining.Choice | None]:
    """Put labels, what is not sure enough, and what a person said into one table."""
    embedded, opinion, choice = thought.embedded, thought.opinion, None
    table = tables.build(embedded, opinion, thought.groups, list(request.sentences))
    if request.precision is not None:
        assert isinstance(opinion, labelling.Opinion)
        choice = abstaining.choose(opinion, request.precision)
        table = abstaining.apply(table, embedded.digests, choice)
    source = str(request.corrections or CORRECTIONS)
    before = corrections.remembered(request.out / CORRECTIONS, table)
    known = before.then(corrections.spread(said, table, source))
    return corrections.apply(table, known, source), choice


def _by_words(found: Sequence[sources.Source], request: Request) -> Thought:
    folder = teachers.find(request.encoder, request.device, request.threads)
    loaded, said = wording.read(
        folder, request.sentences, request.device, request.threads, request.weigh
    )
    arithmetic = embedding.arithmetic(request.arithmetic, loaded)  # type: ignore[arg-type]
    settings = _settings(request, arithmetic)
    embedded = embedding.embed(found, request.reading, loaded, settings)
    _require_images(request.images, embedded)
    described = said.weighted(embedded.vectors)
    groups = _grouped(embedded, described, loaded)
    names = list(request.sentences)
    opinion = _judged(embedded, groups, said, described, loaded.logit_scale, names)
    own = {
        "labelling": labelling.NAME,
        "sentences": "weighed" if request.weigh else "meant",
        "encoder": loaded.manifest.folder.name,
        "encoder_sha256": loaded.manifest.weights_sha256,
        "logit_scale": round(loaded.logit_scale, 6),
    }
    facts = _facts(request, settings, loaded.device, own)
    return Thought(embedded, groups, opinion, facts, loaded.device, said.unknown)


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
    groups = student_labelling.groups(embedded.vectors, embedded.digests)
    opinion = student_labelling.opinion(embedded.vectors)
    return Thought(embedded, groups, opinion, facts, device)


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


def _grouped(embedded: embedding.Embedded, words: Vectors, loaded: encoder.Encoder) -> Groups:
    by_words = np.empty((len(embedded.digests), 0), np.float32)
    if len(words):
        by_words = zeroshot.probabilities(embedded.vectors, words, loaded.logit_scale)
    return grouping.find(embedded.vectors, embedded.digests, by_words)


def _judged(
    embedded: embedding.Embedded,
    groups: Groups,
    said: wording.Wording,
    words: Vectors,
    logit_scale: float,
    names: Sequence[str],
) -> Opinion | Unnamed:
    if not names:
        return labelling.Unnamed(groups.margins)
    return labelling.judge(
        embedded.vectors,
        words,
        logit_scale,
        names,
        said.unknown,
        said.swapped,
        said.mute,
        embedded.properties(),
    )


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
    public = table.drop(columns=list(tables.PRIVATE))
    _write_csv(staging / LABELS, public)
    public.to_parquet(staging / PARQUET, index=False, compression="zstd")
    _write_csv(staging / REVIEW, tables.review(table, names))
    _write_csv(staging / CLUSTERS, grouping.summary(table, names))
    checked = corrections.saved(table)
    if len(checked):
        _write_csv(staging / CORRECTIONS, checked)
    if request.audit:
        _write_csv(staging / AUDIT, corrections.audit_table(table, request.audit))
    if request.audit_clusters:
        chosen = corrections.cluster_audit_table(table, request.audit_clusters)
        _write_csv(staging / AUDIT, chosen)
    apart = ("prompts", "versions")
    shown = {
        name: value for name, value in facts.items() if name not in apart and value is not None
    }
    told = record.card(
        table,
        request.sentences,
        {**shown, **record.versions()},
        corrections.judged(table),
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
    opinion: Opinion | Unnamed, choice: abstaining.Choice | None, learned: Learned | None
) -> None:
    level = logging.INFO if opinion.verdict in CALM else logging.WARNING
    logger.log(level, "%s", opinion.told)
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
    judged = corrections.judged(table)
    if judged.checked.checked:
        logger.info("teacher, of the checked images: %s", judged.checked.told())
    if judged.by_clusters:
        logger.info("teacher, of all images: %s", judged.by_clusters.told())
    if request.audit or request.audit_clusters:
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
