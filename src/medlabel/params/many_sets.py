"""Parameters of one model for many sets, each of whose classes is a class of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medlabel.data.catalogue import is_phantom, is_volumetric
from medlabel.params.base import Dataset, Name, Part, Section
from medlabel.params.encoders import EncoderReference
from medlabel.params.mixtures import ClassRole, Mixture, MixtureClass

if TYPE_CHECKING:
    from medlabel.params.model import Params

Weight = Annotated[float, Field(gt=0, le=1000)]


class Learner(Section):
    """One model, and what it learns from."""

    network: str | None = Field(
        default=None, description="Learns from pixels: a network, by name as in `studies`."
    )
    encoder: str | None = Field(
        default=None,
        description="Whose frozen embeddings a linear layer learns from, such as `locked`.",
    )
    recipe: Name = Field(
        description="How it is trained; the official splits are taken, on true labels."
    )
    balance: Literal["none", "loss", "sampling"] = Field(
        default="none",
        description="`none` counts all images alike; `loss` weighs them, and `sampling` draws them "
        "with replacement, so that each set counts alike, or by `weights`.",
    )
    weights: dict[Dataset, Weight] = Field(
        default={}, description="How much a set counts beside the others, which count 1."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.network is None) == (self.encoder is None):
            raise ValueError("network, encoder: one of the two allowed, and no more")
        if self.weights and self.balance == "none":
            raise ValueError("weights: given with balance none, loss or sampling expected")
        return self

    @property
    def reference(self) -> EncoderReference | None:
        """The encoder's weights, if the model learns from embeddings.

        Raises
        ------
        ValueError
            When it is no name of any.
        """
        return None if self.encoder is None else EncoderReference.parse(self.encoder)


class ManySets(Part):
    """Several official sets, told apart and labelled by one model."""

    title: str = Field(min_length=1, description="What is compared, in a few words.")
    images: Literal["official", "stand_in"] = Field(
        description="`official` files; or `stand_in`: drawn ones in their shape and with their "
        "labels, so many images as `phantoms.stand_ins` says."
    )
    sets: list[Dataset] = Field(
        min_length=2,
        description="Official sets by flag: the classes of all of them, in this order, are those "
        "of the model. Labels of a multi-label set have outputs of their own.",
    )
    size: int = Field(description="Edge of the images in pixels, as they are published.")
    projection: Literal["maximum"] | None = Field(
        description="How volumes become images, as in `mixtures`; null allows no volumes."
    )
    published: str | None = Field(
        description="Name in resources/published_results.csv of the sets whose published values "
        "stand beside; null: none."
    )
    models: dict[Name, Learner] = Field(min_length=1, description="The models compared.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.sets)) < len(self.sets):
            raise ValueError(f"sets: {', '.join(self.sets)} given, each once allowed")
        if drawn := [name for name in self.sets if is_phantom(name)]:
            raise ValueError(
                f"sets: {', '.join(drawn)} given, official sets allowed; images: stand_in draws "
                f"files in their shape"
            )
        if solid := [name for name in self.sets if is_volumetric(name) and self.drawn]:
            raise ValueError(
                f"sets: {', '.join(solid)} given with images: stand_in, sets of images allowed"
            )
        for name, model in self.models.items():
            if unknown := sorted(set(model.weights) - set(self.sets)):
                raise ValueError(
                    f"models.{name}.weights: {', '.join(unknown)} given, which is none of sets"
                )
        assert self.mixture is not None  # it refuses sizes and volumes that do not fit
        return self

    @property
    def mixture(self) -> Mixture:
        """All images of the sets, each set a class, for what takes mixtures."""
        train = ClassRole(splits=["train", "val"], count=None)
        test = ClassRole(splits=["test"], count=None)
        return Mixture(
            size=self.size,
            projection=self.projection,
            classes=[
                MixtureClass(name=name, dataset=name, train=train, test=test) for name in self.sets
            ],
        )

    @property
    def drawn(self) -> bool:
        """Whether the images are STAND-INS, drawn rather than measured."""
        return self.images == "stand_in"

    @property
    def references(self) -> list[EncoderReference]:
        """The encoders' weights, each once."""
        found = {model.encoder: model.reference for model in self.models.values()}
        return [reference for reference in found.values() if reference is not None]


def settings_of(params: Params, name: str, model: str) -> dict[str, Any]:
    """Return all parameters that the result of a model depends on, as plain JSON values."""
    many = params.many_sets[name]
    learner = many.models[model]
    return {
        "seed": params.seed,
        "sets": many.sets,
        "images": many.images,
        "size": many.size,
        "projection": many.projection,
        "model": learner.model_dump(mode="json"),
        "recipe": params.recipes[learner.recipe].model_dump(
            mode="json", exclude={"protocol", "seeds_per_job", "keep_weights"}
        ),
        "network": params.networks[str(learner.network)].model_dump(mode="json")
        if learner.network in params.networks
        else learner.network,
    }
