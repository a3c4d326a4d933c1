"""A head that turns what a tower sees at a place into the space of word vectors.

Language-driven segmentation (Li et al., Language-driven semantic segmentation, ICLR 2022,
arXiv:2201.03546): every place of an image has an embedding in the space of a text side that stays
as it is, and is of a region as far as it agrees with the words for it. Words that no training
saw are told by those near them. Regions may overlap here (pneumonia lies in lungs), so that each
has a probability of its own instead of a share of one softmax (the sigmoid loss of Zhai et al.,
Sigmoid loss for language image pre-training, ICCV 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from medlabel.params import Segmentation
from medlabel.randomness import stream, torch_seed
from medlabel.teacher import locked, wordvectors
from medlabel.teacher.encoder import Encoder

FIRST_SCALE, FIRST_BIAS = 10.0, -3.0  # of logits: most places are of no region
SMALLEST_SPREAD = 1e-5  # of a feature

Maps = npt.NDArray[np.float32]


class Head(nn.Module):
    """Two layers from features to word vectors, and the logits of words.

    Parameters
    ----------
    features
        float32 (n, channels): of training, whose mean and spread are taken away.
    length
        Of a word vector.
    settings
        Width and dropout.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, features: torch.Tensor, length: int, settings: Segmentation) -> None:
        super().__init__()
        self.register_buffer("mean", features.mean(dim=0))
        self.register_buffer("spread", features.std(dim=0).clamp(min=SMALLEST_SPREAD))
        self.layers = nn.Sequential(
            nn.Linear(features.shape[1], settings.hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, length),
        )
        self.scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        self.bias = nn.Parameter(torch.tensor(FIRST_BIAS))

    def forward(self, features: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return logits (..., words) of features (..., channels) and words (words, length)."""
        seen = self.layers((features - self.mean) / self.spread)
        found: torch.Tensor = self.scale.exp() * (seen @ words.T) + self.bias
        return found


def say(encoder: Encoder, sentences: Sequence[str]) -> torch.Tensor:
    """Return the mean word vector of each sentence: float32 (n, length), of length 1 (L2 norm).

    These are what the encoder's text side starts from; no head of it is used.
    """
    tokens = encoder.tokenizer(list(sentences))
    table = encoder.model.text.table.cpu()
    given = tokens != wordvectors.PADDING
    return functional.normalize(locked.mean(table[tokens].float(), given), dim=1)


def together(vectors: torch.Tensor) -> torch.Tensor:
    """Return one vector (1, length) for several of the same meaning, of length 1 (L2 norm)."""
    return functional.normalize(vectors.mean(dim=0, keepdim=True), dim=1)


def learn(
    features: torch.Tensor,
    covered: torch.Tensor,
    words: Sequence[torch.Tensor],
    settings: Segmentation,
    seed: int,
) -> Head:
    """Train a head on places of images.

    Parameters
    ----------
    features
        float32 (n, channels).
    covered
        float32 (n, regions): the part of a place that each region covers, 0 to 1.
    words
        For each region (phrases, length); every step draws a phrase of each.
    settings
        Of the head and of AdamW, whose rate rises and falls in one cycle.
    seed
        Root of the random streams.

    Returns
    -------
    Head
        In evaluation mode.
    """
    torch.manual_seed(torch_seed(seed, "segmentation", "head"))
    random = stream(seed, "segmentation", "steps")
    head = Head(features, words[0].shape[1], settings)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps
    )
    for _ in range(settings.steps):
        chosen = torch.from_numpy(random.integers(len(features), size=settings.batch_size))
        said = torch.stack([own[int(random.integers(len(own)))] for own in words])
        logits = head(features[chosen], said)
        loss = functional.binary_cross_entropy_with_logits(logits, covered[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return head.eval()


def heat(head: Head, maps: torch.Tensor, words: torch.Tensor, size: int) -> Maps:
    """Return how surely each pixel is of what words say.

    Parameters
    ----------
    maps
        float32 (n, channels, grid, grid), as `patches.Patches` gives them.
    words
        float32 (words, length).
    size
        Edge of the images in pixels.

    Returns
    -------
    ndarray
        float32 (n, words, size, size), 0 to 1; logits are interpolated bilinearly.
    """
    with torch.inference_mode():
        logits = head(maps.permute(0, 2, 3, 1), words).permute(0, 3, 1, 2)
        fitted = functional.interpolate(
            logits, size=(size, size), mode="bilinear", align_corners=False
        )
        found: Maps = fitted.sigmoid().numpy()
    return found
