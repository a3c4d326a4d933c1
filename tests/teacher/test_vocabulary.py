"""Words that a teacher learnt: a class of whose words it knows none is told, everywhere."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medlabel.data import vectors
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, vocabulary, words

TEMPLATE = "This is a photo of the {}, and it's a type of organ"
KNOWN = {"chest", "x-ray", "breast", "ultrasound", "no", "finding", "the", "photo", "of", "organ"}


def about(**said: str) -> dict[str, list[str]]:
    return {name: [TEMPLATE.format(text)] for name, text in said.items()}


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Chest: pneumonia (X-ray).", ["chest", "pneumonia", "x-ray"]),
        ("", []),
        ("  it's  ", ["it", "s"]),
    ],
)
def test_words_of_a_sentence(sentence: str, expected: list[str]) -> None:
    assert vocabulary.words_of(sentence) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("bosom echo", "bosom echo"),
        ("Bosom ECHO.", "bosom echo"),
        ("breast echo", None),
        ("bosom of the photo", "bosom"),  # the template's words are no help
        ("the bosom with an echo", "bosom echo"),  # nor are those that name nothing
        ("X-Ray", None),
        ("x-rays", "x-rays"),
        ("no finding", None),
        ("no", None),
        ("that", "that"),
    ],
)
def test_a_class_is_unknown_where_no_word_of_its_own_was_learnt(
    said: str, expected: str | None
) -> None:
    found = vocabulary.unknown(about(first="chest", other=said), KNOWN)
    assert found == ({} if expected is None else {"other": expected})


def test_one_known_description_of_several_is_enough() -> None:
    said = {"first": ["chest"], "other": ["bosom echo", "ultrasound of the bosom"]}
    assert vocabulary.unknown(said, KNOWN) == {}


def test_what_is_said_of_every_class_tells_none_apart() -> None:
    said = {"one": ["a chest with consolidation"], "other": ["a chest with effusion"]}
    assert vocabulary.unknown(said, KNOWN) == {"one": "consolidation", "other": "effusion"}


@given(st.dictionaries(st.text(min_size=1), st.lists(st.text(), min_size=1), max_size=4))
def test_own_words_are_never_those_of_all_classes(said: dict[str, list[str]]) -> None:
    own = vocabulary.own_words(said)
    assert own.keys() == said.keys()
    assert not said or not set.intersection(*map(set, own.values()))
    for name, some in own.items():
        assert len(set(some)) == len(some)
        assert all(one in " ".join(said[name]).lower() for one in some)


@pytest.fixture(scope="module")
def teacher(locked_folder: Path) -> encoder.Encoder:
    return encoder.load(locked_folder, torch.device("cpu"))


def test_the_tokenizer_knows_what_it_has_letters_for(teacher: encoder.Encoder) -> None:
    for word in ("chest", "bosom", "xqzt", "CHEST"):
        assert teacher.tokenizer.knows(word)
    for word in ("\u2e80\u2e81", "\U0001fac1", "\ua66e", ""):
        assert not teacher.tokenizer.knows(word)


def test_an_unknown_class_reaches_the_log_and_the_record(
    locked_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "words.parquet"
    references = {"locked": locked_folder, "locked.1": locked_folder}
    words.write(references, about(chest="chest", bosom="bosom echo"), target, "cpu", 1)
    for reference in references:
        assert vectors.read_unknown_words(target, reference) == {"bosom": "bosom echo"}
    assert (
        "bosom: no word of 'bosom echo' occurs in the captions that locked learnt from"
        in caplog.text
    )
    caplog.clear()
    words.write(references, about(chest="chest", breast="breast"), target, "cpu", 1)
    assert vectors.read_unknown_words(target, "locked") == {}
    assert not caplog.records


def test_a_class_without_any_vector_is_an_error(locked_folder: Path, tmp_path: Path) -> None:
    said = about(chest="chest", odd="\u2e80\u2e81")
    with pytest.raises(MedlabelError, match=r"words: odd: no word of .* has a vector in") as caught:
        words.write({"locked": locked_folder}, said, tmp_path / "words.parquet", "cpu", 1)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_encoder_without_a_record_of_words_is_not_judged(
    loaded: encoder.Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    assert words.check(loaded, about(first="xqzt", other="qqq")) == {}
    assert logging.WARNING not in {one.levelno for one in caplog.records}
