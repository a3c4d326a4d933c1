"""Labels of a mixture's images, by any of the methods known here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel import files
from medlabel.data import mixtures, vectors
from medlabel.labels import evidence, methods, prompts

if TYPE_CHECKING:
    from medlabel.params import AnyLabelling, Mixture


def write(
    pool: Path,
    embeddings: Path,
    words: Path,
    reference: str,
    mixture: Mixture,
    settings: AnyLabelling,
    target: Path,
    space: tuple[Path, str] | None = None,
) -> None:
    """Label every image of a mixture, by what is learnt from those of the role train alone.

    Held-out images play no part in it, so that labels of theirs are as good as those of images that
    are yet to come.

    Parameters
    ----------
    pool
        Of the mixture, or of the one that it was chosen from.
    embeddings, words
        Tables with a column for `reference`, the encoder's weights.
    settings
        Method, logit scale, and whether sentences are weighed; which labels a student learns from
        is not decided here.
    target
        The parquet table to write: role, dataset, split, row, label (int8; the truth, which is
        copied for scoring and otherwise unused), pseudolabel (int8) and ``p_<class>`` (float32)
        for each class.
    space
        Another table of embeddings and its column, in which images are compared too.

    Raises
    ------
    MedlabelError
        When an input is missing or damaged, images of the pool were never embedded, or two classes
        have the same words; and as `methods.fit`.
    """
    classes = mixture.class_names
    table = mixtures.read_pool(pool).query("`class` in @classes").reset_index(drop=True)
    truth = table.pop("class").map({name: label for label, name in enumerate(classes)})
    described, own_scale = vectors.read_words(words, reference, classes)
    images = vectors.read_embeddings(embeddings, reference, table)
    to_train = (table["role"] == "train").to_numpy()
    if settings.weigh:
        each = vectors.read_sentences(words, reference, classes)
        described = prompts.weighted(images[to_train], each)
    scale = settings.logit_scale or own_scale
    if space is not None:
        others = vectors.read_embeddings(*space, table)
        images, described, scale = evidence.compared_in(images, described, scale, others)
    found = methods.fit(settings, images[to_train], described, scale, classes).predict(images)
    # argmax takes the first of equals: ties go to the lower class index.
    labelled = table.assign(
        label=truth.astype(np.int8),
        pseudolabel=found.argmax(axis=1).astype(np.int8),
        **{f"p_{name}": found[:, index] for index, name in enumerate(classes)},
    )
    files.write_parquet(target, labelled)
