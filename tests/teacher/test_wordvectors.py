"""Word vectors of a package: checked before they are believed, and read without importing it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from medlabel.errors import MedlabelError
from medlabel.teacher import locked, wordvectors


@pytest.fixture(scope="module")
def found() -> wordvectors.WordVectors:
    return wordvectors.load()


@pytest.fixture(scope="module")
def tokenizer(found: wordvectors.WordVectors) -> wordvectors.Tokenizer:
    return wordvectors.Tokenizer(found.tokenizer, locked.CONTEXT_LENGTH)


def test_vectors_have_length_one_on_average_and_say_whence_they_come(
    found: wordvectors.WordVectors,
) -> None:
    assert found.table.dtype == torch.float32
    assert found.table.norm(dim=1).mean() == pytest.approx(1, rel=1e-5)
    assert found.facts["sha256"] == wordvectors.SHA256[wordvectors.WEIGHTS]
    assert set(found.facts) == {"name", "source", "version", "sha256", "licence"}
    assert wordvectors.DISTRIBUTION not in sys.modules


def test_words_of_like_meaning_are_near(
    found: wordvectors.WordVectors, tokenizer: wordvectors.Tokenizer
) -> None:
    def mean(word: str) -> torch.Tensor:
        (row,) = tokenizer([word])
        return found.table[row[row != wordvectors.PADDING]].mean(dim=0)

    def near(one: str, other: str) -> float:
        return functional.cosine_similarity(mean(one), mean(other), dim=0).item()

    assert near("doctor", "physician") > near("doctor", "banana") + 0.1


def test_case_does_not_matter_and_long_sentences_are_cut(
    tokenizer: wordvectors.Tokenizer,
) -> None:
    upper, lower = tokenizer(["A CHEST X-RAY", "a chest x-ray"])
    assert torch.equal(upper, lower)
    assert upper.dtype == torch.int64
    ids = upper[upper != wordvectors.PADDING]
    assert torch.equal(upper[: len(ids)], ids)  # padding is at the end
    assert tokenizer(["chest " * 200]).shape == (1, locked.CONTEXT_LENGTH)
    assert (tokenizer([""]) == wordvectors.PADDING).all()
    assert tokenizer(["chest"] * 3, 5).shape == (3, 5)
    assert tokenizer([]).shape == (0, locked.CONTEXT_LENGTH)


def test_a_missing_package_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MedlabelError) as caught:
        wordvectors.load()
    assert str(caught.value) == (
        "encoders: the word vectors are not installed: run `pip install wordllama`."
    )


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_other_files_are_refused(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / wordvectors.WEIGHTS
    path.parent.mkdir()
    if damage == "altered":
        path.write_bytes(b"other vectors")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(
        MedlabelError, match=r"expected sha256 64b4.*pip install --force-reinstall wordllama=="
    ) as caught:
        wordvectors.load()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "medlabel pip" not in str(caught.value)
