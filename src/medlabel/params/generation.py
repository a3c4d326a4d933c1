"""Parameters of generation: SYNTHETIC images, made from words by a small network."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from medlabel.params.base import Count, Name, Part, Rate, Share
from medlabel.params.encoders import EncoderReference


class Generation(Part):
    """A network that makes images of words, what it learns from, and what its images are worth."""

    title: str = Field(min_length=1, description="What is asked, in a few words.")
    images: Name = Field(
        description="Mixture of captioned images, of whose first draw those of role train are "
        "learnt from. Its classes are those of `judged`."
    )
    judged: Name = Field(description="Mixture whose held-out images classifiers are judged on.")
    encoder: str = Field(min_length=1, description="Whose embeddings of captions are the words.")
    width: int = Field(ge=8, multiple_of=8, description="Channels of the network's first scale.")
    steps: Count = Field(description="Of training.")
    batch_size: Count = Field(description="Images a step.")
    learning_rate: Rate = Field(description="AdamW's peak, annealed by a cosine.")
    silenced: Share = Field(description="Part of the captions that are left out in training.")
    guidance: float = Field(
        ge=1, le=20, description="How far images go beyond what the words say; 1 is what they say."
    )
    integration: Count = Field(description="Euler's steps from noise to image.")
    at_most: Count = Field(
        description="Images a class that classifiers learn from, or all where there are fewer."
    )
    questions: dict[Name, list[list[Name]]] = Field(
        min_length=1,
        description="What classifiers tell apart: groups of classes of the mixtures, by name.",
    )
    filled: list[Name] = Field(
        description="Questions of two classes, the rarer of which is filled up with SYNTHETIC "
        "images, to as many as the commoner one has.",
    )
    network: Name = Field(description="Of `networks`: the classifier.")
    classifier_steps: Count = Field(description="Of a classifier's training.")
    classifier_batch: Count = Field(description="Images a step of a classifier's training.")
    seeds: Count = Field(description="Classifiers of each sort.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, groups in self.questions.items():
            told = [one for group in groups for one in group]
            if len(groups) < 2 or not all(groups) or len(set(told)) < len(told):
                raise ValueError(
                    f"questions.{name}: {groups} given, two groups of different classes or more "
                    f"allowed"
                )
        for name in self.filled:
            groups = self.questions.get(name, [])
            if [len(group) for group in groups] != [1, 1]:
                raise ValueError(
                    f"filled: {name!r} given, a question of two groups of one class each allowed"
                )
        return self

    @property
    def reference(self) -> EncoderReference:
        """The encoder's weights.

        Raises
        ------
        ValueError
            When it is no name of any.
        """
        return EncoderReference.parse(self.encoder)
