"""Parameters of retrieval: images found by captions, and captions by images."""

from __future__ import annotations

from pydantic import Field

from medlabel.params.base import Count, Name
from medlabel.params.encoders import SeenByEncoders


class Searched(SeenByEncoders):
    """Captioned images of a mixture, as encoders see them."""

    title: str = Field(min_length=1, description="What is asked, in a few words.")
    images: Name = Field(description="Mixture, of which the first draw is taken.")


class Retrieval(Searched):
    """Images to test on and their captions, which search one another."""

    depths: list[Count] = Field(
        min_length=1, description="K of recall@K: answers among which a right one counts."
    )
    shown: Count = Field(description="Answers shown in the figure.")
