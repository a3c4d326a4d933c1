"""Pairs of images and captions: which are right for one another, and the loss that says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medlabel.teacher.pairs import Pairs, contrast, positives


def pairs(kinds: list[int], findings: list[int], captions: list[int], silent: list[bool]) -> Pairs:
    nothing = torch.zeros(len(kinds), 0)
    numbers = (torch.tensor(one) for one in (kinds, findings, captions))
    return Pairs(nothing, nothing, *numbers, torch.tensor(silent))


SHOWN = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 5), st.booleans()), min_size=1
)


@given(shown=SHOWN)
def test_right_captions_share_what_is_asked_for(shown: list[tuple[int, int, int, bool]]) -> None:
    kinds, findings, captions, silent = (list(one) for one in zip(*shown, strict=True))
    known = pairs(
        kinds, [10 * k + f for k, f in zip(kinds, findings, strict=True)], captions, silent
    )
    rows = torch.arange(len(kinds))
    found = {one: positives(known, rows, one).numpy() for one in ("kind", "finding", "caption")}
    for image, (kind, finding, caption, _) in enumerate(shown):
        for other, (its_kind, its_finding, its_caption, says_none) in enumerate(shown):
            same = kind == its_kind
            assert found["kind"][image, other] == same
            right = same and (finding == its_finding or says_none)
            assert found["finding"][image, other] == right
            assert found["caption"][image, other] == (caption == its_caption)
    assert all(one.diagonal().all() for one in found.values())


def unit(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 8, generator=generator))


def test_where_only_its_own_caption_is_right_the_loss_is_open_clips() -> None:
    from open_clip import ClipLoss

    image, text, scale = unit(7, 0), unit(7, 1), torch.tensor(10.0)
    ours = contrast(image, text, scale, torch.eye(7, dtype=torch.bool))
    torch.testing.assert_close(ours, ClipLoss()(image, text, scale), atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_elsewhere_the_loss_is_the_mean_log_likelihood_of_what_is_right(seed: int) -> None:
    image, text, scale = unit(5, seed), unit(5, seed + 10), torch.tensor(10.0)
    right = np.random.default_rng(seed).random((5, 5)) < 0.4
    np.fill_diagonal(right, True)
    logits, expected = (scale * image @ text.T).double().numpy(), 0.0
    for way, true in ((logits, right), (logits.T, right.T)):
        likelihood = way - np.log(np.exp(way).sum(axis=1, keepdims=True))
        expected -= (
            np.mean([row[one].mean() for row, one in zip(likelihood, true, strict=True)]) / 2
        )
    found = contrast(image, text, scale, torch.from_numpy(right)).item()
    assert found == pytest.approx(expected, rel=1e-5)
