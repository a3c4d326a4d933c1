"""Parameters of concepts: what captions and images show, told by classifiers on embeddings."""

from __future__ import annotations

from pydantic import Field

from medlabel.params.retrieval import Searched


class Concepts(Searched):
    """Classifiers on frozen embeddings of captions and of images, with findings as concepts."""

    strength: float = Field(
        gt=0, le=1e6, description="Inverse of the ridge of the logistic regressions."
    )
