"""Parameters of encoders side by side: the study that judges them, and what they cost."""

from __future__ import annotations

from pydantic import Field

from medlabel.params.base import Name, Part


class Compared(Part):
    """Encoders of a study, a line each."""

    title: str = Field(min_length=1, description="What is compared, in a few words.")
    study: Name = Field(description="Study whose encoders are compared, under two labellings.")
    by_words: Name = Field(description="Labelling that names images one by one.")
    by_clusters: Name = Field(
        description="Labelling that names clusters; its student stands in the table."
    )
    costs: str = Field(
        min_length=1,
        description="CSV table that `python bench/encoders.py` measured: columns encoder, "
        "parameters, megabytes, images_per_cpu_second, weights and processor.",
    )
    waiting: dict[str, str] = Field(
        default={},
        description="Encoders that a network lets run, and what they wait for: lines that are "
        "marked so and hold no score, unless the study ran them.",
    )
