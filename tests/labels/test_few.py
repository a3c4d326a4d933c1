"""Few labels: methods against closed forms and against other computations of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from medlabel import params
from medlabel.labels import few
from tests.labels.world import folder

SCALE = 20.0


@pytest.fixture(scope="module")
def settings() -> params.FewLabels:
    return params.read([Path("params.yaml")]).few_labels["pneumonia"]


@pytest.fixture(scope="module")
def known() -> few.Labelled:
    images, words, truth = folder([12, 9, 7], error=0.3)
    return few.Labelled(images, truth, words, SCALE, 3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return folder([20, 20, 20], error=0.3, seed=5)[0]


def test_every_method_gives_probabilities_of_every_class(
    known: few.Labelled, images: np.ndarray, settings: params.FewLabels
) -> None:
    for name, method in few.METHODS.items():
        chances = method(known, images, settings)
        assert chances.shape == (60, 3), name
        np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
        own = method(known, known.images, settings).argmax(axis=1)
        assert (own == known.labels).mean() > 0.9, name


def test_prototypes_are_the_nearest_means(
    known: few.Labelled, images: np.ndarray, settings: params.FewLabels
) -> None:
    means = [known.images[known.labels == one].mean(axis=0) for one in range(3)]
    cosines = [images @ mean / np.linalg.norm(mean) for mean in means]
    found = few.prototypes(known, images, settings)
    np.testing.assert_allclose(found, softmax(SCALE * np.transpose(cosines), axis=1), atol=1e-6)


def test_neighbours_and_logistic_are_those_of_scikit_learn(
    known: few.Labelled, images: np.ndarray, settings: params.FewLabels
) -> None:
    near = KNeighborsClassifier(settings.neighbours, weights="distance", metric="cosine")
    theirs = near.fit(known.images, known.labels).predict_proba(images)
    np.testing.assert_allclose(few.neighbours(known, images, settings), theirs, atol=1e-6)
    ridge = LogisticRegression(C=settings.strength, solver="newton-cg", tol=1e-10, max_iter=10_000)
    theirs = ridge.fit(known.images.astype(np.float64), known.labels).predict_proba(images)
    np.testing.assert_allclose(few.logistic(known, images, settings), theirs, atol=1e-6)


def test_tip_adapter_is_its_equation(
    known: few.Labelled, images: np.ndarray, settings: params.FewLabels
) -> None:
    """Zhang et al. 2022, equation 5, image by image."""
    alpha, beta = settings.cache_weight, settings.sharpness
    one_hot = np.eye(3)[known.labels]
    for image, chances in zip(images, few.tip_adapter(known, images, settings), strict=True):
        affinity = np.exp(-beta * (1 - known.images @ image))
        logits = alpha * affinity @ one_hot + SCALE * known.words @ image
        np.testing.assert_allclose(chances, softmax(logits), atol=1e-5)


def test_one_label_a_class_is_enough_to_answer(
    known: few.Labelled, images: np.ndarray, settings: params.FewLabels
) -> None:
    first = [int(np.flatnonzero(known.labels == one)[0]) for one in range(3)]
    few_images = few.Labelled(known.images[first], np.arange(3), known.words, SCALE, 0)
    for method in few.METHODS.values():
        assert np.isfinite(method(few_images, images, settings)).all()
