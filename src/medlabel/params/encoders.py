"""Parameters of encoders: image and text towers that share a space, and the words they read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medlabel.params.base import Count, Name, Part, Precision, Rate

REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9_]*)(\.(?P<run>\d+))?(@(?P<step>\d+))?")


class Encoder(Part):
    """What encoders of all kinds have."""

    batch_size: Count = Field(description="Images a forward pass when embedding.")
    precision: Precision = Field(
        description="Arithmetic of the image tower when embedding; auto takes bf16 where the "
        "processor has bfloat16 instructions (AVX512-BF16, AMX, CUDA) and fp32 elsewhere, so that "
        "numbers depend on the processor."
    )


class Published(Encoder):
    """A published open_clip model."""

    kind: Literal["open_clip"] = Field(description="A published model.")
    model: str = Field(
        min_length=1,
        description="A model name (`ViT-L-14-quickgelu`), a hub id (`hf-hub:org/repo`) or a folder "
        "(`local-dir:path`).",
    )
    pretrained: str | None = Field(
        description="The tag (`openai`) or a local file of weights; null for hub ids and folders, "
        "which hold their own."
    )


class Contrastive(Encoder):
    """A small CLIP trained from scratch on captioned phantoms."""

    kind: Literal["contrastive"] = Field(description="Trained here, on captioned phantoms.")
    pretrainings: Count = Field(
        description="Times that the training is repeated, each with its own initial weights and "
        "order of pairs."
    )
    checkpoints: list[Count] = Field(
        min_length=1,
        description="Steps after which the weights are kept, rising; the last one ends training.",
    )
    patch_size: Count = Field(description="Edge of a patch in pixels; divides phantoms.size.")
    width: Count = Field(description="Channels of both transformers; a multiple of 32.")
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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sorted(set(self.checkpoints)) != self.checkpoints:
            raise ValueError(f"checkpoints: {self.checkpoints} given, rising steps allowed")
        if self.width % 32:
            raise ValueError(f"width: {self.width} given, a multiple of 32 allowed")
        return self


AnyEncoder = Annotated[Published | Contrastive, Field(discriminator="kind")]


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


class Labelling(Part):
    """How embeddings and words become labels, and which of these a student learns from."""

    method: Literal["zeroshot"] = Field(
        description="`zeroshot`: the class whose words lie nearest to the image."
    )
    logit_scale: float | None = Field(
        gt=0, le=1000, description="Factor on cosines before softmax; null takes the encoder's own."
    )
    top_k: Count | None = Field(
        description="Train on so many images a class, those most sure of it; null takes all."
    )
    targets: Literal["hard", "soft"] = Field(
        description="Train on the most probable class, or on the probabilities."
    )
