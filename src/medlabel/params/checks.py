"""What the sections of `params.yaml` have to agree on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from medlabel.data import catalogue
from medlabel.networks.names import misfit, tower_of
from medlabel.params.agreement import Agreement
from medlabel.params.base import names_phantoms
from medlabel.params.check_trainings import (
    check_encoder,
    check_own_encoder,
    check_own_encoders,
    check_training,
    require,
)
from medlabel.params.compared import Compared
from medlabel.params.encoders import Contrastive, EncoderReference, Locked
from medlabel.params.few_labels import FewLabels
from medlabel.params.generation import Generation
from medlabel.params.many_sets import Learner, ManySets
from medlabel.params.mixtures import Mixture
from medlabel.params.retrieval import Searched
from medlabel.params.segmentation import Segmentation
from medlabel.params.studies import KEYS, TEACHING, TRUE, Cell, Study, Trained

if TYPE_CHECKING:
    from medlabel.params.model import Params

# What a recipe may not ask of one model for many sets, which learns true labels of official splits.
PLAIN: dict[str, Any] = {
    "distillation": None,
    "validation_fraction": None,
    "patience": None,
    "label_smoothing": 0,
    "robustness": 0,
    "mixup": 0,
    "confidence_weights": False,
    "self_training": 0,
    "sampling": "shuffled",
    "class_weights": False,
    "test_time_flips": False,
}


def check(params: Params) -> None:
    """Refuse sections that do not agree.

    Raises
    ------
    ValueError
        Naming the first key that does not, what was given and what is allowed.
    """
    for name, mixture in params.mixtures.items():
        _check_mixture(params, name, mixture)
    for name, encoder in params.encoders.items():
        if isinstance(encoder, Contrastive):
            _check_pretraining(params, f"encoders.{name}", encoder)
    for name in params.default_studies:
        require(name, params.studies, "default_studies")
    for name, study in params.studies.items():
        _check_study(params, f"studies.{name}", study, params.grids[name])
    for name, curve in params.few_labels.items():
        _check_curve(params, f"few_labels.{name}", curve)
    for name, searched in params.retrieval.items():
        _check_searched(params, f"retrieval.{name}", searched)
    for name, told in params.concepts.items():
        _check_searched(params, f"concepts.{name}", told)
    for name, compared in params.agreement.items():
        _check_agreement(params, f"agreement.{name}", compared)
    for name, encoders in params.compared.items():
        _check_compared(params, f"compared.{name}", encoders)
    for name, segmented in params.segmentation.items():
        _check_segmentation(params, f"segmentation.{name}", segmented)
    for name, many in params.many_sets.items():
        _check_many_sets(params, f"many_sets.{name}", many)
    for name, made in params.generation.items():
        _check_generation(params, f"generation.{name}", made)


def _check_mixture(params: Params, name: str, mixture: Mixture) -> None:
    if mixture.phantom != names_phantoms(name):
        raise ValueError(
            f"mixtures.{name}: a name that begins with phantom_ is "
            f"{'required for' if mixture.phantom else 'reserved to'} mixtures that hold "
            f"phantoms"
        )
    if mixture.phantom and mixture.size != params.phantoms.size:
        raise ValueError(
            f"mixtures.{name}.size: {mixture.size} given, phantoms.size "
            f"({params.phantoms.size}) allowed where a mixture holds phantoms"
        )


def _check_pretraining(params: Params, where: str, encoder: Contrastive) -> None:
    edge = params.phantoms.size
    if edge % encoder.patch_size:
        raise ValueError(
            f"{where}.patch_size: {encoder.patch_size} given, a divisor of phantoms.size "
            f"({edge}) allowed"
        )
    for one in encoder.datasets:
        if catalogue.parse(one.images)[1] != edge:
            raise ValueError(
                f"{where}.datasets: {one.images} given, a file of phantoms.size ({edge} "
                f"pixels) allowed"
            )
    try:
        first, last = (encoder.start_of(run) for run in (0, encoder.pretrainings - 1))
    except ValueError as error:
        raise ValueError(f"{where}.start: {error}") from error
    if first is not None and last is not None:
        check_encoder(params, f"{where}.start", first)
        check_encoder(params, f"{where}.start", last)
        _check_start(params, where, encoder, first)


def _check_start(params: Params, where: str, encoder: Contrastive, first: EncoderReference) -> None:
    """Refuse to go on from weights that do not fit, or that go on from these."""
    other, above = params.encoders[first.name], [where.rpartition(".")[2]]
    if not isinstance(other, Contrastive) or other.architecture != encoder.architecture:
        raise ValueError(
            f"{where}.start: {encoder.start} given, an encoder of kind contrastive of the same "
            f"architecture allowed"
        )
    before: EncoderReference | None = first
    while before is not None:
        if before.name in above:
            raise ValueError(f"{where}.start: {encoder.start} given, which goes on from itself")
        above.append(before.name)
        earlier = params.encoders[before.name]
        before = earlier.start_of(0) if isinstance(earlier, Contrastive) else None


def _check_study(params: Params, where: str, study: Study, cells: list[Cell]) -> None:
    if not cells:
        raise ValueError(f"{where}: an empty list given, names allowed")
    if twice := [cell for cell, times in Counter(cells).items() if times > 1]:
        named = " / ".join(str(getattr(twice[0], key)) for key in KEYS)
        raise ValueError(f"{where}: {named} given twice, each once allowed")
    for cell in cells:
        lacking = [key for key in TEACHING if getattr(cell, key) is None]
        if not lacking:
            _check_teacher(params, where, cell)
        elif len(lacking) < len(TEACHING):
            raise ValueError(
                f"{where}.{', '.join(lacking)}: missing; a teacher needs {', '.join(TEACHING)}"
            )
        elif study.controls or study.pretrainings > 1:
            raise ValueError(
                f"{where}.controls, pretrainings: given without an encoder, allowed with one"
            )
        check_names(params, where, cell)
        for trained in params.with_sources(cell.student()):
            check_training(params, where, trained)


def _check_teacher(params: Params, where: str, cell: Cell) -> None:
    require(str(cell.prompts), params.prompts, f"{where}.prompts")
    require(str(cell.labelling), params.labellings, f"{where}.labelling")
    for space in params.spaces(cell):
        check_encoder(params, f"labellings.{cell.labelling}.space", space)
    if cell.images not in params.every_mixture:
        raise ValueError(
            f"{where}.images: {cell.images!r} given with an encoder, a mixture (which names "
            f"classes) allowed: one of {', '.join(params.mixtures)}"
        )
    try:
        teachers = cell.teachers
    except ValueError as error:
        raise ValueError(f"{where}.encoder: {error}") from error
    for teacher in teachers:
        check_encoder(params, f"{where}.encoder", teacher)
    _check_words(params, where, params.every_mixture[cell.images], str(cell.prompts))
    _check_weights(params, where, cell.images, str(cell.prompts), str(cell.labelling))


def _check_curve(params: Params, where: str, curve: FewLabels) -> None:
    require(curve.images, params.every_mixture, f"{where}.images")
    require(curve.prompts, params.prompts, f"{where}.prompts")
    for labelling in curve.labellings:
        require(labelling, params.labellings, f"{where}.labellings")
        _check_weights(params, where, curve.images, curve.prompts, labelling)
    check_own_encoder(params, where, curve)
    _check_words(params, where, params.every_mixture[curve.images], curve.prompts)


def _check_searched(params: Params, where: str, searched: Searched) -> None:
    require(searched.images, params.every_mixture, f"{where}.images")
    _check_captioned(params, f"{where}.images", searched.images)
    check_own_encoders(params, where, searched)


def _check_captioned(params: Params, where: str, images: str) -> None:
    if drawn := params.every_mixture[images].stand_ins:
        raise ValueError(
            f"{where}: {images!r} given, images with captions allowed, which STAND-INS of "
            f"{', '.join(drawn)} have not"
        )


def _check_agreement(params: Params, where: str, compared: Agreement) -> None:
    require(compared.images, params.every_mixture, f"{where}.images")
    for labels in compared.taught():
        try:
            taught = labels.taught
        except ValueError as error:
            raise ValueError(f"{where}.labellers: {error}") from error
        assert taught is not None
        encoder, prompts, labelling = taught
        require(prompts, params.prompts, f"{where}.labellers")
        require(labelling, params.labellings, f"{where}.labellers")
        check_encoder(params, f"{where}.labellers", encoder)
        _check_words(params, where, params.every_mixture[compared.images], prompts)
        _check_weights(params, where, compared.images, prompts, labelling)


def _check_compared(params: Params, where: str, compared: Compared) -> None:
    require(compared.study, params.studies, f"{where}.study")
    cells = params.grids[compared.study]
    asked = {(cell.images, cell.encoder) for cell in cells}
    for key in ("by_words", "by_clusters"):
        require(getattr(compared, key), params.labellings, f"{where}.{key}")
        own = [cell for cell in cells if cell.labelling == getattr(compared, key)]
        if len(own) != len(asked) or {(cell.images, cell.encoder) for cell in own} != asked:
            raise ValueError(
                f"{where}.{key}: {getattr(compared, key)!r} given, a labelling of which "
                f"studies.{compared.study} has one cell for each encoder and images allowed"
            )


def _check_segmentation(params: Params, where: str, segmented: Segmentation) -> None:
    check_own_encoder(params, where, segmented)
    if not isinstance(params.encoders[segmented.reference.name], Locked):
        raise ValueError(
            f"{where}.encoder: {segmented.encoder!r} given, an encoder of kind locked allowed"
        )
    for split, count in segmented.images.model_dump().items():
        drawn = getattr(params.phantoms.counts, split)
        if count > drawn:
            raise ValueError(
                f"{where}.images.{split}: {count} given, at most phantoms.counts.{split} ({drawn}) "
                f"allowed"
            )


def _check_many_sets(params: Params, where: str, many: ManySets) -> None:
    named = names_phantoms(where.rpartition(".")[2])
    if many.drawn != named:
        raise ValueError(
            f"{where}: a name that begins with phantom_ is "
            f"{'required for' if many.drawn else 'reserved to'} images: stand_in"
        )
    for name, model in many.models.items():
        _check_learner(params, f"{where}.models.{name}", model)


def _check_learner(params: Params, where: str, model: Learner) -> None:
    check_own_encoder(params, where, model)
    reason = misfit(model.network, False, tuple(params.networks)) if model.network else None
    if reason:
        raise ValueError(f"{where}.network: {reason}")
    if tower_of(model.network or "") is not None:
        raise ValueError(
            f"{where}.network: {model.network!r} given; encoder: {tower_of(str(model.network))} "
            f"allowed, whose frozen embeddings are learnt from"
        )
    require(model.recipe, params.recipes, f"{where}.recipe")
    recipe = params.recipes[model.recipe]
    if recipe.start.source != "random":
        raise ValueError(f"{where}: recipes.{model.recipe}.start: source random allowed here")
    for key, allowed in PLAIN.items():
        if (given := getattr(recipe, key)) != allowed:
            raise ValueError(
                f"{where}: recipes.{model.recipe}.{key}: {given} given, {allowed} allowed here"
            )


def _check_generation(params: Params, where: str, made: Generation) -> None:
    for key in ("images", "judged"):
        require(getattr(made, key), params.every_mixture, f"{where}.{key}")
    _check_captioned(params, f"{where}.images", made.images)
    learnt, judged = (params.every_mixture[one] for one in (made.images, made.judged))
    for name in (one for groups in made.questions.values() for group in groups for one in group):
        require(name, dict.fromkeys(judged.class_names), f"{where}.questions")
    if (learnt.class_names, learnt.size) != (judged.class_names, judged.size):
        raise ValueError(
            f"{where}.images: {made.images} given, a mixture of the classes and the size of "
            f"{made.judged} allowed"
        )
    require(made.network, params.networks, f"{where}.network")
    check_own_encoder(params, where, made)


def _check_words(params: Params, where: str, mixture: Mixture, prompts: str) -> None:
    """Refuse words that cannot tell classes apart."""
    known: dict[frozenset[str], str] = {}
    for label in mixture.class_names:
        sentences = params.prompts[prompts].sentences(label)
        words = frozenset(" ".join(one.lower().split()) for one in sentences)
        other = known.setdefault(words, label)
        if other != label:
            raise ValueError(
                f"prompts.{prompts}.words: {other} and {label} ({where}) have the same words; "
                f"different ones allowed"
            )


def _check_weights(params: Params, where: str, images: str, prompts: str, labelling: str) -> None:
    """Refuse to weigh sentences where classes differ in their number, or have one."""
    if not params.labellings[labelling].weigh:
        return
    names = params.every_mixture[images].class_names
    counts = {name: len(params.prompts[prompts].sentences(name)) for name in names}
    if len(set(counts.values())) > 1 or 1 in counts.values():
        listing = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(
            f"labellings.{labelling}.weigh: true given with prompts {prompts} "
            f"({where}), whose sentences a class are {listing}; as many of each class, and at "
            f"least two, allowed"
        )


def check_names(params: Params, where: str, asked: Cell | Trained) -> None:
    """Refuse a training whose recipe or images there are not.

    Raises
    ------
    ValueError
        Naming the key.
    """
    require(asked.recipe, params.recipes, f"{where}.recipe")
    try:
        params.training(Trained(asked.images, TRUE, asked.network, asked.recipe))
    except ValueError as error:
        raise ValueError(
            f"{where}.images: {error}; or a mixture: {', '.join(params.mixtures)}"
        ) from error
