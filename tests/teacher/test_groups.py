"""What captioned images show: which tell the findings of a kind, which captions name them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from medlabel.teacher.groups import Groups, words_of


def table(*rows: tuple[str, str, str, bool, bool]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["kind", "finding", "caption", "named", "measured"])


def test_findings_that_were_not_learnt_do_not_shift_the_others() -> None:
    """Few phantoms to learn from show fewer findings than those to validate on."""
    learnt = table(*((kind, one, "", True, False) for kind, one in ("bz", "by", "ax")))
    other = table(*((kind, one, "", True, False) for kind, one in ("bz", "bn", "ax")))
    names = Groups.of(learnt)
    found = Groups.of(other, names)
    assert (found.kinds, found.findings) == (names.kinds, names.findings)
    assert found.kind.tolist() == [1, 1, 0]
    assert found.finding.tolist() == [2, -1, 0]
    assert names.finding.tolist() == [2, 1, 0]


MIXED = table(
    ("chest", "ill", "drawn ill chest", True, False),
    ("chest", "well", "drawn chest", False, False),
    ("chest", "ill", "ill chest", True, True),
    ("chest", "well", "chest, well", True, True),
    ("hand", "well", "hand, well", True, False),
    ("hand", "broken", "broken hand", True, False),
    ("hand", "well", "measured hand", True, True),
)


def test_measured_images_tell_findings_where_they_show_two() -> None:
    found = Groups.of(MIXED)
    assert found.measured == {"chest"}
    assert found.findings == [
        ("chest", "ill"),
        ("chest", "well"),
        ("hand", "broken"),
        ("hand", "well"),
    ]
    assert found.finding.tolist() == [-1, -1, 0, 1, 3, 2, -1]
    assert found.kind.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_measured_images_of_a_kind_that_was_never_drawn_tell_it_alone() -> None:
    found = Groups.of(table(("own", "one", "a", True, True), ("hand", "x", "b", True, False)))
    assert found.measured == {"own"}
    assert found.findings == [("hand", "x"), ("own", "one")]


def test_captions_of_a_finding_are_those_of_the_images_that_tell_it() -> None:
    captions, words = words_of(MIXED, Groups.of(MIXED))
    said = [[captions[one] for one in some] for some in words.findings]
    assert said == [["ill chest"], ["chest, well"], ["broken hand"], ["hand, well"]]
    assert [captions[one] for one in words.silent[0]] == ["drawn chest"]
    everything = {captions[one] for some in words.kinds for one in some}
    assert everything == set(MIXED["caption"])


def test_a_finding_that_no_caption_names_is_named_by_itself() -> None:
    silent = table(("chest", "ill", "a chest", False, False), ("chest", "well", "b", False, False))
    captions, words = words_of(silent, Groups.of(silent))
    assert [captions[int(one)] for one in np.concatenate(words.findings)] == ["ill", "well"]
