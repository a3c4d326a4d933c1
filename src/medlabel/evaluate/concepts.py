"""Concepts: how often a classifier on embeddings tells what a caption or an image is about."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from medlabel import compute
from medlabel.data import mixtures, vectors
from medlabel.data.phantoms.captions import NAMING_A_FINDING
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.evaluate.retrieval import Inputs, captioned
from medlabel.params import Mixture
from medlabel.progress import track
from medlabel.teacher import encoder, words

STEPS = 1000  # of L-BFGS, at most

# What is told from what; a caption that names no finding cannot tell it.
FROM = ("captions that name a finding", "captions that name none", "images")


def judge(
    inputs: Inputs, mixture: Mixture, strength: float, seed: int, device: str
) -> pd.DataFrame:
    """Learn concepts from the images to train on, and tell them of those to test on.

    A concept is a finding of a kind of image. Logistic regressions (ridge, multinomial) learn them
    from the embeddings of captions, and of images.

    Returns
    -------
    DataFrame
        A row an encoder, source of `FROM` and test image: encoder, source, concept, concepts (how
        many there are) and right (0 or 1).

    Raises
    ------
    MedlabelError
        When an input is missing, damaged, or does not fit the others, or there is one concept.
    """
    drawn = mixtures.draw(mixture, mixtures.read_pool(inputs.pool), 0, seed)
    train, test = (
        captioned(drawn[drawn["role"] == role], inputs.captions) for role in mixtures.ROLES
    )
    concepts = sorted(set(train["kind"] + ": " + train["finding"]))
    if len(concepts) < 2:
        raise MedlabelError(
            f"concepts: expected two concepts at least, found {', '.join(concepts)} alone; choose "
            f"images that show more."
        )
    where = compute.prepare(device, 1)
    tables = []
    for reference, folder in track(inputs.encoders.items(), "concepts", len(inputs.encoders)):
        loaded = encoder.load(folder, where)
        seen = [
            vectors.read_embeddings(inputs.embeddings[reference], reference, part)
            for part in (train, test)
        ]
        said = [_said(loaded, part["caption"]) for part in (train, test)]
        for source, right in _judged(train, test, said, seen, strength):
            told = right.assign(encoder=reference, source=source, concepts=len(concepts))
            tables.append(told)
    columns = ["encoder", "source", "concept", "concepts", "right"]
    return pd.concat(tables, ignore_index=True)[columns]


def _said(loaded: encoder.Encoder, captions: pd.Series[str]) -> Vectors:
    distinct = list(dict.fromkeys(captions))
    embedded = words.class_embeddings(loaded, [[one] for one in distinct])
    place = {one: number for number, one in enumerate(distinct)}
    return embedded[captions.map(place).to_numpy()]


def _judged(
    train: pd.DataFrame,
    test: pd.DataFrame,
    said: list[Vectors],
    seen: list[Vectors],
    strength: float,
) -> Iterator[tuple[str, pd.DataFrame]]:
    learn, truth = (part["kind"] + ": " + part["finding"] for part in (train, test))
    names = [part["style"].isin(NAMING_A_FINDING).to_numpy() for part in (train, test)]
    by_caption = _told(said[0][names[0]], learn[names[0]], said[1], strength) == truth
    by_image = _told(seen[0], learn, seen[1], strength) == truth
    everything = np.ones(len(test), bool)
    for source, right, chosen in zip(
        FROM, (by_caption, by_caption, by_image), (names[1], ~names[1], everything), strict=True
    ):
        yield source, pd.DataFrame({"concept": truth, "right": right.astype(int)})[chosen]


def _told(
    known: Vectors, concepts: pd.Series[str], asked: Vectors, strength: float
) -> npt.NDArray[np.object_]:
    from sklearn.linear_model import LogisticRegression

    with threadpool_limits(1):  # sums in one thread, so that digits repeat
        model = LogisticRegression(C=strength, max_iter=STEPS).fit(known, concepts)
        found: npt.NDArray[np.object_] = model.predict(asked)
    return found
