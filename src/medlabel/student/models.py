"""The student's networks: the capstone's, a wider one, and any of timm's."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import nn

from medlabel.errors import MedlabelError

TIMM = "timm:"
SMALLEST = {"two_layer_cnn": 12, "wide_cnn": 4}  # pixels that leave one after the last pooling


def build(name: str, channels: int, classes: int, size: int) -> nn.Module:
    """Make a network with random initial weights.

    Torch's global generator draws the weights, so `torch.manual_seed` beforehand fixes them.

    Parameters
    ----------
    name
        ``"two_layer_cnn"``, ``"wide_cnn"`` or ``"timm:<any of timm's models>"``.
    channels
        1 (grey) or 3 (colour).
    classes
        Number of outputs.
    size
        Edge length of the images in pixels.

    Returns
    -------
    nn.Module
        Maps float32 images of shape (n, channels, size, size) to logits of shape (n, classes).

    Raises
    ------
    MedlabelError
        When there is no such network, or the images are too small for it.
    """
    if name.startswith(TIMM):
        return _timm(name.removeprefix(TIMM), channels, classes, size)
    makers = {"two_layer_cnn": _two_layer_cnn, "wide_cnn": _wide_cnn}
    if name not in makers:
        raise MedlabelError(
            f"student.model: {name!r} given; {', '.join(makers)} or {TIMM}<model> expected."
        )
    if size < SMALLEST[name]:
        raise _too_small(name, size, f"at least {SMALLEST[name]} pixels expected")
    return makers[name](channels, classes, size)


def _too_small(name: str, size: int, reason: str) -> MedlabelError:
    return MedlabelError(
        f"student.model: {name} cannot take images of {size} x {size} pixels: {reason}; choose a "
        f"larger data.size or another student.model."
    )


def _two_layer_cnn(channels: int, classes: int, size: int) -> nn.Module:
    """Make the network of the study reproduced; at 28 pixels `features` below is 500."""
    edge = ((size - 2) // 2 - 3) // 2
    features = 20 * edge**2
    return nn.Sequential(
        nn.Conv2d(channels, 10, kernel_size=3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(10, 20, kernel_size=4),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(features, 250),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(250, 50),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(50, classes),
    )


def _wide_cnn(channels: int, classes: int, size: int) -> nn.Module:
    """Make a network of 128 k parameters whose normalisation does not depend on the batch."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(),
        ]

    return nn.Sequential(
        *block(channels, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        nn.MaxPool2d(2),
        *block(64, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, classes),
    )


def _timm(name: str, channels: int, classes: int, size: int) -> nn.Module:
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(close)}?" if close else "; see timm.list_models()."
        raise MedlabelError(f"student.model: timm has no model {name!r}{hint}")
    try:
        network = _create_timm(name, channels, classes, size)
        with torch.inference_mode():
            network.eval()(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise _too_small(f"{TIMM}{name}", size, " ".join(str(error).split())) from error
    return network.train()


def _create_timm(name: str, channels: int, classes: int, size: int) -> nn.Module:
    import timm

    options: dict[str, Any] = {"pretrained": False, "in_chans": channels, "num_classes": classes}
    try:
        network: nn.Module = timm.create_model(name, **options, img_size=size)
    except TypeError as error:
        # Transformers are made for one image size; convolutional networks know no such option.
        if "img_size" not in str(error):
            raise
        network = timm.create_model(name, **options)
    return network
