"""Parameters of retrieval: images found by captions, and captions by images."""

from __future__ import annotations

from pydantic import Field

from medlabel.params.base import Count, Name, Part
from medlabel.params.encoders import EncoderReference


class Retrieval(Part):
    """Captioned images of a mixture's test splits, searched with encoders."""

    title: str = Field(min_length=1, description="What is searched, in a few words.")
    images: Name = Field(description="Mixture: the images of its first draw to test on.")
    encoders: list[str] = Field(min_length=1, description="Such as `locked`, `phantom_clip@60`.")
    depths: list[Count] = Field(
        min_length=1, description="K of recall@K: answers among which a right one counts."
    )
    shown: Count = Field(description="Answers shown in the figure.")

    @property
    def references(self) -> list[EncoderReference]:
        """The encoders' weights.

        Raises
        ------
        ValueError
            When one is no name of any.
        """
        return [EncoderReference.parse(one) for one in self.encoders]
