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


class Scales(nn.Module):
    """A trunk that sees each image at several scales.

    Parameters
    ----------
    trunk
        Maps (n, 3, edge, edge) to (n, features).
    edges
        In pixels, the largest first; it is a multiple of the others.
    """

    def __init__(self, trunk: nn.Module, edges: Sequence[int]) -> None:
        super().__init__()
        self.trunk = trunk
        self.edges = tuple(edges)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of each scale, each of length 1, side by side.

        Parameters
        ----------
        images
            float32 (n, 3, edge, edge) of the largest edge.
        """
        largest = self.edges[0]
        scales = [
            images if edge == largest else functional.avg_pool2d(images, largest // edge)
            for edge in self.edges
        ]
        return torch.cat([functional.normalize(self.trunk(one), dim=-1) for one in scales], dim=-1)
