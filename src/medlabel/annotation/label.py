"""Label images of one's own from text alone: files in, a folder of labels out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medlabel import compute
from medlabel.annotation import (
    classes,
    corrections,
    embedding,
    exports,
    gallery,
    labelling,
    links,
    naming,
    places,
    record,
    sources,
    tables,
    teachers,
)
from medlabel.annotation.outputs import Outputs
from medlabel.data.reading.page import Reading
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.labels import prompts, zeroshot

if TYPE_CHECKING:
    import pandas as pd

    from medlabel.teacher import encoder

logger = logging.getLogger("medlabel")

NAMED = 10  # files that are told one by one; the table has all of them
PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")
VOLUMES = ("slices", "projection")
LABELS, PARQUET, REVIEW = "labels.csv", "labels.parquet", "review.csv"
CARD, PAGE, AUDIT = "card.md", "page.html", "audit.csv"
CORRECTIONS = "corrections.csv"


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
    batch_size, precision, device, threads
        Images a forward pass, its arithmetic (auto, fp32 or bf16), and as `compute.prepare`.
    workers
        Processes that decode; 0 decodes in this one.
    corrections
        A table of what a person checked.
    audit
        How many images chance chooses for a person to check.
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
    batch_size: int = 64
    precision: str = "auto"
    device: str = "auto"
    threads: int = 1
    workers: int = 0
    corrections: Path | None = None
    audit: int | None = None
    by_label: bool = False
    weigh: bool = False
    anyway: bool = False
    force: bool = False
    cache: Path | None = None

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the files that a person might change."""
        audit = (AUDIT,) if self.audit else ()
        return (LABELS, PARQUET, REVIEW, CARD, PAGE, *exports.FILES, *audit)


def label(request: Request) -> pd.DataFrame:
    """Label every image, and write the folder of labels.

    Returns
    -------
    DataFrame
        As `tables.build` has it, with the corrections.

    Raises
    ------
    MedlabelError
        Before the first image is read: when the target may not be written or was changed by a
        person, when there are no files, or when classes cannot be told apart. After it: when not
        one image can be read. Nothing is written then.
    """
    started = time.time()
    _check(request)
    given = (request.corrections,) if request.corrections else ()
    outputs = Outputs(request.out, given, request.force)
    outputs.require_unchanged(request.written)
    found = sources.find(request.images, request.out)
    checked = corrections.read(request.corrections) if request.corrections else {}
    folder = teachers.find(request.encoder, request.device, request.threads)
    loaded, said = _prepared(folder, request)
    settings = _settings(request, loaded)
    embedded = embedding.embed(found, request.reading, loaded, settings)
    if not embedded.digests:
        _refuse(request.images, embedded)
    names = list(request.sentences)
    described = (
        said.described if said.each is None else prompts.weighted(embedded.vectors, said.each)
    )
    opinion = labelling.judge(
        embedded.vectors,
        described,
        loaded.logit_scale,
        names,
        said.unknown,
        said.swapped,
        said.mute,
        embedded.properties(),
    )
    if opinion.estimate.verdict == "refused" and not (request.anyway or checked):
        raise MedlabelError(
            f"{request.images}: {opinion.told}; say in other words what the classes are, or give "
            f"--anyway to write these labels all the same."
        )
    table = tables.build(embedded, opinion, names)
    checked = {**corrections.remembered(request.out / CORRECTIONS, table), **checked}
    if checked:
        table = corrections.apply(table, checked, str(request.corrections or CORRECTIONS))
        opinion = labelling.checked(opinion, corrections.audited(table))
    facts = {**_facts(request, loaded, settings), "unknown_words": said.unknown}
    facts["verdict"] = opinion.told
    times = {"started": started, "seconds": round(time.time() - started, 3)}
    with outputs.writing({**facts, **times, "images_embedded_now": embedded.computed}) as staging:
        _write(staging, table, request, facts)
        exports.write(staging, table, embedded, names)
        gallery.write(staging / PAGE, table, names, embedded.thumbnails, opinion.told)
    if request.by_label:
        links.write(request.out, table, embedded.files)
    trusted = opinion.estimate.verdict == "trusted"
    logger.log(logging.INFO if trusted else logging.WARNING, "%s", opinion.told)
    _tell(table, request, names, said.unknown)
    return table


def _check(request: Request) -> None:
    for name, given, allowed in (
        ("precision", request.precision, PRECISIONS),
        ("device", request.device, DEVICES),
        ("volumes", request.reading.volumes, VOLUMES),
    ):
        if given not in allowed:
            raise MedlabelError(f"{name}: {given!r} given, one of {', '.join(allowed)} expected.")
    classes.require_two(request.sentences)
    counts = {len(said) for said in request.sentences.values()}
    if request.weigh and (len(counts) > 1 or counts == {1}):
        raise MedlabelError(
            f"weigh: {', '.join(map(str, sorted(counts)))} sentences of a class given; as many of "
            f"every class, and at least two, expected."
        )


@dataclass(frozen=True)
class _Said:
    """What an encoder makes of the sentences.

    Attributes
    ----------
    described
        The classes, float32 (classes, dimension).
    each
        The first sentence of every class, the second, and so on, where they are to be weighed.
    unknown, swapped, mute
        Classes whose words it never learnt, whose names say what is said of another one, and whose
        names say nothing.
    """

    described: Vectors
    each: Vectors | None
    unknown: list[str]
    swapped: tuple[str, ...]
    mute: tuple[str, ...]


def _prepared(folder: Path, request: Request) -> tuple[encoder.Encoder, _Said]:
    """Return the encoder and all that it says: its words are gone once images are embedded."""
    from medlabel.teacher import encoder, locked, words

    loaded = encoder.load(folder, compute.prepare(request.device, request.threads))
    described = words.class_embeddings(loaded, list(request.sentences.values()))
    zeroshot.require_distinct(described, list(request.sentences))
    manifest = loaded.manifest
    if manifest.trained_on == "phantoms" and locked.CONFIG_KEY not in manifest.config:
        logger.warning(
            "%s was trained on drawn phantoms alone: of real images its labels say little", folder
        )
    each = _each(loaded, request.sentences) if request.weigh else None
    swapped = naming.swapped(loaded, request.sentences, described)
    unknown = list(words.check(loaded, request.sentences))
    return loaded, _Said(described, each, unknown, swapped, naming.mute(loaded, request.sentences))


def _each(loaded: encoder.Encoder, sentences: Mapping[str, Sequence[str]]) -> Vectors:
    """Return the first sentence of every class, the second, and so on."""
    from medlabel.teacher import words

    said = zip(*sentences.values(), strict=True)
    return np.stack([words.class_embeddings(loaded, [[one] for one in some]) for some in said])


def _settings(request: Request, loaded: encoder.Encoder) -> embedding.Settings:
    precision = compute.choose_precision(request.precision, loaded.device)  # type: ignore[arg-type]
    return embedding.Settings(
        request.batch_size,
        precision,
        request.threads,
        request.workers,
        (request.cache or places.cache()) / "images",
    )


def _refuse(images: Path, embedded: embedding.Embedded) -> None:
    bad = embedded.files[0]
    raise MedlabelError(
        f"{images}: not one of {len(embedded.files)} files could be read as an image; "
        f"{tables.text_of(bad.source.name)}: {bad.facts.reason}."
    )


def _facts(
    request: Request, loaded: encoder.Encoder, settings: embedding.Settings
) -> dict[str, Any]:
    """Return what decides on the labels; nothing of it names a place on this machine."""
    window = request.reading.window
    return {
        "labelling": labelling.NAME,
        "sentences": "weighed" if request.weigh else "meant",
        "encoder": loaded.manifest.folder.name,
        "encoder_sha256": loaded.manifest.weights_sha256,
        "logit_scale": round(loaded.logit_scale, 6),
        "prompts": {name: list(said) for name, said in request.sentences.items()},
        "window": f"{window[0]:g},{window[1]:g}" if window else "auto",
        "volumes": request.reading.volumes,
        "precision": settings.precision,
        "batch_size": settings.batch_size,
        "device": compute.processor(loaded.device, request.threads),
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
    shown = {name: value for name, value in facts.items() if name not in ("prompts", "versions")}
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


def _tell(
    table: pd.DataFrame, request: Request, names: Sequence[str], unknown: Sequence[str]
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
    logger.info(
        "%s; table: %s; page: %s",
        tables.told(table, names) + guessed + ", ".join(unknown),
        request.out / LABELS,
        request.out / PAGE,
    )
