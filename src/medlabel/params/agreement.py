"""Parameters of agreement: two labellers of the same images, one of them perhaps from elsewhere."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from medlabel.params.base import Name, Part, Share
from medlabel.params.studies import Trained

TABLE = ".csv"


class Agreement(Part):
    """Two labellers of a mixture's images to test on."""

    title: str = Field(min_length=1, description="Who is compared, in a few words.")
    images: Name = Field(description="Mixture, all of whose images to test on are compared.")
    labellers: list[str] = Field(
        min_length=2,
        max_length=2,
        description="Labels of this project (`locked+capstone+zeroshot`), or a CSV table made "
        "elsewhere: columns dataset, split, row and label, a class of the mixture.",
    )
    reviewed: Share = Field(description="Part of the images that a person would look at first.")

    @model_validator(mode="after")
    def _labellers(self) -> Self:
        first, second = self.labellers
        if first == second:
            raise ValueError(f"labellers: {first!r} given twice, two different ones allowed")
        for one in self.labellers:
            if not is_table(one) and one.count("+") != 2:
                raise ValueError(
                    f"labellers: {one!r} given, encoder+prompts+labelling or a file that ends in "
                    f"{TABLE} allowed"
                )
        return self

    def taught(self) -> list[Trained]:
        """Return the labels of this project among the two."""
        return [Trained(self.images, one, "", "") for one in self.labellers if not is_table(one)]


def is_table(labeller: str) -> bool:
    """Whether a labeller is a table made elsewhere."""
    return labeller.endswith(TABLE)
