"""Converted convolutions against their direct definition, and what carries over."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from medlabel.errors import MedlabelError
from medlabel.networks import convolutions


def direct(volume: Tensor, kernel: Tensor, stride: int, padding: tuple[int, int, int]) -> Tensor:
    """Convolve (C, D, H, W) with (O, C, d, h, w) as the definition has it: sums over shifts."""
    pads = [edge for axis in reversed(padding) for edge in (axis, axis)]
    padded = nn.functional.pad(volume, pads)
    sizes = [(padded.shape[1 + i] - kernel.shape[2 + i]) // stride + 1 for i in range(3)]
    total = torch.zeros(kernel.shape[0], *sizes, dtype=volume.dtype)
    for shift in np.ndindex(*kernel.shape[2:]):
        slices = tuple(
            slice(s, s + stride * (n - 1) + 1, stride) for s, n in zip(shift, sizes, strict=True)
        )
        window = padded[(slice(None), *slices)]
        total += torch.einsum("cdhw,oc->odhw", window, kernel[(..., *shift)])
    return total


@settings(max_examples=30, deadline=None)
@given(
    edge=st.integers(2, 6),
    inputs=st.integers(1, 4),
    outputs=st.integers(3, 8),
    stride=st.integers(1, 2),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_acs_is_three_planar_convolutions(
    edge: int, inputs: int, outputs: int, stride: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    flat = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias).double()
    volume = torch.randn(inputs, edge, edge, edge, dtype=torch.float64)
    found = convolutions.PlanarConv3d(flat, 3)(volume[None])[0]
    parts = []
    groups = flat.weight.detach().split(convolutions.group_sizes(outputs, 3))
    for axis, kernels in enumerate(groups):
        padding = tuple(0 if axis == other else 1 for other in range(3))
        parts.append(direct(volume, kernels.unsqueeze(2 + axis), stride, padding))
    expected = torch.cat(parts)
    if flat.bias is not None:
        expected = expected + flat.bias.detach().view(-1, 1, 1, 1)
    torch.testing.assert_close(found.detach(), expected)


@pytest.mark.parametrize(
    ("channels", "expected"), [(64, [22, 21, 21]), (128, [43, 43, 42]), (512, [171, 171, 170])]
)
def test_groups_differ_by_at_most_one(channels: int, expected: list[int]) -> None:
    assert convolutions.group_sizes(channels, 3) == expected


def test_two_and_a_half_d_convolves_each_slice() -> None:
    flat = nn.Conv2d(2, 5, 3, padding=1)
    volume = torch.randn(1, 2, 4, 6, 6)
    found = convolutions.PlanarConv3d(flat, 1)(volume)
    slices = [flat(volume[:, :, depth]) for depth in range(4)]
    torch.testing.assert_close(found, torch.stack(slices, dim=2))


def test_inflated_kernels_give_on_constant_depth_what_the_slice_gave() -> None:
    flat = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1))
    image = torch.randn(1, 2, 6, 6)
    expected = flat(image)
    volume = image.unsqueeze(2).expand(-1, -1, 7, -1, -1)
    found = convolutions.convert(flat, "3d")(volume)
    torch.testing.assert_close(found[:, :, 3], expected)


def test_inflated_convolutions_meet_the_definition() -> None:
    flat = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)).double()
    kernels = convolutions.inflate(flat[0].weight.detach())
    volume = torch.randn(2, 5, 5, 5, dtype=torch.float64)
    found = convolutions.convert(flat, "3d").double()(volume[None])[0]
    torch.testing.assert_close(found.detach(), direct(volume, kernels, 2, (1, 1, 1)))


@pytest.mark.parametrize("edge", [1, 2, 3, 4, 7])
def test_gradients_in_bfloat16_agree_with_float32_in_narrow_volumes(edge: int) -> None:
    torch.manual_seed(0)
    layer = convolutions.PlanarConv3d(nn.Conv2d(32, 24, 3, padding=1, bias=False), 3)
    volume = torch.randn(16, 32, edge, edge, edge)
    volume = volume.contiguous(memory_format=torch.channels_last_3d)
    gradients = []
    for reduced in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            answer = layer(volume)
        answer.float().square().sum().backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad.clone())
    assert gradients[1].isfinite().all()
    assert (gradients[1] - gradients[0]).norm() < 0.02 * gradients[0].norm()


def test_layers_without_a_counterpart_are_named() -> None:
    with pytest.raises(MedlabelError, match="layer 0: InstanceNorm2d given"):
        convolutions.convert(nn.Sequential(nn.InstanceNorm2d(3)), "acs")
    with pytest.raises(MedlabelError, match="neither grouped nor dilated"):
        convolutions.convert(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)), "acs")


@settings(max_examples=25, deadline=None)
@given(
    edge=st.integers(3, 9),
    size=st.integers(1, 3),
    stride=st.integers(1, 3),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_planar_pooling_is_the_maximum_of_cubes(
    edge: int, size: int, stride: int, channels_last: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    padding = size // 2
    volume = torch.randn(2, 3, edge, edge, edge)
    if channels_last:
        volume = volume.contiguous(memory_format=torch.channels_last_3d)
    planar = convolutions.PlanarMaxPool3d(nn.MaxPool2d(size, stride, padding))
    one, other = (volume.clone().requires_grad_() for _ in range(2))
    found = planar(one)
    expected = nn.MaxPool3d(size, stride, padding)(other)
    assert torch.equal(found, expected)
    weights = torch.randn_like(expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_global_pooling_is_the_mean() -> None:
    volume = torch.randn(2, 3, 4, 5, 6)
    found = convolutions.GlobalAveragePool3d()(volume)
    torch.testing.assert_close(found, nn.AdaptiveAvgPool3d(1)(volume))


def test_a_converted_network_has_no_pooling_that_cuda_refuses() -> None:
    flat = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1))
    kinds = {type(layer) for layer in convolutions.convert(flat, "acs")}
    assert kinds == {convolutions.PlanarMaxPool3d, convolutions.GlobalAveragePool3d}
