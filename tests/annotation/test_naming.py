"""Names of classes that say what is said of another class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medlabel.annotation import naming
from medlabel.teacher import words

MEANINGS = {"chest": 0, "breast": 1, "lung": 0, "bosom": 1, "foot": 2, "a": 0, "b": 1, "it": 2}
KNOWN = frozenset(MEANINGS) - {"bosom"}

Find = Callable[[dict[str, list[str]]], tuple[str, ...]]


def embed(_: object, said: Sequence[Sequence[str]]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[[MEANINGS[sentences[0]] for sentences in said]]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Find:
    monkeypatch.setattr(words, "class_embeddings", embed)
    loaded = SimpleNamespace(manifest=SimpleNamespace(vocabulary=KNOWN))
    return lambda said: naming.swapped(loaded, said, embed(loaded, list(said.values())))


def test_names_that_say_what_is_said_of_the_other_are_found(find: Find) -> None:
    assert find({"chest": ["breast"], "breast": ["lung"]}) == ("chest", "breast")
    assert find({"foot": ["foot"], "chest": ["bosom"], "breast": ["lung"]}) == ("chest", "breast")


def test_names_that_nobody_can_hold_against_their_sentences_are_told() -> None:
    loaded: Any = SimpleNamespace(manifest=SimpleNamespace(vocabulary=KNOWN))
    assert naming.mute(loaded, {"a": ["chest"], "b": ["breast"]}) == ("a", "b")
    assert naming.mute(loaded, {"grade_1": ["lung"], "it": ["foot"], "chest": ["chest"]}) == (
        "grade_1",
        "it",
    )
    assert naming.mute(loaded, {"a": ["chest"], "breast": ["breast"]}) == ()
    assert naming.mute(loaded, {"grade_two": ["the grade two"], "kl one": ["KL one"]}) == ()


def test_names_that_fit_or_say_nothing_are_left_alone(find: Find) -> None:
    assert find({"chest": ["lung"], "breast": ["bosom"]}) == ()
    assert find({"a": ["b"], "b": ["a"]}) == ()  # too short
    assert find({"it": ["lung"], "lung": ["it"]}) == ()  # a stop word
    assert find({"bosom": ["lung"], "chest": ["breast"]}) == ()  # never learnt
    assert find({"chest " * 9: ["breast"], "breast": ["lung"]}) == ()  # no name but a text
