"""What the label-free benchmark has to agree on with other sections of `params.yaml`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medlabel.params.base import names_phantoms
from medlabel.params.check_trainings import check_own_encoders, require
from medlabel.params.without_labels import Content, WithoutLabels

if TYPE_CHECKING:
    from medlabel.params.model import Params

CLUSTERS = "clusters"


def check(params: Params) -> None:
    """Refuse entries that name what there is not.

    Raises
    ------
    ValueError
        Naming the first key that does not agree, what was given and what is allowed.
    """
    for name, compared in params.without_labels.items():
        where = f"without_labels.{name}"
        check_own_encoders(params, where, compared)
        _check_labellings(params, where, compared)
        for key, content in compared.contents.items():
            _check_content(params, f"{where}.contents.{key}", content)
        drawn = {names_phantoms(one.images) for one in compared.contents.values()}
        if drawn != {names_phantoms(name)}:
            raise ValueError(
                f"{where}: a name that begins with phantom_ is required for entries whose contents "
                f"are all of phantoms, and reserved to them"
            )
        if compared.source is not None:
            require(compared.source, params.every_mixture, f"{where}.source")
            known = dict.fromkeys(params.every_mixture[compared.source].class_names)
            for content in compared.contents.values():
                for one in (one for own in content.classes.values() for one in own):
                    require(one, known, f"{where}.source: {compared.source} lacks a class")


def _check_labellings(params: Params, where: str, compared: WithoutLabels) -> None:
    for labelling in compared.labellings:
        require(labelling, params.labellings, f"{where}.labellings")
        part = params.labellings[labelling]
        if part.space is not None or part.weigh:
            raise ValueError(
                f"{where}.labellings: {labelling} given, one without space and weigh allowed"
            )
    known = dict.fromkeys(compared.labellings)
    if compared.judged:
        require(CLUSTERS, known, f"{where}.labellings: estimates take their view")
    for labelling in compared.judged:
        require(labelling, known, f"{where}.judged")


def _check_content(params: Params, where: str, content: Content) -> None:
    require(content.images, params.mixtures, f"{where}.images")
    require(content.prompts, params.prompts, f"{where}.prompts")
    known = dict.fromkeys(params.mixtures[content.images].class_names)
    for one in (*(one for own in content.classes.values() for one in own), *content.unnamed):
        require(one, known, f"{where}.classes")
    named = dict.fromkeys(one for all_ in params.mixtures.values() for one in all_.class_names)
    said: dict[tuple[str, ...], str] = {}
    for name in content.classes:
        require(name, named, f"{where}.classes")
        words = tuple(params.prompts[content.prompts].sentences(name))
        if said.setdefault(words, name) != name:
            raise ValueError(
                f"{where}.prompts: {content.prompts} given, which says the same of {said[words]} "
                f"and {name}; different words allowed"
            )
