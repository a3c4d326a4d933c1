"""Parameters of labellings: how embeddings and words become labels, and which of them count."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from medlabel.params.base import Count, Name, Part


def _any_of(schema: dict[str, Any]) -> None:
    """Let editors accept a part that leaves its method to the one that it extends."""
    schema["anyOf"] = schema.pop("oneOf")


class Labelling(Part):
    """What labellings of all methods have."""

    logit_scale: float | None = Field(
        gt=0, le=1000, description="Factor on cosines before softmax; null takes the encoder's own."
    )
    space: str | None = Field(
        description="Encoder in whose embeddings images are compared, beside those that the words "
        "belong to; null: in these alone."
    )
    weigh: bool = Field(
        description="Weigh the sentences about a class by how far they tell the images to train on "
        "apart, without labels (ZPE), instead of taking their plain mean."
    )
    top_k: Count | None = Field(
        description="Train on so many images a class, those most sure of it; null takes all."
    )
    targets: Literal["hard", "soft"] = Field(
        description="Train on the most probable class, or on the probabilities."
    )


class ZeroShot(Labelling):
    """The class whose words lie nearest to the image."""

    method: Literal["zeroshot"] = Field(description="Words alone.")


class InSpace(Labelling):
    """What methods have that look at images in a space of few dimensions."""

    components: Count = Field(description="Principal components that images are compared in.")


class Clusters(InSpace):
    """Clusters of images, each named by the mean of the words over it."""

    method: Literal["clusters"] = Field(description="Many clusterings, named by words, averaged.")
    counts: list[Count] = Field(
        min_length=1,
        description="Numbers of clusters, from about the classes to several times as many.",
    )
    starts: Count = Field(description="Clusterings of each number, from different starts.")
    doubt: float = Field(
        gt=0,
        le=10,
        description="Error of the words that a whole cluster shares, in standard deviations of "
        "their logits: how near two classes may be over a cluster to be both possible.",
    )
    own: float = Field(
        ge=0, le=10, description="Weight of an image's own words, which decide between clusters."
    )


class Balanced(Labelling):
    """Labels of least cost with given class totals."""

    method: Literal["balanced"] = Field(description="Optimal transport (OTTER).")
    totals: dict[Name, Annotated[float, Field(ge=0)]] | None = Field(
        description="Share or number of images of each class; null takes equal shares."
    )


class Mixed(InSpace):
    """One Gaussian a class."""

    method: Literal["mixture"] = Field(description="Gaussian mixture, begun at the words' labels.")
    covariance: Literal["full", "tied"] = Field(
        description="Covariances: one a class, or one for all."
    )


class Anchored(Labelling):
    """Gaussians pulled to the words."""

    method: Literal["anchored"] = Field(description="StatA.")
    neighbours: Count = Field(description="Images whose labels an image listens to.")
    strength: float = Field(gt=0, le=1e6, description="Pull of the words, in images.")


class TransClip(Labelling):
    """Gaussians, words and neighbours."""

    method: Literal["transclip"] = Field(description="TransCLIP, zero-shot.")
    neighbours: Count = Field(description="Images whose labels an image listens to.")


class Propagation(Labelling):
    """Labels that spread through a graph of neighbours."""

    method: Literal["propagation"] = Field(description="ZLaP.")
    neighbours: Count = Field(description="Images that an image is joined to.")
    damping: float = Field(gt=0, lt=1, description="Part of the scores that goes on at each step.")


class Consensus(InSpace):
    """A head that learns from images on which words and clusters agree."""

    method: Literal["consensus"] = Field(description="VLM-CPL.")


class Vote(InSpace):
    """One clustering, named by a vote over words."""

    method: Literal["vote"] = Field(description="CPP's naming.")
    count: Count = Field(description="Clusters.")


class Turtle(InSpace):
    """The labelling that a linear classifier fits best."""

    method: Literal["turtle"] = Field(description="TURTLE, in one space.")
    steps: Count = Field(description="Steps of the search.")
    entropy: float = Field(gt=0, le=1000, description="Weight of classes being of like size.")


class Confident(Labelling):
    """A head that learns from labels which out-of-fold probabilities do not speak against."""

    method: Literal["confident"] = Field(description="Confident learning.")
    folds: int = Field(ge=2, le=100, description="Parts that take turns in being held out.")


class Head(Labelling):
    """A head on the frozen tower."""

    method: Literal["head"] = Field(
        description="Logistic regression on the words' labels, classes weighed alike."
    )


AnyLabelling = Annotated[
    ZeroShot
    | Clusters
    | Balanced
    | Mixed
    | Anchored
    | TransClip
    | Propagation
    | Consensus
    | Vote
    | Turtle
    | Confident
    | Head,
    Field(discriminator="method", json_schema_extra=_any_of),
]
