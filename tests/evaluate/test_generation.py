"""SYNTHETIC images judged: distances by brute force, copies found, scores by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from medlabel.evaluate import generation
from medlabel.generation.classifiers import Answers
from medlabel.params import Params


def pictures(count: int, seed: int) -> np.ndarray:
    """Images uint8 (count, 8, 8), smooth enough to be alike."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(count, 2, 2)).repeat(4, axis=1).repeat(4, axis=2)
    return (128 + 30 * base + 5 * random.normal(size=(count, 8, 8))).clip(0, 255).astype(np.uint8)


def test_distances_are_those_of_brute_force() -> None:
    made, held_out, learnt = pictures(7, 0), pictures(5, 1), pictures(30, 2)
    found = generation.nearest(made, held_out, learnt)
    for own, images in ((found.synthetic, made), (found.held_out, held_out)):
        each = [[np.sqrt(np.mean((a - b) ** 2)) for b in learnt.astype(float)] for a in images]
        assert own == pytest.approx(np.min(each, axis=1), abs=1e-9)
    each = [[np.mean((a - b) ** 2) for b in learnt.astype(float)] for a in made]
    assert found.place.tolist() == np.argmin(each, axis=1).tolist()


def test_copies_are_found_and_new_images_are_none() -> None:
    learnt, held_out = pictures(400, 2), pictures(400, 3)
    noise = np.random.default_rng(4).integers(-1, 2, size=(50, 8, 8))
    copies = (learnt[:50].astype(int) + noise).clip(0, 255).astype(np.uint8)
    assert generation.nearest(copies, held_out, learnt).copied == 1.0
    assert generation.nearest(pictures(400, 5), held_out, learnt).copied < 0.1


def test_scores_are_those_of_scikit_learn_and_gains_their_differences(
    default_params: Params,
) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(2, size=60)
    answers = []
    for name, strength in (("weak", 0.2), ("strong", 0.6)):
        right = 0.5 + strength * (truth - 0.5) + 0.3 * random.normal(size=(3, 60))
        chances = np.stack([1 - right, right], axis=2).clip(0, 1).astype(np.float32)
        answers.append(Answers("pneumonia", name, 10, 0, truth, chances))
    few = default_params.statistics.model_copy(update={"resamples": 300})
    weak, strong = generation.score(answers, few, 1, "test")
    for one in (weak, strong):
        for seed, chances in enumerate(one.answers.probabilities):
            auc = roc_auc_score(truth, chances[:, 1])
            assert one.values["auc"][seed] == pytest.approx(auc, abs=1e-6)
            said = balanced_accuracy_score(truth, chances[:, 1] > 0.5)
            assert one.values["balanced_accuracy"][seed] == pytest.approx(said, abs=1e-6)
        for interval in one.scores.values():
            assert interval.low < interval.mean < interval.high
    assert weak.gains["auc"].mean == weak.gains["auc"].low == weak.gains["auc"].high == 0
    difference = strong.scores["auc"].mean - weak.scores["auc"].mean
    assert strong.gains["auc"].mean == pytest.approx(difference)
    assert strong.gains["auc"].low > 0
