"""First weights from another network, two-dimensional ones carried over to three."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.networks.convolutions import inflate

POSITIONS = "pos_embed"
CLASSIFIERS = ("fc.", "head.", "classifier.")
SHOWN = 3  # layers that a message names before it counts


def read(path: Path) -> dict[str, Tensor]:
    """Read .safetensors, or the state_dict of a .pt or .pth, without running code in the file.

    Raises
    ------
    MedlabelError
        When the file is missing, damaged, or holds anything but named tensors.
    """
    files.require(path, "train")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MedlabelError(
            f"{path}: expected weights (.safetensors, or a .pt that holds tensors alone), found "
            f"something else ({reason})."
        ) from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(tensors, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise MedlabelError(f"{path}: expected a state_dict of tensors, found something else.")
    return tensors


def of_seed(paths: Sequence[Path], seed: int, name: str) -> dict[str, Tensor]:
    """Return the weights of one seed from the files of a training's blocks.

    Raises
    ------
    MedlabelError
        When none of them holds that seed.
    """
    prefix = f"{seed}/"
    for path in paths:
        found = {
            key.removeprefix(prefix): value
            for key, value in read(path).items()
            if key.startswith(prefix)
        }
        if found:
            return found
    raise MedlabelError(
        f"{name}: expected weights of seed {seed} in {', '.join(map(str, paths)) or 'no file'}, "
        f"found none; set keep_weights: null in that training's recipe."
    )


def published(name: str) -> dict[str, Tensor]:
    """Return timm's published weights of a model.

    Raises
    ------
    MedlabelError
        When there are none, or they cannot be downloaded.
    """
    import timm

    try:
        network: nn.Module = timm.create_model(name.removeprefix("timm:"), pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise MedlabelError(
            f"{name}: its published weights could not be had ({' '.join(str(error).split())}); "
            f"give a local file instead: start: {{source: file, path: …}} in the recipe."
        ) from error
    return network.state_dict()


def load(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    require_classifier: bool = False,
) -> str:
    """Put weights of another network into this one.

    Two-dimensional kernels are inflated into 3-D ones, position embeddings of a plane are repeated
    along depth, and a classifier of another shape keeps its random weights. Weights of one branch
    of a joint network go into that branch; all else keeps its random ones.

    Parameters
    ----------
    network
        Takes the weights.
    tensors
        By the names of its state_dict.
    source
        Names the weights in messages.
    require_classifier
        Refuse to leave a classifier random: for a network that is to answer, not to learn.

    Returns
    -------
    str
        What was loaded, what was carried over and what starts anew.

    Raises
    ------
    MedlabelError
        Naming the layers that are missing, not known or of another shape.
    """
    branch, receiver = _receiver(network, tensors)
    wanted = receiver.state_dict()
    fitted = {
        name: _fitted(name, tensors[name], value)
        for name, value in wanted.items()
        if name in tensors
    }
    anew = [name for name in wanted if name.startswith(CLASSIFIERS) and fitted.get(name) is None]
    wrong = [
        f"{name} {_shape(tensors.get(name))} for {_shape(value)}"
        for name, value in wanted.items()
        if fitted.get(name) is None and name not in anew
    ]
    wrong += [
        f"{name} {_shape(value)} for none"
        for name, value in tensors.items()
        if name not in wanted and not name.startswith(CLASSIFIERS)
    ]
    if require_classifier and anew:
        wrong += [f"{name} {_shape(tensors.get(name))} for {_shape(wanted[name])}" for name in anew]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise MedlabelError(
            f"{source}: weights do not fit the network: {'; '.join(wrong[:SHOWN])}{more}; take "
            f"weights of the same architecture."
        )
    taken = {name: value for name, value in fitted.items() if value is not None}
    receiver.load_state_dict({**wanted, **taken})
    carried = sum(taken[name].shape != tensors[name].shape for name in taken)
    where = f" into branch {branch}" if branch else ""
    return f"{source}: {len(taken)} tensors{where}, {carried} carried over to 3-D, {len(anew)} anew"


def _receiver(network: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[str, nn.Module]:
    """Return the network, or that branch of it whose parameters the tensors name."""
    own = {name for name in network.state_dict() if not name.startswith(CLASSIFIERS)}
    if own.isdisjoint(tensors):
        for name, branch in network.named_children():
            if branch.state_dict() and branch.state_dict().keys() <= tensors.keys():
                return name, branch
    return "", network


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "×".join(map(str, tensor.shape)) or "scalar"


def _fitted(name: str, given: Tensor, wanted: Tensor) -> Tensor | None:
    """Return a tensor in the wanted shape, or None where it cannot be had."""
    if given.shape == wanted.shape:
        return given
    if given.ndim == 4 and wanted.ndim == 5:
        inflated = inflate(given)
        return inflated if inflated.shape == wanted.shape else None
    if name == POSITIONS and given.ndim == 3 and given.shape[-1] == wanted.shape[-1]:
        return _deepened(given, wanted)
    return None


def _deepened(given: Tensor, wanted: Tensor) -> Tensor | None:
    """Repeat a plane's position embeddings along depth, resized where the grids differ."""
    edge, depth = round((given.shape[1] - 1) ** 0.5), round((wanted.shape[1] - 1) ** (1 / 3))
    if edge**2 != given.shape[1] - 1 or depth**3 != wanted.shape[1] - 1:
        return None
    plane = given[:, 1:].reshape(1, edge, edge, -1).permute(0, 3, 1, 2)
    if edge != depth:
        plane = F.interpolate(plane, (depth, depth), mode="bicubic", align_corners=False)
    tokens = plane.flatten(2).transpose(1, 2).repeat(1, depth, 1)
    return torch.cat([given[:, :1], tokens], dim=1)
