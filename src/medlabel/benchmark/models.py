"""The benchmark's networks by name."""

from __future__ import annotations

import difflib
from typing import Any, cast

import torch
from torch import Tensor, nn

from medlabel.benchmark import vit3d
from medlabel.benchmark.convolutions import Kind, convert
from medlabel.benchmark.names import JOINT, RESNETS, TIMM, misfit
from medlabel.errors import MedlabelError

SMALL = 64  # pixels: below, a stem that halves twice would leave little of an image


class Classifier(nn.Linear):
    """Last layer in float32: in bfloat16 its logits would tie, and ties cost AUC."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, features) to logits (n, outputs)."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.to(self.weight.dtype))


class Joint(nn.Module):
    """ResNet18 with ACS convolutions beside ViT3D, their features concatenated (Abdalla 2024)."""

    def __init__(self, channels: int, outputs: int, size: int, stem: str) -> None:
        super().__init__()
        self.resnet = convert(_resnet("resnet18", channels, outputs, size, stem), "acs")
        self.vit = vit3d.ViT3D(channels, outputs, size)
        del self.vit.head
        width = cast("nn.Linear", self.resnet.fc).in_features + vit3d.WIDTH
        self.resnet.fc = nn.Identity()
        self.fc = Classifier(width, outputs)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) to logits (n, outputs)."""
        features = [self.resnet(volumes).float(), self.vit.features(volumes).float()]
        logits: Tensor = self.fc(torch.cat(features, dim=1))
        return logits


def build(
    name: str, *, volumetric: bool, channels: int, outputs: int, size: int, stem: str
) -> nn.Module:
    """Make a network with random initial weights.

    Torch's global generator draws the weights, so `torch.manual_seed` beforehand fixes them.

    Parameters
    ----------
    name
        One of `names.FLAT` or `names.VOLUMETRIC`, or ``"timm:<any of timm's models>"``.
    volumetric
        Whether the dataset holds volumes.
    channels
        Of the images.
    outputs
        Number of logits.
    size
        Edge of the images in pixels or voxels.
    stem
        Of a ResNet, as `params.Recipe.stem` has it.

    Returns
    -------
    nn.Module
        Maps float32 of shape (n, channels, H, W) or (n, channels, D, H, W) to logits (n, outputs).

    Raises
    ------
    MedlabelError
        When there is no such network, it does not fit the dataset's dimension, or it cannot take
        images of this size.
    """
    if reason := misfit(name, volumetric):
        raise MedlabelError(f"benchmark.rows: {reason}.")
    if name in ("vit2d", "vit3d", JOINT) and size % vit3d.PATCH:
        raise _cannot_take(name, size, f"a multiple of {vit3d.PATCH} expected")
    if name == "vit2d":
        return vit3d.vit2d(channels, outputs, size)
    if name == "vit3d":
        return vit3d.ViT3D(channels, outputs, size)
    if name == JOINT:
        return Joint(channels, outputs, size, stem)
    if name in RESNETS:
        return _resnet(name, channels, outputs, size, stem)
    if volumetric:
        base, _, kind = name.partition("_")
        return convert(_resnet(base, channels, outputs, size, stem), cast("Kind", kind))
    return _timm(name.removeprefix(TIMM), channels, outputs, size)


def _cannot_take(name: str, size: int, reason: str) -> MedlabelError:
    return MedlabelError(
        f"benchmark.rows: model {name} cannot take images with an edge of {size}: {reason}; set "
        f"image_size or enlarge_to in the recipe."
    )


def _resnet(name: str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    from torchvision import models as torchvision_models

    network: Any = torchvision_models.get_model(name, weights=None)
    chosen = ("dense" if size < SMALL else "imagenet") if stem == "auto" else stem
    if chosen == "imagenet":
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    else:
        stride = 1 if chosen == "dense" else 2
        network.conv1 = nn.Conv2d(channels, 64, 3, stride=stride, padding=1, bias=False)
        network.maxpool = nn.Identity()
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.fc = Classifier(network.fc.in_features, outputs)
    return cast("nn.Module", network)


def _timm(name: str, channels: int, outputs: int, size: int) -> nn.Module:
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(close)}?" if close else "; see timm.list_models()."
        raise MedlabelError(f"benchmark.rows: timm has no model {name!r}{hint}")
    try:
        network = _created(name, channels, outputs, size)
        patch = getattr(getattr(network, "patch_embed", None), "patch_size", (1, 1))[0]
        if size % patch:
            # timm would leave out what is beyond the last whole patch.
            raise ValueError(f"a multiple of {patch} expected")
        with torch.inference_mode():
            network.eval()(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise _cannot_take(name, size, " ".join(str(error).split())) from error
    return network.train()


def _created(name: str, channels: int, outputs: int, size: int) -> nn.Module:
    import timm

    options: dict[str, Any] = {"pretrained": False, "in_chans": channels, "num_classes": outputs}
    try:
        network: nn.Module = timm.create_model(name, **options, img_size=size)
    except TypeError as error:
        # Transformers are made for one image size; convolutional networks know no such option.
        if "img_size" not in str(error):
            raise
        network = timm.create_model(name, **options)
    return network
