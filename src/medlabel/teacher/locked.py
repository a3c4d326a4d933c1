"""A locked pretrained image tower and word vectors, joined by small heads.

Locked-image tuning (Zhai et al. 2022) leaves the image tower as it is and teaches words where its
images lie. An embedding has three parts:

* *kinds*: a linear map of the features, of length 1, trained to tell kinds of image apart;
* *findings*: the features in the few directions in which the findings of a kind differ. These
  directions are differences of means, not trained: a trained one learns what only drawings show.
  The largest scale alone has a say in them;
* *rest*: one coordinate that brings all sentences to the same length, so that a sentence without a
  finding loses nothing against one with.

The features of each scale have length 1, and the mean over kinds is subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from medlabel.teacher import trunks, wordvectors

CONFIG_KEY = "locked_cfg"
CONTEXT_LENGTH = 64
HEADS = 4  # of the transformer block
TEXT_DROPOUT = 0.2
LONGEST_FINDING = 1.0  # a sentence's finding part, before its weight


class ImageTower(trunks.Scales):
    """The trunk at several scales, and the linear maps of its features.

    Parameters
    ----------
    trunk, edges
        As `trunks.Scales` has them.
    features
        Of all scales together.
    kinds, findings
        Length of the parts of an embedding.
    """

    centre: torch.Tensor
    directions: torch.Tensor
    finding_weight: torch.Tensor

    def __init__(
        self, trunk: nn.Module, edges: Sequence[int], features: int, kinds: int, findings: int
    ) -> None:
        super().__init__(trunk, edges)
        self.kinds = nn.Linear(features, kinds)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("directions", torch.zeros(features, findings))
        self.register_buffer("finding_weight", torch.ones(()))

    def kinds_of(self, centred: torch.Tensor) -> torch.Tensor:
        """Return the part that tells kinds, of length 1, from centred features.

        Features of length 1 have entries too small for a layer to learn at its usual rate.
        """
        return functional.normalize(self.kinds(centred * math.sqrt(self.kinds.in_features)), dim=-1)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Turn features into embeddings."""
        centred = features - self.centre
        findings = self.finding_weight * (centred @ self.directions)
        kinds = self.kinds_of(centred)
        return torch.cat([kinds, findings, torch.zeros_like(kinds[:, :1])], dim=-1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed images of shape (n, 3, edge, edge), as the trunk expects them."""
        return self.project(super().forward(images))


class TextHead(nn.Module):
    """Word vectors to one vector a sentence.

    The mean of the vectors, through two linear maps; before it, if asked for, one transformer block
    that starts as the identity, so that the order of words can count.
    """

    def __init__(self, length: int, hidden: int, out: int, transformer: bool) -> None:
        super().__init__()
        self.block: nn.Module | None = None
        if transformer:
            self.positions = nn.Parameter(torch.zeros(1, CONTEXT_LENGTH, length))
            self.block = nn.TransformerEncoderLayer(
                length, HEADS, hidden, dropout=0.1, batch_first=True, norm_first=True
            )
            nn.init.zeros_(self.block.self_attn.out_proj.weight)
            nn.init.zeros_(self.block.linear2.weight)
        self.maps = nn.Sequential(
            nn.Linear(length, hidden), nn.ReLU(), nn.Dropout(TEXT_DROPOUT), nn.Linear(hidden, out)
        )

    def forward(self, vectors: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """Return (n, out) from vectors (n, tokens, length) and where there are tokens at all."""
        if self.block is not None:
            vectors = self.block(vectors + self.positions, src_key_padding_mask=~given)
        weights = given.float().unsqueeze(-1)
        pooled: torch.Tensor = self.maps(
            (vectors * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        )
        return pooled


class TextTower(nn.Module):
    """Word vectors, which stay as they are, and a head for each part of an embedding."""

    table: torch.Tensor
    finding_weight: torch.Tensor

    def __init__(
        self, table: torch.Tensor, hidden: int, kinds: int, findings: int, text: str
    ) -> None:
        super().__init__()
        self.register_buffer("table", table.half())
        sequential = text == "transformer"
        self.kinds = TextHead(table.shape[1], hidden, kinds, sequential)
        self.findings = TextHead(table.shape[1], hidden, findings, sequential)
        self.register_buffer("finding_weight", torch.ones(()))

    def kinds_of(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what tokens (n, context length) say of the kind, not normalised."""
        said: torch.Tensor = self.kinds(*self._vectors(tokens))
        return said

    def findings_of(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what tokens say of the finding, before its weight."""
        said: torch.Tensor = self.findings(*self._vectors(tokens))
        return said

    def _vectors(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        given = tokens != wordvectors.PADDING
        return self.table[tokens].float() * given.unsqueeze(-1), given

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed sentences: the finding part is at most `LONGEST_FINDING` long before its weight."""
        kinds, findings = self.kinds_of(tokens), self.findings_of(tokens)
        length = findings.norm(dim=-1, keepdim=True)
        findings = findings * (LONGEST_FINDING / length.clamp(min=LONGEST_FINDING))
        rest = (LONGEST_FINDING**2 - findings.square().sum(dim=-1, keepdim=True)).clamp(min=0)
        weighted = self.finding_weight * torch.cat([findings, rest.sqrt()], dim=-1)
        return torch.cat([functional.normalize(kinds, dim=-1), weighted], dim=-1)


class Locked(nn.Module):
    """Both towers, with the calls of an open_clip network.

    Parameters
    ----------
    visual, text
        The towers.
    tokenizer
        JSON of the tokenizer, which is saved with the weights.
    """

    tokenizer: torch.Tensor

    def __init__(self, visual: ImageTower, text: TextTower, tokenizer: bytes) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer(
            "tokenizer", torch.from_numpy(np.frombuffer(tokenizer, np.uint8).copy())
        )

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        kinds, findings = len(self.visual.kinds.bias), self.visual.directions.shape[1]
        return kinds + findings + 1

    def encode_image(self, images: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Embed images (n, 3, edge, edge)."""
        found = self.visual(images)
        return functional.normalize(found, dim=-1) if normalize else found

    def encode_text(self, tokens: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Embed sentences, int64 tokens (n, context length)."""
        found = self.text(tokens)
        return functional.normalize(found, dim=-1) if normalize else found


def build(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Locked:
    """Build a network from what its folder holds.

    Raises
    ------
    RuntimeError
        When the tensors do not fit.
    """
    settings = config[CONFIG_KEY]
    features, findings = tensors["visual.directions"].shape
    kinds = len(tensors["visual.kinds.bias"])
    visual = ImageTower(
        trunks.build(settings["tower"]), settings["edges"], features, kinds, findings
    )
    text = TextTower(tensors["text.table"], settings["hidden"], kinds, findings, settings["text"])
    network = Locked(visual, text, bytes(tensors["tokenizer"].numpy()))
    network.load_state_dict(dict(tensors))
    return network
