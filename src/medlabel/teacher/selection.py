"""Which of the pseudo-labelled images a student is trained on."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from medlabel.errors import MedlabelError
from medlabel.params import Pseudolabel

logger = logging.getLogger("medlabel")


def select(pseudolabels: pd.DataFrame, settings: Pseudolabel) -> pd.DataFrame:
    """Choose the pseudo-labelled images that a student is trained on.

    Parameters
    ----------
    pseudolabels
        Columns pseudolabel and ``p_<class>`` for each class in label order, among others.
    settings
        `select` is ``"all"`` or ``"top_k"``: the `k` images of each pseudo-label that have its
        highest probability (Menghini et al. 2023). A class with fewer images gives all it has.

    Returns
    -------
    DataFrame
        The chosen rows in their old order. Of equally probable images the first ones are chosen.

    Raises
    ------
    MedlabelError
        When all chosen images have one and the same pseudo-label, so that there is nothing to
        learn.
    """
    names = [column for column in pseudolabels.columns if column.startswith("p_")]
    labels = pseudolabels["pseudolabel"].to_numpy()
    counts = np.bincount(labels, minlength=len(names))
    if np.count_nonzero(counts) < 2:
        listing = ", ".join(
            f"{name[2:]}: {count}" for name, count in zip(names, counts, strict=True)
        )
        raise MedlabelError(
            f"pseudolabel: expected images of at least two classes to train on, found {listing}; "
            f"the teacher cannot tell the classes apart: change pseudolabel.prompts, "
            f"pseudolabel.templates or the teacher."
        )
    if settings.select == "all":
        return pseudolabels
    chosen = []
    for index, name in enumerate(names):
        if counts[index] < settings.k:
            logger.warning(
                "pseudolabel.k: %d given, but only %d images were labelled %s: all are taken",
                settings.k,
                counts[index],
                name[2:],
            )
        rows = np.flatnonzero(labels == index)
        order = np.argsort(-pseudolabels[name].to_numpy()[rows], kind="stable")
        chosen.append(rows[order[: settings.k]])
    return pseudolabels.iloc[np.sort(np.concatenate(chosen))]
