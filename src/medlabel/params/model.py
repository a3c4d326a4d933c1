"""The whole of `params.yaml`, and what its sections have to agree on."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medlabel.data import catalogue
from medlabel.networks.names import module_of, tower_of
from medlabel.params import checks, without_labels_checks
from medlabel.params.agreement import Agreement
from medlabel.params.base import Name, Section, extending
from medlabel.params.compared import Compared
from medlabel.params.concepts import Concepts
from medlabel.params.data import Download, Folders, Phantoms
from medlabel.params.encoders import (
    AnyEncoder,
    EncoderReference,
    Locked,
    Prompts,
)
from medlabel.params.few_labels import FewLabels
from medlabel.params.generation import Generation
from medlabel.params.labellings import AnyLabelling
from medlabel.params.many_sets import ManySets
from medlabel.params.mixtures import Mixture
from medlabel.params.networks import Network
from medlabel.params.recipes import APART, Recipe
from medlabel.params.retrieval import Retrieval
from medlabel.params.segmentation import Segmentation
from medlabel.params.studies import (
    TRUE,
    Cell,
    Statistics,
    Study,
    Trained,
    blocks,
    combinations,
)
from medlabel.params.without_labels import WithoutLabels


class TrainingSettings(Section):
    """All parameters that the result of a training depends on, and no others.

    Images are a mixture, or one official file or phantom: `dataset`, whose edge is `size`. True
    labels have no `labelling`. A network that no parameters make is named.
    """

    seed: int
    mixture: Mixture | None
    dataset: str | None
    size: int
    labelling: AnyLabelling | None
    network: Network | str
    recipe: Recipe

    @property
    def volumetric(self) -> bool:
        """Whether the network sees volumes."""
        return self.dataset is not None and catalogue.is_volumetric(self.dataset)

    @property
    def edge(self) -> int:
        """Edge of the images that the network sees, in pixels or voxels."""
        return self.recipe.enlarge_to or self.size

    @property
    def class_names(self) -> list[str]:
        """The classes of the images, in label order."""
        if self.mixture is not None:
            return self.mixture.class_names
        return catalogue.class_names(str(self.dataset))

    @property
    def tower(self) -> EncoderReference | None:
        """The encoder whose image tower the network has, if any."""
        found = tower_of(self.network) if isinstance(self.network, str) else None
        return None if found is None else EncoderReference.parse(found)

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules of this package, below `medlabel`, that the training runs."""
        own = module_of(self.network if isinstance(self.network, str) else "")
        return ("training.run", own, *(APART[name] for name in self.recipe.apart))

    def interface(self) -> dict[str, Any]:
        """Return what a network that teaches another one has to share with it."""
        return {
            "edge": f"{self.edge} {'voxels' if self.volumetric else 'pixels'}",
            "channels": self.recipe.channels,
            "classes": self.class_names,
        }

    def trigger(self) -> dict[str, Any]:
        """Return what a change of makes the training run again, as plain JSON values."""
        content = self.model_dump(mode="json", exclude={"recipe": {"seeds_per_job", "protocol"}})
        if self.labelling is not None:  # its method and scale reach students through the labels
            content["labelling"] = {key: content["labelling"][key] for key in ("top_k", "targets")}
        return content


class Params(Section):
    """All parameters: named parts, and the studies that combine them."""

    seed: int = Field(ge=0, lt=2**32, description="Root of every random stream.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        description="Where networks run; auto takes CUDA where there is one."
    )
    folders: Folders
    data: Download
    phantoms: Phantoms
    statistics: Statistics
    mixtures: Annotated[dict[Name, Mixture], extending()] = Field(
        description="Images and classes to tell apart."
    )
    encoders: Annotated[dict[Name, AnyEncoder], extending()] = Field(description="Teachers.")
    prompts: Annotated[dict[Name, Prompts], extending()] = Field(description="Words for classes.")
    labellings: Annotated[dict[Name, AnyLabelling], extending()] = Field(
        description="From embeddings and words to labels."
    )
    networks: Annotated[dict[Name, Network], extending()] = Field(
        description="Small networks, made by parameters."
    )
    recipes: Annotated[dict[Name, Recipe], extending("protocol")] = Field(
        description="How networks are trained, students too."
    )
    studies: Annotated[dict[Name, Study], extending("title")] = Field(
        min_length=1, description="What is compared."
    )
    few_labels: Annotated[dict[Name, FewLabels], extending("title")] = Field(
        description="What a few true labels are worth, beside labels that take none."
    )
    without_labels: Annotated[dict[Name, WithoutLabels], extending("title")] = Field(
        description="Labellings side by side on folders without a label."
    )
    retrieval: Annotated[dict[Name, Retrieval], extending("title")] = Field(
        description="Images found by captions, and captions by images."
    )
    concepts: Annotated[dict[Name, Concepts], extending("title")] = Field(
        description="What captions and images show, told by classifiers on embeddings."
    )
    agreement: Annotated[dict[Name, Agreement], extending("title")] = Field(
        description="Two labellers of the same images."
    )
    compared: Annotated[dict[Name, Compared], extending("title")] = Field(
        description="Encoders side by side: what their words are right about, and what they cost."
    )
    segmentation: Annotated[dict[Name, Segmentation], extending("title")] = Field(
        description="Where images show what words say: masks of phantoms, found by phrases."
    )
    many_sets: Annotated[dict[Name, ManySets], extending("title")] = Field(
        description="One model for many sets."
    )
    generation: Annotated[dict[Name, Generation], extending("title")] = Field(
        description="SYNTHETIC images made from words, and what they are worth."
    )
    default_studies: list[Name] = Field(
        min_length=1, description="What `snakemake` makes without a target."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        checks.check(self)
        without_labels_checks.check(self)
        return self

    def with_sources(self, trained: Trained, above: tuple[str, ...] = ()) -> list[Trained]:
        """Return trainings after all that they start from or learn from, first things first.

        Those `above` need these.

        Raises
        ------
        ValueError
            When trainings need one another in a circle, or a teacher does not fit.
        """
        if trained.name in above:
            raise ValueError(f"recipes.{trained.recipe}: {trained.name} needs itself")
        found: dict[str, Trained] = {}
        for source in filter(None, (self.start_of(trained), self.distilled(trained))):
            found |= {one.name: one for one in self.with_sources(source, (*above, trained.name))}
        return [*found.values(), trained]

    def start_of(self, trained: Trained) -> Trained | None:
        """Return the trainings whose weights these start from, if any."""
        start = self.recipes[trained.recipe].start
        if start.images is None or start.recipe is None:
            return None
        source = Trained(start.images, TRUE, start.network or trained.network, start.recipe)
        checks.check_names(self, f"recipes.{trained.recipe}.start", source)
        return source

    def distilled(self, trained: Trained) -> Trained | None:
        """Return the trainings whose answers these learn beside the labels, if any.

        Raises
        ------
        ValueError
            When that teacher sees images of another form or answers for other classes.
        """
        wanted = self.recipes[trained.recipe].distillation
        if wanted is None:
            return None
        where = f"recipes.{trained.recipe}.distillation"
        teacher = Trained(wanted.images, TRUE, wanted.network, wanted.recipe)
        checks.check_names(self, where, teacher)
        ours, theirs = (self.training(one).interface() for one in (trained, teacher))
        for what, own in ours.items():
            if own != theirs[what]:
                raise ValueError(
                    f"{where}: {teacher.name} given, whose {what} ({theirs[what]}) differ from "
                    f"those of {trained.name} ({own})"
                )
        return teacher

    @cached_property
    def every_mixture(self) -> dict[str, Mixture]:
        """All mixtures by name, those that `choose` makes in place of the one that names them."""
        parts = (mixture.members(name) for name, mixture in self.mixtures.items())
        return {name: mixture for members in parts for name, mixture in members.items()}

    @cached_property
    def grids(self) -> dict[str, list[Cell]]:
        """The cells of each study."""
        members = {name: list(mixture.members(name)) for name, mixture in self.mixtures.items()}
        return {name: list(combinations(study, members)) for name, study in self.studies.items()}

    @property
    def every_cell(self) -> list[Cell]:
        """The cells of all studies."""
        return [cell for cells in self.grids.values() for cell in cells]

    @cached_property
    def trainings(self) -> dict[str, Trained]:
        """Every training that studies ask for, and those that these start or learn from."""
        return {
            one.name: one
            for study, cells in self.grids.items()
            for cell in cells
            for group in self.students(cell, study).values()
            for trained in group
            for one in self.with_sources(trained)
        }

    def images(self, name: str) -> Mixture | str:
        """Return the mixture of a name, or the name itself where it is an official file's."""
        return self.every_mixture.get(name, name)

    def training(self, trained: Trained) -> TrainingSettings:
        """Return what a training's result depends on."""
        mixture = self.every_mixture.get(trained.images)
        dataset, size = (None, mixture.size) if mixture else catalogue.parse(trained.images)
        taught = trained.taught
        return TrainingSettings(
            seed=self.seed,
            mixture=mixture,
            dataset=dataset,
            size=size,
            labelling=None if taught is None else self.labellings[taught[2]],
            network=self.networks.get(trained.network, trained.network),
            recipe=self.recipes[trained.recipe],
        )

    def phantoms_of(self, encoder: Locked) -> list[tuple[str, int]]:
        """Return the phantoms that a locked tower learns words from, by kind and size."""
        if encoder.captioned is not None:
            return []
        flat = [(kind, size) for size in encoder.phantom_sizes for kind in catalogue.FLAT_PHANTOMS]
        solid = [kind for kind in catalogue.PHANTOMS if catalogue.is_volumetric(kind)]
        return [*flat, *((kind, self.phantoms.size) for kind in solid)]

    def blocks(self, trained: Trained, seeds: int) -> list[str]:
        """Return the jobs that so many seeds of a training take: ``first-last``."""
        return blocks(seeds, self.recipes[trained.recipe].seeds_per_job)

    def students(self, cell: Cell, study: str) -> dict[str, list[Trained]]:
        """Return the trainings of a cell by arm, one a pretraining of the teacher.

        Arms are ``student``, ``permuted`` and ``true``; trainings on true labels have no teacher,
        so that there is one of them.
        """
        runs = range(max(1, len(cell.teachers)))
        arms = {"student" if cell.encoder else TRUE: [cell.student(run) for run in runs]}
        for control in self.studies[study].controls:
            repeated = [cell.control(control, run) for run in runs]
            arm = TRUE if control == "true_labels" else control
            arms[arm] = list({one.name: one for one in repeated}.values())
        return arms

    def space_of(self, labelling: str) -> EncoderReference | None:
        """Return the encoder in whose embeddings a labelling compares images, if it names one."""
        space = self.labellings[labelling].space
        return None if space is None else EncoderReference.parse(space)

    def spaces(self, cell: Cell) -> list[EncoderReference]:
        """Return the encoder in whose embeddings a cell compares images, if it names one."""
        found = None if cell.labelling is None else self.space_of(cell.labelling)
        return [] if found is None else [found]

    def labellers_of(self, compared: Agreement) -> list[EncoderReference]:
        """Return the encoders that two labellers need."""
        found = []
        for labels in compared.taught():
            assert labels.taught is not None
            encoder, _, labelling = labels.taught
            space = self.space_of(labelling)
            found += [encoder, *([] if space is None else [space])]
        return found

    def teachers(self, encoder: str, images: str | None = None) -> list[EncoderReference]:
        """Return the weights of an encoder in use, on a part of `mixtures` or on any."""
        used = itertools.chain(
            ((cell.images, (*cell.teachers, *self.spaces(cell))) for cell in self.every_cell),
            ((curve.images, (curve.reference,)) for curve in self.few_labels.values()),
            ((one.images, one.references) for one in self.retrieval.values()),
            ((one.images, one.references) for one in self.concepts.values()),
            ((one.images, self.labellers_of(one)) for one in self.agreement.values()),
            (("", one.references) for one in self.many_sets.values()),
            (
                (images, one.references)
                for one in self.without_labels.values()
                for images in one.mixtures
            ),
        )
        found = {
            teacher
            for used_on, teachers in used
            for teacher in teachers
            if teacher.name == encoder and images in (None, pool_name(used_on))
        }
        return sorted(found, key=lambda one: (one.run, one.step or 0))

    def labels_wanted(self, prompts: str) -> dict[str, list[str]]:
        """Return the sentences about every class of every mixture in the words of a prompt set."""
        labels = {name for mixture in self.mixtures.values() for name in mixture.class_names}
        return {name: self.prompts[prompts].sentences(name) for name in sorted(labels)}


def pool_name(images: str) -> str:
    """Return the mixture of `mixtures` that a member was chosen from: they share one pool."""
    return images.partition(".")[0]
