"""The whole of `params.yaml`, and what its sections have to agree on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medlabel.data import catalogue
from medlabel.networks.names import misfit
from medlabel.params.base import Name, Section, extending
from medlabel.params.data import Download, Folders, Phantoms
from medlabel.params.encoders import (
    AnyEncoder,
    Contrastive,
    EncoderReference,
    Locked,
    Prompts,
)
from medlabel.params.few_labels import FewLabels
from medlabel.params.labellings import AnyLabelling
from medlabel.params.mixtures import Mixture
from medlabel.params.networks import Network
from medlabel.params.recipes import Recipe
from medlabel.params.studies import (
    KEYS,
    TEACHING,
    TRUE,
    Cell,
    Statistics,
    Study,
    Trained,
    blocks,
    combinations,
)


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
    default_studies: list[Name] = Field(
        min_length=1, description="What `snakemake` makes without a target."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name, mixture in self.mixtures.items():
            self._check_mixture(name, mixture)
        for name, encoder in self.encoders.items():
            patch = encoder.patch_size if isinstance(encoder, Contrastive) else 1
            if self.phantoms.size % patch:
                raise ValueError(
                    f"encoders.{name}.patch_size: {patch} given, a divisor of phantoms.size "
                    f"({self.phantoms.size}) allowed"
                )
        for name in self.default_studies:
            _require(name, self.studies, "default_studies")
        for name, study in self.studies.items():
            self._check_study(f"studies.{name}", study, self.grids[name])
        for name, curve in self.few_labels.items():
            self._check_curve(f"few_labels.{name}", curve)
        return self

    def _check_mixture(self, name: str, mixture: Mixture) -> None:
        if mixture.phantom != name.startswith("phantom_"):
            raise ValueError(
                f"mixtures.{name}: a name that begins with phantom_ is "
                f"{'required for' if mixture.phantom else 'reserved to'} mixtures that hold "
                f"phantoms"
            )
        if mixture.phantom and mixture.size != self.phantoms.size:
            raise ValueError(
                f"mixtures.{name}.size: {mixture.size} given, phantoms.size "
                f"({self.phantoms.size}) allowed where a mixture holds phantoms"
            )

    def _check_study(self, where: str, study: Study, cells: list[Cell]) -> None:
        if not cells:
            raise ValueError(f"{where}: an empty list given, names allowed")
        if twice := [cell for cell, times in Counter(cells).items() if times > 1]:
            named = " / ".join(str(getattr(twice[0], key)) for key in KEYS)
            raise ValueError(f"{where}: {named} given twice, each once allowed")
        for cell in cells:
            lacking = [key for key in TEACHING if getattr(cell, key) is None]
            if not lacking:
                self._check_teacher(where, cell)
            elif len(lacking) < len(TEACHING):
                raise ValueError(
                    f"{where}.{', '.join(lacking)}: missing; a teacher needs {', '.join(TEACHING)}"
                )
            elif study.controls or study.pretrainings > 1:
                raise ValueError(
                    f"{where}.controls, pretrainings: given without an encoder, allowed with one"
                )
            self._check_names(where, cell)
            for trained in self.with_sources(cell.student()):
                self._check_training(where, trained)

    def _check_teacher(self, where: str, cell: Cell) -> None:
        _require(str(cell.prompts), self.prompts, f"{where}.prompts")
        _require(str(cell.labelling), self.labellings, f"{where}.labelling")
        for space in self._spaces(cell):
            self._check_encoder(f"labellings.{cell.labelling}.space", space)
        if cell.images not in self.every_mixture:
            raise ValueError(
                f"{where}.images: {cell.images!r} given with an encoder, a mixture (which names "
                f"classes) allowed: one of {', '.join(self.mixtures)}"
            )
        try:
            teachers = cell.teachers
        except ValueError as error:
            raise ValueError(f"{where}.encoder: {error}") from error
        for teacher in teachers:
            self._check_encoder(f"{where}.encoder", teacher)
        self._check_words(where, self.every_mixture[cell.images], str(cell.prompts))
        self._check_weights(where, cell.images, str(cell.prompts), str(cell.labelling))

    def _check_curve(self, where: str, curve: FewLabels) -> None:
        _require(curve.images, self.every_mixture, f"{where}.images")
        _require(curve.prompts, self.prompts, f"{where}.prompts")
        for labelling in curve.labellings:
            _require(labelling, self.labellings, f"{where}.labellings")
            self._check_weights(where, curve.images, curve.prompts, labelling)
        try:
            teacher = curve.reference
        except ValueError as error:
            raise ValueError(f"{where}.encoder: {error}") from error
        self._check_encoder(f"{where}.encoder", teacher)
        self._check_words(where, self.every_mixture[curve.images], curve.prompts)

    def _check_encoder(self, where: str, teacher: EncoderReference) -> None:
        _require(teacher.name, self.encoders, where)
        encoder = self.encoders[teacher.name]
        if teacher.step is not None and not encoder.steps:
            raise ValueError(f"{where}: {teacher} given, {teacher.name} has no checkpoints")
        if encoder.steps and teacher.step not in encoder.steps:
            allowed = ", ".join(f"{teacher.name}@{step}" for step in encoder.steps)
            raise ValueError(f"{where}: '{teacher}' given, one of {allowed} allowed")
        if teacher.run >= encoder.runs:
            raise ValueError(
                f"{where}: pretraining {teacher.run} of {teacher.name} given, of which there "
                f"{'are' if encoder.runs > 1 else 'is'} {encoder.runs}: encoders.{teacher.name}."
                f"pretrainings allows 0 to {encoder.runs - 1}"
            )

    def _check_words(self, where: str, mixture: Mixture, prompts: str) -> None:
        """Refuse words that cannot tell classes apart."""
        known: dict[frozenset[str], str] = {}
        for label in mixture.class_names:
            sentences = self.prompts[prompts].sentences(label)
            words = frozenset(" ".join(one.lower().split()) for one in sentences)
            other = known.setdefault(words, label)
            if other != label:
                raise ValueError(
                    f"prompts.{prompts}.words: {other} and {label} ({where}) have the same words; "
                    f"different ones allowed"
                )

    def _check_weights(self, where: str, images: str, prompts: str, labelling: str) -> None:
        """Refuse to weigh sentences where classes differ in their number, or have one."""
        if not self.labellings[labelling].weigh:
            return
        names = self.every_mixture[images].class_names
        counts = {name: len(self.prompts[prompts].sentences(name)) for name in names}
        if len(set(counts.values())) > 1 or 1 in counts.values():
            listing = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise ValueError(
                f"labellings.{labelling}.weigh: true given with prompts {prompts} "
                f"({where}), whose sentences a class are {listing}; as many of each class, and at "
                f"least two, allowed"
            )

    def _check_training(self, where: str, trained: Trained) -> None:
        settings = self.training(trained)
        mixed = settings.mixture is not None
        if mixed == (settings.recipe.validation_fraction is None):
            raise ValueError(
                f"{where}: recipe {trained.recipe} for {trained.images}: "
                f"recipes.{trained.recipe}.validation_fraction "
                f"{'missing: mixtures have' if mixed else 'given: official files have'} "
                f"{'no' if mixed else 'their own'} validation split"
            )
        if reason := misfit(trained.network, settings.volumetric, tuple(self.networks)):
            raise ValueError(f"{where}.network: {reason}")

    def _check_names(self, where: str, asked: Cell | Trained) -> None:
        _require(asked.recipe, self.recipes, f"{where}.recipe")
        try:
            self.training(Trained(asked.images, TRUE, asked.network, asked.recipe))
        except ValueError as error:
            raise ValueError(
                f"{where}.images: {error}; or a mixture: {', '.join(self.mixtures)}"
            ) from error

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
        self._check_names(f"recipes.{trained.recipe}.start", source)
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
        self._check_names(where, teacher)
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

    def _spaces(self, cell: Cell) -> list[EncoderReference]:
        found = None if cell.labelling is None else self.space_of(cell.labelling)
        return [] if found is None else [found]

    def teachers(self, encoder: str, images: str | None = None) -> list[EncoderReference]:
        """Return the weights of an encoder in use, on a part of `mixtures` or on any."""
        found = {
            str(curve.reference): curve.reference
            for curve in self.few_labels.values()
            if curve.reference.name == encoder and images in (None, pool_name(curve.images))
        } | {
            str(teacher): teacher
            for cells in self.grids.values()
            for cell in cells
            for teacher in (*cell.teachers, *self._spaces(cell))
            if teacher.name == encoder and images in (None, pool_name(cell.images))
        }
        return sorted(found.values(), key=lambda one: (one.run, one.step or 0))

    def labels_wanted(self, prompts: str) -> dict[str, list[str]]:
        """Return the sentences about every class of every mixture in the words of a prompt set."""
        labels = {name for mixture in self.mixtures.values() for name in mixture.class_names}
        return {name: self.prompts[prompts].sentences(name) for name in sorted(labels)}


def _require(name: str, parts: Mapping[str, Any], where: str) -> None:
    if name not in parts:
        raise ValueError(f"{where}: {name!r} given, one of {', '.join(parts)} allowed")


def pool_name(images: str) -> str:
    """Return the mixture of `mixtures` that a member was chosen from: they share one pool."""
    return images.partition(".")[0]
