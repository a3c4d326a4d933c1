"""The choice of images to train on, compared with sorting the table."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medlabel import params
from medlabel.errors import MedlabelError
from medlabel.teacher import selection


def settings(select: str = "all", k: int = 2) -> params.Pseudolabel:
    return params.Pseudolabel(
        templates=["a {}"],
        prompts=[params.Prompt(label=name, descriptions=[name]) for name in ("chest", "retina")],
        logit_scale=None,
        select=select,
        k=k,
        targets="hard",
    )


def pseudolabels(first: list[float]) -> pd.DataFrame:
    chances = np.array([first, [1 - value for value in first]]).T
    return pd.DataFrame(
        {
            "row": range(len(first)),
            "pseudolabel": chances.argmax(axis=1),
            "p_chest": chances[:, 0],
            "p_retina": chances[:, 1],
        }
    )


@given(st.lists(st.integers(0, 8), min_size=2, max_size=30), st.integers(1, 6))
def test_top_k_takes_the_most_confident_of_each_class_and_the_first_of_equals(
    eighths: list[int], k: int
) -> None:
    table = pseudolabels([value / 8 for value in eighths])
    if table["pseudolabel"].nunique() < 2:
        return
    chosen = selection.select(table, settings(select="top_k", k=k))
    expected = []
    for index, column in enumerate(("p_chest", "p_retina")):
        part = table[table["pseudolabel"] == index].sort_values(
            [column, "row"], ascending=[False, True]
        )
        expected += part["row"].tolist()[:k]
    assert chosen["row"].tolist() == sorted(expected)


def test_all_keeps_everything() -> None:
    table = pseudolabels([0.9, 0.4, 0.5])
    pd.testing.assert_frame_equal(selection.select(table, settings()), table)
    assert table["pseudolabel"].tolist() == [0, 1, 0]  # a tie goes to the lower index


def test_small_classes_are_taken_whole_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    chosen = selection.select(pseudolabels([0.9, 0.8, 0.7, 0.1]), settings(select="top_k"))
    assert chosen["row"].tolist() == [0, 1, 3]
    assert "only 1 images were labelled retina" in caplog.text


@pytest.mark.parametrize("select", ["all", "top_k"])
def test_one_class_alone_cannot_be_learnt(select: str) -> None:
    with pytest.raises(MedlabelError, match="found chest: 2, retina: 0"):
        selection.select(pseudolabels([0.9, 0.8]), settings(select=select))


def test_the_choice_needs_no_torch() -> None:
    code = "import sys; from medlabel.teacher import selection; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
