"""Archives in MedMNIST's layout: checked when read, gathered into pixels by a table of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from medlabel import files
from medlabel.data import catalogue, npz
from medlabel.data.pixels import Pixels, Projection, projected, with_channels
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test")
PARTS = ("images", "labels")
GREY, COLOUR, VOLUME = "(n, size, size)", "(n, size, size, 3)", "(n, size, size, size)"
HIGHEST_LABEL = 255  # of datasets without a published table: MedMNIST keeps a label in a byte
KEPT_BYTES = 1 << 27  # a split up to this size stays in memory once some of its rows were wanted

Labels = npt.NDArray[np.integer[Any]]
Rows = npt.NDArray[np.integer[Any]]


class Images(Mapping[str, Pixels]):
    """Images by split, read when they are asked for and then kept."""

    def __init__(self, members: Mapping[str, npz.Member]) -> None:
        self.members = members
        self._kept: dict[str, Pixels] = {}

    def __getitem__(self, split: str) -> Pixels:
        """Return all images of a split."""
        if split not in self._kept:
            self._kept[split] = self.members[split].read()
        return self._kept[split]

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the splits."""
        return iter(self.members)

    def __len__(self) -> int:
        """Count the splits."""
        return len(self.members)

    def shape(self, split: str) -> tuple[int, ...]:
        """Return the shape of a split's array without reading it."""
        return self.members[split].shape

    def some(self, split: str, rows: Rows) -> Iterator[tuple[npt.NDArray[np.intp], Pixels]]:
        """Yield wanted images part by part, with their positions in `rows`, in bounded memory."""
        if split in self._kept or self.members[split].nbytes <= KEPT_BYTES:
            yield np.arange(len(rows)), self[split][rows]
            return
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        for first, block in self.members[split].blocks():
            start, stop = np.searchsorted(wanted, [first, first + len(block)])
            if start < stop:
                yield order[start:stop], block[wanted[start:stop] - first]


@dataclass(frozen=True)
class Archive:
    """The images and labels of one dataset, as checked by `read`.

    Attributes
    ----------
    images
        For each split uint8 of shape (n, H, W) for grey, (n, H, W, 3) for RGB or (n, D, H, W) for
        volumes, all edges equal. A split is read whole once it is asked for.
    labels
        For each split integers of shape (n, L). With L = 1 they are classes; with L > 1 they are
        0 or 1 for each of L labels, of which an image may carry several.
    """

    dataset: str
    path: Path
    images: Images
    labels: dict[str, Labels]

    @property
    def volumetric(self) -> bool:
        """Whether it holds volumes rather than images."""
        return catalogue.is_volumetric(self.dataset)

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return 3 if len(self.images.shape("train")) == 4 and not self.volumetric else 1

    @property
    def size(self) -> int:
        """Edge length in pixels or voxels."""
        return self.images.shape("train")[1]

    @property
    def multi_label(self) -> bool:
        """Whether an image may carry several labels at once."""
        return bool(self.labels["train"].shape[1] > 1)

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file."""
        return files.digest(self.path)

    def some(
        self, split: str, rows: Rows, projection: Projection | None
    ) -> Iterator[tuple[npt.NDArray[np.intp], Pixels]]:
        """Yield wanted images of a split part by part, in bounded memory.

        Yields
        ------
        positions
            Of the images of this part in `rows`, which may stand in any order and repeat.
        images
            uint8 of shape (n, H, W) for grey, or a projection, or (n, H, W, 3) for RGB.

        Raises
        ------
        MedlabelError
            When these are volumes without a projection, when there are no such rows, or when the
            file is damaged.
        """
        if self.volumetric and projection is None:
            raise MedlabelError(
                f"{self.path}: expected images, found volumes of {self.dataset}; "
                f"projection: maximum makes images of them."
            )
        held = len(self.labels[split])
        if len(rows) and (rows.min() < 0 or rows.max() >= held):
            raise MedlabelError(
                f"{self.path}: expected rows from 0 to {held - 1} of {split}_images, found rows "
                f"from {rows.min()} to {rows.max()} in the table of images; the table was made "
                f"from another file: run `medlabel pool` again."
            )
        for positions, images in self.images.some(split, rows):
            flat = projected(images, projection) if self.volumetric and projection else images
            yield positions, flat


@dataclass(frozen=True)
class _Origin:
    """The file under inspection: what is expected of it, and how to say that it differs."""

    path: Path
    dataset: str

    @property
    def made_by(self) -> str:
        if not catalogue.is_phantom(self.dataset):
            return "fetch"
        return "vessels" if catalogue.is_volumetric(self.dataset) else "phantoms"

    @property
    def layouts(self) -> list[str]:
        if catalogue.is_volumetric(self.dataset):
            return [VOLUME]
        official = catalogue.INFO.get(self.dataset)
        return [{1: GREY, 3: COLOUR}[official["n_channels"]]] if official else [GREY, COLOUR]

    def label_layout(self, found_columns: int) -> tuple[int, int]:
        """Return how many columns labels have, and the highest value in them."""
        official = catalogue.INFO.get(self.dataset)
        if not official:
            return found_columns, 1 if found_columns > 1 else HIGHEST_LABEL
        known = len(official["label"])
        return (known, 1) if catalogue.is_multi_label(official["task"]) else (1, known - 1)

    def differs(self, key: str, expected: str, found: object) -> MedlabelError:
        return MedlabelError(
            f"{self.path}: {key}: expected {expected}, found {found}; delete the file and run "
            f"`medlabel {self.made_by}` again."
        )


def read(path: Path, dataset: str, size: int | None = None) -> Archive:
    """Read an archive's labels and check everything that later steps rely on.

    Of images the headers are read here, the pixels when they are asked for.

    Parameters
    ----------
    path
        A .npz file in MedMNIST's layout.
    dataset
        MedMNIST's flag, whose channels, labels and range must be as published; or a phantom.
    size
        Expected edge length in pixels or voxels; None accepts any.

    Raises
    ------
    MedlabelError
        When the file is missing, damaged or holds pickled objects; when an array is missing or
        has another dtype or shape than the layout asks for; when a label is out of range.
    """
    origin = _Origin(path, dataset)
    members = npz.members(path, origin.made_by)
    keys = [f"{split}_{part}" for split in SPLITS for part in PARTS]
    for key in keys:
        if key not in members:
            raise origin.differs(key, f"arrays {', '.join(keys)}", ", ".join(members) or "none")
    labels = {}
    for split in SPLITS:
        images, answers = (members[f"{split}_{part}"] for part in PARTS)
        _check_images(origin, images)
        labels[split] = _labels(origin, answers)
        if answers.shape[0] != images.shape[0]:
            expected = f"{images.shape[0]} rows, as in {images.name}"
            raise origin.differs(answers.name, expected, answers.shape[0])
        for part, here in zip(PARTS, (images, answers), strict=True):
            first = members[f"train_{part}"].shape[1:]
            if here.shape[1:] != first:
                expected = f"rows of shape {first}, as in train_{part}"
                raise origin.differs(here.name, expected, here.shape[1:])
    by_split = {split: members[f"{split}_images"] for split in SPLITS}
    archive = Archive(dataset, path, Images(by_split), labels)
    if size not in (None, archive.size):
        raise origin.differs("train_images", f"an edge of {size} pixels", archive.size)
    return archive


def _check_images(origin: _Origin, member: npz.Member) -> None:
    if member.dtype != np.uint8:
        raise origin.differs(member.name, "uint8", member.dtype)
    edge = member.shape[1:2]
    beyond = {GREY: (), COLOUR: (3,), VOLUME: edge}  # what follows height and width
    fitting = [(*edge, *edge, *beyond[layout]) for layout in origin.layouts]
    if not any(edge) or member.shape[1:] not in fitting:
        raise origin.differs(member.name, f"shape {' or '.join(origin.layouts)}", member.shape)


def _labels(origin: _Origin, member: npz.Member) -> Labels:
    """Read and check the labels of a split."""
    if not np.issubdtype(member.dtype, np.integer):
        raise origin.differs(member.name, "integers", member.dtype)
    if len(member.shape) != 2 or not member.shape[1]:
        raise origin.differs(member.name, "shape (n, number of labels)", member.shape)
    columns, highest = origin.label_layout(member.shape[1])
    if member.shape[1] != columns:
        raise origin.differs(member.name, f"shape (n, {columns})", member.shape)
    array = member.read()
    wrong = array[(array < 0) | (array > highest)]
    if wrong.size:
        found = f"{wrong[0]} ({wrong.size} out of range)"
        raise origin.differs(member.name, f"labels from 0 to {highest}", found)
    return array


def parts(
    archives: Mapping[str, Archive], table: pd.DataFrame, projection: Projection | None
) -> Iterator[tuple[npt.NDArray[np.intp], Pixels]]:
    """Yield the images of a table part by part, with their positions in it, as `Archive.some`."""
    rows = table["row"].to_numpy()
    groups = table.groupby(["dataset", "split"], sort=False, observed=True).indices
    for source, wanted in groups.items():
        dataset, split = cast("tuple[str, str]", source)
        for positions, images in archives[dataset].some(split, rows[wanted], projection):
            yield np.asarray(wanted)[positions], images


def pixels(
    archives: Mapping[str, Archive],
    table: pd.DataFrame,
    channels: Literal[1, 3],
    size: int | None = None,
    projection: Projection | None = None,
) -> Pixels:
    """Gather images from several archives, grey and RGB brought together.

    Parameters
    ----------
    table
        One row an image, with ``dataset``, ``split`` and ``row`` among its columns.
    channels, projection
        As for `medlabel.data.pixels.with_channels` and `Archive.some`.
    size
        Expected edge length in pixels; None accepts any that all archives share.

    Returns
    -------
    ndarray
        uint8 of shape (n, H, W) for 1 channel or (n, H, W, 3) for 3, in the table's order.

    Raises
    ------
    MedlabelError
        When sizes differ, or as `Archive.some` says.
    """
    edge = _common_size(archives, size)
    gathered = np.empty((len(table), edge, edge, *((3,) if channels == 3 else ())), dtype=np.uint8)
    for positions, images in parts(archives, table, projection):
        gathered[positions] = with_channels(images, channels)
    return gathered


def _common_size(archives: Mapping[str, Archive], size: int | None) -> int:
    found = {name: archive.size for name, archive in archives.items()}
    edges = set(found.values()) | ({size} if size is not None else set())
    if len(edges) != 1:
        wanted = "one size for all datasets" if size is None else f"{size} pixels"
        listing = ", ".join(f"{name}: {edge}" for name, edge in found.items())
        raise MedlabelError(
            f"image sizes: expected {wanted}, found {listing or 'no dataset'}; make the mixture's "
            f"size and phantoms.size equal and run again."
        )
    return edges.pop()
