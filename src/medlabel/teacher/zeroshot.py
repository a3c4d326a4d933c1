"""Zero-shot labels: the class whose words lie nearest to the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from medlabel import compute, files
from medlabel.errors import MedlabelError
from medlabel.params import Pseudolabel
from medlabel.teacher import embed, encoder

POOL_COLUMNS = ["role", "dataset", "split", "row", "label"]
TOKENS_LOOKED_AT = 512

Embeddings = npt.NDArray[np.float32]


def write(
    encoders: Sequence[Path],
    embeddings: Sequence[Path],
    pool: Path,
    targets: Sequence[Path],
    settings: Pseudolabel,
    classes: Sequence[str],
    device: str,
    threads: int,
) -> None:
    """Label every image of a pool from text alone, once for each encoder.

    Parameters
    ----------
    encoders, embeddings
        Folders of encoders and the tables that `medlabel.teacher.embed` wrote with them.
    pool
        Table with the columns role, dataset, split, row and label (the truth, which is copied
        for scoring and otherwise unused).
    targets
        For each encoder, the parquet table to write: the pool's columns, then pseudolabel (int8)
        and ``p_<class>`` (float32) for each class.
    settings
        Templates, prompts and logit scale.
    classes
        Names of the classes in label order.
    device, threads
        As for `medlabel.compute.prepare`.

    Raises
    ------
    MedlabelError
        When an input is missing or damaged, a prompt is too long, or images of the pool were
        never embedded.
    """
    where = compute.prepare(device, threads)
    table = files.read_parquet(pool, "pool", POOL_COLUMNS)[POOL_COLUMNS]
    prompts = {prompt.label: prompt.descriptions for prompt in settings.prompts}
    descriptions = [prompts[name] for name in classes]
    for folder, source, target in zip(encoders, embeddings, targets, strict=True):
        loaded = encoder.load(folder, where)
        words = class_embeddings(loaded, settings.templates, descriptions)
        scale = settings.logit_scale or loaded.logit_scale
        found = probabilities(_of_pool(table, source), words, scale)
        files.write_parquet(target, _labelled(table, found, classes))


def class_embeddings(
    loaded: encoder.Encoder, templates: Sequence[str], descriptions: Sequence[Sequence[str]]
) -> Embeddings:
    """Embed classes as the mean over templates and descriptions.

    Each sentence's embedding has length 1; their mean is brought to length 1 again (Radford et
    al. 2021, section 3.1.4).

    Parameters
    ----------
    loaded
        The encoder, with its text tower in float32.
    templates
        Sentences with one ``{}`` each.
    descriptions
        For each class, the words to put into the templates.

    Returns
    -------
    ndarray
        float32 of shape (classes, dimension).

    Raises
    ------
    MedlabelError
        When a sentence has more tokens than the text tower reads: words would be cut off silently.
    """
    rows = []
    for words in descriptions:
        sentences = [template.replace("{}", word) for template in templates for word in words]
        _check_length(loaded, sentences)
        tokens = loaded.tokenizer(sentences).to(loaded.device)
        with torch.inference_mode():
            each = loaded.model.encode_text(tokens, normalize=True)
            rows.append(torch.nn.functional.normalize(each.mean(dim=0), dim=0).cpu())
    found: Embeddings = torch.stack(rows).numpy()
    return found


def _check_length(loaded: encoder.Encoder, sentences: Sequence[str]) -> None:
    limit = loaded.context_length
    # The tokenizer cuts without a word, so it is given far more room than the text tower has.
    wide = loaded.tokenizer(list(sentences), context_length=max(TOKENS_LOOKED_AT, 2 * limit))
    for sentence, row in zip(sentences, wide, strict=True):
        needed = int((row != row[-1]).nonzero().max()) + 1
        if needed > limit:
            raise MedlabelError(
                f"pseudolabel.prompts: {sentence!r} has {needed} tokens, but the text tower of "
                f"{loaded.manifest.folder.name} reads {limit}; shorten the template or the "
                f"description."
            )


def probabilities(
    images: Embeddings, classes: Embeddings, logit_scale: float
) -> npt.NDArray[np.float32]:
    """Return softmax(scale * cosine) for each image and class.

    Parameters
    ----------
    images
        float32 of shape (n, dimension), rows of length 1.
    classes
        float32 of shape (classes, dimension), rows of length 1.
    logit_scale
        Factor on the cosines.

    Returns
    -------
    ndarray
        float32 of shape (n, classes), computed in float64; rows sum to 1.
    """
    from scipy.special import softmax

    logits = logit_scale * (images.astype(np.float64) @ classes.astype(np.float64).T)
    found: npt.NDArray[np.float32] = softmax(logits, axis=1).astype(np.float32)
    return found


def _of_pool(table: pd.DataFrame, source: Path) -> Embeddings:
    """Bring embeddings into the pool's order."""
    images, embeddings = embed.read(source)
    index = pd.MultiIndex.from_frame(images)
    if not index.is_unique:
        raise MedlabelError(
            f"{source}: expected one embedding an image, found some images twice; delete the file "
            f"and run `medlabel embed` again."
        )
    positions = index.get_indexer(pd.MultiIndex.from_frame(table[embed.IMAGE_COLUMNS]))
    if missing := int((positions < 0).sum()):
        raise MedlabelError(
            f"{source}: expected embeddings of all {len(table)} images of the pool, found none for "
            f"{missing} of them; run `medlabel embed` again."
        )
    return embeddings[positions]


def _labelled(
    table: pd.DataFrame, found: npt.NDArray[np.float32], classes: Sequence[str]
) -> pd.DataFrame:
    # argmax takes the first of equals: ties go to the lower class index.
    columns = {f"p_{name}": found[:, index] for index, name in enumerate(classes)}
    return table.assign(pseudolabel=found.argmax(axis=1).astype(np.int8), **columns)
