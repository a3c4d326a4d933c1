"""Opinions of images, and the order in which a person reviews them."""

from __future__ import annotations

import numpy as np
import pytest

from medlabel.annotation import labelling
from medlabel.data.vectors import Vectors
from tests.labels.test_methods import SCALE
from tests.labels.world import CLASSES, folder


class _Mostly:
    """A labeller that knows the truth of known images."""

    def __init__(self, images: Vectors, labels: np.ndarray) -> None:
        self.known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}

    def predict(self, images: Vectors) -> Vectors:
        return np.eye(3, dtype=np.float32)[[self.known[image.tobytes()] for image in images]]


def test_images_labelled_otherwise_than_those_like_them_come_first() -> None:
    images, _, truth = folder([60, 60, 60], spread=0.15)
    labels = truth.copy()
    wrong = [3, 70, 130]
    labels[wrong] = (labels[wrong] + 1) % 3
    labeller = _Mostly(images, labels)
    support = labelling.support_of(labeller.predict(images), images, labeller, images)
    assert set(labelling.order_of_review(support, np.zeros(180))[:3]) == set(wrong)
    assert support[wrong].max() < 0.2 < np.delete(support, wrong).min()


def test_of_equal_support_the_smaller_margin_comes_first() -> None:
    order = labelling.order_of_review(np.array([1, 0.5, 1, 1]), np.array([2.0, 9, 1, 2]))
    assert order.tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize("copies", [1, 4])
def test_an_image_and_its_copies_do_not_support_it(copies: int) -> None:
    images, _, truth = folder([1, 0, 0], error=0.2)
    images, truth = np.repeat(images, copies, axis=0), np.repeat(truth, copies)
    labeller = _Mostly(images, truth)
    support = labelling.support_of(labeller.predict(images), images, labeller, images[:1])
    assert support.tolist() == [1.0] * copies


def test_order_of_files_changes_no_support() -> None:
    images, words, _ = folder([40, 40, 40], error=0.6)
    order = np.random.default_rng(3).permutation(len(images))
    one = labelling.judge(images, words, SCALE, CLASSES)
    other = labelling.judge(images[order], words, SCALE, CLASSES)
    assert one.support[order].tolist() == other.support.tolist()
    assert 0 <= one.support.min() < 1
