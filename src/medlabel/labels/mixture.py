"""One Gaussian a class, begun at the words' labels (Dempster et al., *JRSS B* 39:1, 1977)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medlabel.data.vectors import Vectors
from medlabel.labels import space
from medlabel.labels.evidence import Evidence

if TYPE_CHECKING:
    from medlabel.params import Mixed

RIDGE = 0.01  # part of the mean variance of a component that every direction has at least
WEIGHT = 1e-3  # of the words' labels that a class has at least


@dataclass(frozen=True)
class Gaussians:
    """A space, and scikit-learn's mixture in it, whose components are the classes in order."""

    space: space.Space
    mixture: Any

    def predict(self, images: Vectors) -> Vectors:
        """Return the components' posteriors (n, classes)."""
        found: Vectors = self.mixture.predict_proba(self.space.project(images).astype(np.float64))
        return found.astype(np.float32)


def fit(evidence: Evidence, settings: Mixed) -> Gaussians:
    """Fit by expectation and maximisation, from the probabilities that words give.

    A class without an image makes this ruinous: its component takes another's images.
    """
    from sklearn.mixture import GaussianMixture

    found = space.fit(evidence.images, settings.components)
    points = found.project(evidence.images).astype(np.float64)
    chances = evidence.chances + WEIGHT / len(points)
    totals = chances.sum(axis=0)
    means = chances.T @ points / totals[:, None]
    ridge = RIDGE * float(points.var(axis=0).mean()) + np.finfo(float).eps
    apart = points - means[chances.argmax(axis=1)]
    precision = np.linalg.inv(apart.T @ apart / len(points) + ridge * np.eye(points.shape[1]))
    mixture = GaussianMixture(
        len(means),
        covariance_type=settings.covariance,
        reg_covar=ridge,
        weights_init=totals / totals.sum(),
        means_init=means,
        precisions_init=precision
        if settings.covariance == "tied"
        else np.broadcast_to(precision, (len(means), *precision.shape)),
    )
    return Gaussians(found, mixture.fit(points))
