"""Networks of pretrained image towers, without their weights, and what they see of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from medlabel.errors import MedlabelError


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """Build the network of a tower, whose weights are loaded afterwards.

    Parameters
    ----------
    architecture
        ``source`` (``"timm"`` or ``"open_clip"``) with timm's ``model`` and the ``edge`` in pixels
        for those that need it, or with open_clip's ``model_cfg``.
    """
    if architecture["source"] == "timm":
        network: nn.Module = timm_network(architecture["model"], architecture["edge"])
        return network
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    import medlabel.teacher.five_blocks  # noqa: F401  # an image tower that folders may name

    model_cfg = architecture["model_cfg"]
    visual: nn.Module = _build_vision_tower(
        model_cfg["embed_dim"],
        CLIPVisionCfg(**model_cfg["vision_cfg"]),
        bool(model_cfg.get("quick_gelu", False)),
    )
    return visual


def timm_network(name: str, edge: int | None, classes: int = 0, **options: Any) -> Any:
    """Build one of timm's networks; transformers learn at which edge they will see images.

    Raises
    ------
    MedlabelError
        When timm has no such network.
    """
    import timm

    if not timm.is_model(name.split(".")[0]):
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:4]) or "none"
        raise MedlabelError(f"tower.model: timm has no {name!r}; names like it: {near}.")
    if edge is not None and "vit" in name:
        options["img_size"] = edge
    return timm.create_model(name, num_classes=classes, **options)


def length(trunk: nn.Module, edge: int) -> int:
    """Return the number of features that a trunk gives of an image."""
    with torch.inference_mode():
        return int(trunk(torch.zeros(1, 3, edge, edge)).shape[1])


class Scales(nn.Module):
    """A trunk that sees each image at several scales.

    Parameters
    ----------
    trunk
        Maps (n, 3, edge, edge) to (n, features).
    edges
        In pixels, the largest first; it is a multiple of the others.
    middle
        Name of a module of the trunk, whose output is averaged over the image: (n, channels, rows,
        columns), or (n, tokens, channels). None: the trunk's own features alone.

    Raises
    ------
    MedlabelError
        When the trunk has no such module.
    """

    def __init__(self, trunk: nn.Module, edges: Sequence[int], middle: str | None = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.edges = tuple(edges)
        self.middle = middle
        if middle is not None:
            _part(trunk, middle).register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _given: Any, output: torch.Tensor) -> None:
        self.kept = output

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of each scale side by side, then those of the middle of each.

        Those of a scale, and of its middle, have length 1 each.

        Parameters
        ----------
        images
            float32 (n, 3, edge, edge) of the largest edge.
        """
        last, middle = [], []
        for edge in self.edges:
            factor = self.edges[0] // edge
            seen = images if factor == 1 else functional.avg_pool2d(images, factor)
            last.append(functional.normalize(self.trunk(seen), dim=-1))
            if self.middle is not None:
                averaged = self.kept.mean(dim=(2, 3) if self.kept.ndim == 4 else 1)
                middle.append(functional.normalize(averaged, dim=-1))
        return torch.cat([*last, *middle], dim=-1)


def _part(trunk: nn.Module, name: str) -> nn.Module:
    try:
        return trunk.get_submodule(name)
    except AttributeError as error:
        parts = ", ".join(one for one, _ in trunk.named_modules() if 0 < len(one) < 12)
        raise MedlabelError(
            f"middle: {name!r} given, which the tower does not have; it has {parts}."
        ) from error
