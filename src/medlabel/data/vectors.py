"""Tables with columns of vectors: embeddings of images and of words, a column an encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medlabel import files
from medlabel.data.mixtures import IMAGE
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import pandas as pd

Vectors = npt.NDArray[np.float32]


def with_vectors(
    table: pd.DataFrame,
    columns: Mapping[str, Vectors],
    content: Mapping[str, Any],
    singly: Mapping[str, Sequence[Vectors]] | None = None,
) -> Any:
    """Return a table with more columns, of vectors, and `content` as JSON in its metadata.

    Columns are float32 of shape (len(table), dimension). Of `singly` each row has a list of
    vectors, of shape (any number, dimension): they are kept one after the other.
    """
    import pyarrow as pa

    found = pa.Table.from_pandas(table, preserve_index=False)
    for name, vectors in columns.items():
        flat = pa.array(np.ascontiguousarray(vectors).ravel())
        values = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        found = found.append_column(name, values)
    for name, rows in (singly or {}).items():
        lists = pa.array([row.ravel() for row in rows], pa.list_(pa.float32()))
        found = found.append_column(sentences_of(name), lists)
    return found.replace_schema_metadata({"medlabel": json.dumps(content, sort_keys=True)})


def read_embeddings(path: Path, reference: str, images: pd.DataFrame) -> Vectors:
    """Read an encoder's embeddings of images, which a table may name twice.

    Returns
    -------
    ndarray
        float32 of shape (len(images), dimension).

    Raises
    ------
    MedlabelError
        When the file is missing or damaged, an image is in it twice, or was never embedded.
    """
    import pandas as pd

    table = files.read_arrow(path, "embed", [*IMAGE, reference])
    index = pd.MultiIndex.from_frame(table.select(IMAGE).to_pandas())
    if not index.is_unique:
        raise MedlabelError(
            f"{path}: expected one embedding an image, found some images twice; delete the file "
            f"and run `medlabel embed` again."
        )
    positions = index.get_indexer(pd.MultiIndex.from_frame(images[IMAGE]))
    if missing := int((positions < 0).sum()):
        raise MedlabelError(
            f"{path}: expected embeddings of all {len(images)} images, found none for {missing} "
            f"of them; run `medlabel embed` again."
        )
    return _column(table, reference)[positions]


def read_words(path: Path, reference: str, classes: Sequence[str]) -> tuple[Vectors, float]:
    """Read an encoder's embeddings of classes' words, and its logit scale.

    Returns
    -------
    words
        float32 of shape (len(classes), dimension).
    logit_scale
        Factor on cosines before softmax that the encoder was trained with.

    Raises
    ------
    MedlabelError
        When the file is missing or damaged, or lacks a class.
    """
    table = files.read_arrow(path, "words", ["class", reference])
    known = {name: row for row, name in enumerate(table["class"].to_pylist())}
    if missing := [name for name in classes if name not in known]:
        raise MedlabelError(
            f"{path}: expected words for {', '.join(classes)}, found none for "
            f"{', '.join(missing)}; run `medlabel words` again."
        )
    note = json.loads(table.schema.metadata[b"medlabel"])
    words = _column(table, reference)[[known[name] for name in classes]]
    return words, float(note["logit_scale"][reference])


def sentences_of(reference: str) -> str:
    """Return the name of the column that holds an encoder's single sentences."""
    return f"{reference} sentences"


def read_sentences(path: Path, reference: str, classes: Sequence[str]) -> Vectors:
    """Read an encoder's embeddings of the single sentences about classes.

    Returns
    -------
    ndarray
        float32 of shape (sentences, len(classes), dimension): the first sentence about every class,
        the second, and so on.

    Raises
    ------
    MedlabelError
        When the file is missing or damaged, or holds no single sentences.

    Notes
    -----
    The classes must have as many sentences each, and be in the file.
    """
    words, _ = read_words(path, reference, classes)
    column = sentences_of(reference)
    table = files.read_arrow(path, "words", ["class", column])
    lists = dict(zip(table["class"].to_pylist(), table[column], strict=True))
    rows = [np.asarray(lists[name].values, np.float32) for name in classes]
    return np.stack([row.reshape(-1, words.shape[1]) for row in rows], axis=1)


def read_unknown_words(path: Path, reference: str) -> dict[str, str]:
    """Read the classes of whose words an encoder knows none, with these words.

    Raises
    ------
    MedlabelError
        When the file is missing, damaged, or of an older version.
    """
    table = files.read_arrow(path, "words", ["class"])
    note = json.loads(table.schema.metadata[b"medlabel"])
    if reference not in note.get("unknown_words", {}):
        raise MedlabelError(
            f"{path}: expected a record of the words that {reference} does not know, found none; "
            f"run `medlabel words` again."
        )
    return dict(note["unknown_words"][reference])


def _column(table: Any, name: str) -> Vectors:
    column = table[name]
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    vectors: Vectors = flat.reshape(-1, column.type.list_size)
    return vectors
