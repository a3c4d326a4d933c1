"""The choice of images to train on, compared with sorting the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medlabel.labels import selection


def labelled(first: list[float]) -> pd.DataFrame:
    chances = np.array([first, [1 - value for value in first]]).T
    return pd.DataFrame(
        {
            "row": range(len(first)),
            "pseudolabel": chances.argmax(axis=1),
            "p_chest": chances[:, 0],
            "p_retina": chances[:, 1],
        }
    )


@given(st.lists(st.integers(0, 8), min_size=1, max_size=30), st.integers(1, 6))
def test_top_k_takes_the_most_confident_of_each_class_and_the_first_of_equals(
    eighths: list[int], k: int
) -> None:
    table = labelled([value / 8 for value in eighths])
    chosen = selection.select(table, k)
    expected = []
    for index, column in enumerate(("p_chest", "p_retina")):
        part = table[table["pseudolabel"] == index].sort_values(
            [column, "row"], ascending=[False, True]
        )
        expected += part["row"].tolist()[:k]
    assert chosen["row"].tolist() == sorted(expected)


def test_none_keeps_everything() -> None:
    table = labelled([0.9, 0.4, 0.5])
    pd.testing.assert_frame_equal(selection.select(table, None), table)
    assert table["pseudolabel"].tolist() == [0, 1, 0]  # a tie goes to the lower index


def test_small_classes_are_taken_whole_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    chosen = selection.select(labelled([0.9, 0.8, 0.7, 0.1]), 2)
    assert chosen["row"].tolist() == [0, 1, 3]
    assert "only 1 images were labelled retina" in caplog.text


@pytest.mark.parametrize("top_k", [None, 2])
def test_one_class_alone_is_told_and_taken(
    top_k: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(selection.select(labelled([0.9, 0.8]), top_k)) == 2
    assert "all images have one label (chest: 2, retina: 0)" in caplog.text
