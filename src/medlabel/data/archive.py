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
HIGHEST_LABEL = 255  # of datasets without a published table: MedMNIST keeps a label in a byte
KEPT_BYTES = 1 << 27  # a split up to this size stays in memory once some of its rows were wanted

Labels = npt.NDArray[np.integer[Any]]
Rows = npt.NDArray[np.integer[Any]]


class Images(Mapping[str, Pixels]):
    """Images by split, read when they are asked for and then kept.

    Parameters
    ----------
    members
        The array of each split, on disk.
    """

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
    dataset
        MedMNIST's flag or a phantom's name.
    path
        The file that was read.
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
        """Yield images of a split part by part, in bounded memory.

        Parameters
        ----------
        split, rows
            Which images; any order, any of them twice.
        projection
            How volumes become images.

        Yields
        ------
        positions
            Of the images of this part in `rows`.
        images
            uint8 of shape (n, H, W) for grey or (n, H, W, 3) for RGB.

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
    def official(self) -> Mapping[str, Any] | None:
        return catalogue.INFO.get(self.dataset)

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
        MedMNIST's flag or a phantom's name. An official dataset must also have the channels,
        the number of labels and their range that MedMNIST publishes.
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
    keys = [f"{split}_{part}" for split in SPLITS for part in ("images", "labels")]
    for key in keys:
        if key not in members:
            raise origin.differs(key, f"arrays {', '.join(keys)}", ", ".join(members) or "none")
    labels = {}
    for split in SPLITS:
        _check_images(origin, members[f"{split}_images"])
        labels[split] = _labels(origin, members[f"{split}_labels"])
    _check_agreement(origin, members)
    images = Images({split: members[f"{split}_images"] for split in SPLITS})
    archive = Archive(dataset, path, images, labels)
    if size not in (None, archive.size):
        raise origin.differs("train_images", f"an edge of {size} pixels", archive.size)
    return archive


def _check_images(origin: _Origin, member: npz.Member) -> None:
    if member.dtype != np.uint8:
        raise origin.differs(member.name, "uint8", member.dtype)
    layouts = _layouts(origin)
    edges = member.shape[1:]
    fits = {
        "(n, size, size)": len(edges) == 2,
        "(n, size, size, 3)": len(edges) == 3 and edges[2] == 3,
        "(n, size, size, size)": len(edges) == 3 and edges[2] == edges[0],
    }
    if not any(fits[layout] for layout in layouts) or edges[0] != edges[1] or not edges[0]:
        raise origin.differs(member.name, f"shape {' or '.join(layouts)}", member.shape)


def _layouts(origin: _Origin) -> list[str]:
    if catalogue.is_volumetric(origin.dataset):
        return ["(n, size, size, size)"]
    by_channels = {1: "(n, size, size)", 3: "(n, size, size, 3)"}
    if origin.official:
        return [by_channels[origin.official["n_channels"]]]
    return list(by_channels.values())


def _labels(origin: _Origin, member: npz.Member) -> Labels:
    """Read and check the labels of a split."""
    if not np.issubdtype(member.dtype, np.integer):
        raise origin.differs(member.name, "integers", member.dtype)
    if len(member.shape) != 2 or not member.shape[1]:
        raise origin.differs(member.name, "shape (n, number of labels)", member.shape)
    columns, highest = _label_layout(origin, member.shape[1])
    if member.shape[1] != columns:
        raise origin.differs(member.name, f"shape (n, {columns})", member.shape)
    array = member.read()
    wrong = array[(array < 0) | (array > highest)]
    if wrong.size:
        found = f"{wrong[0]} ({wrong.size} out of range)"
        raise origin.differs(member.name, f"labels from 0 to {highest}", found)
    return array


def _label_layout(origin: _Origin, found_columns: int) -> tuple[int, int]:
    """Return how many columns labels have, and the highest value in them."""
    if not origin.official:
        return found_columns, 1 if found_columns > 1 else HIGHEST_LABEL
    known = len(origin.official["label"])
    multi_label = catalogue.is_multi_label(origin.official["task"])
    return (known, 1) if multi_label else (1, known - 1)


def _check_agreement(origin: _Origin, members: Mapping[str, npz.Member]) -> None:
    for split in SPLITS:
        rows, labelled = (members[f"{split}_{part}"].shape[0] for part in ("images", "labels"))
        if labelled != rows:
            expected = f"{rows} rows, as in {split}_images"
            raise origin.differs(f"{split}_labels", expected, labelled)
        for part in ("images", "labels"):
            first, here = (members[f"{one}_{part}"].shape[1:] for one in ("train", split))
            if first != here:
                expected = f"rows of shape {first}, as in train_{part}"
                raise origin.differs(f"{split}_{part}", expected, here)


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
    archives
        The archives by dataset.
    table
        One row an image, with the columns ``dataset``, ``split`` and ``row`` (others are ignored).
    channels
        As for `medlabel.data.pixels.with_channels`.
    size
        Expected edge length in pixels; None accepts any that all archives share.
    projection
        How volumes become images; None refuses them.

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
    rows = table["row"].to_numpy()
    groups = table.groupby(["dataset", "split"], sort=False, observed=True).indices
    for source, wanted in groups.items():
        dataset, split = cast("tuple[str, str]", source)
        for positions, images in archives[dataset].some(split, rows[wanted], projection):
            gathered[wanted[positions]] = with_channels(images, channels)
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
