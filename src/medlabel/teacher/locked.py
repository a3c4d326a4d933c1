"""A locked pretrained image tower and word vectors, joined by small heads.

Locked-image tuning (Zhai et al. 2022) leaves the image tower as it is and teaches words where its
images lie. An embedding has three parts:

* *kinds*: a linear map of the features, of length 1, trained to tell kinds of image apart;
* *findings*: the features in the few directions in which the findings of a kind differ. These
  directions are differences of means, not trained: a trained one learns what only drawings show.
  Features of the middle of the trunk, which see texture and contrast, have their say in them;
* *rest*: one coordinate that brings all sentences to the same length, so that a sentence without a
  finding loses nothing against one with.

The features of each scale have length 1, and the mean over kinds is subtracted.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from medlabel.teacher import trunks, wordvectors

CONFIG_KEY = "locked_cfg"
TRUNK = "visual.trunk."  # names of its tensors begin so
CONTEXT_LENGTH = 64
HEADS = 4  # of the transformer block
TEXT_DROPOUT = 0.2
LONGEST_FINDING = 1.0  # a sentence's finding part, before its weight


class ImageTower(trunks.Scales):
    """The trunk at several scales, and the linear maps of its features.

    Parameters
    ----------
    trunk, edges, middle
        As `trunks.Scales` has them.
    features
        Of all scales together, and of these those of the trunk's end, from which kinds are told.
    kinds, findings
        Length of the parts of an embedding.
    """

    centre: torch.Tensor
    directions: torch.Tensor
    finding_weight: torch.Tensor

    def __init__(
        self,
        trunk: nn.Module,
        edges: Sequence[int],
        middle: str | None,
        features: tuple[int, int],
        kinds: int,
        findings: int,
    ) -> None:
        super().__init__(trunk, edges, middle)
        every, last = features
        self.kinds = nn.Linear(last, kinds)
        self.register_buffer("centre", torch.zeros(every))
        self.register_buffer("directions", torch.zeros(every, findings))
        self.register_buffer("finding_weight", torch.ones(()))

    def scales(self) -> trunks.Scales:
        """Return the trunk without the maps: `project` makes embeddings of what it gives."""
        return trunks.Scales(self.trunk, self.edges, self.middle).eval()

    def kinds_of(self, centred: torch.Tensor) -> torch.Tensor:
        """Return the part that tells kinds, of length 1, from centred features.

        Features of length 1 have entries too small for a layer to learn at its usual rate.
        """
        last = self.kinds.in_features
        return functional.normalize(self.kinds(centred[:, :last] * math.sqrt(last)), dim=-1)

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

    def forward(self, vectors: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        """Return (n, out) from vectors (n, tokens, length) and where there are tokens at all.

        Vectors (n, length) are those of whole sentences, from `mean`.
        """
        if self.block is not None and given is not None:
            vectors = self.block(vectors + self.positions, src_key_padding_mask=~given)
        pooled: torch.Tensor = self.maps(vectors if given is None else mean(vectors, given))
        return pooled


def mean(vectors: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Return the mean (n, length) of the vectors (n, tokens, length) where there are tokens."""
    weights = given.float().unsqueeze(-1)
    return (vectors * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class TextTower(nn.Module):
    """Word vectors, which stay as they are, and a head for each part of an embedding."""

    table: torch.Tensor
    finding_weight: torch.Tensor

    def __init__(
        self, table: torch.Tensor, hidden: int, kinds: int, findings: int, text: str
    ) -> None:
        super().__init__()
        self.register_buffer("table", table.half())
        self.sequential = text == "transformer"
        self.kinds = TextHead(table.shape[1], hidden, kinds, self.sequential)
        self.findings = TextHead(table.shape[1], hidden, findings, self.sequential)
        self.register_buffer("finding_weight", torch.ones(()))

    def look_up(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what the heads read of tokens (n, context length), which no training changes."""
        given = tokens != wordvectors.PADDING
        vectors = self.table[tokens].float() * given.unsqueeze(-1)
        return (vectors, given) if self.sequential else (mean(vectors, given),)

    def kinds_of(self, read: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return what sentences, looked up, say of the kind, not normalised."""
        said: torch.Tensor = self.kinds(*read)
        return said

    def findings_of(self, read: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return what sentences, looked up, say of the finding, before its weight."""
        said: torch.Tensor = self.findings(*read)
        return said

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed sentences: the finding part is at most `LONGEST_FINDING` long before its weight."""
        read = self.look_up(tokens)
        kinds, findings = self.kinds_of(read), self.findings_of(read)
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


def shared(config: Mapping[str, Any], weights: Path) -> str | None:
    """Return a digest of all that comes before the heads of an encoder; None where none is locked.

    Encoders that agree in it differ in their heads alone.
    """
    from safetensors import safe_open

    if CONFIG_KEY not in config:
        return None
    digest = hashlib.sha256(
        json.dumps([config[CONFIG_KEY][one] for one in ("tower", "edges", "middle")]).encode()
    )
    with safe_open(weights, framework="numpy") as tensors:
        for name in sorted(tensors.keys()):
            if name.startswith(TRUNK):
                digest.update(name.encode())
                digest.update(tensors.get_tensor(name).tobytes())
    return digest.hexdigest()


def length_of_features(weights: Path) -> int:
    """Return how many features the trunk of an encoder gives at all scales."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as tensors:
        features, _ = tensors.get_slice("visual.directions").get_shape()
    return int(features)


def build(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Locked:
    """Build a network from what its folder holds.

    Raises
    ------
    RuntimeError
        When the tensors do not fit.
    """
    settings = config[CONFIG_KEY]
    features, findings = tensors["visual.directions"].shape
    kinds, last = tensors["visual.kinds.weight"].shape
    visual = ImageTower(
        trunks.build(settings["tower"]),
        settings["edges"],
        settings["middle"],
        (features, last),
        kinds,
        findings,
    )
    text = TextTower(tensors["text.table"], settings["hidden"], kinds, findings, settings["text"])
    network = Locked(visual, text, bytes(tensors["tokenizer"].numpy()))
    network.load_state_dict(dict(tensors))
    return network
