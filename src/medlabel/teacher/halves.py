"""The two halves of an encoder: its words are read first, its image tower when an image comes.

Where every image was embedded before, the image tower, and the packages that build it, are never
loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, locked, wordvectors

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT = "text."
SCALE, TOKENIZER = "logit_scale", "tokenizer"
LAST_BIAS = "maps.3.bias"  # of a head: as long as what it gives


class Words(nn.Module):
    """The text tower of an encoder of kind locked, with the call of an open_clip network."""

    def __init__(self, text: locked.TextTower) -> None:
        super().__init__()
        self.text = text

    def encode_text(self, tokens: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Embed sentences, int64 tokens (n, context length): float32 (n, dimension)."""
        found: torch.Tensor = self.text(tokens)
        return nn.functional.normalize(found, dim=-1) if normalize else found


def with_words(folder: Path, device: torch.device) -> encoder.Encoder:
    """Load what reads sentences; of an encoder of kind locked the text tower alone.

    Raises
    ------
    MedlabelError
        When the folder is incomplete or altered, or its weights do not fit its configuration.
    """
    manifest = encoder.inspect(folder)
    if locked.CONFIG_KEY not in manifest.config:
        return encoder.load(folder, device)
    try:
        found = _read(folder / encoder.WEIGHTS)
        text = _text(manifest.config[locked.CONFIG_KEY], found)
        scale, tokenizer = float(found[SCALE].exp()), bytes(found[TOKENIZER].numpy())
    except (RuntimeError, KeyError, ValueError):
        return encoder.load(folder, device)  # says what is wrong with it
    return encoder.Encoder(
        manifest=manifest,
        model=Words(text).to(device).eval(),
        tokenizer=wordvectors.Tokenizer(tokenizer, locked.CONTEXT_LENGTH),
        context_length=locked.CONTEXT_LENGTH,
        logit_scale=scale,
        device=device,
    )


def with_images(loaded: encoder.Encoder) -> encoder.Encoder:
    """Load the rest of an encoder, where it is not there yet.

    Raises
    ------
    MedlabelError
        As `with_words`; and when its files were replaced since then.
    """
    if not isinstance(loaded.model, Words):
        return loaded
    folder = loaded.manifest.folder
    whole = encoder.load(folder, loaded.device)
    if whole.manifest != loaded.manifest:
        raise MedlabelError(f"{folder}: was replaced while it was in use; run the command again.")
    return whole


def _read(weights: Path) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    with safe_open(weights, framework="pt") as tensors:
        names = [name for name in tensors.keys() if name.startswith((TEXT, SCALE, TOKENIZER))]  # noqa: SIM118
        return {name: tensors.get_tensor(name) for name in names}


def _text(settings: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> locked.TextTower:
    own = {name.removeprefix(TEXT): one for name, one in tensors.items() if name.startswith(TEXT)}
    kinds, findings = (len(own[f"{part}.{LAST_BIAS}"]) for part in ("kinds", "findings"))
    text = locked.TextTower(own["table"], settings["hidden"], kinds, findings, settings["text"])
    text.load_state_dict(own)
    return text
