"""Parameters of recipes: how a network is trained, whoever labelled the images."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medlabel.params.base import Count, Fraction, Name, Part, Precision, Rate, Section, Share

Augmentation = Literal["flip", "rotate90", "affine", "elastic", "noise", "intensity", "augmix"]
# Those that have a module of their own, below `medlabel`; the others are in `training.augment`.
APART: dict[Augmentation, str] = {"augmix": "training.augmix"}


class Start(Section):
    """Where a network takes its first weights from."""

    source: Literal["random", "timm", "package", "file", "training"] = Field(
        description="`random` initialisation (of a network with an encoder's tower: of its last "
        "layer alone), timm's published weights, those that an installed "
        "`package` holds for the network, a local `file`, or what another `training` on true "
        "labels learned, seed for seed. Weights of a 2-D network carry over to the 3-D one "
        "converted from it, and a 2-D ViT's to ViT3D; a classifier of another size starts anew."
    )
    path: str | None = Field(
        default=None, description="For file: .safetensors, or a .pt that holds tensors alone."
    )
    images: str | None = Field(default=None, description="For training: its images.")
    network: str | None = Field(
        default=None, description="For training: its network; null takes this one."
    )
    recipe: Name | None = Field(default=None, description="For training: its recipe.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.source == "file") != (self.path is not None):
            raise ValueError("path: a path is given with source: file, and only then")
        if (self.source == "training") != (self.images is not None and self.recipe is not None):
            raise ValueError("images, recipe: both are given with source: training, and only then")
        return self


class Distillation(Section):
    """A training on true labels whose answers are learned, as a student learns its teacher's."""

    images: str = Field(description="Its images: the same, or others with the same classes.")
    network: str = Field(description="Its network.")
    recipe: Name = Field(description="Its recipe.")
    part: float = Field(
        gt=0, le=1, description="Part of the loss that follows its answers instead of the labels."
    )


class Recipe(Part):
    """The images' way into the network, the loss, the schedule, and when it stops."""

    protocol: str | None = Field(
        default=None,
        description="The published recipe that this one follows, as the column `recipe` of "
        "resources/published_results.csv names it; null for a recipe of our own. Never inherited.",
    )
    channels: Literal[1, 3] = Field(description="1 turns colour to grey; 3 repeats grey.")
    enlarge_to: int | None = Field(
        ge=28,
        le=1024,
        description="Edge that images are enlarged to by nearest neighbour, as the published "
        "224-pixel results were made from 28 pixels; null keeps their size.",
    )
    stem: Literal["auto", "dense", "halved", "imagenet"] = Field(
        description="First layers of a ResNet: `dense` 3x3 stride 1 (MedMNIST's for 28 pixels), "
        "`halved` 3x3 stride 2, `imagenet` 7x7 stride 2 and pooling; auto takes dense below 64 "
        "pixels and imagenet from there."
    )
    start: Start = Field(description="First weights.")
    distillation: Distillation | None = Field(
        description="Teacher to learn from beside the labels, seed for seed; null for none."
    )
    validation_fraction: Fraction | None = Field(
        description="Part of a mixture's training images that is held back, with the labels that "
        "are learnt from, to choose the epoch; null takes the official validation split, which "
        "mixtures lack."
    )
    select: Literal["loss", "auc"] = Field(
        description="The epoch whose weights are kept: the lowest validation loss, or the highest "
        "validation AUC; the first of equals."
    )
    patience: Count | None = Field(
        description="Epochs without a better one before training stops; null trains all epochs."
    )
    epochs: Count = Field(description="Passes over the training images at most.")
    batch_size: Count = Field(description="Images a step.")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(description="Update rule.")
    learning_rate: Rate = Field(description="Rate at the first step after warm-up.")
    momentum: float = Field(ge=0, lt=1, description="SGD's momentum; unused by Adam and AdamW.")
    weight_decay: float = Field(ge=0, le=1, description="L2 penalty (decoupled in AdamW).")
    warmup: Share = Field(description="Part of the training in which the rate rises linearly.")
    schedule: Literal["constant", "steps", "cosine"] = Field(
        description="`constant` keeps the rate; `steps` multiplies it by `decay` at each "
        "milestone; `cosine` takes it smoothly to zero."
    )
    milestones: list[Fraction] = Field(description="Parts of the training, rising, for steps.")
    decay: Fraction = Field(description="Factor at a milestone.")
    label_smoothing: float = Field(ge=0, lt=1, description="Part of each target spread evenly.")
    robustness: float = Field(
        ge=0,
        le=1,
        description="q of the generalised cross-entropy, which learns less from images that "
        "contradict the network; 0 is cross-entropy, 1 the mean absolute error.",
    )
    mixup: float = Field(
        ge=0,
        le=10,
        description="Images of a batch are mixed in pairs, and so are their targets, by shares "
        "from a beta distribution with both parameters of this value; 0 mixes none.",
    )
    confidence_weights: bool = Field(
        description="Weigh each image by the probability that its labelling gives its label."
    )
    self_training: int = Field(
        ge=0,
        le=20,
        description="Rounds in which a new network learns from the answers of the one before on "
        "its own training images.",
    )
    sampling: Literal["shuffled", "oversampled"] = Field(
        description="Each image once an epoch, or rarer classes drawn as often as the commonest."
    )
    class_weights: bool = Field(
        description="Weight the loss by the inverse frequency of each class in training."
    )
    intensity_scaling: bool = Field(
        description="For shape datasets (Adrenal, Vessel): multiply each training volume by a "
        "random factor in [0, 1] and those that are judged by 0.5, as MedMNIST's protocol has it."
    )
    augmentations: list[Augmentation] = Field(
        description="Transforms of the training images: MONAI's, any of flip, rotate90 (quarter "
        "turns), affine, elastic, noise and intensity; after these augmix, of flat images alone, "
        "as published: severity 3, three chains of one to three operations, alpha 1."
    )
    rotation: float = Field(ge=0, le=180, description="affine: degrees about each axis, at most.")
    translation: Share = Field(description="affine: part of the edge along each axis, at most.")
    zoom: float = Field(ge=0, lt=1, description="affine: change of size along each axis, at most.")
    displacement: Share = Field(
        description="elastic: part of the edge, the standard deviation of the displacements before "
        "they are smoothed over a tenth of the edge."
    )
    noise: Share = Field(description="noise: largest standard deviation, of intensities in [0, 1].")
    intensity: Share = Field(description="intensity: relative change of all intensities, at most.")
    test_time_flips: bool = Field(
        description="Average the logits of each judged image over its mirror images."
    )
    precision: Precision = Field(
        description="Arithmetic of the network (weights stay float32); auto takes bf16 where the "
        "processor has bfloat16 instructions and fp32 elsewhere."
    )
    threads: Count = Field(
        description="CPU threads of one training; part of what makes a result repeatable."
    )
    seeds_per_job: Count = Field(
        description="Seeds that one process trains; with 1 a killed training goes on from its "
        "last epoch, else from the last finished job."
    )
    keep_weights: Annotated[int, Field(ge=0)] | None = Field(
        description="Seeds, the first ones, whose weights are saved; null saves all."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"milestones: {self.milestones} given, rising parts allowed")
        if self.robustness and self.label_smoothing:
            raise ValueError(
                f"label_smoothing: {self.label_smoothing} given with robustness "
                f"{self.robustness}; 0 allowed with it, since both soften the same loss"
            )
        return self

    @property
    def apart(self) -> list[Augmentation]:
        """The augmentations that have a module of their own, in the order that they come in."""
        return [name for name in APART if name in self.augmentations]
