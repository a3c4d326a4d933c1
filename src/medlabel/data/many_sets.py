"""Labels of many sets in one numbering: each class of each set is a class of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medlabel.data import archive, catalogue
from medlabel.data.mixtures import IMAGE
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import pandas as pd

Classes = npt.NDArray[np.int64]
Labels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Numbering:
    """Outputs of one model for many sets.

    A set whose images carry one label each has a shared class for each label. A multi-label set is
    one shared class as a whole, by which its images are known, and has an output of its own for
    each label, which only its images teach.

    Attributes
    ----------
    sets
        Flags of official sets, in the order of the outputs.
    """

    sets: tuple[str, ...]

    @cached_property
    def classes(self) -> list[tuple[str, str]]:
        """Set and name of each shared class."""
        return [
            (name, label)
            for name in self.sets
            for label in ([name] if self.multi_label(name) else catalogue.class_names(name))
        ]

    @cached_property
    def labels(self) -> list[tuple[str, str]]:
        """Set and name of each label of multi-label sets."""
        return [
            (name, label)
            for name in self.sets
            if self.multi_label(name)
            for label in catalogue.class_names(name)
        ]

    @staticmethod
    def multi_label(name: str) -> bool:
        """Whether images of a set may carry several labels."""
        return catalogue.is_multi_label(catalogue.INFO[name]["task"])

    @staticmethod
    def task(name: str) -> str:
        """Return MedMNIST's word for what is asked of a set's images."""
        return str(catalogue.INFO[name]["task"])

    @cached_property
    def set_of_class(self) -> npt.NDArray[np.intp]:
        """Index of the set of each shared class."""
        return np.array([self.sets.index(name) for name, _ in self.classes])

    def own_classes(self, name: str) -> slice:
        """Return which shared classes are a set's."""
        return _places(self.classes, name)

    def own_labels(self, name: str) -> slice:
        """Return which labels are a multi-label set's; none of another set's."""
        return _places(self.labels, name)


def _places(outputs: Sequence[tuple[str, str]], name: str) -> slice:
    places = [place for place, (own, _) in enumerate(outputs) if own == name]
    return slice(places[0], places[-1] + 1) if places else slice(0, 0)


def numbered(
    numbering: Numbering, archives: Mapping[str, archive.Archive], images: pd.DataFrame
) -> tuple[Classes, Labels]:
    """Give the labels of images in the numbering of all sets.

    Parameters
    ----------
    numbering
        Of the sets.
    archives
        By set.
    images
        With columns dataset, split and row.

    Returns
    -------
    (ndarray, ndarray)
        Shared classes, int64 (n,); and labels of multi-label sets, float32 (n, L): 0 and 1 of the
        image's own set, NaN of others.

    Raises
    ------
    MedlabelError
        When an image is not in its file.
    """
    classes = np.empty(len(images), np.int64)
    labels = np.full((len(images), len(numbering.labels)), np.nan, np.float32)
    rows = images["row"].to_numpy()
    groups: Any = images.groupby(IMAGE[:2], observed=True).indices
    for (name, split), places in groups.items():
        held = archives[name].labels[split]
        if rows[places].max() >= len(held):
            raise MedlabelError(
                f"{archives[name].path}: expected {rows[places].max() + 1} rows in "
                f"{split}_labels, found {len(held)}; the table of images was made from another "
                f"file: delete it and run `snakemake` again."
            )
        found, first = held[rows[places]], numbering.own_classes(name).start
        if numbering.multi_label(name):
            classes[places] = first
            labels[places, numbering.own_labels(name)] = found
        else:
            classes[places] = first + found[:, 0]
    return classes, labels
