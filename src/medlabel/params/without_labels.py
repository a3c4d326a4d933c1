"""Parameters of the label-free benchmark: labellings side by side on folders without a label."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from medlabel.params.base import Count, Fraction, Name, Section, Share, names_phantoms
from medlabel.params.encoders import SeenByEncoders


class Content(Section):
    """What is in a folder, and in which words it is asked about."""

    images: Name = Field(description="Mixture, of whose images to train on folders are drawn.")
    prompts: Name = Field(description="Words of the classes.")
    classes: dict[Name, Annotated[list[Name], Field(min_length=1)]] = Field(
        min_length=2,
        description="Classes that are asked about, and the classes of the mixture that belong to "
        "each.",
    )
    unnamed: list[Name] = Field(
        default=[], description="Classes of the mixture that are there too and no name stands for."
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        named = [one for own in self.classes.values() for one in own]
        if len({*named, *self.unnamed}) < len(named) + len(self.unnamed):
            raise ValueError("classes, unnamed: a class given twice, each once allowed")
        return self


class WithoutLabels(SeenByEncoders):
    """Labellings x encoders x contents x class shares x sizes."""

    title: str = Field(min_length=1, description="What is compared, in a few words.")
    labellings: list[Name] = Field(
        min_length=1, description="The first is what others are compared with."
    )
    judged: list[Name] = Field(
        description="Those of them whose accuracy is estimated without a label."
    )
    contents: dict[Name, Content] = Field(min_length=1, description="What folders hold.")
    shares: list[Share] = Field(
        min_length=1, description="Of the first class in a folder; the others share the rest."
    )
    sizes: list[Count] = Field(
        min_length=1, description="Images a folder; of a class that has fewer all are taken."
    )
    unnamed_share: Fraction = Field(description="Part of a folder that no name stands for.")
    first_draw: int = Field(
        ge=0,
        description="Number of the first draw: what is chosen by others is judged by new ones.",
    )
    draws: Count = Field(description="Folders of each sort.")
    costs: str = Field(
        min_length=1, description="Table of seconds by labelling, of `bench/labellings.py`."
    )
    source: Name | None = Field(
        description="Mixture of drawn images of the same classes, whose labels teach thresholds of "
        "confidence (ATC), a rival estimate; null: none."
    )

    @property
    def mixtures(self) -> list[str]:
        """The mixtures whose images are looked at."""
        used = [one.images for one in self.contents.values()]
        return list(dict.fromkeys([*used, *([] if self.source is None else [self.source])]))

    @property
    def drawn(self) -> bool:
        """Whether folders hold phantoms."""
        return any(names_phantoms(one.images) for one in self.contents.values())
