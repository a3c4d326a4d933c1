"""One job: a model for many sets is trained, and answers for all their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import save_file

from medlabel import compute, files
from medlabel.data import archive, mixtures, vectors
from medlabel.data.many_sets import Numbering, numbered
from medlabel.errors import MedlabelError
from medlabel.evaluate import many_sets as evaluation
from medlabel.evaluate.many_sets import Answers
from medlabel.params import Learner, ManySets, Params, Recipe
from medlabel.params.many_sets import settings_of
from medlabel.training import memory
from medlabel.training.many_sets import Examples, Training

VERSIONS = ("torch", "torchvision", "timm", "monai", "numpy", "medmnist")


@dataclass(frozen=True)
class Files:
    """What a model is learnt from: image files by set, their pool, and embeddings if it sees them.

    The state after each epoch is kept in `resume`.
    """

    archives: Mapping[str, Path]
    pool: Path
    embeddings: Path | None
    resume: Path


def run(params: Params, name: str, model: str, given: Files, folder: Path, code: str) -> None:
    """Train one model of an entry of `many_sets` and let it answer for all images.

    Parameters
    ----------
    params
        Of the entry, and all that it names.
    name, model
        The entry, and one of its models.
    given
        Files.
    folder
        Where to write ``predictions.parquet``, ``curves.parquet``, ``weights.safetensors`` and
        ``run.json``, the last one last.
    code
        Fingerprint of the code.

    Raises
    ------
    MedlabelError
        When an input is missing or does not fit the others; when the network cannot take the
        images; when a class without validation images leaves undefined what chooses the epoch;
        when a loss is no longer finite.
    """
    many, learner = params.many_sets[name], params.many_sets[name].models[model]
    recipe, numbering = params.recipes[learner.recipe], Numbering(tuple(many.sets))
    where = compute.prepare(params.device, recipe.threads)
    memory.keep()
    examples = _examples(many, learner, recipe, numbering, given, where)
    _refuse_absent(f"many_sets.{name}", learner, recipe, numbering, examples["val"])
    training = Training(params, name, model, numbering, examples["train"], where)
    learnt_from = filter(None, (given.pool, given.embeddings, *given.archives.values()))
    content: list[Any] = [settings_of(params, name, model), code, _versions()]
    content += [files.digest(path) for path in learnt_from]
    training.fit(examples, given.resume, content)
    answers = [training.answers(one) for one in examples.values()]
    _write(folder, training, answers, settings_of(params, name, model))
    given.resume.unlink(missing_ok=True)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in VERSIONS}


def _examples(
    many: ManySets,
    learner: Learner,
    recipe: Recipe,
    numbering: Numbering,
    given: Files,
    where: torch.device,
) -> dict[str, Examples]:
    pool = mixtures.read_pool(given.pool)
    opened = {name: archive.read(given.archives[name], name, many.size) for name in many.sets}
    found = {}
    for split in archive.SPLITS:
        images = pool.loc[pool["split"] == split, mixtures.IMAGE].reset_index(drop=True)
        classes, labels = numbered(numbering, opened, images)
        if learner.encoder is not None and given.embeddings is not None:
            seen: npt.NDArray[Any] = vectors.read_embeddings(
                given.embeddings, learner.encoder, images
            )
        else:
            pixels = archive.pixels(opened, images, recipe.channels, many.size, many.projection)
            seen = pixels.reshape(*pixels.shape[:3], recipe.channels)
        found[split] = Examples(
            images,
            torch.from_numpy(np.ascontiguousarray(seen)).to(where),
            torch.from_numpy(classes).to(where),
            torch.from_numpy(labels).to(where),
        )
    return found


def _refuse_absent(
    where: str, learner: Learner, recipe: Recipe, numbering: Numbering, val: Examples
) -> None:
    shown = set(val.classes.tolist())
    for number, (name, label) in enumerate(numbering.classes):
        if recipe.select == "auc" and not numbering.multi_label(name) and number not in shown:
            raise MedlabelError(
                f"{where}.sets: {name}: one validation image of {label!r} expected, none found, "
                f"so that no AUC chooses the epoch; leave the set out, or set "
                f"recipes.{learner.recipe}.select: loss."
            )


def _write(
    folder: Path, training: Training, answers: Sequence[Answers], settings: Mapping[str, Any]
) -> None:
    reached = training.reached
    curve = pd.DataFrame([asdict(epoch) for epoch in reached.curve])
    files.write_parquet(folder / "curves.parquet", curve)
    joined = Answers(
        pd.concat([one.images for one in answers], ignore_index=True),
        *(
            np.concatenate([getattr(one, part) for one in answers])
            for part in ("classes", "labels", "shared", "own")
        ),
    )
    evaluation.write(joined, folder / "predictions.parquet")
    with files.replacing(folder / "weights.safetensors") as partial:
        save_file(reached.weights, partial)
    record = {
        "settings": settings,
        "best_epoch": reached.best,
        "parameters": sum(value.numel() for value in training.network.parameters()),
        "precision": training.precision,
        "processor": compute.processor(training.device, training.recipe.threads),
        "versions": _versions(),
    }
    files.write_json(folder / "run.json", record)
