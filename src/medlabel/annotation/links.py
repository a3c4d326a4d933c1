"""Folders by label: links to the images, which stay where they are."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medlabel.annotation import tables
from medlabel.annotation.embedding import File

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("medlabel")

FOLDER = "by_label"
LONGEST = 200  # bytes of a link's name


def write(out: Path, table: pd.DataFrame, files: Sequence[File]) -> None:
    """Link every labelled file into a folder of its label; the old folders of links go.

    A stack whose pages have several labels is linked into each. Files within archives cannot be
    linked; they are counted.
    """
    target = out / FOLDER
    shutil.rmtree(target, ignore_errors=True)
    where = {tables.text_of(file.source.name): file.source for file in files}
    labelled = table[table["label"] != ""].drop_duplicates(["file", "label"])
    within = 0
    for name, label in zip(labelled["file"], labelled["label"], strict=True):
        source = where[name]
        if source.member is not None:
            within += 1
            continue
        folder = target / _safe(label)
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / _safe(name)
        link.symlink_to(os.path.relpath(source.path.absolute(), folder.resolve()))
    if within:
        logger.warning("%d images lie within archives and have no link in %s", within, target)


def _safe(name: str) -> str:
    """Make one name of a path; a long one keeps its end, which holds the ending."""
    flat = name.replace("/", "__").replace("\\", "_").lstrip(".") or "_"
    while len(flat.encode()) > LONGEST:
        flat = flat[1:]
    return flat
