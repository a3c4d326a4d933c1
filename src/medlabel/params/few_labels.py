"""Parameters of learning curves: what a few true labels are worth on frozen embeddings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medlabel.params.base import Count, Name, Part, Rate
from medlabel.params.encoders import EncoderReference

Method = Literal["prototypes", "neighbours", "logistic", "two_layers", "tip_adapter"]


class FewLabels(Part):
    """A learning curve: methods by the number of true labels that they learn from."""

    title: str = Field(min_length=1, description="What is compared, in a few words.")
    images: Name = Field(description="Mixture: labels are drawn of its images to train on.")
    encoder: str = Field(description="Whose embeddings are learnt from, such as `locked`.")
    prompts: Name = Field(description="Words of the classes, for `tip_adapter` and labellings.")
    labellings: list[Name] = Field(description="Labels without any label that stand beside.")
    methods: list[Method] = Field(min_length=1, description="How labels are learnt.")
    counts: list[Count] = Field(
        min_length=1, description="Labels a class; a class that has fewer images gives all."
    )
    draws: Count = Field(description="Repeats, each with other labelled images.")
    neighbours: Count = Field(description="At most so many images vote in `neighbours`.")
    strength: float = Field(
        gt=0, le=1e6, description="Inverse of the ridge of `logistic` and `two_layers`."
    )
    hidden: Count = Field(description="Width of the hidden layer of `two_layers`.")
    steps: Count = Field(description="Steps of L-BFGS in `two_layers`.")
    cache_weight: Rate = Field(description="alpha of `tip_adapter`: weight of the labelled images.")
    sharpness: float = Field(
        gt=0, le=100, description="beta of `tip_adapter`: how near an image has to be to count."
    )

    @property
    def reference(self) -> EncoderReference:
        """The encoder's weights.

        Raises
        ------
        ValueError
            When it is no name of one.
        """
        return EncoderReference.parse(self.encoder)

    def labels(self, labelling: str) -> str:
        """Name the labels of a labelling, as `Trained.labels` does."""
        return f"{self.reference}+{self.prompts}+{labelling}"
