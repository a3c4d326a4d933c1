"""From a 2-D network to a 3-D one that can take over its weights."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel.errors import MedlabelError

Kind = Literal["acs", "2.5d", "3d"]
PLANES = 3  # axial, coronal, sagittal: a kernel is one voxel thick along depth, height or width

# oneDNN's bfloat16 gradient of a kernel that is thin in height or width reads beyond volumes two
# voxels wide and gives NaN (torch 2.13); such volumes are small, and turning them costs little.
NARROW = 4


class PlanarConv3d(nn.Module):
    """Convolve volumes with the two-dimensional kernels of a `nn.Conv2d`.

    ACS divides the kernels among the three planes, so that a 2-D network sees all directions
    (Yang et al., Reinventing 2D Convolutions for 3D Images, IEEE JBHI 25 (2021) 3009-3018); 2.5-D
    applies all of them in the axial plane. The parameters keep the names and shapes of the 2-D
    layer, whose kernel, stride and padding are square, neither grouped nor dilated. Strides hold in
    all three dimensions; a kernel pads within its own plane alone. There are 3 planes for ACS, 1
    for 2.5-D.
    """

    def __init__(self, layer: nn.Conv2d, planes: int) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.stride, self.padding = layer.stride[0], int(layer.padding[0])
        self.groups = group_sizes(layer.out_channels, planes)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) to (n, O, D', H', W')."""
        if self.weight.shape[-1] == 1:
            return F.conv3d(volumes, self.weight.unsqueeze(-1), self.bias, self.stride)
        parts = [
            self._in_plane(volumes, kernels, axis)
            for axis, kernels in enumerate(torch.split(self.weight, self.groups))
        ]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return joined if self.bias is None else joined + self.bias.view(-1, 1, 1, 1)

    def _in_plane(self, volumes: Tensor, kernels: Tensor, axis: int) -> Tensor:
        padding = [self.padding] * 3
        padding[axis] = 0
        thin = kernels.unsqueeze(2 + axis)
        if axis and volumes.shape[-1] < NARROW:
            turned = volumes.transpose(2, 2 + axis).contiguous()
            flat = [0, self.padding, self.padding]
            found = F.conv3d(turned, thin.transpose(2, 2 + axis), stride=self.stride, padding=flat)
            return found.transpose(2, 2 + axis)
        # oneDNN convolves channels-last volumes twice as fast, if the kernels have that layout too.
        if volumes.is_contiguous(memory_format=torch.channels_last_3d):
            thin = thin.contiguous(memory_format=torch.channels_last_3d)
        return F.conv3d(volumes, thin, stride=self.stride, padding=padding)


class PlanarMaxPool3d(nn.Module):
    """The maximum of cubes, taken of squares in the plane first and along depth then.

    It equals `nn.MaxPool3d`, whose gradient on CUDA is not deterministic and therefore refused by
    `compute.prepare`; that of 2-D pooling is.
    """

    def __init__(self, layer: nn.MaxPool2d) -> None:
        super().__init__()
        self.edge, self.stride = _one(layer.kernel_size), _one(layer.stride)
        self.padding = _one(layer.padding)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) to (n, C, D', H', W')."""
        count, channels, depth = volumes.shape[:3]
        slices = volumes.transpose(1, 2).reshape(count * depth, channels, *volumes.shape[3:])
        flat = F.max_pool2d(slices, self.edge, self.stride, self.padding)
        edges = flat.shape[2:]
        columns = flat.reshape(count, depth, channels, -1).transpose(1, 2)
        deep = F.max_pool2d(columns, (self.edge, 1), (self.stride, 1), (self.padding, 0))
        return deep.reshape(count, channels, -1, *edges)


class GlobalAveragePool3d(nn.Module):
    """The mean over a volume; `nn.AdaptiveAvgPool3d` has no deterministic gradient on CUDA."""

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) to (n, C, 1, 1, 1)."""
        return volumes.mean(dim=(2, 3, 4), keepdim=True)


def _one(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]


def group_sizes(channels: int, planes: int) -> list[int]:
    """Divide output channels among planes as evenly as can be, the first ones larger."""
    each, more = divmod(channels, planes)
    return [each + (plane < more) for plane in range(planes)]


def convert(network: nn.Module, kind: Kind) -> nn.Module:
    """Turn every 2-D layer of a network into a 3-D one, in place, its weights carried over.

    ``"3d"`` repeats kernels along depth and divides them by their edge (Carreira and Zisserman, Quo
    Vadis, Action Recognition?, CVPR 2017).

    Raises
    ------
    MedlabelError
        When a layer has no counterpart in three dimensions here.
    """
    for name, layer in list(network.named_children()):
        converted = _converted(name, layer, kind)
        setattr(network, name, convert(layer, kind) if converted is None else converted)
    return network


def _converted(name: str, layer: nn.Module, kind: Kind) -> nn.Module | None:
    """Return the 3-D counterpart of a layer; None where only its children may need one."""
    if isinstance(layer, nn.Conv2d):
        return _convolution(name, layer, kind)
    if isinstance(layer, nn.BatchNorm2d):
        return _normalisation(layer)
    if isinstance(layer, nn.MaxPool2d):
        return PlanarMaxPool3d(layer)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return GlobalAveragePool3d()
    if type(layer).__name__.endswith("2d"):
        raise MedlabelError(
            f"layer {name}: {type(layer).__name__} given; convolutions, batch normalisation, "
            f"maximum and global average pooling can be made three-dimensional."
        )
    return None


def _convolution(name: str, layer: nn.Conv2d, kind: Kind) -> nn.Module:
    square = all(len(set(map(str, each))) == 1 for each in (layer.kernel_size, layer.stride))
    plain = layer.groups == 1 and set(layer.dilation) == {1} and not isinstance(layer.padding, str)
    if not (square and plain and len(set(layer.padding)) == 1):
        raise MedlabelError(
            f"layer {name}: {layer} given; a square convolution, neither grouped nor dilated, "
            f"expected to make it three-dimensional."
        )
    if kind != "3d":
        return PlanarConv3d(layer, PLANES if kind == "acs" else 1)
    options: dict[str, Any] = {
        "kernel_size": layer.kernel_size[0],
        "stride": layer.stride[0],
        "padding": int(layer.padding[0]),
        "bias": layer.bias is not None,
    }
    inflated = nn.Conv3d(layer.in_channels, layer.out_channels, **options)
    with torch.no_grad():
        inflated.weight.copy_(inflate(layer.weight))
        if layer.bias is not None and inflated.bias is not None:
            inflated.bias.copy_(layer.bias)
    return inflated


def inflate(kernels: Tensor) -> Tensor:
    """Repeat kernels (O, C, k, k) k times along depth, divided by k: (O, C, k, k, k).

    A volume that is constant along depth then gives what its slice gave.
    """
    edge = kernels.shape[-1]
    return kernels.unsqueeze(2).repeat(1, 1, edge, 1, 1) / edge


def _normalisation(layer: nn.BatchNorm2d) -> nn.BatchNorm3d:
    norm = nn.BatchNorm3d(layer.num_features, eps=layer.eps, momentum=layer.momentum)
    norm.load_state_dict(layer.state_dict())
    return norm
