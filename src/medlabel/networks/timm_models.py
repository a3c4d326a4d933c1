"""Any of timm's 2-D models."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import nn

from medlabel.errors import MedlabelError
from medlabel.networks.classifier import cannot_take
from medlabel.networks.names import TIMM
from medlabel.params import Network


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make a model by its name in timm; as `registry.build`."""
    import timm

    name = str(network).removeprefix(TIMM)
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(close)}?" if close else "; see timm.list_models()."
        raise MedlabelError(f"studies: network: timm has no model {name!r}{hint}")
    try:
        made = _created(name, channels, outputs, size)
        patch = getattr(getattr(made, "patch_embed", None), "patch_size", (1, 1))[0]
        if size % patch:
            # timm would leave out what is beyond the last whole patch.
            raise ValueError(f"a multiple of {patch} expected")
        with torch.inference_mode():
            made.eval()(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise cannot_take(str(network), size, " ".join(str(error).split())) from error
    return made.train()


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
