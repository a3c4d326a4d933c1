"""MedCLIP's way from the layers of BERT to a sentence, known to open_clip by its name.

Importing this module is what makes open_clip know it. Encoders' folders hold the name, so what it
stands for stays as it is.
"""

from __future__ import annotations

from typing import Any

import open_clip.model
import torch
from open_clip.hf_model import HFTextEncoder, register_pooler
from torch import nn

NAME = "medlabel_three_layers_pooler"  # open_clip makes it of the class's
LAYERS = (1, 2, -1)  # of the hidden states, whose first one is that of the vocabulary


@register_pooler
class MedlabelThreeLayersPooler(nn.Module):
    """The mean of the first, the second and the last layer, over a sentence's tokens.

    Notes
    -----
    Wang et al. 2022, as their package computes it, with one difference: in a batch of sentences of
    unlike lengths it averages the padding too, so that a sentence's embedding depends on those
    beside it. Here it is always the one that a sentence by itself has.
    """

    def forward(self, output: Any, attention_mask: torch.Tensor) -> torch.Tensor:
        """Map hidden states (n, tokens, width) of all layers to (n, width).

        Parameters
        ----------
        output
            Of a model of transformers, with `hidden_states`.
        attention_mask
            int64 (n, tokens): 1 for tokens of the sentence, its ends among them; 0 for padding.
        """
        layers = torch.stack([output.hidden_states[place] for place in LAYERS]).mean(0)
        kept = attention_mask.unsqueeze(-1)
        return (layers * kept).sum(1) / kept.sum(1)


class _TextEncoder(HFTextEncoder):  # type: ignore[misc]
    """open_clip's text tower, which keeps the hidden states of its layers for that pooler."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if isinstance(self.pooler, MedlabelThreeLayersPooler):
            self.transformer.config.output_hidden_states = True


# open_clip has a register of poolers and none of text towers.
open_clip.model.HFTextEncoder = _TextEncoder
