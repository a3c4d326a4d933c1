"""Parameters of segmentation: where images show what words say."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from medlabel.data import catalogue
from medlabel.params.base import Count, Part, Rate, Section
from medlabel.params.data import Counts
from medlabel.params.encoders import EncoderReference

Words = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class Region(Section):
    """A region of a kind of phantom, and what is said of it."""

    kind: str = Field(description="Kind of phantom, such as `phantom_chest`.")
    region: str = Field(description="An organ or finding whose masks are known, such as `lungs`.")
    words: Words = Field(description="Phrases that are learnt.")
    unseen: Words = Field(description="Phrases of the same meaning, which no training sees.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.kind not in catalogue.FLAT_PHANTOMS:
            allowed = ", ".join(catalogue.FLAT_PHANTOMS)
            raise ValueError(f"kind: {self.kind!r} given, one of {allowed} allowed")
        learnt = {" ".join(one.lower().split()) for one in self.words}
        for one in self.unseen:
            if " ".join(one.lower().split()) in learnt:
                raise ValueError(f"unseen: {one!r} given, which is learnt; other phrases allowed")
        return self


class Shown(Section):
    """Images whose regions nobody drew, looked at without a score."""

    images: str = Field(description="MedMNIST's file, such as `pneumoniamnist`; or a phantom.")
    words: Annotated[Words, Field(min_length=3, max_length=3)] = Field(
        description="Phrases, a map each."
    )

    @model_validator(mode="after")
    def _flat(self) -> Self:
        dataset, _ = catalogue.parse(self.images)
        if catalogue.is_volumetric(dataset):
            raise ValueError(f"images: {self.images!r} given, which are volumes; images allowed")
        return self


class Segmentation(Part):
    """A head that turns what a locked tower sees at a place into words."""

    title: str = Field(min_length=1, description="What is asked, in a few words.")
    encoder: str = Field(description="Encoder of kind `locked`, such as `locked` or `locked.2`.")
    parts: list[str] = Field(
        min_length=1,
        description="Parts of its tower whose maps are read, such as `blocks.2`: those of blocks "
        "at the beginning are fine, those at the end know more.",
    )
    sizes: list[Count] = Field(min_length=1, description="Edges of the phantoms, in pixels.")
    images: Counts = Field(description="Phantoms of each kind and size, from the first on.")
    grid: int = Field(ge=2, le=224, description="Edge of the maps, in places.")
    pixels: Count = Field(description="Places of an image that are learnt, drawn at random.")
    hidden: Count = Field(description="Width of the head's inner layer.")
    dropout: float = Field(ge=0, lt=1, description="Part of the inner layer left out in training.")
    steps: Count = Field(description="Steps of AdamW.")
    batch_size: Count = Field(description="Places a step.")
    learning_rate: Rate = Field(description="AdamW's peak.")
    weight_decay: float = Field(ge=0, le=10, description="AdamW's decay of weights.")
    regions: list[Region] = Field(min_length=2, description="What is learnt and looked for.")
    shown: list[Shown] = Field(min_length=1, description="Other images, shown without a score.")

    @property
    def reference(self) -> EncoderReference:
        """The encoder's weights.

        Raises
        ------
        ValueError
            When it is no name of any.
        """
        return EncoderReference.parse(self.encoder)

    @property
    def series(self) -> list[tuple[str, int]]:
        """The kinds and sizes of phantoms that are looked at, one size after the other."""
        kinds = dict.fromkeys(one.kind for one in self.regions)
        return [(kind, size) for size in self.sizes for kind in kinds]
