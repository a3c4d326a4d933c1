"""Labels only where they are sure enough: as many as a wanted precision allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.annotation import tables
from medlabel.annotation.labelling import Opinion
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import pandas as pd

ARITHMETIC = ("auto", "fp32", "bf16")  # what --precision once meant
NEVER_CERTAIN = 1e-9  # an accuracy of 0 or 1 would ask for an infinite shift
FAR = 50.0  # log-odds that are 0 or 1 as a probability

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """Which images are sure enough to be labelled.

    Attributes
    ----------
    wanted
        Precision that was asked for, from 0 to 1.
    kept
        Which of the distinct images get a label, (n,).
    fitting
        How many of them fit a class at all.
    precision
        Mean calibrated probability of the labels that are kept; NaN where there are none.
    """

    wanted: float
    kept: npt.NDArray[np.bool_]
    fitting: int
    precision: float

    @property
    def left(self) -> float:
        """Share of the images that fit a class, but get no label."""
        return 1 - int(self.kept.sum()) / self.fitting if self.fitting else 0.0

    @property
    def told(self) -> str:
        """What was chosen, in a line."""
        count = int(self.kept.sum())
        right = f"; these labels are thought {self.precision:.1%} right" if count else ""
        return (
            f"precision {self.wanted:g}: {count} of {self.fitting} distinct images are sure "
            f"enough, {self.left:.1%} are left without a label{right}, by the estimate alone and "
            f"not by what was checked"
        )


def parse(text: str) -> float:
    """Read what was given as ``--precision``: a share from 0 to 1.

    Raises
    ------
    MedlabelError
        When it is none; the names of arithmetics, which the option once took, are told apart.
    """
    if text in ARITHMETIC:
        raise MedlabelError(
            f"--precision {text}: arithmetic is --arithmetic now; give --arithmetic {text}, or to "
            f"--precision the share of labels that are to be right, such as 0.98."
        )
    try:
        share = float(text)
    except ValueError:
        share = np.nan
    if not 0 <= share <= 1:
        raise MedlabelError(f"--precision {text}: a share from 0 to 1 expected, such as 0.98.")
    return share


def choose(opinion: Opinion, wanted: float) -> Choice:
    """Keep the surest labels, as many as are right often enough on average.

    Parameters
    ----------
    opinion
        What is thought of n images; those that fit no class are left out.
    wanted
        Smallest mean of the calibrated probabilities of the labels that are kept.
    """
    fitting = np.flatnonzero(~opinion.estimate.stray)
    right = calibrated(opinion.probabilities[fitting], opinion.estimate.accuracy)
    order = np.argsort(-right, kind="stable")
    means = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(means >= wanted)
    count = int(enough[-1]) + 1 if len(enough) else 0
    kept = np.zeros(len(opinion.probabilities), bool)
    kept[fitting[order[:count]]] = True
    return Choice(wanted, kept, len(fitting), float(means[count - 1]) if count else np.nan)


def calibrated(chances: Vectors, accuracy: float) -> Floats:
    """Return how likely each label is right, so that their mean is an estimated accuracy.

    All log-odds are shifted by one number, which leaves the order of the images as it is.

    Parameters
    ----------
    chances
        float32 of shape (n, classes); rows sum to 1.
    accuracy
        Estimate for all of them, from 0 to 1.

    Returns
    -------
    ndarray
        float64 of shape (n,).
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    if not len(chances):
        return np.empty(0)
    odds = _log_odds(chances)
    mean = np.clip(accuracy, NEVER_CERTAIN, 1 - NEVER_CERTAIN)
    far = FAR + float(np.abs(odds).max())
    shift = brentq(lambda by: expit(odds + by).mean() - mean, -far, far)
    found: Floats = expit(odds + shift)
    return found


def _log_odds(chances: Vectors) -> Floats:
    """Compare the highest probability with the sum of the others, which may be 0 in float32."""
    rising = np.sort(chances.astype(np.float64), axis=1)
    others = np.maximum(rising[:, :-1].sum(axis=1), np.finfo(np.float32).tiny)
    found: Floats = np.log(rising[:, -1]) - np.log(others)
    return found


def apply(table: pd.DataFrame, digests: Sequence[str], choice: Choice) -> pd.DataFrame:
    """Take the label from images that are not sure enough, and from their copies.

    Parameters
    ----------
    table
        As `tables.build` has it.
    digests
        Of the distinct images, in the order of the choice.
    """
    unsure = [digest for digest, kept in zip(digests, choice.kept, strict=True) if not kept]
    labelled = table["status"].isin([tables.LABELLED, tables.DUPLICATE])
    rows = labelled & table["digest"].isin(unsure)
    found = table.copy()
    found.loc[rows, "label"] = ""
    found.loc[rows, "status"] = tables.UNSURE
    return found
