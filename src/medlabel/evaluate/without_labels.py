"""Labellings side by side on folders without a label: how right they are, and what they know of it.

Every folder is drawn from images to train on. A labelling sees their embeddings and the classes'
words, no label. It is judged on these images and, as it was learnt, on held-out ones in the same
shares.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medlabel import progress
from medlabel.data import mixtures, vectors
from medlabel.data.vectors import Vectors
from medlabel.evaluate import foretold
from medlabel.labels import estimate, evidence, methods, zeroshot
from medlabel.labels.evidence import Evidence, Labeller
from medlabel.params import AnyLabelling, WithoutLabels
from medlabel.params.without_labels import Content
from medlabel.params.without_labels_checks import CLUSTERS
from medlabel.randomness import stream

Truth = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Inputs:
    """Where files lie.

    Attributes
    ----------
    pools
        By mixture.
    embeddings
        By mixture and encoder reference.
    words
        By encoder reference and prompts.
    """

    pools: Mapping[str, Path]
    embeddings: Mapping[tuple[str, str], Path]
    words: Mapping[tuple[str, str], Path]


@dataclass(frozen=True)
class Seen:
    """A mixture as an encoder sees it, asked about some classes.

    Attributes
    ----------
    table
        The pool: role and class of each image.
    images
        float32 (n, dimension).
    words, logit_scale
        Of the classes that are asked about, float32 (classes, dimension).
    content
        What is asked.
    """

    table: pd.DataFrame
    images: Vectors
    words: Vectors
    logit_scale: float
    content: Content

    @cached_property
    def classes(self) -> list[str]:
        """Names of what is asked about."""
        return list(self.content.classes)

    def rows(self, members: list[str], role: str) -> Truth:
        """Return the images of classes of the mixture in a role."""
        chosen = self.table["class"].isin(members) & (self.table["role"] == role)
        return np.flatnonzero(chosen)

    def gather(self, images: Vectors) -> Evidence:
        """Return what labellings learn from some images."""
        return evidence.gather(images, self.words, self.logit_scale, self.classes)


@dataclass(frozen=True)
class Folder:
    """Images of a draw with the classes that they are of; unnamed ones have the number after them.

    Attributes
    ----------
    images
        float32 (n, dimension).
    truth
        Of shape (n,).
    shares
        Of each class that is asked about, as asked for.
    """

    images: Vectors
    truth: Truth
    shares: npt.NDArray[np.float64]

    @property
    def named(self) -> npt.NDArray[np.bool_]:
        """Images of classes that are asked about, (n,)."""
        return self.truth < len(self.shares)

    def right(self, chances: Vectors) -> float:
        """Return the share of right labels among images of named classes."""
        return float((chances.argmax(axis=1) == self.truth)[self.named].mean())


def compute(
    inputs: Inputs, asked: WithoutLabels, parts: Mapping[str, AnyLabelling], seed: int
) -> pd.DataFrame:
    """Label every folder in every way.

    Parameters
    ----------
    inputs
        Files.
    asked
        What is compared.
    parts
        Labellings by name.
    seed
        Root of the random streams.

    Returns
    -------
    DataFrame
        A row a folder and labelling: ``encoder``, ``content``, ``size``, ``share``, ``draw``,
        ``images``, ``labelling``, ``right`` (share of the folder's images of named classes whose
        label is right), ``held_out`` (recalls on held-out images in the folder's shares). Of judged
        labellings what was foretold: ``estimate``, ``low``, ``high``, ``verdict``, the signs that
        the estimate is made of, the rivals ``mean_confidence``, ``nuclear_norm`` and ``atc`` (NaN
        without a source), ``aside`` and ``wrongly_aside`` (shares of the images of unnamed and of
        named classes that are said to fit no class).

    Raises
    ------
    MedlabelError
        When an input is missing, damaged, or does not fit the others.
    """
    cells = [
        (reference, content)
        for reference, content in itertools.product(asked.encoders, asked.contents)
    ]
    found = [
        row
        for reference, content in progress.track(cells, "label free", len(cells))
        for row in _of_content(inputs, asked, parts, seed, reference, content)
    ]
    return pd.DataFrame(found)


def _of_content(
    inputs: Inputs,
    asked: WithoutLabels,
    parts: Mapping[str, AnyLabelling],
    seed: int,
    reference: str,
    name: str,
) -> Iterator[dict[str, Any]]:
    content = asked.contents[name]
    seen = look(inputs, reference, content.images, content)
    drawn = look(inputs, reference, asked.source, content) if asked.source else None
    thresholds = cache(lambda labelling: _thresholds(drawn, parts[labelling]))
    draws = range(asked.first_draw, asked.first_draw + asked.draws)
    for size, share, draw in itertools.product(asked.sizes, asked.shares, draws):
        random = stream(seed, "label free", name, size, str(share), draw)
        folder = drawn_folder(seen, size, share, asked.unnamed_share, random)
        known = seen.gather(folder.images)
        learnt = {one: methods.learn(parts[one], known) for one in asked.labellings}
        found = {one: labeller.predict(folder.images) for one, labeller in learnt.items()}
        stray = estimate.strays(known, folder.images) if asked.judged else None
        for labelling, chances in found.items():
            row: dict[str, Any] = {
                "encoder": reference,
                "content": name,
                "size": size,
                "share": share,
                "draw": draw,
                "images": len(folder.truth),
                "labelling": labelling,
                "right": folder.right(chances),
                "held_out": _held_out(seen, learnt[labelling], folder.shares),
            }
            if stray is not None and labelling in asked.judged:
                row |= _judged(seen, folder, chances, found[CLUSTERS], stray)
                row |= foretold.rivals(chances, thresholds(labelling) if drawn else None)
            yield row


def look(inputs: Inputs, reference: str, images: str, content: Content) -> Seen:
    """Read a mixture as an encoder sees it.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged.
    """
    table = mixtures.read_pool(inputs.pools[images])
    embeddings = vectors.read_embeddings(inputs.embeddings[images, reference], reference, table)
    path = inputs.words[reference, content.prompts]
    words, scale = vectors.read_words(path, reference, list(content.classes))
    return Seen(table, embeddings, words, scale, content)


def drawn_folder(
    seen: Seen, size: int, share: float, unnamed: float, random: np.random.Generator
) -> Folder:
    """Draw images to train on: a share of the first class, equal ones of the others.

    Where there are unnamed classes, they have the part `unnamed` of the folder. Of a class that has
    fewer images than its share all are taken.
    """
    parts = list(seen.content.classes.values())
    shares = np.array([share, *[(1 - share) / (len(parts) - 1)] * (len(parts) - 1)])
    kept = 1 - unnamed * bool(seen.content.unnamed)
    counts = np.round(size * kept * shares).astype(int).tolist()
    if seen.content.unnamed:
        parts, counts = [*parts, seen.content.unnamed], [*counts, round(size * unnamed)]
    chosen = [
        random.permutation(seen.rows(members, "train"))[:count]
        for members, count in zip(parts, counts, strict=True)
    ]
    truth = np.repeat(np.arange(len(parts)), [len(rows) for rows in chosen])
    return Folder(seen.images[np.concatenate(chosen)], truth, shares)


def _held_out(seen: Seen, labeller: Labeller, shares: npt.NDArray[np.float64]) -> float:
    """Return the recall of each class on held-out images, in the folder's shares."""
    recalls = [
        (labeller.predict(seen.images[seen.rows(members, "test")]).argmax(axis=1) == label).mean()
        for label, members in enumerate(seen.content.classes.values())
    ]
    return float(np.array(recalls) @ shares)


def _judged(
    seen: Seen,
    folder: Folder,
    chances: Vectors,
    by_clusters: Vectors,
    stray: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    """Return what is known of labels without a label."""
    by_words = zeroshot.probabilities(folder.images, seen.words, seen.logit_scale)
    found = estimate.of_views(chances, by_words, by_clusters, stray)
    aside, wrongly = stray[~folder.named], stray[folder.named]
    return {
        "estimate": found.accuracy,
        "low": found.low,
        "high": found.high,
        "verdict": found.verdict,
        **found.signs,
        "aside": float(aside.mean()) if len(aside) else np.nan,
        "wrongly_aside": float(wrongly.mean()),
    }


def _thresholds(drawn: Seen | None, part: AnyLabelling) -> foretold.Thresholds:
    """Learn thresholds of confidence from labelled phantoms."""
    assert drawn is not None
    chosen = [
        np.concatenate([drawn.rows(members, role) for role in mixtures.ROLES])
        for members in drawn.content.classes.values()
    ]
    truth = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen])
    images = drawn.images[np.concatenate(chosen)]
    return foretold.thresholds(methods.learn(part, drawn.gather(images)).predict(images), truth)
