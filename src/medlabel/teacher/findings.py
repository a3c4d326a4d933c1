"""Directions of features in which the findings of kinds of image differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from medlabel.teacher.groups import Groups, Rows, means_by

NEGLIGIBLE = 1e-4  # of the largest singular value: directions below are rounding
TINY = 1e-12  # lengths below are of nothing


def directions(
    plain: torch.Tensor, groups: Groups, centre: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return directions in features, and where each finding lies in them.

    Parameters
    ----------
    plain
        float32 (n, features), of images as they are: other views move what a finding shows.
    groups
        What each image shows.
    centre
        float32 (features,): what is subtracted from features before they are projected.
    weights
        float32 (features,): of each feature in what drawn images tell.

    Returns
    -------
    directions : Tensor
        float32 (features, rank).
    targets : Tensor
        float32 (findings, rank), of length 1 at most: an image x shows the finding of its kind with
        the largest ``(x - centre) @ directions @ targets.T``.

    Notes
    -----
    Of drawn images the difference of means tells, of measured ones the linear discriminant: a
    boundary learnt from drawings does not hold for photographs, their means do.
    """
    drawn = np.array([kind not in groups.measured for kind, _ in groups.findings])
    blocks = []
    if drawn.any():
        blocks.append((np.flatnonzero(drawn), *_differences(plain, groups, drawn, weights)))
    for kind in sorted(groups.measured):
        rows = np.flatnonzero([named == kind for named, _ in groups.findings])
        if len(rows) > 1:
            place = torch.from_numpy(np.searchsorted(rows, groups.finding))
            shows = torch.from_numpy(np.isin(groups.finding, rows))
            blocks.append((rows, *discriminants(plain[shows], place[shows], len(rows), centre)))
    return _side_by_side(blocks, plain.shape[1], len(groups.findings))


def _side_by_side(
    blocks: Sequence[tuple[Rows, torch.Tensor, torch.Tensor]], features: int, findings: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Join directions of kinds, whose findings lie at nothing on those of other kinds."""
    # One at least, though it says nothing where captions name no finding: layers have a width.
    rank = max(1, sum(axes.shape[1] for _, axes, _ in blocks))
    joined, targets = torch.zeros(features, rank), torch.zeros(findings, rank)
    first = 0
    for rows, axes, lie in blocks:
        columns = slice(first, first + axes.shape[1])
        joined[:, columns] = axes
        targets[rows, columns] = lie
        first = columns.stop
    return joined, targets


def _differences(
    plain: torch.Tensor, groups: Groups, drawn: npt.NDArray[np.bool_], weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the directions in which means differ, and the findings of drawn kinds in them."""
    of = torch.from_numpy(groups.kind_of_finding[drawn])
    tells = torch.from_numpy(groups.finding >= 0)
    by_finding = means_by(plain, torch.from_numpy(groups.finding), np.flatnonzero(drawn))
    kinds = np.unique(of)
    by_kind = means_by(plain[tells], torch.from_numpy(groups.kind)[tells], kinds)
    apart = (by_finding - by_kind[torch.searchsorted(torch.from_numpy(kinds), of)]) * weights
    _, sizes, rows = torch.linalg.svd(apart, full_matrices=False)
    rank = max(1, int((sizes > NEGLIGIBLE * sizes[0]).sum()))
    axes = rows[:rank].T
    # Of length 1 each, or words would not learn the findings that differ but little.
    return axes, functional.normalize(apart @ axes, dim=1)


def discriminants(
    features: torch.Tensor, finding: torch.Tensor, findings: int, centre: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `directions` does for the findings of one kind, from measured images.

    Parameters
    ----------
    features
        float32 (n, features), of images of the kind.
    finding
        int64 (n,): which of the findings each shows; each is shown by one image at least.
    findings
        How many there are.
    centre
        float32 (features,).

    Notes
    -----
    Linear discriminant analysis (Hastie et al. 2009, section 4.3) with equal priors. The covariance
    within findings is shrunk by its mean variance (Friedman 1989), since there may be more features
    than images. Answers have no constants: those of more than two findings are left out, and all
    are turned a little, until the middle between the findings lies at nothing. They are as long as
    keeps the findings as far apart as their means are, so that one weight suits all kinds.
    """
    given = features.double()
    means = means_by(given, finding, range(findings))
    middle = means.mean(dim=0)
    within = given - means[finding]
    covariance = within.T @ within / len(given)
    covariance.diagonal().add_(covariance.diagonal().mean().clamp(min=TINY))
    apart = means - middle
    rows = torch.linalg.solve(covariance, apart.T).T
    offset = middle - centre.double()
    # Where the middle is the centre there is nothing to turn: the floor keeps rounding out.
    length = offset.square().sum().clamp(min=NEGLIGIBLE * float(covariance.diagonal().sum()))
    rows = rows - torch.outer(rows @ offset, offset) / length
    rows = rows * (apart.norm(dim=1).mean() / (rows * apart).sum(dim=1).mean().clamp(min=TINY))
    _, sizes, axes = torch.linalg.svd(rows, full_matrices=False)
    rank = max(1, int((sizes > NEGLIGIBLE * sizes[0]).sum()))
    axes = axes[:rank].T
    length = rows.norm(dim=1).max().clamp(min=TINY)
    return (axes * length).float(), (rows @ axes / length).float()
