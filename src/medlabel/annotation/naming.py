"""Names of classes that contradict what is said of them: sentences under the wrong names."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medlabel.data.vectors import Vectors

if TYPE_CHECKING:
    from medlabel.teacher import encoder

LONGEST = 8  # words of a name that is read as a sentence
MARGIN = 0.2  # of cosines: what names that say little of their class stay below


def swapped(
    loaded: encoder.Encoder, sentences: Mapping[str, Sequence[str]], described: Vectors
) -> tuple[str, ...]:
    """Find two classes, each with the name that the sentences of the other one explain better.

    No image shows it where sentences stand under wrong names: labels are then sure and wrong.
    Names that say nothing, such as "a" and "b", are not looked at.

    Parameters
    ----------
    loaded
        The encoder.
    sentences
        What is said of each class.
    described
        The same as vectors, float32 (classes, dimension), of length 1.

    Returns
    -------
    tuple of str
        The clearest of several pairs; empty where there is none.
    """
    from medlabel.teacher import words

    names = list(sentences)
    places = [place for place, name in enumerate(names) if _says_something(loaded, name)]
    if len(places) < 2:
        return ()
    named = words.class_embeddings(loaded, [[names[place]] for place in places])
    fits = named @ described[places].T
    gains = {
        (one, other): fits[one, other] + fits[other, one] - fits[one, one] - fits[other, other]
        for one, other in itertools.combinations(range(len(places)), 2)
    }
    (one, other), gain = max(gains.items(), key=lambda item: item[1])
    return (names[places[one]], names[places[other]]) if gain > MARGIN else ()


def mute(loaded: encoder.Encoder, sentences: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return classes whose sentences could stand under each other's name without a sign of it.

    Their names, such as "a" or "grade_2", say nothing to the encoder, nor do their sentences repeat
    them. One alone has no other to be taken for.
    """
    found = tuple(
        name
        for name, said in sentences.items()
        if not _says_something(loaded, name) and not any(_repeats(one, name) for one in said)
    )
    return found if len(found) > 1 else ()


def _repeats(sentence: str, name: str) -> bool:
    naming = _naming(name)
    return bool(naming) and set(naming) <= set(_words(sentence))


def _says_something(loaded: encoder.Encoder, name: str) -> bool:
    known = loaded.manifest.vocabulary
    naming = _naming(name)
    return len(naming) <= LONGEST and any(known is None or one in known for one in naming)


def _naming(name: str) -> list[str]:
    """Return the words of a name but for letters and for words such as "the"."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [one for one in _words(name) if len(one) > 1 and one not in ENGLISH_STOP_WORDS]


def _words(text: str) -> list[str]:
    from medlabel.teacher import vocabulary

    return vocabulary.words_of(text.replace("_", " "))
