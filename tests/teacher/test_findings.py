"""Directions in which findings differ, against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from medlabel.teacher.findings import directions, discriminants
from medlabel.teacher.groups import Groups

FEATURES = 30


def clouds(findings: int, each: int = 20, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images whose findings differ where they vary little, and hardly where they vary."""
    rng = np.random.default_rng(seed)
    finding = np.repeat(np.arange(findings), each)
    spread = np.geomspace(3, 0.05, FEATURES)
    found = rng.normal(size=(len(finding), FEATURES)) * spread
    found[:, -findings:] += 0.1 * np.eye(findings)[finding]
    return torch.from_numpy(found).float(), torch.from_numpy(finding)


def answers(features: torch.Tensor, axes: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    return np.asarray((features @ axes @ targets.T).argmax(dim=1))


def test_two_findings_are_told_as_by_a_regularised_discriminant_analysis() -> None:
    features, finding = clouds(2)
    middle = torch.stack([features[finding == one].mean(dim=0) for one in range(2)]).mean(dim=0)
    axes, targets = discriminants(features, finding, 2, middle)
    # Half of the covariance, half of its mean variance: ours, but for a factor.
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5, priors=[0.5, 0.5])
    reference.fit(features.double().numpy(), finding.numpy())
    new, _ = clouds(2, each=200, seed=1)
    theirs = reference.decision_function(new.double().numpy())
    ours = ((new - middle) @ axes @ (targets[1] - targets[0])).numpy()
    np.testing.assert_allclose(ours / ours.std(), theirs / theirs.std(), atol=1e-4)
    assert axes.shape == (FEATURES, 1)


def test_more_findings_are_told_by_the_inverse_of_the_shrunk_covariance() -> None:
    features, finding = clouds(5)
    given, numbers = features.double().numpy(), finding.numpy()
    means = np.stack([given[numbers == one].mean(axis=0) for one in range(5)])
    middle, within = means.mean(axis=0), given - means[numbers]
    covariance = within.T @ within / len(given)
    covariance += np.eye(FEATURES) * np.trace(covariance) / FEATURES
    new, _ = clouds(5, seed=1)
    expected = (new.numpy() - middle) @ np.linalg.inv(covariance) @ (means - middle).T
    axes, targets = discriminants(features, finding, 5, torch.from_numpy(middle).float())
    found = answers(new - torch.from_numpy(middle).float(), axes, targets)
    np.testing.assert_array_equal(found, expected.argmax(axis=1))
    assert axes.shape == (FEATURES, 4)


@pytest.mark.parametrize("findings", [2, 4])
def test_the_middle_between_findings_is_undecided_wherever_the_centre_lies(findings: int) -> None:
    features, finding = clouds(findings)
    means = torch.stack([features[finding == one].mean(dim=0) for one in range(findings)])
    centre = torch.from_numpy(np.random.default_rng(5).normal(size=FEATURES)).float()
    axes, targets = discriminants(features, finding, findings, centre)
    logits = (means.mean(dim=0) - centre) @ axes @ targets.T
    assert logits.abs().max() < 1e-4
    assert targets.norm(dim=1).max() == pytest.approx(1, abs=1e-5)


def test_findings_stay_as_far_apart_as_their_means() -> None:
    features, finding = clouds(2)
    means = torch.stack([features[finding == one].mean(dim=0) for one in range(2)])
    axes, targets = discriminants(features, finding, 2, means.mean(dim=0))
    along = (means - means.mean(dim=0)) @ axes @ targets.T
    apart = (means - means.mean(dim=0)).norm(dim=1)
    assert along.diagonal().tolist() == pytest.approx(apart.tolist(), rel=1e-3)


def test_more_features_than_images_or_images_without_variance_give_numbers() -> None:
    features, finding = clouds(2, each=2)
    for given in (features, torch.zeros_like(features)):
        axes, targets = discriminants(given, finding, 2, torch.zeros(FEATURES))
        assert torch.isfinite(axes).all()
        assert torch.isfinite(targets).all()


def groups(
    features: torch.Tensor, finding: torch.Tensor, measured: bool, kind: str
) -> pd.DataFrame:
    names = [f"finding {one}" for one in finding.tolist()]
    return pd.DataFrame(
        {"kind": kind, "finding": names, "caption": names, "named": True, "measured": measured}
    )


def test_drawn_kinds_are_told_by_means_and_measured_ones_by_discriminants() -> None:
    features, finding = clouds(2)
    rows = pd.concat(
        [groups(features, finding, False, "drawn"), groups(features, finding, True, "measured")],
        ignore_index=True,
    )
    both, centre = torch.cat([features, features]), features.mean(dim=0)
    axes, targets = directions(both, Groups.of(rows), centre, torch.ones(FEATURES))
    assert axes.shape == (FEATURES, 2)
    assert targets[:2, 1].tolist() == targets[2:, 0].tolist() == [0, 0]
    means = torch.stack([features[finding == one].mean(dim=0) for one in range(2)])
    apart = means[1] - means[0]
    assert abs(torch.nn.functional.cosine_similarity(axes[:, 0], apart, dim=0)) > 0.9999
    alone, _ = discriminants(features, finding, 2, centre)
    assert abs(torch.nn.functional.cosine_similarity(axes[:, 1], alone[:, 0], dim=0)) > 0.9999


def test_kinds_without_findings_have_one_direction_that_says_nothing() -> None:
    features, _ = clouds(1)
    rows = groups(features, torch.zeros(len(features)), True, "own")
    axes, targets = directions(
        features, Groups.of(rows), features.mean(dim=0), torch.ones(FEATURES)
    )
    assert axes.abs().sum() == targets.abs().sum() == 0
    assert axes.shape == (FEATURES, 1)
