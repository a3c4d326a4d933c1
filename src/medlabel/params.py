"""Every parameter of the study: its type, unit, bounds and meaning.

This model is the only place that says what `params.yaml` may hold. The JSON schema under
`workflow/schemas/` is generated from it (`medlabel schema`), so an editor completes and checks the
file while it is typed.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from medlabel.benchmark.names import misfit
from medlabel.data.catalogue import (
    DATASETS,
    PHANTOMS,
    SIZES_2D,
    SIZES_3D,
    is_phantom,
    is_volumetric,
    sizes,
)
from medlabel.errors import MedlabelError

Split = Literal["train", "val", "test"]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=60)]


def _known_dataset(name: str) -> str:
    if name not in DATASETS and name not in PHANTOMS:
        raise ValueError(f"one of {', '.join([*DATASETS, *PHANTOMS])}")
    return name


Dataset = Annotated[str, AfterValidator(_known_dataset)]


class Section(BaseModel):
    """A block of parameters: unknown keys are refused, values are never coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Folders(Section):
    """Where the study writes."""

    data: str = Field(min_length=1, description="Folder of all that is large: DVC keeps it.")
    results: str = Field(
        min_length=1, description="Folder of metrics, tables and figures: Git keeps it."
    )


class Data(Section):
    """Download of MedMNIST's files."""

    size: int = Field(
        description=f"Edge length in pixels: one of {SIZES_2D} in 2-D and {SIZES_3D} in 3-D."
    )
    mirrors: list[str] = Field(
        description="Folders or http(s) addresses that hold `<dataset>.npz`; searched in this "
        "order, after MEDLABEL_MIRROR and before ~/.medmnist and Zenodo."
    )
    retries: int = Field(ge=0, le=100, description="Further attempts after a failed download.")
    timeout: float = Field(gt=0, le=3600, description="Seconds without a byte before giving up.")

    @model_validator(mode="after")
    def _size_exists(self) -> Self:
        if self.size not in {*SIZES_2D, *SIZES_3D}:
            raise ValueError(f"size: {self.size} given, one of {SIZES_2D} allowed")
        return self


class PhantomCounts(Section):
    """Images of each kind of phantom, split as MedMNIST splits its own."""

    train: Count = Field(description="Images a kind in the training split.")
    val: Count = Field(description="Images a kind in the validation split.")
    test: Count = Field(description="Images a kind in the test split.")


class Phantoms(Section):
    """Procedurally drawn images with captions."""

    size: int = Field(ge=14, le=512, description="Edge length in pixels (voxels in 3-D).")
    counts: PhantomCounts
    artefacts: bool = Field(
        description="Add scanner artefacts: noise, blur, bias field, ringing, contrast."
    )


class ClassRole(Section):
    """How many images of a class serve in a role, and which official splits they come from."""

    splits: list[Split] = Field(min_length=1, description="Official splits to draw from.")
    count: int | None = Field(
        ge=1, description="Images drawn for each seed, without replacement; null takes all."
    )


class MixtureClass(Section):
    """One class of a mixed dataset: the images of one source, or some of its labels."""

    name: Name = Field(description="Name of the class.")
    dataset: Dataset = Field(description="MedMNIST flag or phantom that the images come from.")
    labels: list[int] | None = Field(
        description="Keep only images with one of these labels of the source; null keeps all. In "
        "a multi-label source, images that carry at least one of them."
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


class Mixture(Section):
    """A dataset made of several: an index of images, redrawn for each seed."""

    name: Name = Field(description="Names result files; begins with phantom_ if a class is one.")
    pool: int | None = Field(
        ge=1,
        description="Images a class and role that the seeds draw from (a fixed random subset, "
        "which bounds what has to be embedded); null allows all.",
    )
    classes: list[MixtureClass] = Field(min_length=2, description="The classes, in label order.")

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = self.class_names
        if len(set(names)) < len(names):
            raise ValueError(f"classes: the names {', '.join(names)} are not all different")
        if volumes := [name for name in self.datasets if is_volumetric(name)]:
            raise ValueError(f"classes: {', '.join(volumes)} given, 2-D datasets allowed")
        if self.phantom != self.name.startswith("phantom_"):
            raise ValueError(
                f"name: {self.name!r} given; a name that begins with phantom_ is "
                f"{'required for' if self.phantom else 'reserved to'} mixtures that hold phantoms"
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
        return any(map(is_phantom, self.datasets))


class Teacher(Section):
    """Which encoder labels the images."""

    source: Literal["pretrain", "open_clip"] = Field(
        description="`pretrain` trains a small CLIP on phantoms; `open_clip` loads a published one."
    )
    name: Name = Field(description="Names the encoder's folder and files.")
    model: str = Field(
        min_length=1,
        description="For open_clip: a model name (`ViT-L-14-quickgelu`), a hub id "
        "(`hf-hub:org/repo`) or a folder (`local-dir:path`).",
    )
    pretrained: str | None = Field(
        description="For open_clip: the tag (`openai`) or a local file of weights; null for hub "
        "ids and folders, which hold their own."
    )


class Pretrain(Section):
    """A small CLIP trained from scratch on captioned phantoms."""

    patch_size: Count = Field(description="Edge of a patch in pixels; divides phantoms.size.")
    width: Count = Field(description="Channels of both transformers; a multiple of 32.")
    image_layers: Count = Field(description="Transformer blocks of the image tower.")
    text_layers: Count = Field(description="Transformer blocks of the text tower.")
    embed_dim: Count = Field(description="Length of the shared embedding.")
    context_length: int = Field(ge=8, le=77, description="Tokens of a caption, padding included.")
    batch_size: int = Field(ge=2, description="Pairs of image and caption a step.")
    learning_rate: Rate = Field(description="Peak of AdamW's rate.")
    weight_decay: float = Field(ge=0, le=10, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(ge=0, description="Steps of linear warm-up before cosine decay.")
    averaging: float = Field(
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights that is kept, a step.",
    )
    checkpoints: list[Count] = Field(
        min_length=1,
        description="Steps after which the weights are kept, rising; the last one ends training. "
        "Together they are the study's axis of teacher quality.",
    )
    study_checkpoint: Count = Field(
        description="The checkpoint whose student is compared with its teacher in the main "
        "figure; one of `checkpoints`."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sorted(set(self.checkpoints)) != self.checkpoints:
            raise ValueError(f"checkpoints: {self.checkpoints} given, rising steps allowed")
        if self.study_checkpoint not in self.checkpoints:
            raise ValueError(
                f"study_checkpoint: {self.study_checkpoint} given, one of {self.checkpoints} "
                f"allowed"
            )
        if self.width % 32:
            raise ValueError(f"width: {self.width} given, a multiple of 32 allowed")
        return self


class Embed(Section):
    """One forward pass of the image tower for each image."""

    batch_size: Count = Field(description="Images a forward pass.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        description="Arithmetic of the image tower; auto takes bf16 where the processor has "
        "bfloat16 instructions (AVX512-BF16, AMX, CUDA) and fp32 elsewhere."
    )


class Prompt(Section):
    """The words that describe a class."""

    label: Name = Field(description="A class of the mixture.")
    descriptions: list[str] = Field(
        min_length=1, description="Each is put into each template; the ensemble is their mean."
    )


class Pseudolabel(Section):
    """Zero-shot labels from text."""

    templates: list[str] = Field(min_length=1, description="Sentences with one {} each.")
    prompts: list[Prompt] = Field(description="One entry a class of the mixture, in its order.")
    logit_scale: float | None = Field(
        gt=0, le=1000, description="Factor on cosines before softmax; null takes the model's own."
    )
    select: Literal["all", "top_k"] = Field(
        description="Train on all pseudo-labelled images, or on the most confident K a class."
    )
    k: Count = Field(description="K of top_k.")
    targets: Literal["hard", "soft"] = Field(
        description="Train on the most probable class, or on the probabilities."
    )

    @model_validator(mode="after")
    def _templates(self) -> Self:
        for template in self.templates:
            if template.count("{}") != 1:
                raise ValueError(f"templates: {template!r} given, one {{}} in each allowed")
        return self


class Optimizer(Section):
    """The student's optimiser."""

    name: Literal["sgd", "adam", "adamw"] = Field(description="Update rule.")
    lr: Rate = Field(description="Learning rate.")
    momentum: float = Field(ge=0, lt=1, description="SGD's momentum; unused by Adam and AdamW.")
    weight_decay: float = Field(ge=0, le=1, description="L2 penalty (decoupled in AdamW).")


class Student(Section):
    """The small network that learns from the teacher's labels."""

    model: str = Field(
        pattern=r"^(two_layer_cnn|wide_cnn|timm:[A-Za-z0-9_.]+)$",
        description="`two_layer_cnn` (the capstone's), `wide_cnn`, or `timm:<any timm model>`.",
    )
    channels: Literal[1, 3] = Field(description="1 turns colour to grey; 3 repeats grey.")
    optimizer: Optimizer
    batch_size: Count = Field(description="Images a step.")
    epochs: Count = Field(description="Passes over the training part at most.")
    patience: Count = Field(
        description="Epochs without a lower validation loss before training stops."
    )
    validation_fraction: Fraction = Field(
        description="Part of the pseudo-labelled images held back for early stopping."
    )


class Study(Section):
    """Repeats and statistics."""

    seeds: int = Field(
        ge=1, le=10_000, description="Repeats, each with its own draw, split and initial weights."
    )
    seeds_per_job: Count = Field(description="Repeats that one process trains, one after another.")
    curve_seeds: int = Field(
        ge=0,
        description="Repeats, the first ones, of the students of every other checkpoint, for the "
        "teacher-quality curve; 0 trains none.",
    )
    resamples: int = Field(ge=100, le=1_000_000, description="Bootstrap and permutation resamples.")
    confidence: Fraction = Field(description="Coverage of the intervals.")
    keep_weights: list[Annotated[int, Field(ge=0)]] = Field(
        description="Seeds whose student's weights are saved."
    )


Augmentation = Literal["flip", "rotate90", "affine", "elastic", "noise", "intensity"]


class Start(Section):
    """Where a benchmark's network takes its first weights from."""

    source: Literal["random", "timm", "file", "row"] = Field(
        description="`random` initialisation, timm's published weights, a local `file`, or what "
        "another `row` learned, run for run. Weights of a 2-D network carry over to the 3-D one "
        "converted from it, and a 2-D ViT's to ViT3D; a classifier of another size starts anew."
    )
    path: str | None = Field(
        default=None, description="For file: .safetensors, or a .pt that holds tensors alone."
    )
    dataset: Dataset | None = Field(default=None, description="For row: its dataset.")
    model: str | None = Field(default=None, description="For row: its model; null takes this one.")
    recipe: Name | None = Field(default=None, description="For row: its recipe.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.source == "file") != (self.path is not None):
            raise ValueError("path: a path is given with source: file, and only then")
        if (self.source == "row") != (self.dataset is not None and self.recipe is not None):
            raise ValueError("dataset, recipe: both are given with source: row, and only then")
        return self


class Distillation(Section):
    """A row of the benchmark whose answers another one learns, as a small student its teacher's."""

    dataset: Dataset = Field(description="Its dataset: the same, or one with the same classes.")
    model: str = Field(description="Its model.")
    recipe: Name = Field(description="Its recipe.")
    part: float = Field(
        gt=0, le=1, description="Part of the loss that follows its answers instead of the labels."
    )


def _extendable(schema: dict[str, Any]) -> None:
    """Let a recipe in the file leave out what it takes from the one that it extends."""
    schema.pop("required")
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Another recipe, whose values hold for all keys that are not given.",
    }


class Recipe(Section):
    """How a benchmark is trained: the images' way into the network, the loss, the schedule."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, json_schema_extra=_extendable
    )

    image_size: int = Field(
        description="Edge of the images in the file that is read: MedMNIST's 28, or a size of "
        "MedMNIST+."
    )
    enlarge_to: int | None = Field(
        ge=28,
        le=1024,
        description="Edge that images are enlarged to by nearest neighbour, as the published "
        "224-pixel results were made from 28 pixels; null keeps `image_size`.",
    )
    stem: Literal["auto", "dense", "halved", "imagenet"] = Field(
        description="First layers of a ResNet: `dense` 3x3 stride 1 (MedMNIST's for 28 pixels), "
        "`halved` 3x3 stride 2, `imagenet` 7x7 stride 2 and pooling; auto takes dense below 64 "
        "pixels and imagenet from there."
    )
    start: Start = Field(description="First weights.")
    distillation: Distillation | None = Field(
        description="Teacher to learn from beside the labels, repeat by repeat; null for none."
    )
    epochs: Count = Field(description="Passes over the training images.")
    batch_size: int = Field(ge=2, description="Images a step.")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(description="Update rule.")
    learning_rate: Rate = Field(description="Rate at the first step after warm-up.")
    momentum: float = Field(ge=0, lt=1, description="SGD's momentum; unused by Adam and AdamW.")
    weight_decay: float = Field(ge=0, le=1, description="L2 penalty (decoupled in AdamW).")
    warmup: Share = Field(description="Part of the training in which the rate rises linearly.")
    schedule: Literal["steps", "cosine"] = Field(
        description="`steps` multiplies the rate by `decay` at each milestone; `cosine` takes it "
        "smoothly to zero."
    )
    milestones: list[Fraction] = Field(description="Parts of the training, rising, for steps.")
    decay: Fraction = Field(description="Factor at a milestone.")
    label_smoothing: float = Field(ge=0, lt=1, description="Part of each target spread evenly.")
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
        description="MONAI's transforms of the training images, any of flip, rotate90 (quarter "
        "turns), affine, elastic, noise and intensity."
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
        description="Average the probabilities of each judged image over its mirror images."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        description="Arithmetic of the network (weights stay float32); auto takes bf16 where the "
        "processor has bfloat16 instructions and fp32 elsewhere."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.image_size not in SIZES_2D:
            raise ValueError(f"image_size: {self.image_size} given, one of {SIZES_2D} allowed")
        if self.enlarge_to is not None and self.enlarge_to < self.image_size:
            raise ValueError(
                f"enlarge_to: {self.enlarge_to} given, at least image_size ({self.image_size}) "
                f"allowed"
            )
        if sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"milestones: {self.milestones} given, rising parts allowed")
        return self

    @property
    def network_size(self) -> int:
        """Edge of the images that the network sees, in pixels or voxels."""
        return self.enlarge_to or self.image_size


class Row(Section):
    """One line of the benchmark: a model trained on a dataset by a recipe, over some seeds."""

    dataset: Dataset = Field(description="MedMNIST flag or phantom.")
    model: str = Field(
        pattern=r"^[A-Za-z0-9_.:-]+$",
        description="2-D: resnet18, resnet50, vit2d (28 pixels), vit_base_patch16_224 or "
        "timm:<any timm model>. 3-D: resnet18_ or resnet50_ with acs, 2.5d or 3d; vit3d; "
        "resnet18_acs_vit3d.",
    )
    recipe: Name = Field(description="One of benchmark.recipes.")
    seeds: int = Field(ge=1, le=1000, description="Repeats.")

    @property
    def name(self) -> str:
        """``dataset/model/recipe``: the row's folder."""
        return f"{self.dataset}/{self.model.replace(':', '.')}/{self.recipe}"


class VolumeCounts(Section):
    """Vessel phantoms for pretraining 3-D networks, half of them with an aneurysm."""

    train: Count = Field(description="Volumes in the training split.")
    val: Count = Field(description="Volumes in the validation split.")
    test: Count = Field(description="Volumes in the test split.")


class Benchmark(Section):
    """Supervised models, 2-D and 3-D, beside the published values."""

    name: Name = Field(description="Names the benchmark's folder and result files.")
    threads: Count = Field(
        description="CPU threads of one training; part of what makes a result repeatable."
    )
    resamples: int = Field(ge=100, le=1_000_000, description="Bootstrap resamples of test images.")
    confidence: Fraction = Field(description="Coverage of the intervals.")
    phantom_volumes: VolumeCounts
    recipes: dict[Name, Recipe] = Field(
        description="By name; `extends: <another>` takes all keys of another that are not given."
    )
    rows: list[Row] = Field(min_length=1, description="What is trained and compared.")

    @model_validator(mode="before")
    @classmethod
    def _extended(cls, content: Any) -> Any:
        recipes = content.get("recipes") if isinstance(content, dict) else None
        if not isinstance(recipes, dict):
            return content
        return {**content, "recipes": {name: _resolved(name, recipes) for name in recipes}}

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        names = [row.name for row in self.rows]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rows: {', '.join(twice)} given twice, each row once allowed")
        for row in self.rows:
            for needed in self.with_sources(row):
                self.require_recipe(needed)
                if reason := misfit(needed.model, is_volumetric(needed.dataset)):
                    raise ValueError(f"rows: {needed.name}: {reason}")
            self._require_fitting_teacher(row)
        return self

    def _require_fitting_teacher(self, row: Row) -> None:
        """Check that a row's teacher sees the same images as the row."""
        teacher = self.teacher_of(row)
        if teacher is None:
            return
        edges = [self.require_recipe(one).network_size for one in (row, teacher)]
        if edges[0] != edges[1] or is_volumetric(row.dataset) != is_volumetric(teacher.dataset):
            raise ValueError(
                f"recipes.{row.recipe}.distillation: {teacher.name} given, which sees other images "
                f"(edge {edges[1]}); a row with the dimension and edge ({edges[0]}) of {row.name} "
                f"allowed"
            )

    @property
    def datasets(self) -> list[str]:
        """The rows' datasets, each once, in their order."""
        return list(dict.fromkeys(row.dataset for row in self.rows))

    def require_recipe(self, row: Row) -> Recipe:
        """Return a row's recipe.

        Raises
        ------
        ValueError
            When there is none of that name, or its images exist in no file of the row's dataset.
        """
        if row.recipe not in self.recipes:
            raise ValueError(
                f"rows: recipe {row.recipe!r} given, one of {', '.join(self.recipes)} allowed"
            )
        recipe = self.recipes[row.recipe]
        allowed = (28,) if is_phantom(row.dataset) else sizes(row.dataset)
        if recipe.image_size not in allowed:
            raise ValueError(
                f"recipes.{row.recipe}.image_size: {recipe.image_size} given, one of {allowed} "
                f"allowed for {row.dataset}"
            )
        return recipe

    def source_of(self, row: Row) -> Row | None:
        """Return the row whose weights a row starts from, if any."""
        start = self.require_recipe(row).start
        if start.source != "row":
            return None
        assert start.dataset is not None
        assert start.recipe is not None
        return Row(
            dataset=start.dataset,
            model=start.model or row.model,
            recipe=start.recipe,
            seeds=row.seeds,
        )

    def teacher_of(self, row: Row) -> Row | None:
        """Return the row whose answers a row learns beside the labels, if any."""
        taught = self.require_recipe(row).distillation
        if taught is None:
            return None
        return Row(
            dataset=taught.dataset, model=taught.model, recipe=taught.recipe, seeds=row.seeds
        )

    def with_sources(self, row: Row, above: tuple[str, ...] = ()) -> list[Row]:
        """Return a row after all rows that it starts from or learns from, first things first.

        Parameters
        ----------
        row
            Any row, listed or not.
        above
            Names of the rows that need this one.

        Raises
        ------
        ValueError
            When rows need one another in a circle.
        """
        if row.name in above:
            raise ValueError(f"recipes.{row.recipe}: {row.name} starts or learns from itself")
        found: dict[str, Row] = {}
        for source in filter(None, (self.source_of(row), self.teacher_of(row))):
            found |= {one.name: one for one in self.with_sources(source, (*above, row.name))}
        return [*found.values(), row]

    def find(self, name: str) -> Row:
        """Return the row of a name, be it listed or one that another starts from.

        Raises
        ------
        MedlabelError
            When there is none.
        """
        rows = {one.name: one for row in self.rows for one in self.with_sources(row)}
        rows |= {row.name: row for row in self.rows}
        if name not in rows:
            raise MedlabelError(f"benchmark.rows: {name!r} given, one of {', '.join(rows)} allowed")
        return rows[name]


def _resolved(name: str, recipes: Mapping[str, Any]) -> Any:
    """Fill a recipe's missing keys from the one that it extends, and so on."""
    chain, content = [name], recipes[name]
    while isinstance(content, dict) and "extends" in content:
        base = content["extends"]
        if base not in recipes or base in chain:
            reason = "another recipe allowed" if base not in recipes else "a circle"
            raise ValueError(f"recipes.{name}.extends: {base!r} given, {reason}")
        chain.append(base)
        inherited = recipes[base] if isinstance(recipes[base], dict) else {}
        own = {key: value for key, value in content.items() if key != "extends"}
        content = {**inherited, **own}
    return content


class Params(Section):
    """All parameters of a study."""

    seed: int = Field(ge=0, lt=2**32, description="Root of every random stream.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        description="Where networks run; auto takes CUDA where there is one."
    )
    folders: Folders
    data: Data
    phantoms: Phantoms
    mixture: Mixture
    teacher: Teacher
    pretrain: Pretrain
    embed: Embed
    pseudolabel: Pseudolabel
    student: Student
    study: Study
    benchmark: Benchmark

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        classes = self.mixture.class_names
        prompts = [prompt.label for prompt in self.pseudolabel.prompts]
        if prompts != classes:
            raise ValueError(
                f"pseudolabel.prompts: labels {prompts} given, the classes of the mixture in "
                f"their order allowed: {classes}"
            )
        if self.phantoms.size % self.pretrain.patch_size:
            raise ValueError(
                f"pretrain.patch_size: {self.pretrain.patch_size} given, a divisor of "
                f"phantoms.size ({self.phantoms.size}) allowed"
            )
        if self.mixture.phantom and self.phantoms.size != self.data.size:
            raise ValueError(
                f"phantoms.size: {self.phantoms.size} given, data.size ({self.data.size}) allowed "
                f"where the mixture holds phantoms"
            )
        if self.study.curve_seeds > self.study.seeds:
            raise ValueError(
                f"study.curve_seeds: {self.study.curve_seeds} given, at most study.seeds "
                f"({self.study.seeds}) allowed"
            )
        if outside := [s for s in self.study.keep_weights if s >= self.study.seeds]:
            raise ValueError(
                f"study.keep_weights: {outside} given, seeds below study.seeds "
                f"({self.study.seeds}) allowed"
            )
        return self

    @property
    def checkpoints(self) -> list[str]:
        """Names of the pretrained encoders, weakest first, whether or not the study uses them."""
        return [self._checkpoint(step) for step in self.pretrain.checkpoints]

    def _checkpoint(self, step: int) -> str:
        return f"{self.teacher.name}_step{step:05d}"

    @property
    def encoders(self) -> list[str]:
        """Names of the encoders that the study uses, weakest first."""
        return self.checkpoints if self.teacher.source == "pretrain" else [self.teacher.name]

    @property
    def study_encoder(self) -> str:
        """Name of the encoder whose student the main figure compares with its teacher."""
        if self.teacher.source == "pretrain":
            return self._checkpoint(self.pretrain.study_checkpoint)
        return self.teacher.name

    @property
    def seed_blocks(self) -> list[str]:
        """Blocks of the study's seeds, one process each: ``first-last``.

        A full block never depends on `study.seeds`, so that more seeds leave it as it is.
        """
        return _blocks(self.study.seeds, self.study.seeds_per_job)

    @property
    def arms(self) -> dict[str, list[str]]:
        """What students are trained on, each word naming a folder, and the blocks of its seeds.

        ``true`` labels (upper bound), the study encoder's labels ``permuted`` among the images
        (lower bound), and the labels of each ``teacher`` that the study looks at.
        """
        study, full = self.study_encoder, self.seed_blocks
        arms = {"true": full, f"permuted_{study}": full, f"teacher_{study}": full}
        if self.study.curve_seeds:
            some = _blocks(self.study.curve_seeds, self.study.seeds_per_job)
            others = [encoder for encoder in self.encoders if encoder != study]
            arms |= {f"teacher_{encoder}": some for encoder in others}
        return arms

    @property
    def draw_blocks(self) -> list[str]:
        """Every block that some arm trains on, in order."""
        return sorted({block for blocks in self.arms.values() for block in blocks})


def _blocks(seeds: int, size: int) -> list[str]:
    return [f"{first:04d}-{min(first + size, seeds) - 1:04d}" for first in range(0, seeds, size)]


def validate(content: Mapping[str, Any], source: str) -> Params:
    """Check parameters and return the typed model.

    Parameters
    ----------
    content
        Nested dictionaries as read from YAML.
    source
        Where they come from, for messages.

    Raises
    ------
    MedlabelError
        One line for each problem: the key's full path, the value, and what is allowed.
    """
    try:
        return Params.model_validate(dict(content))
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise MedlabelError("\n".join(f"{source}: {line}" for line in lines)) from error


def _explain(problem: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    given = problem.get("input")
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key (value {given!r}){_nearest(problem['loc'])}"
    if problem["type"] == "missing":
        return f"{path}: missing, a value is required"
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and isinstance(given, dict):
        return f"{path}.{reason}" if path else reason
    return f"{path}: {given!r} given, allowed: {reason[0].lower()}{reason[1:]}"


def _nearest(location: Sequence[Any]) -> str:
    import difflib

    model: Any = Params
    for part in location[:-1]:
        if isinstance(part, int) or part not in model.model_fields:  # within a list or mapping
            continue
        model = _section_of(model.model_fields[part].annotation)
    names = list(model.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; allowed here: {', '.join(names)}"


def _section_of(annotation: Any) -> Any:
    if get_origin(annotation) in (list, types.UnionType):
        return _section_of(get_args(annotation)[0])
    if get_origin(annotation) is dict:
        return _section_of(get_args(annotation)[1])
    return annotation


def read(paths: Iterable[Path], overrides: Iterable[str] = ()) -> Params:
    """Read a parameter file and its overlays.

    Parameters
    ----------
    paths
        YAML files; a later one overlays an earlier one key by key, lists being replaced whole,
        as Snakemake's ``--configfile`` does.
    overrides
        ``dotted.key=value`` pairs, the value in YAML.

    Raises
    ------
    MedlabelError
        When a file is missing or no YAML mapping, or a value is not allowed.
    """
    merged: dict[str, Any] = {}
    files = list(paths)
    for path in files:
        overlay(merged, read_yaml(path))
    for override in overrides:
        overlay(merged, _parse_override(override))
    return validate(merged, " + ".join(map(str, files)))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MedlabelError(
            f"{path}: no such parameter file; run from the project's folder or give --params."
        ) from error
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise MedlabelError(f"{path}: expected YAML, found a syntax error: {where}") from error
    if not isinstance(content, dict):
        raise MedlabelError(f"{path}: expected a YAML mapping, found {type(content).__name__}.")
    return content


def overlay(base: dict[str, Any], upper: Mapping[str, Any]) -> None:
    """Put `upper` over `base` in place: mappings merge, everything else is replaced."""
    for key, value in upper.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            overlay(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value


def _parse_override(text: str) -> dict[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise MedlabelError(f"--set {text}: expected key=value, such as student.optimizer.lr=0.01.")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise MedlabelError(f"--set {text}: expected a value in YAML, found {value!r}.") from error
    for part in reversed(path.split(".")):
        nested = {part: nested}
    return dict(nested)


def schema() -> str:
    """Return the JSON schema (draft 2020-12) of `params.yaml`."""
    content = Params.model_json_schema()
    content["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    content["title"] = "medlabel parameters"
    return json.dumps(content, indent=2) + "\n"
