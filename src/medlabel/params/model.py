"""The whole of `params.yaml`, and what its sections have to agree on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from medlabel.data import catalogue
from medlabel.networks.names import misfit
from medlabel.params.base import Name, Section, resolve
from medlabel.params.data import Download, Folders, Phantoms
from medlabel.params.encoders import (
    AnyEncoder,
    Contrastive,
    EncoderReference,
    Labelling,
    Prompts,
)
from medlabel.params.mixtures import Mixture
from medlabel.params.networks import Network
from medlabel.params.recipes import Recipe
from medlabel.params.studies import (
    KEYS,
    TRUE,
    Cell,
    Statistics,
    Study,
    Trained,
    blocks,
    combinations,
)

# Named parts that may extend one another, and keys that none inherits.
EXTENDABLE: dict[str, tuple[str, ...]] = {
    "mixtures": (),
    "encoders": (),
    "prompts": (),
    "labellings": (),
    "networks": (),
    "recipes": ("protocol",),
    "studies": ("title",),
}


class TrainingSettings(Section):
    """All parameters that the result of a training depends on, and no others.

    Attributes
    ----------
    seed
        Root of the random streams.
    mixture
        Where the images are a mixture; else None.
    dataset, size
        Flag or phantom and edge, where the images are one official file; else None.
    labelling
        Where a teacher labelled them; else None.
    network
        Its parameters, or its name.
    recipe
        How it is trained.
    """

    seed: int
    mixture: Mixture | None
    dataset: str | None
    size: int
    labelling: Labelling | None
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
    mixtures: dict[Name, Mixture] = Field(description="Images and classes to tell apart.")
    encoders: dict[Name, AnyEncoder] = Field(description="Teachers.")
    prompts: dict[Name, Prompts] = Field(description="Words for classes.")
    labellings: dict[Name, Labelling] = Field(description="From embeddings and words to labels.")
    networks: dict[Name, Network] = Field(description="Small networks, made by parameters.")
    recipes: dict[Name, Recipe] = Field(description="How networks are trained, students too.")
    studies: dict[Name, Study] = Field(min_length=1, description="What is compared.")
    default_studies: list[Name] = Field(
        min_length=1, description="What `snakemake` makes without a target."
    )

    @model_validator(mode="before")
    @classmethod
    def _extended(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        resolved = dict(content)
        for section, own in EXTENDABLE.items():
            parts = content.get(section)
            if not isinstance(parts, dict):
                continue
            try:
                resolved[section] = {name: resolve(name, parts, own) for name in parts}
            except ValueError as error:
                raise ValueError(f"{section}.{error}") from error
        return resolved

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
            self._known(name, self.studies, "default_studies")
        for name, study in self.studies.items():
            self._check_study(name, study)
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

    @staticmethod
    def _known(name: str, parts: Mapping[str, Any], where: str) -> None:
        if name not in parts:
            raise ValueError(f"{where}: {name!r} given, one of {', '.join(parts)} allowed")

    def _check_study(self, name: str, study: Study) -> None:
        where = f"studies.{name}"
        cells = list(self._combinations(name, study))
        if twice := [cell for cell, times in Counter(cells).items() if times > 1]:
            named = " / ".join(str(getattr(twice[0], key)) for key in KEYS)
            raise ValueError(f"{where}: {named} given twice, each once allowed")
        for cell in cells:
            self._check_teacher(where, cell)
            for trained in self.with_sources(cell.student()):
                self._check_training(where, trained)

    def _check_teacher(self, where: str, cell: Cell) -> None:
        if cell.encoder is None or cell.prompts is None or cell.labelling is None:
            return
        self._known(cell.prompts, self.prompts, f"{where}.prompts")
        self._known(cell.labelling, self.labellings, f"{where}.labelling")
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
        self._check_words(where, self.every_mixture[cell.images], cell.prompts)

    def _check_encoder(self, where: str, teacher: EncoderReference) -> None:
        self._known(teacher.name, self.encoders, where)
        encoder = self.encoders[teacher.name]
        if not isinstance(encoder, Contrastive):
            if teacher.step is not None or teacher.run:
                raise ValueError(f"{where}: {teacher} given, {teacher.name} has no checkpoints")
            return
        if teacher.step not in encoder.checkpoints:
            allowed = ", ".join(f"{teacher.name}@{step}" for step in encoder.checkpoints)
            raise ValueError(f"{where}: '{teacher}' given, one of {allowed} allowed")
        if teacher.run >= encoder.pretrainings:
            raise ValueError(
                f"{where}: pretraining {teacher.run} of {teacher.name} given, encoders."
                f"{teacher.name}.pretrainings ({encoder.pretrainings}) allows 0 to "
                f"{encoder.pretrainings - 1}"
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

    def _check_training(self, where: str, trained: Trained) -> None:
        self._known(trained.recipe, self.recipes, f"{where}.recipe")
        recipe = self.recipes[trained.recipe]
        mixed = trained.images in self.every_mixture
        try:
            volumetric = not mixed and catalogue.is_volumetric(catalogue.parse(trained.images)[0])
        except ValueError as error:
            raise ValueError(
                f"{where}.images: {error}; or a mixture: {', '.join(self.mixtures)}"
            ) from error
        if mixed == (recipe.validation_fraction is None):
            raise ValueError(
                f"{where}: recipe {trained.recipe} for {trained.images}: "
                f"recipes.{trained.recipe}.validation_fraction "
                f"{'missing: mixtures have' if mixed else 'given: official files have'} "
                f"{'no' if mixed else 'their own'} validation split"
            )
        if trained.network in self.networks:
            if volumetric:
                raise ValueError(
                    f"{where}.network: {trained.network!r} given, which does not fit volumes"
                )
            return
        if reason := misfit(trained.network, volumetric, tuple(self.networks)):
            raise ValueError(f"{where}.network: {reason}")

    def with_sources(self, trained: Trained, above: tuple[str, ...] = ()) -> list[Trained]:
        """Return trainings after all that they start from or learn from, first things first.

        Parameters
        ----------
        trained
            Any trainings.
        above
            Names of the trainings that need these.

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
        self._known(trained.recipe, self.recipes, "recipe")
        start = self.recipes[trained.recipe].start
        if start.images is None or start.recipe is None:
            return None
        return Trained(start.images, TRUE, start.network or trained.network, start.recipe)

    def distilled(self, trained: Trained) -> Trained | None:
        """Return the trainings whose answers these learn beside the labels, if any.

        Raises
        ------
        ValueError
            When that teacher sees other images or answers for other classes.
        """
        wanted = self.recipes[trained.recipe].distillation
        if wanted is None:
            return None
        teacher = Trained(wanted.images, TRUE, wanted.network, wanted.recipe)
        self._known(teacher.recipe, self.recipes, f"recipes.{trained.recipe}.distillation.recipe")
        for what, of in (("edge", self._edge), ("classes", self.class_names)):
            ours, theirs = of(trained), of(teacher)
            if ours != theirs:
                raise ValueError(
                    f"recipes.{trained.recipe}.distillation: {teacher.name} given, whose {what} "
                    f"({theirs}) differ from those of {trained.name} ({ours})"
                )
        return teacher

    def _edge(self, trained: Trained) -> tuple[int, bool]:
        settings = self.training(trained)
        return settings.edge, settings.volumetric

    def class_names(self, trained: Trained) -> list[str]:
        """Return the classes of a training's images, in label order."""
        if trained.images in self.every_mixture:
            return self.every_mixture[trained.images].class_names
        return catalogue.class_names(catalogue.parse(trained.images)[0])

    @cached_property
    def every_mixture(self) -> dict[str, Mixture]:
        """All mixtures by name, those that `choose` makes in place of the one that names them."""
        parts = (mixture.members(name) for name, mixture in self.mixtures.items())
        return {name: mixture for members in parts for name, mixture in members.items()}

    def members(self, images: str) -> list[str]:
        """Return the images that a name in a study stands for."""
        mixture = self.mixtures.get(images)
        return [images] if mixture is None else list(mixture.members(images))

    def _combinations(self, name: str, study: Study) -> Iterator[Cell]:
        for cell in combinations(study, self.members):
            if None in (cell.images, cell.network, cell.recipe):
                raise ValueError(f"studies.{name}: images, network and recipe are all needed")
            yield cell

    @cached_property
    def grids(self) -> dict[str, list[Cell]]:
        """The cells of each study."""
        return {name: list(self._combinations(name, study)) for name, study in self.studies.items()}

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
        dataset, size = (None, 0) if mixture else catalogue.parse(trained.images)
        taught = trained.taught
        return TrainingSettings(
            seed=self.seed,
            mixture=mixture,
            dataset=dataset,
            size=mixture.size if mixture else size,
            labelling=None if taught is None else self.labellings[taught[2]],
            network=self.networks.get(trained.network, trained.network),
            recipe=self.recipes[trained.recipe],
        )

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

    def teachers(self, encoder: str, images: str | None = None) -> list[EncoderReference]:
        """Return the weights of an encoder that studies use, on some images or on any.

        Parameters
        ----------
        encoder
            Its name.
        images
            A mixture's name as in `mixtures`, whose members share their embeddings.
        """
        found = {
            str(teacher): teacher
            for cells in self.grids.values()
            for cell in cells
            for teacher in cell.teachers
            if teacher.name == encoder and images in (None, pool_name(cell.images))
        }
        return sorted(found.values(), key=lambda one: (one.run, one.step or 0))

    def labels_wanted(self, prompts: str) -> dict[str, list[str]]:
        """Return the sentences about every class of every mixture in the words of a prompt set."""
        labels = {name for mixture in self.mixtures.values() for name in mixture.class_names}
        return {name: self.prompts[prompts].sentences(name) for name in sorted(labels)}


def pool_name(images: str) -> str:
    """Return the mixture of `mixtures` that a member was chosen from: they share one pool."""
    return images.partition(".")[0]
