"""Accuracy without labels, images that no class names, and verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from medlabel.labels import estimate, evidence, methods
from tests.labels.test_methods import SCALE, SMALL
from tests.labels.world import CLASSES, folder, units


def judge(images: np.ndarray, words: np.ndarray, scale: float = SCALE) -> estimate.Estimate:
    found = evidence.gather(images, words, scale, CLASSES[: len(words)])
    chances = methods.learn(SMALL["clusters"], found).predict(images)
    return estimate.estimate(found, images, chances, chances)


def test_labels_of_words_that_tell_images_apart_are_trusted() -> None:
    images, words, _ = folder([60, 60, 60], error=0.2)
    found = judge(images, words)
    assert found.verdict == "trusted"
    assert 0.8 < found.low < found.accuracy <= found.high
    assert found.accuracy > estimate.TRUSTED
    assert not found.stray.any()
    assert "words and clusters agree on" in found.reason


def test_words_that_mean_nothing_are_refused() -> None:
    images, _, _ = folder([60, 60, 60])
    random = np.random.default_rng(1)
    base = units(random.standard_normal((1, images.shape[1])))
    words = units(base + 0.2 * units(random.standard_normal((3, images.shape[1]))))
    found = judge(images, words)
    assert found.verdict == "refused"
    assert found.reason.startswith("the words do not tell these images apart")


def test_more_of_either_sign_never_lowers_the_estimate() -> None:
    none = np.zeros(9, np.bool_)
    for steps in (np.linspace(0.3, 1, 8), np.linspace(0, 1, 8)):
        for place in range(3):
            signs = [[0.9] * place + [one] + [0.9] * (2 - place) for one in steps]
            found = [estimate.judged(*three, none) for three in signs]
            assert [one.accuracy for one in found] == sorted(one.accuracy for one in found)
            assert [one.low for one in found] == sorted(one.low for one in found)
            assert all(one.low <= one.accuracy <= one.high for one in found)


def test_labels_that_words_and_clusters_speak_against_are_doubted() -> None:
    images, words, truth = folder([60, 60, 60], error=0.2)
    chances = np.eye(3, dtype=np.float32)[(truth + 1) % 3]
    known = evidence.gather(images, words, SCALE, CLASSES)
    clusters = methods.learn(SMALL["clusters"], known).predict(images)
    found = estimate.estimate(known, images, chances, clusters)
    assert found.verdict == "refused"
    assert "words and clusters disagree on" in found.reason


@pytest.mark.parametrize("count", [8, 40])
def test_images_of_a_kind_that_no_class_names_are_set_aside(count: int) -> None:
    images, words, truth = folder([60, 60, count], error=0.2)
    found = judge(images, words[:2])
    assert found.stray[truth == 2].mean() >= 0.9
    assert found.stray[truth < 2].mean() <= 0.02
    assert found.verdict == "check"
    assert found.reason == f"{found.stray.sum()} of {len(images)} images fit no class"


def test_one_image_has_an_estimate() -> None:
    images, words, _ = folder([1, 0, 0])
    found = judge(images, words)
    assert found.low < 0.7 < found.accuracy <= found.high  # it may be wrong by chance
