"""Sentences weighed without labels."""

from __future__ import annotations

import numpy as np

from medlabel.labels import prompts, zeroshot
from tests.labels.world import folder, units


def test_sentences_that_tell_images_apart_weigh_more() -> None:
    images, good, truth = folder([80, 80], error=0.2)
    random = np.random.default_rng(3)
    bad = units(random.standard_normal(good.shape))
    same = units(np.repeat(good.mean(axis=0, keepdims=True), 2, axis=0))
    said = np.stack([good, bad, same])
    found = prompts.weights(images, said)
    assert found.sum() == 1
    assert found[0] > 2 * found[1]
    assert found[0] > 2 * found[2]
    mean = units(said.mean(axis=0))
    labels = [
        zeroshot.probabilities(images, words, 20).argmax(axis=1)
        for words in (mean, prompts.weighted(images, said))
    ]
    assert (labels[1] == truth).mean() >= (labels[0] == truth).mean()


def test_sentences_alike_weigh_alike() -> None:
    images, words, _ = folder([40, 40])
    said = np.stack([words, words])
    np.testing.assert_allclose(prompts.weights(images, said), 0.5)
    np.testing.assert_allclose(prompts.weighted(images, said), words, atol=1e-6)
    np.testing.assert_allclose(prompts.weights(images[:1], said), 0.5)  # nothing is told apart
