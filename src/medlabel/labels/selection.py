"""Which of the labelled images a student is trained on."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

logger = logging.getLogger("medlabel")


def select(table: pd.DataFrame, top_k: int | None) -> pd.DataFrame:
    """Choose the labelled images that a student is trained on.

    Parameters
    ----------
    table
        Columns pseudolabel and ``p_<class>`` for each class in label order, among others.
    top_k
        Take so many images of each label, those that have its highest probability (Menghini et al.
        2023); a class with fewer images gives all it has. None takes all.

    Returns
    -------
    DataFrame
        The chosen rows in their old order. Of equally probable images the first ones are chosen.
    """
    names = [column for column in table.columns if column.startswith("p_")]
    labels = table["pseudolabel"].to_numpy()
    counts = np.bincount(labels, minlength=len(names))
    if np.count_nonzero(counts) < 2:
        listing = [f"{name[2:]}: {count}" for name, count in zip(names, counts, strict=True)]
        logger.warning("labels: all images have one label (%s)", ", ".join(listing))
    if top_k is None:
        return table
    chosen = []
    for index, name in enumerate(names):
        if counts[index] < top_k:
            logger.warning(
                "top_k: %d given, but only %d images were labelled %s: all are taken",
                top_k,
                counts[index],
                name[2:],
            )
        rows = np.flatnonzero(labels == index)
        order = np.argsort(-table[name].to_numpy()[rows], kind="stable")
        chosen.append(rows[order[:top_k]])
    return table.iloc[np.sort(np.concatenate(chosen))]
