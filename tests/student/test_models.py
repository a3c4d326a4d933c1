"""The student's networks against their specification."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medlabel.errors import MedlabelError
from medlabel.student.models import build


def parameters(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_two_layer_cnn_is_the_reproduced_network() -> None:
    layers = list(build("two_layer_cnn", channels=1, classes=2, size=28))
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in convolutions] == [(10, 1, 3, 3), (20, 10, 4, 4)]
    assert [tuple(layer.weight.shape) for layer in linears] == [(250, 500), (50, 250), (2, 50)]
    for linear in linears:
        before = layers[layers.index(linear) - 1]
        assert isinstance(before, nn.Dropout)
        assert before.p == 0.5


@pytest.mark.parametrize("name", ["two_layer_cnn", "wide_cnn"])
@pytest.mark.parametrize(("channels", "classes", "size"), [(1, 2, 12), (3, 5, 28), (1, 9, 65)])
def test_any_size_channels_and_classes(name: str, channels: int, classes: int, size: int) -> None:
    network = build(name, channels, classes, size)
    assert network(torch.zeros(3, channels, size, size)).shape == (3, classes)


def test_wide_cnn_has_about_a_hundred_thousand_parameters() -> None:
    assert 100_000 < parameters(build("wide_cnn", 1, 2, 28)) < 300_000


def test_wide_cnn_judges_an_image_alone_as_in_a_batch() -> None:
    network = build("wide_cnn", 1, 2, 28)
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(network(images)[:1], network(images[:1]))


@pytest.mark.parametrize(("name", "size"), [("two_layer_cnn", 11), ("wide_cnn", 3)])
def test_too_small_images_are_told_the_smallest(name: str, size: int) -> None:
    with pytest.raises(MedlabelError, match=rf"{name} cannot take images of {size} x {size} pix"):
        build(name, 1, 2, size)


def test_the_smallest_sizes_work() -> None:
    assert build("two_layer_cnn", 1, 2, 12)(torch.zeros(1, 1, 12, 12)).shape == (1, 2)
    assert build("wide_cnn", 1, 2, 4)(torch.zeros(1, 1, 4, 4)).shape == (1, 2)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(MedlabelError, match="'three_layer_cnn' given; two_layer_cnn, wide_cnn or"):
        build("three_layer_cnn", 1, 2, 28)


@pytest.mark.parametrize("name", ["test_resnet", "vit_tiny_patch16_224"])
def test_timm_networks_take_channels_classes_and_size(name: str) -> None:
    network = build(f"timm:{name}", channels=1, classes=3, size=28)
    assert network.training
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 3)


def test_an_unknown_timm_network_is_told_its_neighbours() -> None:
    with pytest.raises(
        MedlabelError, match=r"timm has no model 'resnet19'; did you mean .*resnet1"
    ):
        build("timm:resnet19", 1, 2, 28)


def test_a_timm_network_that_shrinks_images_to_nothing_is_refused() -> None:
    with pytest.raises(MedlabelError, match="timm:test_convnext cannot take images of 16 x 16"):
        build("timm:test_convnext", 1, 2, 16)
