"""What an encoder says of one fixed image and one fixed sentence, kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medlabel.teacher import locked, wordvectors
from medlabel.teacher.tower import Preprocessing, preprocess

if TYPE_CHECKING:
    import torch

EDGE = 28  # of the image, in pixels
SENTENCE = "a chest X-ray with no finding"
TOKENS = range(1, 9)  # instead of a sentence where the tokenizer is open_clip's, which is not saved
ENTRIES = 8  # of each embedding that are kept
DECIMALS = 5


def of(model: torch.nn.Module, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the beginnings of two embeddings of length 1, and the cosine between the two.

    Parameters
    ----------
    model
        A network of open_clip's form, in float32.
    config
        As its folder has it.

    Returns
    -------
    dict
        ``image`` and ``text``, `ENTRIES` numbers each, and ``cosine``.
    """
    import torch

    network: Any = model
    device, training = next(model.parameters()).device, model.training
    image = (np.add.outer(np.arange(EDGE) * 5, np.arange(EDGE) ** 2) % 256).astype(np.uint8)
    batch = preprocess(image[None], Preprocessing.of(config["preprocess_cfg"])).to(device)
    tokens = _tokens(network).to(device)
    model.eval()
    with torch.inference_mode():
        seen = network.encode_image(batch, normalize=True)[0].float().cpu()
        said = network.encode_text(tokens, normalize=True)[0].float().cpu()
    model.train(training)
    return {
        "image": _rounded(seen[:ENTRIES]),
        "text": _rounded(said[:ENTRIES]),
        "cosine": _rounded((seen * said).sum()),
    }


def _tokens(network: Any) -> torch.Tensor:
    import torch

    if isinstance(network, locked.Locked):
        definition = bytes(network.tokenizer.cpu().numpy())
        return wordvectors.Tokenizer(definition, locked.CONTEXT_LENGTH)([SENTENCE])
    tokens = torch.zeros((1, network.context_length), dtype=torch.int64)
    tokens[0, : len(TOKENS)] = torch.tensor(TOKENS)
    return tokens


def _rounded(values: torch.Tensor) -> Any:
    return np.round(values.double().numpy(), DECIMALS).tolist()
