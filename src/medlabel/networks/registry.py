"""One registry of all networks: by parameters, or by name."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from medlabel.errors import MedlabelError
from medlabel.networks.names import misfit, module_of
from medlabel.params import Network


def build(
    network: Network | str, *, volumetric: bool, channels: int, outputs: int, size: int, stem: str
) -> nn.Module:
    """Make a network with random initial weights.

    Torch's global generator draws the weights, so `torch.manual_seed` beforehand fixes them.
    Modules are looked up by name, so that a change of one network's code is no change of others'.

    Parameters
    ----------
    network
        Parameters of a small one; or one of `names.FLAT` or `names.VOLUMETRIC`, or
        ``"timm:<any of timm's models>"``.
    volumetric
        Whether the images are volumes.
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
        When there is no such network, it does not fit the images' dimension, or it cannot take
        images of this size.
    """
    if isinstance(network, str) and (reason := misfit(network, volumetric)):
        raise MedlabelError(f"studies: {reason}.")
    module: Any = importlib.import_module(
        f"medlabel.{module_of(network) if isinstance(network, str) else 'networks.small'}"
    )
    built: nn.Module = module.build(network, channels, outputs, size, stem)
    return built


def packaged(name: str) -> dict[str, Tensor]:
    """Return the first weights that a package holds for one of `names.PACKAGED`.

    Raises
    ------
    MedlabelError
        When the package is missing or was altered.
    """
    module: Any = importlib.import_module(f"medlabel.{module_of(name)}")
    found: dict[str, Tensor] = module.packaged(name)
    return found
