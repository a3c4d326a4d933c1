"""Clusters named by words, which then need only be right on average over a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.labels import kmeans, space
from medlabel.labels.evidence import Evidence, Floats, softmax

if TYPE_CHECKING:
    from medlabel.params import Clusters


def fit(evidence: Evidence, settings: Clusters) -> kmeans.Named:
    """Cluster images many times, and name every cluster.

    Numbers of clusters run from few to many times the classes, because no number is right: few
    hide small classes, many follow the words' errors. An image gets the mean of the names of its
    clusters, so that it is between classes where clusterings differ on it.
    """
    found = space.fit(evidence.images, settings.components)
    points = found.project(evidence.images)
    opinions = standardised(evidence.logits)
    clusterings = []
    for count in settings.counts:
        for start in range(settings.starts):
            centres = kmeans.centres(points, count, "clusters", start)
            members = kmeans.nearest(points, centres)
            clusterings.append((centres, named(members, len(centres), opinions, settings.doubt)))
    return kmeans.Named(found, clusterings)


def standardised(logits: Floats) -> Floats:
    """Return logits (n, classes) less each image's mean, in units of their root mean square.

    Differences of log-probabilities are those of logits; with a unit of their own, an encoder's
    scale changes no label.
    """
    opinions: Floats = logits - logits.mean(axis=1, keepdims=True)
    return opinions / (np.sqrt(np.square(opinions).mean()) or 1)


def named(members: npt.NDArray[np.intp], count: int, opinions: Floats, doubt: float) -> Floats:
    """Name clusters by the mean of their images' opinions, and say how sure that is.

    A mean errs by chance, the less the more images it has, and by what the words have wrong for the
    whole cluster, however many there are: `doubt`.

    Parameters
    ----------
    members
        Cluster of each image, (n,).
    count
        Number of clusters.
    opinions
        Of words, (n, classes), as `standardised` gives them.
    doubt
        Common error of a cluster, in standard deviations of opinions.

    Returns
    -------
    ndarray
        Probabilities of shape (count, classes): a softmax of means over their standard errors.
    """
    sizes = np.maximum(np.bincount(members, minlength=count), 1)[:, None]
    means, squares = np.zeros((2, count, opinions.shape[1]))
    np.add.at(means, members, opinions)
    np.add.at(squares, members, opinions**2)
    means /= sizes
    variances = (squares / sizes - means**2).clip(min=0).mean(axis=1, keepdims=True)
    return softmax(means / np.sqrt(variances / sizes + doubt**2))
