from __future__ import annotations

import string

import numpy as np
import pytest

from medlabel.data import catalogue
from medlabel.data.phantoms import _KINDS, captions

PROMPT = "This is a photo of the {}, and it's a type of organ"


def sentences(kind: str, finding: str, count: int) -> list[tuple[str, str]]:
    random = np.random.default_rng(3)
    return [captions.caption(random, kind, finding) for _ in range(count)]


@pytest.mark.parametrize("kind", catalogue.PHANTOMS)
def test_vocabulary_has_words_for_exactly_the_findings_drawn(kind: str) -> None:
    assert set(captions.VOCABULARIES[kind].findings) == set(_KINDS[kind].findings)


@pytest.mark.parametrize("kind", catalogue.PHANTOMS)
def test_every_name_of_a_modality_has_its_article(kind: str) -> None:
    words = captions.VOCABULARIES[kind]
    for phrase in (*words.exams, *words.images):
        article, noun = phrase.split(" ", 1)
        # "an MR", "an X-ray": spoken letters decide, not written vowels.
        spoken_vowel = noun[0] in "aeiou" or noun.startswith(("MR", "X-", "OCT", "abdominal"))
        assert article == ("an" if spoken_vowel else "a"), phrase


def test_all_styles_occur_and_every_gap_is_filled() -> None:
    written = sentences("phantom_chest", "pneumonia", 400)
    assert {style for style, _ in written} == set(captions.STYLES)
    for _, sentence in written:
        assert "{" not in sentence
        assert "}" not in sentence


@pytest.mark.parametrize(
    ("kind", "organ"), [("phantom_chest", "chest"), ("phantom_breast", "breast")]
)
def test_the_studys_prompts_are_among_the_captions(kind: str, organ: str) -> None:
    written = {sentence for _, sentence in sentences(kind, "normal", 400)}
    assert PROMPT.format(organ) in written


def test_sentences_and_reports_name_the_finding_and_others_do_not() -> None:
    phrases = captions.VOCABULARIES["phantom_breast"].findings["malignant mass"]
    for style, sentence in sentences("phantom_breast", "malignant mass", 300):
        named = any(phrase in sentence for phrase in phrases)
        assert named == (style in {"sentence", "report"}), sentence


def test_templates_use_only_known_gaps() -> None:
    known = {"an_image", "image", "an_exam", "exam", "organ", "finding"}
    for templates in captions.STYLES.values():
        for template in templates:
            gaps = {gap for _, gap, _, _ in string.Formatter().parse(template) if gap}
            assert gaps
            assert gaps <= known
