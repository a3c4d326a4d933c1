"""Which datasets there are: MedMNIST's own table, and the phantoms."""

from __future__ import annotations

import difflib
import importlib.util
import runpy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZES_2D = (28, 64, 128, 224)
SIZES_3D = (28, 64)

PHANTOMS = (
    "phantom_chest",
    "phantom_breast",
    "phantom_brain",
    "phantom_abdomen",
    "phantom_hand",
    "phantom_retina",
    "phantom_blood",
    "phantom_skin",
    "phantom_colon",
    "phantom_oct",
    "phantom_vessel3d",
)
FLAT_PHANTOMS = tuple(kind for kind in PHANTOMS if not kind.endswith("3d"))


def _load_info() -> dict[str, dict[str, Any]]:
    # `import medmnist` imports torch and torchvision (4 s); its table alone needs neither.
    package = importlib.util.find_spec("medmnist")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("medmnist is not installed")
    table = Path(package.origin).with_name("info.py")
    with warnings.catch_warnings():  # that it has no home folder, which is not needed
        warnings.simplefilter("ignore")
        info: dict[str, dict[str, Any]] = runpy.run_path(str(table))["INFO"]
    return info


INFO = _load_info()
DATASETS = tuple(INFO)


@dataclass(frozen=True)
class Source:
    """One official file: where it lies and what it holds.

    `url` and `md5` are as published in `medmnist.INFO`, `task` is MedMNIST's word for it, `labels`
    are the meanings in label order, `size` is the edge length in pixels or voxels.
    """

    flag: str
    size: int
    url: str
    md5: str
    task: str
    labels: tuple[str, ...]
    licence: str

    @property
    def file_name(self) -> str:
        """Name of the file on Zenodo and in ~/.medmnist."""
        return f"{file_stem(self.flag, self.size)}.npz"

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use (DermaMNIST's does)."""
        return "NC" in self.licence


def is_phantom(dataset: str) -> bool:
    """Whether a dataset is drawn by this package rather than measured on people."""
    return dataset in PHANTOMS


def is_volumetric(dataset: str) -> bool:
    """Whether a dataset holds volumes rather than images."""
    return dataset.endswith("3d")


def sizes(dataset: str) -> tuple[int, ...]:
    """Return the published edge lengths of an official dataset."""
    return SIZES_3D if is_volumetric(dataset) else SIZES_2D


def file_stem(dataset: str, size: int) -> str:
    """Name an official file as MedMNIST does: 28 pixels have no suffix."""
    return dataset if size == 28 else f"{dataset}_{size}"


def parse(images: str) -> tuple[str, int]:
    """Return the dataset and the edge length that the name of a file says.

    Parameters
    ----------
    images
        MedMNIST's file name without its ending, such as ``"pneumoniamnist_224"``, or a phantom's.

    Raises
    ------
    ValueError
        Naming the nearest names, or the sizes that exist.
    """
    if images in PHANTOMS:
        return images, 28
    flag, _, size = images.partition("_")
    if flag not in DATASETS:
        close = difflib.get_close_matches(images.lower(), [*DATASETS, *PHANTOMS], n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else f"one of {', '.join(DATASETS)}"
        raise ValueError(f"{images!r} given, which is no dataset of MedMNIST; {hint}")
    edge = int(size) if size.isdecimal() else 0 if size else 28
    if edge not in sizes(flag):
        raise ValueError(
            f"{images!r} given, {flag} is published in {', '.join(map(str, sizes(flag)))}"
        )
    return flag, edge


def task_of(classes: int) -> str:
    """Return MedMNIST's word for telling so many classes apart."""
    return "binary-class" if classes == 2 else "multi-class"


def is_multi_label(task: str) -> bool:
    """Whether images of a task may carry several labels at once."""
    return task.startswith("multi-label")


def class_names(dataset: str) -> list[str]:
    """Return the meaning of each label of a dataset, in label order."""
    if is_phantom(dataset):
        from medlabel.data.phantoms import FINDINGS

        return list(FINDINGS[dataset])
    labels = INFO[dataset]["label"]
    return [labels[str(index)] for index in range(len(labels))]


def source(flag: str, size: int) -> Source:
    """Look up one official file.

    Raises
    ------
    KeyError
        When MedMNIST has no such dataset or size; parameters are checked before this is called.
    """
    entry = INFO[flag]
    suffix = "" if size == 28 else f"_{size}"
    return Source(
        flag=flag,
        size=size,
        url=entry[f"url{suffix}"],
        md5=entry[f"MD5{suffix}"],
        task=entry["task"],
        labels=tuple(class_names(flag)),
        licence=entry["license"],
    )
