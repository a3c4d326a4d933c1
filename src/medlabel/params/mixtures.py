"""Parameters of mixtures: datasets made of several, whose classes a teacher has to tell apart."""

from __future__ import annotations

import itertools
from typing import Literal, Self

from pydantic import Field, model_validator

from medlabel.data.catalogue import SIZES_2D, is_phantom, is_volumetric, sizes
from medlabel.params.base import Dataset, Name, Part, Section, Split


class ClassRole(Section):
    """How many images of a class serve in a role, and which official splits they come from."""

    splits: list[Split] = Field(min_length=1, description="Official splits to draw from.")
    count: int | None = Field(
        ge=1, description="Images drawn for each seed, without replacement; null takes all."
    )


class MixtureClass(Section):
    """One class of a mixture: the images of one source, or some of its labels."""

    name: Name = Field(description="Name of the class.")
    dataset: Dataset = Field(description="MedMNIST flag or phantom that the images come from.")
    labels: list[int] | None = Field(
        default=None,
        description="Keep only images with one of these labels of the source; null keeps all. In "
        "a multi-label source, images that carry at least one of them.",
    )
    train: ClassRole = Field(description="Images that the teacher labels for the student.")
    test: ClassRole = Field(description="Held-out images that teacher and student are judged on.")

    @model_validator(mode="after")
    def _roles_are_disjoint(self) -> Self:
        if shared := sorted(set(self.train.splits) & set(self.test.splits)):
            raise ValueError(
                f"train.splits and test.splits share {', '.join(shared)}; an image must not "
                f"be in both"
            )
        return self


class Mixture(Part):
    """An index of images, redrawn for each seed; or, with `choose`, one for every two classes."""

    size: int = Field(description=f"Edge of the images in pixels: one of {SIZES_2D}.")
    pool: int | None = Field(
        default=None,
        ge=1,
        description="Images a class and role that the seeds draw from (a fixed random subset, "
        "which bounds what has to be embedded); null allows all.",
    )
    projection: Literal["maximum"] | None = Field(
        default=None,
        description="How volumes become images: `maximum` takes the brightest voxel along depth. "
        "Null allows no volumes.",
    )
    choose: Literal[2] | None = Field(
        default=None,
        description="2 makes a mixture of every two of the classes, named <mixture>.<one>.<other>; "
        "a study that names this mixture runs on all of them.",
    )
    published: str | None = Field(
        default=None,
        description="The dataset in resources/published_results.csv whose published teachers and "
        "students stand beside ours; null: none.",
    )
    stand_ins: list[Dataset] = Field(
        default=[],
        exclude_if=lambda value: not value,  # what was made without them need not run again
        description="Official sets among the classes whose images are STAND-INS, drawn in the "
        "shape of the official files, so many as `phantoms.stand_ins` says.",
    )
    classes: list[MixtureClass] = Field(min_length=2, description="The classes, in label order.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = self.class_names
        if len(set(names)) < len(names):
            raise ValueError(f"classes: the names {', '.join(names)} are not all different")
        if self.size not in SIZES_2D:
            raise ValueError(f"size: {self.size} given, one of {SIZES_2D} allowed")
        volumes = [name for name in self.datasets if is_volumetric(name)]
        if volumes and self.projection is None:
            raise ValueError(
                f"classes: {', '.join(volumes)} given, 2-D datasets allowed; projection: maximum "
                f"makes images of volumes"
            )
        for name in self.datasets:
            if not is_phantom(name) and self.size not in sizes(name):
                raise ValueError(
                    f"size: {self.size} given, {name} is published in "
                    f"{', '.join(map(str, sizes(name)))}"
                )
        flat = [name for name in self.datasets if not is_phantom(name) and name not in volumes]
        if unfit := [name for name in self.stand_ins if name not in flat]:
            raise ValueError(
                f"stand_ins: {', '.join(unfit)} given, official 2-D sets of the classes allowed: "
                f"{', '.join(flat) or 'there is none'}"
            )
        return self

    @property
    def datasets(self) -> list[str]:
        """The sources, each once, in the order of the classes."""
        return list(dict.fromkeys(entry.dataset for entry in self.classes))

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in label order."""
        return [entry.name for entry in self.classes]

    @property
    def phantom(self) -> bool:
        """Whether any image is drawn rather than measured; results then say PHANTOM."""
        return bool(self.stand_ins) or any(map(is_phantom, self.datasets))

    def members(self, name: str) -> dict[str, Mixture]:
        """Return the mixtures that this part, called `name`, stands for."""
        if self.choose is None:
            return {name: self}
        return {
            f"{name}.{'.'.join(entry.name for entry in pair)}": self.model_copy(
                update={"choose": None, "classes": list(pair)}
            )
            for pair in itertools.combinations(self.classes, self.choose)
        }
