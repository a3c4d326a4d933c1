"""Captioned images of one's own, gathered as phantoms are: an archive and a table of captions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from medlabel import files, fingerprint
from medlabel.data.phantoms.captions import NAMING_A_FINDING, STYLES
from medlabel.data.pixels import Pixels
from medlabel.data.reading.images import read_pages
from medlabel.data.reading.page import UnreadableError
from medlabel.errors import MedlabelError
from medlabel.progress import track
from medlabel.teacher import wordvectors
from medlabel.teacher.sources import Source

NAME = "captioned"
REQUIRED, OPTIONAL = ("image", "caption"), ("split", "kind", "finding")
SPLITS = ("train", "val", "test")
OF_SO_MANY_ONE_VALIDATES = 5  # of each kind, where the table has no splits
LINES_BEFORE = 2  # the header, and lines are counted from 1


def gather(table: Path, edge: int, tokenizer: wordvectors.Tokenizer, cache: Path) -> Source:
    """Read a table of images and captions, and bring the images into one archive.

    Parameters
    ----------
    table
        CSV (UTF-8) or Parquet with the columns image (a path, relative to the table's folder) and
        caption, and if wanted split (train, val or test, which is left aside), kind and finding.
        Without split every fifth image of a kind validates (`own_tables.gather` divides such a
        table as published instead). Without kind, images of the same
        caption are a kind; without finding, captions tell kinds alone.
    edge
        In pixels, to which images are squeezed, in three channels.
    tokenizer
        Of the word vectors: a caption of which it knows no word teaches nothing.
    cache
        Folder of archives made before, by the contents of table and images.

    Raises
    ------
    MedlabelError
        When the table or a column is missing, a value is empty or not allowed, an image cannot be
        read, or there is nothing to learn from or to validate on.
    """
    rows = _split(_checked(table, tokenizer), table)
    paths = [table.parent / name for name in rows["image"]]
    key = {
        "rows": rows.to_dict("list"),
        "images": [_digest(path, table) for path in paths],
        "edge": edge,
        "code": fingerprint.of("teacher.captioned"),
    }
    folder = cache / hashlib.sha256(json.dumps(key).encode()).hexdigest()
    source = Source(NAME, edge, folder / "images.npz", folder / "captions.parquet", measured=True)
    if not (source.archive.exists() and source.captions.exists()):
        pixels = [_image(path, edge) for path in track(paths, "read images", len(paths))]
        files.write_npz(source.archive, _archive(np.stack(pixels), rows))
        files.write_parquet(source.captions, _captions(rows))
    return source


def _checked(table: Path, tokenizer: wordvectors.Tokenizer) -> pd.DataFrame:
    """Read the table; every value of it is a text that is not empty."""
    rows = _read(table)
    if missing := [name for name in REQUIRED if name not in rows]:
        raise MedlabelError(
            f"{table}: expected the columns {', '.join(REQUIRED)} and, if wanted, "
            f"{', '.join(OPTIONAL)}; {', '.join(missing)} is missing."
        )
    rows = rows[[name for name in (*REQUIRED, *OPTIONAL) if name in rows]]
    for name in rows:
        blank = rows[name].isna() | (rows[name].astype(str).str.strip() == "")
        if blank.any():
            raise MedlabelError(
                f"{table}: {_line(blank)}: {name}: expected a text, found none; fill it in, or "
                f"leave out the row{'' if name in REQUIRED else ' or the column'}."
            )
    rows = rows.astype(str)
    silent = ~rows["caption"].map(lambda said: any(map(tokenizer.knows, said.split())))
    if silent.any():
        said = rows.loc[silent, "caption"].iloc[0]
        raise MedlabelError(
            f"{table}: {_line(silent)}: caption: no word of {said!r} has a vector; write captions "
            f"in English words."
        )
    return rows


def _read(table: Path) -> pd.DataFrame:
    if not table.is_file():
        raise MedlabelError(
            f"captioned: {table} given, which is no file; set it to a CSV or Parquet table of "
            f"images and captions, or to null for phantoms."
        )
    if table.suffix == ".parquet":
        return files.read_parquet(table, "pretrain", REQUIRED)
    try:
        return pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, pd.errors.ParserError) as error:
        raise MedlabelError(
            f"{table}: expected a CSV table in UTF-8 with a header, found something else "
            f"({' '.join(str(error).split())})."
        ) from error


def _line(chosen: pd.Series[bool]) -> str:
    return f"line {int(np.flatnonzero(chosen)[0]) + LINES_BEFORE}"


def _split(rows: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Give each image a split, a kind and a finding, and make sure that both can be learnt."""
    kind = rows["kind"] if "kind" in rows else rows["caption"]
    place = rows.groupby(kind).cumcount()
    validates = place % OF_SO_MANY_ONE_VALIDATES == 1
    split = rows["split"] if "split" in rows else np.where(validates, "val", "train")
    whole = rows.assign(kind=kind, split=split, finding=rows.get("finding", ""))
    other = ~whole["split"].isin(SPLITS)
    if other.any():
        raise MedlabelError(
            f"{table}: {_line(other)}: split: {whole.loc[other, 'split'].iloc[0]!r} given, one of "
            f"{', '.join(SPLITS)} expected."
        )
    for wanted, purpose in (("train", "learn from"), ("val", "validate on")):
        if not (whole["split"] == wanted).any():
            raise MedlabelError(
                f"{table}: expected images to {purpose}, found none; add the column "
                f"split with train and val, or more images a kind."
            )
    learnt = set(whole.loc[whole["split"] == "train", "kind"])
    alone = (whole["split"] == "val") & ~whole["kind"].isin(learnt)
    if alone.any():
        raise MedlabelError(
            f"{table}: {_line(alone)}: split: val given, but no image of "
            f"{whole.loc[alone, 'kind'].iloc[0]!r} is to learn from; give one the split train."
        )
    return whole


def _digest(path: Path, table: Path) -> str:
    if not path.is_file():
        raise MedlabelError(f"{table}: image: {path} given, which is no file; correct the path.")
    return files.digest(path)


def _image(path: Path, edge: int) -> Pixels:
    try:
        pages = list(read_pages(path))
    except UnreadableError as error:
        raise MedlabelError(f"{path}: {error}.") from error
    if len(pages) != 1:
        raise MedlabelError(f"{path}: expected one image, found {len(pages)}; save each alone.")
    image = Image.fromarray(pages[0].pixels).convert("RGB")
    return np.asarray(image.resize((edge, edge), Image.Resampling.BICUBIC))


def _archive(pixels: Pixels, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    arrays = {}
    for split in SPLITS:
        chosen = (rows["split"] == split).to_numpy()
        arrays[f"{split}_images"] = pixels[chosen]
        arrays[f"{split}_labels"] = np.zeros((int(chosen.sum()), 1), np.uint8)
    return arrays


def _captions(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the table that phantoms have; a style says whether a caption names its finding."""
    silent = next(one for one in STYLES if one not in NAMING_A_FINDING)
    style = np.where(rows["finding"] != "", NAMING_A_FINDING[0], silent)
    return rows.assign(row=rows.groupby("split").cumcount(), style=style)[
        ["split", "row", "kind", "finding", "style", "caption"]
    ]
