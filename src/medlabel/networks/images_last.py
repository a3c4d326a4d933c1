"""Small networks on a CPU: images side by side in memory, gradients written out.

A step of a small network takes milliseconds, and torch's layers waste most of them: their kernels
run along channels, of which there are ten; dropout draws its numbers one at a time; and autograd
keeps books on a hundred small operations. Here images come last in memory, so that everything runs
over long stretches whatever the number of channels; convolution and pooling are one product of
kernels with patches; dropout compares random bits; and each layer says itself how gradients go
back. The network stays made of torch's layers and gives what these give, up to rounding and to
other random numbers of dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGES = 64  # of a batch to be judged at once: what they need stays in the cache
ONEDNN_FROM = 1 << 20  # multiplications: for fewer, its 10 us a call outweigh its speed
LEVELS = 1 << 16  # of the random numbers that dropout compares with its rate

# From the gradient of a layer's result to that of its input (None if not wanted), and of its
# weight and bias.
Back = Callable[[Tensor, bool], tuple[Tensor | None, Tensor, Tensor]]

_threshold_backward = torch.ops.aten.threshold_backward


class ImagesLast(nn.Sequential):
    """As `nn.Sequential`, and faster on a CPU in float32.

    Takes blocks of `nn.Conv2d` (square, stride 1, no padding), `nn.MaxPool2d(2)` and `nn.ReLU`;
    `nn.Flatten`; then `nn.Dropout`, of the same rate everywhere, before each `nn.Linear`, and
    `nn.ReLU` behind all of these but the last.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, C, H, W) to logits (n, outputs)."""
        if images.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return nn.Sequential.forward(self, images)  # type: ignore[no-untyped-call, no-any-return]
        apply: Callable[..., Tensor] = _Network.apply
        parts = torch.split(images, len(images) if self.training else IMAGES)
        return torch.cat([apply(self, part, *self.parameters()) for part in parts])


class _Network(torch.autograd.Function):
    """All layers as one step of autograd."""

    @staticmethod
    def forward(ctx: Any, network: ImagesLast, images: Tensor, *parameters: Tensor) -> Tensor:
        blocks = [layer for layer in network if isinstance(layer, nn.Conv2d)]
        linears = [layer for layer in network if isinstance(layer, nn.Linear)]
        (rate,) = {layer.p for layer in network if isinstance(layer, nn.Dropout)}
        sizes = [layer.in_features for layer in linears]
        ctx.backs, ctx.blocks = [], len(blocks)
        values = images.permute(1, 2, 3, 0).contiguous()
        for block in blocks:
            values, back = _block(block, values)
            ctx.backs.append(back)
        ctx.shape = values.shape
        values = values.view(-1, len(images)).t().contiguous()
        drawn = masks(rate if network.training else 0.0, len(images), sizes)
        for layer, mask in zip(linears, drawn, strict=True):
            values, back = _linear(layer, values, mask, rectified=layer is not linears[-1])
            ctx.backs.append(back)
        return values

    @staticmethod
    def backward(ctx: Any, slope: Any) -> Any:
        found: list[Tensor] = []
        while ctx.backs:
            # Taken off, so that what a layer kept is free, and still in the cache, for the next.
            back = ctx.backs.pop()
            slope, *own = back(slope, bool(ctx.backs))
            found = own + found
            if len(ctx.backs) == ctx.blocks:
                slope = slope.t().contiguous().view(ctx.shape)
        return None, None, *found


def masks(rate: float, count: int, sizes: Sequence[int]) -> Sequence[Tensor | None]:
    """Draw what dropout multiplies by: 0, or a factor that keeps the mean.

    Parameters
    ----------
    rate
        Probability of 0, rounded to 1 / 65536.
    count
        Images.
    sizes
        Values of an image, of each layer.

    Returns
    -------
    sequence of (Tensor or None)
        float32 of shape (count, size) for each layer, from the random bits of torch's global
        generator; None at rate 0.
    """
    if not rate:
        return [None] * len(sizes)
    ends = [count * size for size in sizes]
    bits = torch.empty(-(-sum(ends) // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = round((1 - rate) * LEVELS)
    drawn = bits.view(torch.int16)[: sum(ends)] < kept - LEVELS // 2
    factors = drawn.to(torch.float32).mul_(LEVELS / max(kept, 1))
    return [part.view(count, -1) for part in torch.split(factors, ends)]


def _linear(
    layer: nn.Linear, values: Tensor, mask: Tensor | None, *, rectified: bool
) -> tuple[Tensor, Back]:
    """Drop, map (n, inputs) to (n, outputs), and cut off below zero if asked."""
    dropped = values if mask is None else values * mask
    found = _product(dropped, layer.weight, layer.bias)
    if rectified:
        found.relu_()

    def back(slope: Tensor, wanted: bool) -> tuple[Tensor | None, Tensor, Tensor]:
        if rectified:
            slope = _threshold_backward(slope, found, 0)
        passed = _product(slope, layer.weight.t())
        if mask is not None:
            passed.mul_(mask)
        return passed, _product(slope.t(), dropped.t()), slope.sum(0)

    return found, back


def _block(layer: nn.Conv2d, images: Tensor) -> tuple[Tensor, Back]:
    """Convolve, pool and cut off below zero: (C, H, W, n) to (O, H', W', n).

    The four values of which pooling takes the largest see (k + 1)^2 pixels together. The product of
    such patches with the kernels in their four positions gives four blocks of rows, and pooling is
    a maximum of blocks: a few more multiplications, on a fraction of the patches.
    """
    edge = layer.kernel_size[0] + 1
    patches = _patches(images, edge)
    size, shape = images.shape, patches.shape
    flat = patches.view(edge * edge * size[0], -1)
    spread = images.new_zeros(2, 2, layer.out_channels, edge, edge, size[0])
    _positions(spread).copy_(layer.weight.permute(0, 2, 3, 1))
    kernels = spread.view(-1, len(flat))
    four = _product(kernels, flat.t()).view(2, 2, layer.out_channels, -1)
    two = torch.maximum(four[:, 0], four[:, 1])
    one = torch.maximum(two[0], two[1])
    if layer.bias is not None:
        one.add_(layer.bias[:, None])
    one.relu_()

    def back(slope: Tensor, wanted: bool) -> tuple[Tensor | None, Tensor, Tensor]:
        slope = _threshold_backward(slope.reshape(one.shape), one, 0)
        of_bias = slope.sum(1)
        _to_the_largest(slope, two)
        _to_the_largest(two, four.transpose(0, 1))
        slopes = four.view(len(kernels), -1)
        of_kernels = _positions(_product(slopes, flat).view(spread.shape)).sum((0, 1))
        passed = _product(kernels.t(), slopes.t()).view(shape) if wanted else None
        of_images = None if passed is None else _joined(passed, size)
        return of_images, of_kernels.permute(0, 3, 1, 2), of_bias

    return one.view(layer.out_channels, *shape[3:]), back


def _patches(images: Tensor, edge: int) -> Tensor:
    """Cut images (C, H, W, n) into patches two pixels apart: (edge, edge, C, H', W', n)."""
    return images.unfold(1, edge, 2).unfold(2, edge, 2).permute(4, 5, 0, 1, 2, 3).contiguous()


def _joined(patches: Tensor, size: torch.Size) -> Tensor:
    """Add patches up where they overlap in images (C, H, W, n): the gradient of `_patches`."""
    edge, _, channels, high, wide, count = patches.shape
    columns = patches.new_zeros(edge, channels, size[1], wide, count)
    for row in range(edge):
        columns[:, :, row : row + 2 * high - 1 : 2].add_(patches[row])
    images = patches.new_zeros(size)
    for column in range(edge):
        images[:, :, column : column + 2 * wide - 1 : 2].add_(columns[column])
    return images


def _positions(spread: Tensor) -> Tensor:
    """Show the kernels (2, 2, O, k, k, C) in their positions in (2, 2, O, k + 1, k + 1, C)."""
    row, column, output, y, x, channel = spread.stride()
    kernel, channels = spread.shape[4:]
    shape = (*spread.shape[:3], kernel - 1, kernel - 1, channels)
    return spread.as_strided(shape, (row + y, column + x, output, y, x, channel))


def _to_the_largest(slope: Tensor, values: Tensor) -> None:
    """Overwrite two values with the gradient of their maximum; of equals the first one gets it."""
    first, second = values[0], values[1]
    second.sub_(first)
    _threshold_backward.grad_input(slope, second, 0, grad_input=second)
    torch.sub(slope, second, out=first)


def _product(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply as `F.linear` does, by oneDNN where that is faster.

    torch calls MKL, which leaves AVX-512 unused on AMD's processors; oneDNN is twice as fast there.
    The operation is not in torch's documentation; its compiler emits it for CPUs with oneDNN.
    """
    if not _HAS_ONEDNN or values.numel() * len(weight) < ONEDNN_FROM:
        return F.linear(values, weight, bias)
    found: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")
    return found


_HAS_ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
