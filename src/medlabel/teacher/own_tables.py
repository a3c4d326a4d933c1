"""Tables of one's own captioned images as ROCO has them: concept codes, and the published split."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.randomness import stream
from medlabel.teacher import captioned, wordvectors
from medlabel.teacher.sources import Source

CONCEPTS, SEPARATOR = "concepts", ";"
CODES = rf"\s*[\w.:-]+\s*({SEPARATOR}\s*[\w.:-]+\s*)*"
SHARES = {"train": 0.64, "val": 0.16, "test": 0.20}  # Carminati 2023, on ROCO


def gather(
    table: Path, edge: int, tokenizer: wordvectors.Tokenizer, cache: Path, seed: int
) -> Source:
    """As `captioned.gather`, of tables that may have concept codes and need have no splits.

    A column concepts holds codes separated by ``;``, such as ROCO's CUIs. Without a column kind
    the first code is an image's kind, the target of Carminati (2023); the others are not learnt
    from. Without a column split, images are shuffled and divided as there: 64 % to learn from, 16 %
    to validate on, 20 % (test) left aside, and with these what would validate a kind that no image
    teaches.

    Parameters
    ----------
    table, edge, tokenizer, cache
        As `captioned.gather` takes them.
    seed
        Root seed, by which images are shuffled.

    Raises
    ------
    MedlabelError
        As `captioned.gather` does, and when a value of concepts is no list of codes.
    """
    rows = _read(table)
    given = set() if rows is None else set(rows)
    whole = {CONCEPTS, "split"} & given == {"split"}
    if rows is None or whole or not given.issuperset(captioned.REQUIRED):
        return captioned.gather(table, edge, tokenizer, cache)
    rows["image"] = [str(table.absolute().parent / str(name)) for name in rows["image"]]
    if CONCEPTS in rows:
        codes = _checked(rows[CONCEPTS], table)
        rows["kind"] = rows.get("kind", codes.str.split(SEPARATOR).str[0].str.strip())
    if "split" not in rows:
        rows["split"] = shuffled(rows.get("kind", rows["caption"]), seed)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "table.parquet"
        files.write_parquet(copy, rows)
        try:
            return captioned.gather(copy, edge, tokenizer, cache)
        except MedlabelError as error:  # rows stand in the same order: its line is that of `table`
            raise MedlabelError(str(error).replace(str(copy), str(table))) from error


def _read(table: Path) -> pd.DataFrame | None:
    """Return the table, or none where it cannot be read, which `captioned.gather` tells."""
    try:
        if table.suffix == ".parquet":
            return pd.read_parquet(table)
        return pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError):
        return None


def _checked(concepts: pd.Series[str], table: Path) -> pd.Series[str]:
    codes = concepts.fillna("").astype(str)
    other = ~codes.str.fullmatch(CODES)
    if other.any():
        line = int(np.flatnonzero(other)[0])
        raise MedlabelError(
            f"{table}: line {line + captioned.LINES_BEFORE}: {CONCEPTS}: {codes.iloc[line]!r} "
            f"given, codes separated by {SEPARATOR} expected, such as C0040405;C0817096; correct "
            f"it, or leave out the row or the column."
        )
    return codes


def shuffled(kind: pd.Series[str], seed: int) -> npt.NDArray[np.str_]:
    """Divide images of these kinds by chance: ``train``, ``val`` or ``test`` each, str (n,).

    What would validate a kind of which nothing is learnt is ``test``.
    """
    many = len(kind)
    ends = np.round(np.cumsum(list(SHARES.values())) * many).astype(int)
    place = stream(seed, "captioned", "split").permutation(many)
    split = np.array(list(SHARES))[np.searchsorted(ends, place, side="right")]
    unknown = (split == "val") & ~kind.isin(kind[split == "train"]).to_numpy()
    split[unknown] = "test"
    return split
