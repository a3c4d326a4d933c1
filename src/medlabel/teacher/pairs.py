"""Images with their captions as a contrastive training reads them, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from medlabel.data import archive
from medlabel.data.phantoms.captions import NAMING_A_FINDING
from medlabel.errors import MedlabelError
from medlabel.teacher.sources import Source


@dataclass(frozen=True)
class Pairs:
    """Images with their captions.

    Attributes
    ----------
    images
        uint8 of shape (n, 3, size, size).
    tokens
        int64 of shape (n, context length).
    kinds, findings, captions
        int64 of shape (n,): equal for images of the same kind, of the same kind and finding, with
        the same caption.
    silent
        bool of shape (n,): whether the caption names no finding.
    """

    images: torch.Tensor
    tokens: torch.Tensor
    kinds: torch.Tensor
    findings: torch.Tensor
    captions: torch.Tensor
    silent: torch.Tensor


def read(sources: Sequence[Source], split: str, context_length: int) -> Pairs:
    """Read captioned images of a split.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or a caption is too long.
    """
    images, tables = [], []
    for source in sources:
        part = source.captions_of(split)
        read = archive.read(source.archive, source.dataset, source.size).images[split]
        chosen = read[part["row"].to_numpy()]
        images.append(chosen if chosen.ndim == 4 else np.repeat(chosen[..., None], 3, axis=3))
        tables.append(part)
    said = pd.concat(tables, ignore_index=True)
    stacked = np.ascontiguousarray(np.concatenate(images).transpose(0, 3, 1, 2))

    def numbered(*columns: str) -> torch.Tensor:
        return torch.from_numpy(said.groupby(list(columns)).ngroup().to_numpy(np.int64, copy=True))

    return Pairs(
        torch.from_numpy(stacked),
        _tokens(said["caption"].tolist(), context_length),
        numbered("kind"),
        numbered("kind", "finding"),
        numbered("caption"),
        torch.from_numpy(~said["style"].isin(NAMING_A_FINDING).to_numpy()),
    )


def _tokens(sentences: list[str], context_length: int) -> torch.Tensor:
    from open_clip import SimpleTokenizer

    tokenizer = SimpleTokenizer(context_length=context_length)
    distinct = sorted(set(sentences))
    for sentence in distinct:
        if (needed := len(tokenizer.encode(sentence)) + 2) > context_length:
            raise MedlabelError(
                f"context_length: {context_length} given, but the caption {sentence!r} "
                f"needs {needed} tokens."
            )
    rows = tokenizer(distinct)
    position = {sentence: index for index, sentence in enumerate(distinct)}
    tokens: torch.Tensor = rows[[position[sentence] for sentence in sentences]]
    return tokens


def positives(pairs: Pairs, rows: torch.Tensor, alike: str) -> torch.Tensor:
    """Tell which captions of a batch are right for which of its images.

    CLIP's loss takes all other pairs of a batch for negatives. With a dozen kinds in a batch of
    128 most of them are not, so equal kinds count as positives, as in supervised contrastive
    learning (Khosla et al. 2020, equation 2) and in its image-text form UniCL (Yang et al. 2022).
    Where findings count, captions of other findings of a kind are the hard negatives, and one that
    names none is right for all images of its kind.

    Parameters
    ----------
    pairs, rows
        All images, and int64 (n,): which of them are in the batch.
    alike
        As `params.Contrastive.positives` has it.

    Returns
    -------
    Tensor
        bool of shape (n images, n captions); the diagonal is true.
    """

    def same(values: torch.Tensor) -> torch.Tensor:
        return values[rows][:, None] == values[rows][None, :]

    if alike == "caption":
        return same(pairs.captions)
    if alike == "finding":
        return same(pairs.kinds) & (same(pairs.findings) | pairs.silent[rows][None, :])
    return same(pairs.kinds)


def contrast(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, positive: torch.Tensor
) -> torch.Tensor:
    """Return the loss of a batch: cross-entropy of images over captions, and the other way round.

    Parameters
    ----------
    image, text
        float32 (n, dimension), of length 1.
    scale
        Factor on cosines.
    positive
        bool (n, n), as `positives` gives it: the probability of a row is shared among them.

    Notes
    -----
    Radford et al. 2021, figure 3, where a caption is right for its own image alone.
    """
    losses = [
        torch.nn.functional.cross_entropy(scale * own @ other.T, right / right.sum(1, keepdim=True))
        for own, other, right in (
            (image, text, positive.float()),
            (text, image, positive.T.float()),
        )
    ]
    return (losses[0] + losses[1]) / 2
