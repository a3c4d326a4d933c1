"""Archives in MedMNIST's layout: checked when read, gathered into pixels by a table of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from medlabel import files
from medlabel.data import catalogue
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test")

# ITU-R BT.601 luma in 16-bit fixed point, rounded as Pillow's convert("L") rounds it.
LUMA = (19595, 38470, 7471)
LUMA_HALF = 1 << 15
LUMA_BITS = 16

HIGHEST_LABEL = 255  # of datasets without a published table: MedMNIST keeps a label in a byte

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.integer[Any]]


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
        volumes, all edges equal.
    labels
        For each split integers of shape (n, L). With L = 1 they are classes; with L > 1 they are
        0 or 1 for each of L labels, of which an image may carry several.
    """

    dataset: str
    path: Path
    images: dict[str, Pixels]
    labels: dict[str, Labels]

    @property
    def volumetric(self) -> bool:
        """Whether it holds volumes rather than images."""
        return catalogue.is_volumetric(self.dataset)

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return 3 if self.images["train"].ndim == 4 and not self.volumetric else 1

    @property
    def size(self) -> int:
        """Edge length in pixels or voxels."""
        return int(self.images["train"].shape[1])

    @property
    def multi_label(self) -> bool:
        """Whether an image may carry several labels at once."""
        return bool(self.labels["train"].shape[1] > 1)

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file."""
        return files.digest(self.path)


@dataclass(frozen=True)
class _Origin:
    """The file under inspection: what is expected of it, and how to say that it differs."""

    path: Path
    dataset: str

    @property
    def made_by(self) -> str:
        return "phantoms" if catalogue.is_phantom(self.dataset) else "fetch"

    @property
    def official(self) -> Mapping[str, Any] | None:
        return catalogue.INFO.get(self.dataset)

    def differs(self, key: str, expected: str, found: object) -> MedlabelError:
        return MedlabelError(
            f"{self.path}: {key}: expected {expected}, found {found}; delete the file and run "
            f"`medlabel {self.made_by}` again."
        )


def read(path: Path, dataset: str, size: int | None = None) -> Archive:
    """Read an archive and check everything that later steps rely on.

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
    arrays = files.read_npz(path, origin.made_by)
    keys = [f"{split}_{part}" for split in SPLITS for part in ("images", "labels")]
    for key in keys:
        if key not in arrays:
            raise origin.differs(key, f"arrays {', '.join(keys)}", ", ".join(arrays) or "none")
    for split in SPLITS:
        _check_images(origin, f"{split}_images", arrays[f"{split}_images"])
        _check_labels(origin, f"{split}_labels", arrays[f"{split}_labels"])
    _check_agreement(origin, arrays)
    archive = Archive(
        dataset,
        path,
        {split: arrays[f"{split}_images"] for split in SPLITS},
        {split: arrays[f"{split}_labels"] for split in SPLITS},
    )
    if size not in (None, archive.size):
        raise origin.differs("train_images", f"an edge of {size} pixels", archive.size)
    return archive


def _check_images(origin: _Origin, key: str, array: npt.NDArray[Any]) -> None:
    if array.dtype != np.uint8:
        raise origin.differs(key, "uint8", array.dtype)
    layouts = _layouts(origin)
    edges = array.shape[1:]
    fits = {
        "(n, size, size)": len(edges) == 2,
        "(n, size, size, 3)": len(edges) == 3 and edges[2] == 3,
        "(n, size, size, size)": len(edges) == 3 and edges[2] == edges[0],
    }
    if not any(fits[layout] for layout in layouts) or edges[0] != edges[1] or not edges[0]:
        raise origin.differs(key, f"shape {' or '.join(layouts)}", array.shape)


def _layouts(origin: _Origin) -> list[str]:
    if catalogue.is_volumetric(origin.dataset):
        return ["(n, size, size, size)"]
    by_channels = {1: "(n, size, size)", 3: "(n, size, size, 3)"}
    if origin.official:
        return [by_channels[origin.official["n_channels"]]]
    return list(by_channels.values())


def _check_labels(origin: _Origin, key: str, array: npt.NDArray[Any]) -> None:
    if not np.issubdtype(array.dtype, np.integer):
        raise origin.differs(key, "integers", array.dtype)
    if array.ndim != 2 or not array.shape[1]:
        raise origin.differs(key, "shape (n, number of labels)", array.shape)
    columns, highest = _label_layout(origin, array.shape[1])
    if array.shape[1] != columns:
        raise origin.differs(key, f"shape (n, {columns})", array.shape)
    wrong = array[(array < 0) | (array > highest)]
    if wrong.size:
        found = f"{wrong[0]} ({wrong.size} out of range)"
        raise origin.differs(key, f"labels from 0 to {highest}", found)


def _label_layout(origin: _Origin, found_columns: int) -> tuple[int, int]:
    """Return how many columns labels have, and the highest value in them."""
    if not origin.official:
        return found_columns, 1 if found_columns > 1 else HIGHEST_LABEL
    known = len(origin.official["label"])
    multi_label = str(origin.official["task"]).startswith("multi-label")
    return (known, 1) if multi_label else (1, known - 1)


def _check_agreement(origin: _Origin, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    for split in SPLITS:
        rows = len(arrays[f"{split}_images"])
        if len(arrays[f"{split}_labels"]) != rows:
            expected = f"{rows} rows, as in {split}_images"
            raise origin.differs(f"{split}_labels", expected, len(arrays[f"{split}_labels"]))
        for part in ("images", "labels"):
            first, here = arrays[f"train_{part}"].shape[1:], arrays[f"{split}_{part}"].shape[1:]
            if first != here:
                expected = f"rows of shape {first}, as in train_{part}"
                raise origin.differs(f"{split}_{part}", expected, here)


def pixels(
    archives: Mapping[str, Archive],
    table: pd.DataFrame,
    channels: Literal[1, 3],
    size: int | None = None,
) -> Pixels:
    """Gather images from several archives, grey and RGB brought together.

    Parameters
    ----------
    archives
        The archives by dataset.
    table
        One row an image, with the columns ``dataset``, ``split`` and ``row`` (others are ignored).
    channels
        1 turns RGB to grey by ITU-R BT.601 luma, bit for bit as Pillow's ``convert("L")``; 3
        repeats grey three times.
    size
        Expected edge length in pixels; None accepts any that all archives share.

    Returns
    -------
    ndarray
        uint8 of shape (n, H, W) for 1 channel or (n, H, W, 3) for 3, in the table's order.

    Raises
    ------
    MedlabelError
        When an archive holds volumes, when sizes differ, or when the table names rows that an
        archive lacks.
    """
    edge = _common_size(archives, size)
    gathered = np.empty((len(table), edge, edge, *((3,) if channels == 3 else ())), dtype=np.uint8)
    rows = table["row"].to_numpy()
    groups = table.groupby(["dataset", "split"], sort=False, observed=True).indices
    for source, positions in groups.items():
        dataset, split = cast("tuple[str, str]", source)
        _check_rows(archives[dataset], split, rows[positions])
        images = archives[dataset].images[split][rows[positions]]
        gathered[positions] = _with_channels(images, channels)
    return gathered


def _common_size(archives: Mapping[str, Archive], size: int | None) -> int:
    found = {name: archive.size for name, archive in archives.items()}
    listing = ", ".join(f"{name}: {edge}" for name, edge in found.items())
    if volumes := [name for name, archive in archives.items() if archive.volumetric]:
        raise MedlabelError(
            f"{', '.join(volumes)}: expected images, found volumes, which do not mix with images."
        )
    edges = set(found.values()) | ({size} if size is not None else set())
    if len(edges) != 1:
        wanted = "one size for all datasets" if size is None else f"{size} pixels"
        raise MedlabelError(
            f"image sizes: expected {wanted}, found {listing or 'no dataset'}; make data.size and "
            f"phantoms.size equal and run again."
        )
    return edges.pop()


def _check_rows(archive: Archive, split: str, rows: npt.NDArray[np.integer[Any]]) -> None:
    held = len(archive.images[split])
    if rows.min() < 0 or rows.max() >= held:
        raise MedlabelError(
            f"{archive.path}: expected rows from 0 to {held - 1} of {split}_images, found rows "
            f"from {rows.min()} to {rows.max()} in the table of images; the table was made from "
            f"another file: run `medlabel pool` again."
        )


def _with_channels(images: Pixels, channels: Literal[1, 3]) -> Pixels:
    colour = images.ndim == 4
    if channels == 1 and colour:
        return _luma(images)
    if channels == 3 and not colour:
        return np.broadcast_to(images[..., None], (*images.shape, 3))
    return images


def _luma(images: Pixels) -> Pixels:
    total = np.full(images.shape[:-1], LUMA_HALF, dtype=np.uint32)
    for channel, weight in enumerate(LUMA):
        total += np.multiply(images[..., channel], weight, dtype=np.uint32)
    return (total >> LUMA_BITS).astype(np.uint8)
