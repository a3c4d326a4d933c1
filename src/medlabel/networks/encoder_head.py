"""An encoder's image tower with a linear layer behind it: both trained, or the layer alone.

`encoder:` trains both, as vision-language models are fine-tuned to classify. `frozen:` leaves the
tower as it is; its features are standardised over the batch before the layer, so that neither their
length nor their spread matters (a batch normalisation without weights: He et al., Masked
autoencoders are scalable vision learners, CVPR 2022, appendix A.1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel.errors import MedlabelError
from medlabel.networks.classifier import Classifier
from medlabel.networks.names import ENCODER, FROZEN
from medlabel.params import Network
from medlabel.teacher import encoder, locked, trunks
from medlabel.teacher.tower import Preprocessing

TOWER = "visual."  # names of its tensors in an encoder's folder begin so
DESCRIPTION = "description"
FULL = 16  # images that a frozen tower sees at once
REMEMBERED = 1 << 16  # images whose features are kept in memory
RESIZING = ("bicubic", "bilinear")


class EncoderHead(nn.Module):
    """A tower behind the resizing and intensities that it learnt from, and one linear layer.

    Parameters
    ----------
    config
        Of the encoder's folder.
    tower
        Maps float32 (n, 3, edge, edge), resized and standardised, to (n, features).
    features
        Length of what it gives.
    frozen
        Whether the layer alone learns.
    outputs
        Number of logits.
    learning
        Whether it is to be trained: a frozen tower then remembers what it said of each image.
    """

    description: Tensor

    def __init__(
        self,
        config: Mapping[str, Any],
        tower: nn.Module,
        features: int,
        outputs: int,
        *,
        frozen: bool,
        learning: bool,
    ) -> None:
        super().__init__()
        self.tower = tower.requires_grad_(not frozen)
        self.standardise = nn.BatchNorm1d(features, affine=False) if frozen else nn.Identity()
        self.fc = Classifier(features, outputs)
        self.frozen = frozen
        self.known: dict[bytes, Tensor] | None = {} if frozen and learning else None
        self.expected = Preprocessing.of(config["preprocess_cfg"])
        # Beside the weights, so that these are enough to build the network again.
        told = json.dumps(config, sort_keys=True).encode()
        self.register_buffer(DESCRIPTION, torch.frombuffer(bytearray(told), dtype=torch.uint8))

    def train(self, mode: bool = True) -> Self:
        """Begin or end training; a frozen tower never is in training."""
        super().train(mode)
        if self.frozen:
            self.tower.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 1 or 3, H, W) from -1 to 1, H equal to W, to logits (n, outputs)."""
        if self.known is None:
            features = self.tower(self._seen(images))
        else:
            features = self._remembered(images, self.known)
        logits: Tensor = self.fc(self.standardise(features.float()))
        return logits

    @torch.no_grad()
    def _remembered(self, images: Tensor, known: dict[bytes, Tensor]) -> Tensor:
        """Let a frozen tower see each image once.

        Batches are always full, so that features do not depend on what else is new: a training that
        was killed goes on with the same ones.
        """
        keys = [hashlib.sha256(one.cpu().numpy().tobytes()).digest() for one in images]
        if len(known) + len(keys) > REMEMBERED:
            known.clear()
        new = {key: place for place, key in enumerate(keys) if key not in known}
        for first in range(0, len(new), FULL):
            places = list(new.values())[first : first + FULL]
            full = places + places[:1] * (FULL - len(places))
            found = self.tower(self._seen(images[full]))
            known |= {keys[place]: found[row] for row, place in enumerate(places)}
        return torch.stack([known[key] for key in keys])

    def _seen(self, images: Tensor) -> Tensor:
        """Resize as the encoder does, antialiased, and give the intensities that it learnt from."""
        unit = (images.float() + 1) / 2
        size = self.expected.size
        if unit.shape[-2:] != size:
            unit = F.interpolate(unit, size, mode=self.expected.interpolation, antialias=True)
        mean, deviation = (
            unit.new_tensor(one).view(1, 3, 1, 1) for one in (self.expected.mean, self.expected.std)
        )
        return (unit.clamp(0, 1) - mean) / deviation


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make ``encoder:<folder>`` or ``frozen:<folder>`` of an encoder's folder; as `registry.build`.

    The tower has the weights of the folder, the layer random ones.
    """
    name = str(network)
    frozen = name.startswith(FROZEN)
    folder = Path(name.removeprefix(FROZEN if frozen else ENCODER))
    manifest = encoder.inspect(folder)
    expected = manifest.preprocessing
    if len(set(expected.size)) > 1 or expected.interpolation not in RESIZING:
        raise MedlabelError(
            f"{folder / encoder.CONFIG}: preprocess_cfg: size {expected.size} and interpolation "
            f"{expected.interpolation!r} found, a square and one of {', '.join(RESIZING)} "
            f"expected; choose another encoder."
        )
    tensors = {
        key.removeprefix(TOWER): value
        for key, value in load_file(folder / encoder.WEIGHTS).items()
        if key.startswith(TOWER)
    }
    try:
        tower = _tower(manifest.config, tensors)
        tower.load_state_dict(tensors)
    except (RuntimeError, KeyError, TypeError) as error:
        reason = encoder.one_line(error)
        raise MedlabelError(f"{folder}: its image tower cannot be built: {reason}.") from error
    length = manifest.dimension
    return EncoderHead(manifest.config, tower, length, outputs, frozen=frozen, learning=True)


def restore(tensors: Mapping[str, Tensor]) -> EncoderHead:
    """Build a network again from what a training saved of it, without the encoder's folder.

    Parameters
    ----------
    tensors
        Of one seed, by the names of the network's ``state_dict``.
    """
    config = json.loads(bytes(tensors[DESCRIPTION].tolist()))
    own = {
        name.removeprefix("tower."): value
        for name, value in tensors.items()
        if name.startswith("tower.")
    }
    outputs, features = tensors["fc.weight"].shape
    frozen = "standardise.running_mean" in tensors
    tower = _tower(config, own)
    network = EncoderHead(config, tower, features, outputs, frozen=frozen, learning=False)
    network.load_state_dict(dict(tensors))
    return network


def _tower(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build an image tower, whose weights are loaded afterwards; these tell the length of maps."""
    if locked.CONFIG_KEY not in config:
        return trunks.build({"source": "open_clip", "model_cfg": config["model_cfg"]})
    settings = config[locked.CONFIG_KEY]
    features, findings = tensors["directions"].shape
    kinds, last = tensors["kinds.weight"].shape
    return locked.ImageTower(
        trunks.build(settings["tower"]),
        settings["edges"],
        settings["middle"],
        (features, last),
        kinds,
        findings,
    )
