"""What trainings and the weights of encoders have to agree on with the parts of `params.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medlabel.networks.names import PACKAGED, misfit, tower_of
from medlabel.params.encoders import EncoderReference
from medlabel.params.studies import Trained

if TYPE_CHECKING:
    from medlabel.params.few_labels import FewLabels
    from medlabel.params.generation import Generation
    from medlabel.params.many_sets import Learner
    from medlabel.params.model import Params
    from medlabel.params.retrieval import Searched
    from medlabel.params.segmentation import Segmentation
    from medlabel.params.without_labels import WithoutLabels


def check_training(params: Params, where: str, trained: Trained) -> None:
    """Refuse a training whose recipe or network does not fit its images.

    Raises
    ------
    ValueError
        Naming the key, what was given and what is allowed.
    """
    settings = params.training(trained)
    mixed = settings.mixture is not None
    if mixed == (settings.recipe.validation_fraction is None):
        raise ValueError(
            f"{where}: recipe {trained.recipe} for {trained.images}: "
            f"recipes.{trained.recipe}.validation_fraction "
            f"{'missing: mixtures have' if mixed else 'given: official files have'} "
            f"{'no' if mixed else 'their own'} validation split"
        )
    if reason := misfit(trained.network, settings.volumetric, tuple(params.networks)):
        raise ValueError(f"{where}.network: {reason}")
    if settings.recipe.start.source == "package" and trained.network not in PACKAGED:
        raise ValueError(
            f"{where}.network: {trained.network!r} given, of which no package holds weights; "
            f"{', '.join(PACKAGED)} allowed with recipe {trained.recipe}, which starts from them"
        )
    if settings.volumetric and (flat := settings.recipe.apart):
        raise ValueError(
            f"{where}: recipes.{trained.recipe}.augmentations: {', '.join(flat)} given for volumes "
            f"({trained.images}), allowed for flat images"
        )
    _check_tower(params, where, trained)


def _check_tower(params: Params, where: str, trained: Trained) -> None:
    """Refuse a network whose image tower is of an encoder that there is not."""
    tower = tower_of(trained.network)
    if tower is None:
        return
    try:
        reference = EncoderReference.parse(tower)
    except ValueError as error:
        raise ValueError(f"{where}.network: {trained.network!r}: {error}") from error
    check_encoder(params, f"{where}.network", reference)
    if params.recipes[trained.recipe].start.source == "timm":
        raise ValueError(
            f"{where}.network: {trained.network!r} given, which has the weights of its encoder; "
            f"start: {{source: random}} allowed in recipe {trained.recipe}, for its last layer"
        )


def check_encoder(params: Params, where: str, teacher: EncoderReference) -> None:
    """Refuse weights that there are not.

    Raises
    ------
    ValueError
        Naming the key, what was given and what is allowed.
    """
    require(teacher.name, params.encoders, where)
    encoder = params.encoders[teacher.name]
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


def require(name: str, parts: Mapping[str, Any], where: str) -> None:
    """Refuse a name that none of the parts has.

    Raises
    ------
    ValueError
        Naming the key and the names that there are.
    """
    if name not in parts:
        raise ValueError(f"{where}: {name!r} given, one of {', '.join(parts)} allowed")


def check_own_encoder(
    params: Params, where: str, asked: FewLabels | Segmentation | Learner | Generation
) -> None:
    """Refuse weights that there are not, where an entry names an encoder; as `check_encoder`."""
    try:
        reference = asked.reference
    except ValueError as error:
        raise ValueError(f"{where}.encoder: {error}") from error
    if reference is not None:
        check_encoder(params, f"{where}.encoder", reference)


def check_own_encoders(params: Params, where: str, asked: Searched | WithoutLabels) -> None:
    """Refuse weights that there are not in an entry's list of encoders; as `check_encoder`."""
    try:
        references = asked.references
    except ValueError as error:
        raise ValueError(f"{where}.encoders: {error}") from error
    for reference in references:
        check_encoder(params, f"{where}.encoders", reference)
