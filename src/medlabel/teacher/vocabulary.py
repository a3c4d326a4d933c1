"""Which words a teacher learnt, and of which classes it knows none."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping, Sequence


def words_of(sentence: str) -> list[str]:
    """Return the words of a sentence in small letters, without punctuation."""
    cleaned = "".join(one if one.isalnum() or one == "-" else " " for one in sentence.lower())
    return cleaned.split()


def own_words(sentences: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the words that tell each class from the others.

    Parameters
    ----------
    sentences
        What is said of each class.

    Returns
    -------
    dict
        For each class its words in small letters, each once, in their order, but for those that
        are said of every class (such as a template's). Empty where a class has no others.
    """
    said = {
        name: list(dict.fromkeys(one for sentence in some for one in _parts(sentence)))
        for name, some in sentences.items()
    }
    shared = set.intersection(*map(set, said.values())) if said else set()
    return {name: [one for one in some if one not in shared] for name, some in said.items()}


def _parts(sentence: str) -> list[str]:
    """Split at blanks: signs that are no letters stay, so that they can be told too."""
    parts = (one.strip(string.punctuation) for one in sentence.lower().split())
    return [one for one in parts if one]


def unknown(sentences: Mapping[str, Sequence[str]], known: Collection[str]) -> dict[str, str]:
    """Return the classes of whose own words not one is known, with these words.

    Parameters
    ----------
    sentences
        What is said of each class.
    known
        All words that a teacher learnt, in small letters.

    Notes
    -----
    Words such as "the" and "with" (the English stop words of scikit-learn) name nothing: that they
    are known does not help, unless a class has no others.
    """
    doubtful = {
        name: own
        for name, own in own_words(sentences).items()
        if not all(any(part in known for part in words_of(one)) for one in own)
    }
    if not doubtful:
        return {}
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found = {}
    for name, own in doubtful.items():
        naming = [one for one in own if one not in ENGLISH_STOP_WORDS] or own
        if naming and not any(word in known for one in naming for word in words_of(one)):
            found[name] = " ".join(naming)
    return found


def told(words: str, teacher: str) -> str:
    """Say that not one of some words was learnt by a teacher."""
    return (
        f"no word of {words!r} occurs in the captions that {teacher} learnt from: it guesses from "
        f"words of like meaning; describe the class in other words, or trust its labels less"
    )
