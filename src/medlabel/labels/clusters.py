"""Clusters named by words, which then need only be right on average over a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.data.vectors import Vectors
from medlabel.labels import kmeans, space
from medlabel.labels.evidence import Evidence, Floats, logits
from medlabel.labels.zeroshot import softmax

if TYPE_CHECKING:
    from medlabel.params import Clusters

LEAST = 1e-9  # probability before logarithms


@dataclass(frozen=True)
class Clustered:
    """Named clusterings, words, and the weight that an image's own words have.

    `unit` is the root mean square of the centred logits of the images that were learnt from.
    """

    clusterings: kmeans.Named
    words: Vectors
    logit_scale: float
    unit: float
    own: float

    def predict(self, images: Vectors) -> Vectors:
        """Return probabilities (n, classes): clusters decide, and where they are torn, words."""
        opinions = centred(logits(images, self.words, self.logit_scale)) / self.unit
        names = self.clusterings.predict(images).astype(np.float64)
        return softmax(np.log(names + LEAST) + self.own * opinions).astype(np.float32)


def fit(evidence: Evidence, settings: Clusters) -> Clustered:
    """Cluster images many times, and name every cluster.

    Numbers of clusters run from few to many times the classes, because no number is right: few
    hide small classes, many follow the words' errors. An image gets the mean of the names of its
    clusters, so that it is between classes where clusterings differ on it.

    Opinions of words are logits less each image's mean, whose differences are those of
    log-probabilities, in a unit of their own, so that an encoder's scale changes no label.
    """
    found = space.fit(evidence.images, settings.components)
    points = found.project(evidence.images)
    opinions = centred(evidence.logits)
    unit = float(np.sqrt(np.square(opinions).mean())) or 1.0
    opinions /= unit
    clusterings = []
    for count in settings.counts:
        for start in range(settings.starts):
            centres = kmeans.centres(points, count, "clusters", start)
            members = kmeans.nearest(points, centres)
            clusterings.append((centres, named(members, len(centres), opinions, settings.doubt)))
    named_clusterings = kmeans.Named(found, clusterings)
    return Clustered(named_clusterings, evidence.words, evidence.logit_scale, unit, settings.own)


def centred(scores: Floats) -> Floats:
    """Return scores (n, classes) less each image's mean."""
    found: Floats = scores - scores.mean(axis=1, keepdims=True)
    return found


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
        Of words, (n, classes): centred logits in units of their root mean square.
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
