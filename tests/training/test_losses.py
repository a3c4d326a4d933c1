"""Losses of each task against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medlabel.training import losses

MULTI_LABEL = "multi-label, binary-class"


@pytest.mark.parametrize("task", ["multi-class", MULTI_LABEL])
def test_following_is_cheapest_with_the_teachers_own_answers(task: str) -> None:
    torch.manual_seed(0)
    answers = torch.randn(5, 4)
    own = losses.following(task, answers, answers)
    for _ in range(20):
        assert losses.following(task, answers + torch.randn(5, 4), answers) > own


def test_following_is_the_cross_entropy_of_its_definition() -> None:
    logits, answers = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    expected = -(answers.softmax(1) * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(losses.following("multi-class", logits, answers), expected)


def test_the_loss_of_labels_is_the_mean_over_images_and_labels() -> None:
    logits, targets = torch.randn(5, 3).double(), (torch.rand(5, 3) > 0.5).double()
    smoothed = targets * 0.8 + 0.1
    chances = logits.sigmoid()
    expected = -(smoothed * chances.log() + (1 - smoothed) * (1 - chances).log()).mean()
    torch.testing.assert_close(losses.Loss(MULTI_LABEL, smoothing=0.2)(logits, targets), expected)


def test_one_hot_targets_cost_what_classes_do() -> None:
    logits, classes = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    soft = torch.nn.functional.one_hot(classes).float()
    for smoothing in (0.0, 0.3):
        found = [
            losses.Loss("multi-class", smoothing=smoothing)(logits, one) for one in (classes, soft)
        ]
        torch.testing.assert_close(*found)


def test_robustness_goes_from_cross_entropy_to_the_absolute_error() -> None:
    logits, targets = torch.randn(9, 3).double(), torch.randint(3, (9,))
    right = logits.softmax(1)[torch.arange(9), targets]
    near = losses.Loss("multi-class", robustness=1e-7)(logits, targets)
    torch.testing.assert_close(near, -right.log().mean(), rtol=1e-5, atol=1e-5)
    far = losses.Loss("multi-class", robustness=1.0)(logits, targets)
    torch.testing.assert_close(far, (1 - right).mean())
    soft = torch.nn.functional.one_hot(targets).double()
    half = losses.Loss("multi-class", robustness=0.5)
    torch.testing.assert_close(half(logits, targets), half(logits, soft))


def test_the_robust_loss_of_a_network_that_is_sure_and_wrong_has_a_gradient() -> None:
    logits = torch.tensor([[400.0, -400.0]], requires_grad=True)
    losses.Loss("binary-class", robustness=0.7)(logits, torch.tensor([1])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("robustness", [0.0, 0.7])
@pytest.mark.parametrize("weighted", [False, True])
def test_importance_weighs_images(robustness: float, weighted: bool) -> None:
    logits, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    weights = torch.tensor([1.0, 2.0, 0.5]) if weighted else None
    measure = losses.Loss("multi-class", weights, robustness=robustness)
    ones = torch.ones(6)
    torch.testing.assert_close(measure(logits, targets, ones), measure(logits, targets))
    torch.testing.assert_close(measure(logits, targets, 2 * ones), 2 * measure(logits, targets))
    alone = torch.tensor([6.0, 0, 0, 0, 0, 0])
    if not weighted:
        first = measure(logits[:1], targets[:1])
        torch.testing.assert_close(measure(logits, targets, alone), first)


def test_class_weights_are_inverse_frequencies() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    expected = torch.tensor([4 / 6, 2.0])
    torch.testing.assert_close(losses.class_weights("binary-class", labels, 2), expected)
    soft = torch.nn.functional.one_hot(labels).float()
    torch.testing.assert_close(losses.class_weights("binary-class", soft, 2), expected)


def test_labels_weigh_their_positives() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = losses.class_weights(MULTI_LABEL, targets, 2)
    torch.testing.assert_close(found, torch.tensor([3.0, 1.0]))


@pytest.mark.parametrize("only", [0, 1, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_absent_classes_leave_the_loss_finite(only: int, smoothing: float) -> None:
    targets = torch.full((4,), only)
    found = losses.class_weights("multi-class", targets, 3)
    assert found.shape == (3,)
    assert losses.Loss("multi-class", found, smoothing)(torch.randn(4, 3), targets).isfinite()


def test_hits_count_images_and_mean_labels() -> None:
    logits = torch.tensor([[2.0, -1.0], [-1.0, 2.0], [3.0, 1.0]])
    assert losses.hits("binary-class", logits, torch.tensor([0, 1, 1])).item() == 2
    soft = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    assert losses.hits("binary-class", logits, soft).item() == 2
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    assert losses.hits(MULTI_LABEL, logits, labels).item() == 2.5


def test_probabilities_are_float32() -> None:
    logits = torch.randn(4, 3)
    found = losses.probabilities("multi-class", logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(losses.probabilities(MULTI_LABEL, logits), logits.sigmoid())
