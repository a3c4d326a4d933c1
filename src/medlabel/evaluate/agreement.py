"""Two labellers of the same images: how far they agree, what both have wrong, what to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from medlabel import files
from medlabel.data import mixtures
from medlabel.errors import MedlabelError
from medlabel.evaluate import statistics
from medlabel.params.studies import Statistics

Labels = npt.NDArray[np.intp]
Chances = npt.NDArray[np.float64]

ORDERS = ("disagreement", "confidence of the first", "chance")


@dataclass(frozen=True)
class Labelled:
    """Images that both labelled, with their true classes.

    Attributes
    ----------
    classes
        Names, in label order.
    truth
        int (n,).
    answers
        int (2, n): what each labeller says.
    doubts
        float64 (2, n): how unsure each is, 0 for one that only names a class.
    """

    classes: list[str]
    truth: Labels
    answers: Labels
    doubts: Chances


def read(
    pool: Path, labellers: Mapping[str, Path], classes: Sequence[str], tables: Sequence[str]
) -> Labelled:
    """Read what two labellers say of a mixture's images to test on.

    Parameters
    ----------
    pool
        Of the mixture.
    labellers
        Files by name: Parquet tables of labels of this project, or CSV tables made elsewhere.
    classes
        Of the mixture.
    tables
        Names of those made elsewhere.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, lacks an image, names one twice, or names a class that
        the mixture does not have.
    """
    known = mixtures.read_pool(pool)
    images = known[(known["role"] == "test") & known["class"].isin(classes)]
    truth = images["class"].map(list(classes).index).to_numpy(np.intp)
    found = [
        _elsewhere(path, images, classes) if name in tables else _ours(path, images, classes)
        for name, path in labellers.items()
    ]
    answers, doubts = (np.stack(one) for one in zip(*found, strict=True))
    return Labelled(list(classes), truth, answers, doubts)


def _ours(path: Path, images: pd.DataFrame, classes: Sequence[str]) -> tuple[Labels, Chances]:
    columns = [*mixtures.IMAGE, *(f"p_{name}" for name in classes)]
    table = _beside(files.read_parquet(path, "pseudolabel", columns), images, path)
    chances = table[columns[len(mixtures.IMAGE) :]].to_numpy(np.float64)
    return chances.argmax(axis=1), 1 - chances.max(axis=1)


def _elsewhere(path: Path, images: pd.DataFrame, classes: Sequence[str]) -> tuple[Labels, Chances]:
    wanted = [*mixtures.IMAGE, "label"]
    try:
        table = pd.read_csv(path, dtype={"row": "int64"} | dict.fromkeys(["split", "label"], str))
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise MedlabelError(
            f"{path}: expected a CSV table of labels, found none ({told})."
        ) from error
    if missing := [name for name in wanted if name not in table]:
        raise MedlabelError(
            f"{path}: expected the columns {', '.join(wanted)}; {', '.join(missing)} is missing."
        )
    table = _beside(table[wanted], images, path)
    if len(other := table.loc[~table["label"].isin(classes), "label"]):
        raise MedlabelError(
            f"{path}: label: {other.iloc[0]!r} given, one of {', '.join(classes)} expected."
        )
    answers = table["label"].map(list(classes).index).to_numpy(np.intp)
    return answers, np.zeros(len(answers))


def _beside(table: pd.DataFrame, images: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a row for each image, in their order."""
    index = pd.MultiIndex.from_frame(table[mixtures.IMAGE])
    if not index.is_unique:
        raise MedlabelError(f"{path}: expected one label an image, found some images twice.")
    places = index.get_indexer(pd.MultiIndex.from_frame(images[mixtures.IMAGE]))
    if missing := int((places < 0).sum()):
        raise MedlabelError(
            f"{path}: expected labels of all {len(images)} images, found none for {missing}."
        )
    return table.iloc[places].reset_index(drop=True)


def kappa(
    answers: Labels, classes: int, settings: Statistics, random: np.random.Generator
) -> tuple[float, float, float]:
    """Return Cohen's kappa of two labellers, with its percentile bootstrap interval over images.

    Cohen 1960. NaN where neither labeller ever names a second class: there is nothing to agree on
    beyond chance.

    Parameters
    ----------
    answers
        int (2, n).
    classes
        How many there are.
    settings
        Of the interval.
    random
        Of the resampling.
    """
    table = np.zeros((classes, classes))
    np.add.at(table, tuple(answers), 1)
    drawn = random.multinomial(
        answers.shape[1], table.ravel() / table.sum(), size=settings.resamples
    )
    resampled = drawn.reshape(-1, classes, classes).astype(np.float64)
    found, spread = _kappas(table[None])[0], _kappas(resampled)
    known = spread[np.isfinite(spread)]
    if not len(known):
        return float(found), float("nan"), float("nan")
    return (float(found), *statistics.percentiles(known, settings.confidence))


def _kappas(tables: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    parts = tables / tables.sum(axis=(1, 2), keepdims=True)
    agreed = np.trace(parts, axis1=1, axis2=2)
    expected = (parts.sum(axis=1) * parts.sum(axis=2)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: npt.NDArray[np.float64] = (agreed - expected) / (1 - expected)
    return found


def mistakes(labelled: Labelled) -> pd.DataFrame:
    """Count, for each true class and for all, who is right and what both have wrong.

    Returns
    -------
    DataFrame
        class, images, both_right, first_alone_right, second_alone_right, same_mistake,
        other_mistakes, and expected_both_wrong: if the two erred independently within a class.
    """
    right = labelled.answers == labelled.truth
    first, second = right
    same = ~first & ~second & (labelled.answers[0] == labelled.answers[1])
    rows = []
    for number, name in enumerate(labelled.classes):
        own = labelled.truth == number
        rows.append(
            {
                "class": name,
                "images": int(own.sum()),
                "both_right": int((first & second & own).sum()),
                "first_alone_right": int((first & ~second & own).sum()),
                "second_alone_right": int((~first & second & own).sum()),
                "same_mistake": int((same & own).sum()),
                "other_mistakes": int((~first & ~second & ~same & own).sum()),
                "expected_both_wrong": float(
                    (~first & own).sum() * (~second & own).sum() / max(1, own.sum())
                ),
            }
        )
    table = pd.DataFrame(rows)
    total = {"class": "all", **table.drop(columns="class").sum().to_dict()}
    whole = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    return whole.astype(dict.fromkeys(whole.columns[1:-1], int))


def found_first(labelled: Labelled, reviewed: float) -> dict[str, float]:
    """Return the part of the first labeller's mistakes among the images that are looked at first.

    Orders are those of `ORDERS`: images on which the two disagree, the surest of the second first;
    images of which the first is least sure; chance, on average. Of images that are alike in an
    order the part that is looked at is counted, not which ones happen to come first.
    """
    wrong = (labelled.answers[0] != labelled.truth).astype(np.float64)
    if not wrong.any():
        return dict.fromkeys(ORDERS, float("nan"))
    apart = labelled.answers[0] != labelled.answers[1]
    scores = {
        "disagreement": np.where(apart, 1 - labelled.doubts[1], -1.0),
        "confidence of the first": labelled.doubts[0],
    }
    looked_at = reviewed * len(wrong)
    found = {name: _covered(score, wrong, looked_at) for name, score in scores.items()}
    return {**found, "chance": reviewed}


def _covered(score: Chances, wrong: npt.NDArray[np.float64], looked_at: float) -> float:
    left, found = looked_at, 0.0
    for value in np.unique(score)[::-1]:
        alike = score == value
        part = min(1.0, left / alike.sum())
        found += part * wrong[alike].sum()
        left -= part * alike.sum()
        if left <= 0:
            break
    return float(found / wrong.sum())
