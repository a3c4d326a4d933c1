"""Independent random streams, named by what they are for."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a generator for one purpose, independent of those of all other purposes.

    The purpose is hashed (SHA-256) into the entropy of a `numpy.random.SeedSequence`, so that
    adding a purpose, a seed or a dataset never shifts the numbers that another one gets.

    Parameters
    ----------
    seed
        The root seed of the study (`params.yaml: seed`).
    *purpose
        Words and numbers that name the stream, such as ``"mix", "chest", 17``.
    """
    name = hashlib.sha256("/".join(map(str, purpose)).encode()).digest()
    words = np.frombuffer(name, dtype="<u4").tolist()
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def torch_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for `torch.manual_seed`, drawn from `stream(seed, *purpose)`."""
    return int(stream(seed, *purpose).integers(2**63))
