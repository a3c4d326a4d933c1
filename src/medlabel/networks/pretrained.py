"""EfficientNet-Lite0 as a network to train, of images and of the surfaces that volumes show."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel.networks.classifier import Classifier, cannot_take
from medlabel.networks.names import SURFACE
from medlabel.params import Network, Tower
from medlabel.teacher import towers, trunks

MODEL = "efficientnet_lite0"
WIDTH = 1280
DROPOUT = 0.2  # as EfficientNet-B0 and Lite0 were trained (Tan & Le 2019)
IMAGE_EDGE = 112  # pixels: smaller images are enlarged
VIEW_EDGE = 64  # pixels and voxels: smaller volumes are enlarged
SMALLEST = 8  # voxels that still have a surface after smoothing
LEVEL = 0.35  # of the smoothed volume, from 0 to 1: below a half, since thin vessels fade
FLAT_GRADIENT = 1e-6
SIDES = 6  # both ends of depth, of height and of width
LEARNT_VIEWS = 3  # drawn anew for each batch; all six are judged


class Flat(nn.Module):
    """The tower behind a bicubic enlargement, and one linear layer."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.tower = _tower()
        self.dropout = nn.Dropout(DROPOUT)
        self.fc = Classifier(WIDTH, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 1 or 3, H, W) from -1 to 1 to logits (n, outputs)."""
        if images.shape[-1] < IMAGE_EDGE:
            edges = (IMAGE_EDGE, IMAGE_EDGE)
            images = F.interpolate(images, edges, mode="bicubic", align_corners=False)
        logits: Tensor = self.fc(self.dropout(self.tower(_standardised((images + 1) / 2))))
        return logits


class Surface(nn.Module):
    """The tower on pictures of a volume's surface from six sides, its features averaged.

    Views that share a network whose features are pooled: Su et al., Multi-view convolutional neural
    networks for 3D shape recognition, ICCV 2015. A network in training sees half of the views,
    which torch's global generator draws.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.tower = _tower()
        self.dropout = nn.Dropout(DROPOUT)
        self.fc = Classifier(WIDTH, outputs)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) from 0 to 1, of equal channels, to logits (n, outputs)."""
        sides = torch.randperm(SIDES)[:LEARNT_VIEWS].tolist() if self.training else range(SIDES)
        with torch.no_grad(), torch.autocast(volumes.device.type, enabled=False):
            views = surfaces(volumes[:, 0].float(), sides)
        features = self.tower(_standardised(views.flatten(0, 1)))
        pooled = features.float().unflatten(0, views.shape[:2]).mean(dim=1)
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits


def surfaces(volumes: Tensor, sides: Iterable[int] = range(SIDES)) -> Tensor:
    """Draw what is seen first of a volume from its sides, coloured by the direction of its surface.

    A volume is enlarged to 64 voxels where it is smaller, and smoothed. Along each axis, from both
    ends, the first voxel above `LEVEL` is taken; its gradient, of length 1, points into the object,
    and its components along the picture's rows, its columns and the line of sight become red, green
    and blue, from 0 to 1. Where nothing is hit, the picture is black.

    Parameters
    ----------
    volumes
        float32 (n, D, H, W), from 0 to 1, of equal edges.
    sides
        Which, from 0 to 5: the first and the far end of depth, of height and of width.

    Returns
    -------
    Tensor
        float32 (n, sides, 3, edge, edge).
    """
    smooth = volumes
    for axis in (1, 2, 3):
        smooth = torch.tensordot(
            smooth, _smoothing(volumes.shape[axis], volumes.device), dims=([1], [0])
        )
    slopes = torch.stack(torch.gradient(smooth, dim=(1, 2, 3)), dim=1)
    inside = (smooth > LEVEL).to(torch.uint8)
    return torch.stack([_seen(inside, slopes, *divmod(side, 2)) for side in sides], dim=1)


def _smoothing(edge: int, device: torch.device) -> Tensor:
    """Return what enlarges and smooths along one axis, as a matrix (edge, larger edge).

    Linear interpolation, then twice the mean of three neighbours; all of it is separable, and a
    product of matrices takes a tenth of the time of pooling volumes.
    """
    unit = torch.eye(edge, device=device).unsqueeze(1)
    larger = F.interpolate(unit, max(VIEW_EDGE, edge), mode="linear", align_corners=False)
    return F.avg_pool1d(F.avg_pool1d(larger, 3, 1, 1), 3, 1, 1)[:, 0]


def _seen(inside: Tensor, slopes: Tensor, axis: int, far: int) -> Tensor:
    """Draw one view, (n, 3, rows, columns), along an axis from its first or its far end."""
    along = inside.flip(1 + axis) if far else inside
    hit, first = along.max(dim=1 + axis)
    depth = along.shape[1 + axis] - 1 - first if far else first
    index = depth.unsqueeze(1 + axis).unsqueeze(1).expand(-1, 3, -1, -1, -1)
    found = slopes.gather(2 + axis, index).squeeze(2 + axis)
    sight = -found[:, axis] if far else found[:, axis]
    across = [found[:, other] for other in range(3) if other != axis]
    normals = torch.stack([*across, sight], dim=1)
    normals = normals / normals.norm(dim=1, keepdim=True).clamp_min(FLAT_GRADIENT)
    seen: Tensor = (normals + 1) / 2 * hit.unsqueeze(1)
    return seen


def _standardised(unit: Tensor) -> Tensor:
    """Give images, 0 to 1, the intensities and three channels that the tower learnt from."""
    scaled = (unit - towers.PACKAGE_MEAN) / towers.PACKAGE_STD
    return scaled.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _tower() -> nn.Module:
    made: nn.Module = trunks.timm_network(towers.PACKAGES[MODEL].architecture, None)
    return made


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make ``efficientnet_lite0`` or ``efficientnet_lite0_surface``; as `registry.build`."""
    if network != SURFACE:
        return Flat(outputs)
    if size < SMALLEST:
        raise cannot_take(str(network), size, f"{SMALLEST} or more expected")
    return Surface(outputs)


def packaged(network: str) -> dict[str, Tensor]:
    """Return the tower's weights of ImageNet-1k, which a package holds, by the network's names.

    Raises
    ------
    MedlabelError
        When the package is missing or was altered.
    """
    settings = Tower(source="package", model=MODEL, weights=None)
    trunk = towers.load(settings, IMAGE_EDGE, 0).trunk
    return {f"tower.{name}": value for name, value in trunk.state_dict().items()}
