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


def _says_something(loaded: encoder.Encoder, name: str) -> bool:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    from medlabel.teacher import vocabulary

    said = vocabulary.words_of(name)
    known = loaded.manifest.vocabulary
    naming = [one for one in said if len(one) > 1 and one not in ENGLISH_STOP_WORDS]
    return len(said) <= LONGEST and any(known is None or one in known for one in naming)
