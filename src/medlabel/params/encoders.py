"""Parameters of encoders: image and text towers that share a space, and the words they read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medlabel.data import catalogue
from medlabel.params.base import Count, Name, Part, Precision, Rate, Section

Runtime = Literal["auto", "torch", "openvino", "onnxruntime"]
# Layouts of published encoders, and the module below `medlabel.teacher` that brings each over.
ADOPTING = {
    "open_clip": "published",
    "openai": "openai_archive",
    "transformers": "clip_folders",
    "unimed_clip": "unimed",
    "medclip": "medclip",
}
WITH_WORDS = ("unimed_clip", "medclip")  # whose text tower and weights lie apart
REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9_]*)(\.(?P<run>\d+))?(@(?P<step>\d+))?")


class Encoder(Part):
    """What encoders of all kinds have."""

    batch_size: Count = Field(description="Images a forward pass when embedding.")
    threads: Count = Field(
        description="CPU threads of training it and of embedding; by torch the last digits depend "
        "on them. With one, other jobs use the other cores."
    )
    precision: Precision | Literal["int8"] = Field(
        description="Arithmetic of the image tower when embedding; int8 computes convolutions in 8 "
        "bits (runtime openvino alone): faster, but labels differ; auto takes bf16 where the "
        "processor has bfloat16 instructions (AVX512-BF16, AMX, CUDA) and fp32 elsewhere, so that "
        "numbers depend on the processor."
    )
    runtime: Runtime = Field(
        description="What runs the image tower when embedding: `openvino` is several times as fast "
        "as `torch` on processors; `auto` takes the fastest in a short measurement, so that the "
        "last digits depend on the machine. On CUDA it is always torch."
    )

    @model_validator(mode="after")
    def _has_precision(self) -> Self:
        if self.precision == "int8" and self.runtime != "openvino":
            raise ValueError(f"runtime: {self.runtime!r} given, 'openvino' allowed for int8")
        return self

    @property
    def runs(self) -> int:
        """How often it is trained here."""
        return 1

    @property
    def steps(self) -> list[int]:
        """Steps of training whose weights are kept; none where only the last ones are."""
        return []


class Published(Encoder):
    """A published model, in the layout of open_clip or one that becomes it."""

    kind: Literal["open_clip", "transformers", "unimed_clip", "medclip", "openai"] = Field(
        description="Layout in which it was published: open_clip's; that of the package "
        "transformers (`CLIPModel`); UniMed-CLIP's single file; MedCLIP's archive; or the "
        "TorchScript archive that OpenAI itself gives away (`ViT-L-14.pt`)."
    )
    model: str = Field(
        min_length=1,
        description="For open_clip a model name (`ViT-L-14-quickgelu`), a hub id "
        "(`hf-hub:org/repo`) or a folder (`local-dir:path`); for transformers a hub id "
        "(`org/repo`) or a folder; for UniMed-CLIP open_clip's name of its image tower; for "
        "MedCLIP timm's (`swin_tiny_patch4_window7_224` or `resnet50`); for OpenAI's own files "
        "open_clip's name.",
    )
    pretrained: str | None = Field(
        description="The tag (`openai`) or a local file of weights, for MedCLIP a zip or its "
        "folder; null for hub ids and folders, which hold their own."
    )
    words: str | None = Field(
        default=None,
        description="Text tower of UniMed-CLIP and MedCLIP: a hub id (`org/repo`) or a folder; "
        "null for others.",
    )

    @property
    def module(self) -> str:
        """Module of this package that adopts it, below `medlabel`."""
        return f"teacher.{ADOPTING[self.kind]}"

    @model_validator(mode="after")
    def _fits_layout(self) -> Self:
        apart = self.kind in WITH_WORDS
        if (self.words is not None) != apart:
            raise ValueError(
                f"words: {self.words!r} given, "
                f"{'a text tower' if apart else 'null'} allowed for {self.kind}"
            )
        if self.pretrained is None and (apart or self.kind == "openai"):
            raise ValueError(f"pretrained: null given, a file of weights allowed for {self.kind}")
        if self.kind == "transformers" and self.pretrained is not None:
            raise ValueError(
                f"pretrained: {self.pretrained!r} given, null allowed for transformers, whose "
                f"folders hold their own weights"
            )
        return self


class Labelled(Section):
    """Official images whose labels, put into words, are learnt from."""

    images: str = Field(
        description="MedMNIST's file, such as `pneumoniamnist`; each image has one label."
    )
    labels: list[int] | None = Field(
        default=None, description="The labels that may be seen; null: all."
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        dataset, _ = catalogue.parse(self.images)
        if catalogue.is_phantom(dataset):
            raise ValueError(f"images: {self.images!r} given, an official file allowed")
        if catalogue.is_multi_label(catalogue.INFO[dataset]["task"]):
            raise ValueError(
                f"images: {self.images!r} given, whose images have several labels; a file with "
                f"one label an image allowed"
            )
        held = len(catalogue.class_names(dataset))
        if other := [one for one in self.labels or [] if not 0 <= one < held]:
            raise ValueError(f"labels: {other[0]} given, 0 to {held - 1} allowed")
        return self


class Contrastive(Encoder):
    """A small CLIP trained on captioned phantoms, on official images, or on both."""

    kind: Literal["contrastive"] = Field(description="Trained here, on captioned images.")
    phantoms: bool = Field(default=True, description="Whether phantoms are learnt from.")
    datasets: list[Labelled] = Field(
        default=[],
        description="Images with true labels, put into words, that are learnt from: their training "
        "splits. Of the edge of phantoms.size, and no volumes.",
    )
    positives: Literal["kind", "finding", "caption"] = Field(
        default="kind",
        description="Which captions of a batch are right for an image: those of its kind, those of "
        "its kind that name its finding or none, or those that are the same word for word.",
    )
    start: str | None = Field(
        default=None,
        description="Weights to go on from, of an encoder of the same architecture, such as "
        "`phantom_clip@60`: of its pretraining of the same number. Null: random ones.",
    )
    pretrainings: Count = Field(
        description="Times that the training is repeated, each with its own initial weights and "
        "order of pairs."
    )
    checkpoints: list[Count] = Field(
        min_length=1,
        description="Steps after which the weights are kept, rising; the last one ends training.",
    )
    image_tower: Literal["vit", "resnet", "cnn"] = Field(
        default="vit",
        description="A ViT; timm's `resnet10t`; or five blocks of one convolution and max-pooling, "
        "their maps flattened. patch_size and image_layers are the ViT's alone.",
    )
    patch_size: Count = Field(description="Edge of a patch in pixels; divides phantoms.size.")
    width: Count = Field(description="Channels of the transformers; a multiple of 32.")
    image_layers: Count = Field(description="Transformer blocks of the image tower.")
    text_layers: Count = Field(description="Transformer blocks of the text tower.")
    embed_dim: Count = Field(description="Length of the shared embedding.")
    context_length: int = Field(ge=8, le=77, description="Tokens of a caption, padding included.")
    pairs: int = Field(ge=2, description="Pairs of image and caption a training step.")
    learning_rate: Rate = Field(description="Peak of AdamW's rate.")
    weight_decay: float = Field(ge=0, le=10, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(ge=0, description="Steps of linear warm-up before cosine decay.")
    averaging: float = Field(
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights that is kept, a step.",
    )

    @property
    def runs(self) -> int:
        """How often it is trained here."""
        return self.pretrainings

    @property
    def steps(self) -> list[int]:
        """Steps of training whose weights are kept."""
        return self.checkpoints

    def start_of(self, run: int) -> EncoderReference | None:
        """Return the weights that a pretraining goes on from.

        Raises
        ------
        ValueError
            When `start` is no name of any.
        """
        return None if self.start is None else EncoderReference.parse(self.start).of_run(run)

    @property
    def module(self) -> str:
        """Module of this package that trains it, below `medlabel`."""
        return "teacher.pretrain" if self.image_tower == "vit" else "teacher.image_towers"

    @property
    def architecture(self) -> dict[str, int | str]:
        """What decides on the shapes of the weights, beside phantoms.size."""
        of_vit = ("patch_size", "image_layers") if self.image_tower == "vit" else ()
        keys = ("image_tower", *of_vit, "width", "text_layers", "embed_dim", "context_length")
        return {key: getattr(self, key) for key in keys}

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not self.phantoms and not self.datasets:
            raise ValueError("datasets: none given, one at least allowed without phantoms")
        for one in self.datasets:
            if catalogue.is_volumetric(catalogue.parse(one.images)[0]):
                raise ValueError(f"datasets: {one.images} given, a file of flat images allowed")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sorted(set(self.checkpoints)) != self.checkpoints:
            raise ValueError(f"checkpoints: {self.checkpoints} given, rising steps allowed")
        if self.width % 32:
            raise ValueError(f"width: {self.width} given, a multiple of 32 allowed")
        return self


class Tower(Section):
    """A pretrained image tower that stays as it is."""

    source: Literal["package", "timm", "open_clip", "folder", "random"] = Field(
        description="`package`: weights that a Python package holds; `timm`, `open_clip`: a model "
        "by name; `folder`: an encoder of this project; `random`: a timm model that learnt nothing."
    )
    model: str = Field(
        min_length=1,
        description="`efficientnet_lite0` to `efficientnet_lite2` for a package; timm's or "
        "open_clip's name; the encoder's folder.",
    )
    weights: str | None = Field(
        description="A local file of weights for timm, a tag or file for open_clip; null takes "
        "timm's own from the hub, and is right for the others."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.source == "open_clip" and self.weights is None:
            raise ValueError("weights: null given, a tag or a file allowed for open_clip")
        if self.source in ("package", "folder", "random") and self.weights is not None:
            raise ValueError(f"weights: {self.weights!r} given, null allowed for {self.source}")
        return self


class Tuned(Section):
    """How the last parts of a pretrained tower are trained further, before its heads are."""

    parts: list[str] = Field(
        min_length=1,
        description="Names of the last parts of the tower, in their order, such as `blocks.6`, "
        "`conv_head`, `bn2`; they alone change, without the statistics of batch normalisation.",
    )
    edge: Count = Field(
        description="Edge in pixels at which images are seen meanwhile; one of edges."
    )
    images: Count = Field(description="Measured images of a kind and finding, at most.")
    phantoms: Count = Field(description="Phantoms a kind and size, at most.")
    epochs: Count = Field(
        description="Passes through all images; the parts after the best one are kept, by the loss "
        "on validation images."
    )
    pairs: int = Field(ge=2, description="Images a step.")
    learning_rate: Rate = Field(description="Peak of AdamW's rate, falling as a cosine.")
    kept: float = Field(
        ge=0,
        description="Weight in the loss of how far features of images whose finding is not learnt "
        "move from what they were: 1 less their cosine.",
    )


class Locked(Encoder):
    """A pretrained image tower, as it is or its last parts trained further, and heads on it."""

    kind: Literal["locked"] = Field(description="A pretrained tower, its heads trained here.")
    tower: Tower
    edges: list[Count] = Field(
        min_length=1,
        description="Edges in pixels at which the tower sees each image, the largest first; it is "
        "a multiple of the others. The features of all are joined.",
    )
    middle: str | None = Field(
        description="Name of a part of the tower, such as `blocks.3`, whose output helps to tell "
        "findings: texture and contrast, which the tower's end no longer knows. Null: none."
    )
    pretrainings: Count = Field(description="Times that the heads are trained, from other starts.")
    phantom_sizes: list[Count] = Field(
        min_length=1, description="Edges in pixels at which phantoms are drawn to learn from."
    )
    phantoms: Count = Field(description="Phantoms a kind and size to learn from, at most.")
    captioned: str | None = Field(
        default=None,
        description="A CSV or Parquet table of one's own images, which are learnt from instead of "
        "phantoms: columns image (a path from the table's folder), caption and, if wanted, split "
        "(train, val, or test, which is left aside; without it 64, 16 and 20 % by chance), kind, "
        "finding, concepts (codes separated by `;`, the first of which is the kind if none is "
        "given).",
    )
    datasets: list[Labelled] = Field(
        default=[],
        description="Images with true labels that are learnt from beside phantoms: their training "
        "and validation splits. What they show of a kind's findings counts alone.",
    )
    tuned: Tuned | None = Field(
        default=None,
        description="Training of the tower's last parts on the images of datasets, and phantoms; "
        "null: the tower stays as it is.",
    )
    views: Count = Field(description="Views of a phantom; the first is the phantom itself.")
    text: Literal["mean", "transformer"] = Field(
        description="How word vectors become a sentence: their mean, or one transformer block."
    )
    embed_dim: Count = Field(description="Length of the part of embeddings that tells kinds.")
    hidden: Count = Field(description="Width of the text heads.")
    dropout: float = Field(ge=0, lt=1, description="Part of features left out in a step.")
    epochs: Count = Field(description="Passes through all views.")
    caption_steps: Count = Field(description="Steps in which words learn findings.")
    pairs: int = Field(ge=2, description="Images, or captions, a step.")
    learning_rate: Rate = Field(description="Peak of AdamW's rate, falling as a cosine.")
    weight_decay: float = Field(ge=0, le=10, description="AdamW's decoupled weight decay.")
    permuted_captions: bool = Field(
        description="Control: every caption goes to an image of another kind or finding."
    )

    @property
    def runs(self) -> int:
        """How often it is trained here."""
        return self.pretrainings

    @property
    def module(self) -> str:
        """Module of this package that trains it, below `medlabel`."""
        return "teacher.heads" if self.tuned is None else "teacher.tuning"

    @model_validator(mode="after")
    def _sources(self) -> Self:
        if self.datasets and (self.captioned is not None or self.permuted_captions):
            given = "captioned" if self.captioned is not None else "permuted_captions"
            raise ValueError(f"datasets: given with {given}, one of both allowed")
        return self

    @model_validator(mode="after")
    def _edges(self) -> Self:
        largest = self.edges[0]
        if any(largest % edge or edge > largest for edge in self.edges):
            raise ValueError(f"edges: {self.edges} given, divisors of the first one allowed")
        return self

    @model_validator(mode="after")
    def _tunable(self) -> Self:
        if self.tuned is not None and not self.datasets:
            raise ValueError("tuned: given without datasets, whose images it needs")
        if self.tuned is not None and self.tuned.edge not in self.edges:
            allowed = ", ".join(map(str, self.edges))
            raise ValueError(
                f"tuned.edge: {self.tuned.edge} given, one of edges ({allowed}) allowed"
            )
        return self


AnyEncoder = Annotated[Published | Contrastive | Locked, Field(discriminator="kind")]


@dataclass(frozen=True)
class EncoderReference:
    """One set of weights of an encoder: `phantom_clip@6`, `phantom_clip.2@6`, `openai_vit_l_14`.

    Attributes
    ----------
    name
        Of the part.
    run
        Which of its pretrainings; 0 is not written.
    step
        The checkpoint, where the encoder has several; else None.
    """

    name: str
    run: int = 0
    step: int | None = None

    @classmethod
    def parse(cls, text: str) -> EncoderReference:
        """Read a reference.

        Raises
        ------
        ValueError
            When it is written otherwise.
        """
        found = REFERENCE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} given, such as phantom_clip@6 or phantom_clip.2@6 allowed")
        step = None if found["step"] is None else int(found["step"])
        return cls(found["name"], int(found["run"] or 0), step)

    def __str__(self) -> str:
        """Write it as it stands in params.yaml and in file names."""
        run = f".{self.run}" if self.run else ""
        return f"{self.name}{run}" + ("" if self.step is None else f"@{self.step}")

    def of_run(self, run: int) -> EncoderReference:
        """Return the same checkpoint of another pretraining."""
        return EncoderReference(self.name, run, self.step)


class Prompts(Part):
    """The words that describe classes."""

    templates: list[str] = Field(min_length=1, description="Sentences with one {} each.")
    words: dict[Name, Annotated[list[str], Field(min_length=1)]] = Field(
        description="Descriptions of a class, by its name: each is put into each template, and the "
        "class is their mean. A class that is not named here is described by its own name."
    )

    @model_validator(mode="after")
    def _templates(self) -> Self:
        for template in self.templates:
            if template.count("{}") != 1:
                raise ValueError(f"templates: {template!r} given, one {{}} in each allowed")
        if blank := [name for name, texts in self.words.items() if not all(map(str.strip, texts))]:
            raise ValueError(f"words.{blank[0]}: an empty description given, words allowed")
        return self

    def sentences(self, label: str) -> list[str]:
        """Return every sentence about a class: each template with each description."""
        words = self.words.get(label, [label.replace("_", " ")])
        return [template.replace("{}", word) for template in self.templates for word in words]


class SeenByEncoders(Part):
    """What looks at images through several encoders."""

    encoders: list[str] = Field(min_length=1, description="Such as `locked`, `phantom_clip@60`.")

    @property
    def references(self) -> list[EncoderReference]:
        """The encoders' weights.

        Raises
        ------
        ValueError
            When one is no name of any.
        """
        return [EncoderReference.parse(one) for one in self.encoders]
