"""Words: every class as the mean of the sentences about it, in an encoder's space."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medlabel import compute, files
from medlabel.data import vectors
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, halves, vocabulary, wordvectors

logger = logging.getLogger("medlabel")

TOKENS_LOOKED_AT = 512


def write(
    references: Mapping[str, Path],
    sentences: Mapping[str, Sequence[str]],
    target: Path,
    device: str,
    threads: int,
) -> None:
    """Embed the words of classes with each set of weights of an encoder.

    Parameters
    ----------
    references
        Folders, as `medlabel.teacher.encoder` writes them, by the names of their columns.
    sentences
        What to say of each class.
    target
        The parquet table to write: class and for each reference a fixed-size list of float32 of
        length 1 (L2 norm); where a class has several sentences, also a list of all of them, one
        after the other. The schema's metadata ``medlabel`` holds ``logit_scale`` by reference,
        the ``sentences``, and by reference and class the ``unknown_words`` that `check` found.
    device, threads
        As for `medlabel.compute.prepare`.

    Raises
    ------
    MedlabelError
        When an encoder is missing or damaged, a sentence is too long for it, or a class has no
        word with a vector.
    """
    import pyarrow.parquet as pq

    where = compute.prepare(device, threads)
    columns, singly, scales, unknown = {}, {}, {}, {}
    for reference, folder in references.items():
        loaded = halves.with_words(folder, where)
        columns[reference] = class_embeddings(loaded, list(sentences.values()))
        if any(len(said) > 1 for said in sentences.values()):
            singly[reference] = [_each(loaded, said) for said in sentences.values()]
        scales[reference] = loaded.logit_scale
        unknown[reference] = check(loaded, sentences)
    content = {
        "logit_scale": scales,
        "sentences": dict(sentences),
        "unknown_words": unknown,
    }
    names = pd.DataFrame({"class": list(sentences)})
    table = vectors.with_vectors(names, columns, content, singly)
    with files.replacing(target) as partial:
        pq.write_table(table, partial)


def check(loaded: encoder.Encoder, sentences: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Warn of classes of whose words an encoder learnt none, and return them with these words.

    Parameters
    ----------
    loaded
        The encoder. Of one whose record names no words nothing can be said.
    sentences
        What is said of each class.

    Raises
    ------
    MedlabelError
        When no word of a class has a vector, so that the encoder reads nothing.
    """
    if isinstance(loaded.tokenizer, wordvectors.Tokenizer):
        for name, own in vocabulary.own_words(sentences).items():
            if own and not any(map(loaded.tokenizer.knows, own)):
                raise MedlabelError(
                    f"words: {name}: no word of {' '.join(own)!r} has a vector in "
                    f"{loaded.manifest.folder.name}; describe the class in English words."
                )
    if loaded.manifest.vocabulary is None:
        return {}
    found = vocabulary.unknown(sentences, loaded.manifest.vocabulary)
    for name, said in found.items():
        logger.warning("%s: %s", name, vocabulary.told(said, loaded.manifest.folder.name))
    return found


def class_embeddings(
    loaded: encoder.Encoder, sentences: Sequence[Sequence[str]]
) -> vectors.Vectors:
    """Embed classes as the mean over sentences.

    Each sentence's embedding has length 1; their mean is brought to length 1 again (Radford et
    al. 2021, section 3.1.4).

    Parameters
    ----------
    loaded
        The encoder, with its text tower in float32.
    sentences
        For each class, what is said of it.

    Returns
    -------
    ndarray
        float32 of shape (classes, dimension).

    Raises
    ------
    MedlabelError
        When a sentence has more tokens than the text tower reads: words would be cut off silently.
    """
    rows = []
    for said in sentences:
        _check_length(loaded, said)
        tokens = loaded.tokenizer(list(said)).to(loaded.device)
        with torch.inference_mode():
            each = loaded.model.encode_text(tokens, normalize=True)
            rows.append(torch.nn.functional.normalize(each.mean(dim=0), dim=0).cpu())
    found: vectors.Vectors = torch.stack(rows).numpy()
    return found


def sentence_embeddings(
    loaded: encoder.Encoder, sentences: Sequence[Sequence[str]]
) -> vectors.Vectors:
    """Embed the sentences about classes that have as many each, one by one.

    Returns
    -------
    ndarray
        float32 of shape (sentences, classes, dimension): the first sentence about every class, the
        second, and so on. Rows have length 1.

    Raises
    ------
    MedlabelError
        As `class_embeddings`.
    """
    return np.stack([_each(loaded, said) for said in sentences], axis=1)


def _each(loaded: encoder.Encoder, sentences: Sequence[str]) -> vectors.Vectors:
    """Embed the sentences about one class: float32 (sentences, dimension)."""
    return class_embeddings(loaded, [[one] for one in sentences])


def _check_length(loaded: encoder.Encoder, sentences: Sequence[str]) -> None:
    limit = loaded.context_length
    # The tokenizer cuts without a word, so it is given far more room than the text tower has.
    wide = loaded.tokenizer(list(sentences), context_length=max(TOKENS_LOOKED_AT, 2 * limit))
    for sentence, row in zip(sentences, wide, strict=True):
        needed = int((row != row[-1]).nonzero().max()) + 1
        if needed > limit:
            raise MedlabelError(
                f"prompts: {sentence!r} has {needed} tokens, but the text tower of "
                f"{loaded.manifest.folder.name} reads {limit}; shorten the template or the words."
            )
