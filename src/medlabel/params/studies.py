"""Parameters of studies: grids of named parts, and the trainings that they stand for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from medlabel.params.base import Count, Fraction, Part, Section
from medlabel.params.encoders import EncoderReference

KEYS = ("images", "encoder", "prompts", "labelling", "network", "recipe")
TEACHING = ("encoder", "prompts", "labelling")  # what a study of true labels leaves out
TRUE = "true"
PERMUTED = "permuted"

Choice = str | list[str]
Control = Literal["permuted", "true_labels"]


class Statistics(Section):
    """How intervals and tests are made."""

    resamples: int = Field(ge=100, le=1_000_000, description="Bootstrap and permutation resamples.")
    confidence: Fraction = Field(description="Coverage of the intervals.")


class Row(Section):
    """One explicit combination, where a grid does not serve: what it leaves out, the study says."""

    images: str | None = None
    encoder: str | None = None
    prompts: str | None = None
    labelling: str | None = None
    network: str | None = None
    recipe: str | None = None
    seeds: Count | None = Field(default=None, description="Repeats; null takes the study's.")


class Study(Part):
    """A comparison of named parts: any key may hold a list, and what varies is its axis."""

    title: str = Field(min_length=1, description="What is compared, in a few words.")
    images: Choice = Field(
        description="Mixtures; or MedMNIST files by flag, such as `vesselmnist3d` or "
        "`pneumoniamnist_224`, with their official splits; or phantoms."
    )
    encoder: Choice | None = Field(
        default=None,
        description="Teachers: an encoder, or its checkpoint such as `phantom_clip@6`. Null trains "
        "on true labels alone.",
    )
    prompts: Choice | None = Field(default=None, description="The teacher's words.")
    labelling: Choice | None = Field(default=None, description="How the teacher labels.")
    network: Choice = Field(
        description="Networks, by name in `networks`, or ResNets, transformers and timm's models "
        "by theirs."
    )
    recipe: Choice = Field(description="How they are trained.")
    rows: list[Row] = Field(
        default=[], description="Explicit combinations instead of the product of the keys."
    )
    seeds: int = Field(
        ge=1, le=10_000, description="Repeats, each with its own draw, split and initial weights."
    )
    pretrainings: Count = Field(
        default=1,
        description="Pretrainings of each teacher, the first ones; every seed is repeated for each "
        "of them.",
    )
    controls: list[Control] = Field(
        default=[],
        description="Further students: of the teacher's labels `permuted` among the images (what "
        "is learnt from class frequencies alone), and of `true_labels` (an upper bound).",
    )


@dataclass(frozen=True)
class Trained:
    """What names trainings: all seeds of the same images, labels, network and recipe.

    Images are a mixture (a member of one, where it has several), or a MedMNIST file or phantom;
    labels ``true``, ``<encoder>+<prompts>+<labelling>``, or ``permuted+`` before that.
    """

    images: str
    labels: str
    network: str
    recipe: str

    @property
    def name(self) -> str:
        """``images/labels/network/recipe``: its folder, and how commands name it."""
        return "/".join((self.images, self.labels, self.network.replace(":", "."), self.recipe))

    @property
    def permuted(self) -> bool:
        """Whether the labels are shuffled among the images."""
        return self.labels.startswith(f"{PERMUTED}+")

    @property
    def pseudolabels(self) -> str | None:
        """The teacher's labels, permuted or not; None for true ones."""
        return None if self.labels == TRUE else self.labels.removeprefix(f"{PERMUTED}+")

    @property
    def taught(self) -> tuple[EncoderReference, str, str] | None:
        """Encoder, prompts and labelling; None for true labels."""
        if self.pseudolabels is None:
            return None
        encoder, prompts, labelling = self.pseudolabels.split("+")
        return EncoderReference.parse(encoder), prompts, labelling


@dataclass(frozen=True)
class Cell:
    """One point of a study's grid; without a teacher it is of true labels."""

    images: str
    encoder: str | None
    prompts: str | None
    labelling: str | None
    network: str
    recipe: str
    seeds: int
    pretrainings: int

    @property
    def teachers(self) -> list[EncoderReference]:
        """The teacher of each pretraining."""
        if self.encoder is None:
            return []
        first = EncoderReference.parse(self.encoder)
        return [first.of_run(run) for run in range(first.run, first.run + self.pretrainings)]

    def student(self, run: int = 0) -> Trained:
        """Return the students of one pretraining's labels, or of true labels."""
        labels = TRUE
        if self.encoder is not None:
            labels = f"{self.teachers[run]}+{self.prompts}+{self.labelling}"
        return Trained(self.images, labels, self.network, self.recipe)

    def control(self, kind: Control, run: int = 0) -> Trained:
        """Return the students of a control."""
        student = self.student(run)
        labels = TRUE if kind == "true_labels" else f"{PERMUTED}+{student.labels}"
        return replace(student, labels=labels)

    def label(self, keys: tuple[str, ...]) -> str:
        """Tell the cell from others by the keys that vary."""
        return ", ".join(str(getattr(self, key)) for key in keys)


def combinations(study: Study, members: Mapping[str, list[str]]) -> Iterator[Cell]:
    """Give the cells of a study's grid, or of its rows.

    A name of images stands for its `members`, if it has any.
    """
    for row in study.rows or [Row()]:
        asked = study.model_copy(update=row.model_dump(exclude_none=True))
        values = [getattr(asked, key) for key in KEYS]
        lists: list[Any] = [one if isinstance(one, list) else [one] for one in values]
        lists[0] = [member for name in lists[0] for member in members.get(name, [name])]
        for chosen in itertools.product(*lists):
            entry = dict(zip(KEYS, chosen, strict=True))
            yield Cell(**entry, seeds=asked.seeds, pretrainings=asked.pretrainings)


def varying(cells: list[Cell]) -> tuple[str, ...]:
    """Return the keys in which cells differ: a study's axes."""
    return tuple(key for key in KEYS if len({getattr(cell, key) for cell in cells}) > 1)


def blocks(seeds: int, size: int) -> list[str]:
    """Divide seeds into blocks ``first-last`` of `size`.

    A full block never depends on the number of seeds, so that more seeds leave it as it is.
    """
    return [f"{first:04d}-{min(first + size, seeds) - 1:04d}" for first in range(0, seeds, size)]
