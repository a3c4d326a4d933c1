"""Retrieval: how far down the right answers stand when images and captions search one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from medlabel import files
from medlabel.data import catalogue, mixtures, vectors
from medlabel.data.phantoms.captions import NAMING_A_FINDING
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.params import Mixture
from medlabel.progress import track
from medlabel.teacher import encoder, words

Ranks = npt.NDArray[np.int64]
Relevant = npt.NDArray[np.bool_]

# What a right answer shares with the question; a caption that names no finding has that of all.
LEVELS = ("caption", "finding", "kind")
DIRECTIONS = ("image to text", "text to image")


@dataclass(frozen=True)
class Inputs:
    """Files that are searched.

    Attributes
    ----------
    pool
        Of the mixture.
    captions
        By dataset: of its images.
    embeddings
        By reference: of the pool.
    encoders
        By reference: its folder.
    """

    pool: Path
    captions: Mapping[str, Path]
    embeddings: Mapping[str, Path]
    encoders: Mapping[str, Path]


@dataclass(frozen=True)
class Searched:
    """Images and captions, and how alike encoders find them.

    Attributes
    ----------
    images
        A row an image, as `captioned` gives it.
    captions
        Distinct ones, sorted likewise by the first image that has each.
    relevant
        By level of `LEVELS`: bool (images, captions), whether either is a right answer to the
        other.
    similarity
        By reference: float32 (images, captions), cosines.
    """

    images: pd.DataFrame
    captions: list[str]
    relevant: dict[str, Relevant]
    similarity: dict[str, Vectors]


def search(inputs: Inputs, mixture: Mixture, seed: int, device: str) -> Searched:
    """Compare every image of a mixture's first draw to test on with the captions of all of them.

    Raises
    ------
    MedlabelError
        When an input is missing, damaged, or does not fit the others.
    """
    from medlabel import compute

    pool = mixtures.read_pool(inputs.pool)
    drawn = mixtures.draw(mixture, pool, 0, seed)
    images = captioned(drawn[drawn["role"] == "test"], inputs.captions)
    captions = list(dict.fromkeys(images["caption"]))
    where, similarity = compute.prepare(device, 1), {}
    for reference, folder in track(inputs.encoders.items(), "search", len(inputs.encoders)):
        seen = vectors.read_embeddings(inputs.embeddings[reference], reference, images)
        said = words.class_embeddings(encoder.load(folder, where), [[one] for one in captions])
        similarity[reference] = seen @ said.T
    return Searched(images, captions, _relevant(images, captions), similarity)


def captioned(images: pd.DataFrame, captions: Mapping[str, Path]) -> pd.DataFrame:
    """Put images and their captions into one table, sorted by kind and finding.

    Parameters
    ----------
    images
        With columns dataset, split and row.
    captions
        By dataset.

    Raises
    ------
    MedlabelError
        When a table is missing or damaged, or an image has no caption.
    """
    columns = ["split", "row", "kind", "finding", "style", "caption"]
    tables = []
    for dataset, path in captions.items():
        step = "phantoms" if catalogue.is_phantom(dataset) else "captions"
        tables.append(files.read_parquet(path, step, columns)[columns].assign(dataset=dataset))
    found = images[mixtures.IMAGE].merge(pd.concat(tables), on=mixtures.IMAGE, how="left")
    if missing := int(found["caption"].isna().sum()):
        raise MedlabelError(
            f"retrieval: expected captions of all {len(found)} images, found none for {missing}; "
            f"run `medlabel captions` and `medlabel phantoms` again."
        )
    return found.sort_values(["kind", "finding"], kind="stable", ignore_index=True)


def _relevant(images: pd.DataFrame, captions: list[str]) -> dict[str, Relevant]:
    """Tell which captions were written for an image that shares something with another."""
    own = np.equal.outer(images["caption"].to_numpy(), np.array(captions, dtype=object))
    kind, finding = (
        images.groupby(columns).ngroup().to_numpy() for columns in (["kind"], ["kind", "finding"])
    )
    silent = ~images["style"].isin(NAMING_A_FINDING).to_numpy()
    same_kind = np.equal.outer(kind, kind)
    # What names no finding is right for all of its kind.
    same_finding = np.equal.outer(finding, finding) | (same_kind & silent[None, :])
    written = own.astype(np.float32)
    return {
        "caption": own.astype(bool),
        "finding": same_finding.astype(np.float32) @ written > 0,
        "kind": same_kind.astype(np.float32) @ written > 0,
    }


def ranks(similarity: Vectors, relevant: Relevant) -> Ranks:
    """Return the place of the first right answer to each question, counted from 1.

    Parameters
    ----------
    similarity
        float32 (questions, answers).
    relevant
        bool of the same shape; each question has one right answer at least.

    Notes
    -----
    Of answers that are equally alike the wrong ones come first: a model that says the same of
    everything finds nothing.
    """
    best = np.where(relevant, similarity, -np.inf).max(axis=1)
    found: Ranks = 1 + (~relevant & (similarity >= best[:, None])).sum(axis=1)
    return found


def all_ranks(searched: Searched) -> pd.DataFrame:
    """Return the ranks of every search: reference, direction, level, question, rank."""
    tables = []
    for reference, similarity in searched.similarity.items():
        for level, relevant in searched.relevant.items():
            for direction, turned in zip(DIRECTIONS, (False, True), strict=True):
                given = (similarity.T, relevant.T) if turned else (similarity, relevant)
                found = ranks(*given)
                tables.append(
                    pd.DataFrame(
                        {
                            "encoder": reference,
                            "direction": direction,
                            "level": level,
                            "question": np.arange(len(found)),
                            "answers": given[0].shape[1],
                            "rank": found,
                        }
                    )
                )
    return pd.concat(tables, ignore_index=True)
