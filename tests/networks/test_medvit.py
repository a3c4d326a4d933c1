"""MedViT-small: size, shapes, what its blocks do, and the names of its published weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medlabel.errors import MedlabelError
from medlabel.networks import medvit, names, registry

PUBLISHED = 32_161_440  # of the authors' code, with a layer of 1,000 classes


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build().eval()


def build(outputs: int = 2, size: int = 28) -> nn.Module:
    torch.manual_seed(0)
    return registry.build(
        names.MEDVIT, volumetric=False, channels=3, outputs=outputs, size=size, stem="auto"
    )


def images(count: int = 2, size: int = 28, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def test_it_has_the_parameters_of_the_published_network() -> None:
    assert sum(value.numel() for value in build(1000).parameters()) == PUBLISHED


def test_stages_halve_the_edge_and_widen(network: nn.Module) -> None:
    shapes = []
    for number in (2, 6, 16, 19):  # the last block of each stage
        part = network.get_submodule(f"features.{number}")
        part.register_forward_hook(lambda _part, _given, out: shapes.append(tuple(out.shape[1:])))
    with torch.inference_mode():
        assert network(images(1, 224)).shape == (1, 2)
    assert shapes == [(96, 56, 56), (256, 28, 28), (512, 14, 14), (1024, 7, 7)]


@pytest.mark.parametrize("size", [medvit.SMALLEST, 28, 65])
def test_edges_that_do_not_divide_are_taken(network: nn.Module, size: int) -> None:
    with torch.inference_mode():
        assert network(images(2, size)).isfinite().all()


def test_grey_images_are_seen_as_three_equal_channels(network: nn.Module) -> None:
    grey = images(channels=1)
    with torch.inference_mode():
        torch.testing.assert_close(network(grey), network(grey.expand(-1, 3, -1, -1)))


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(MedlabelError, match="an edge of 24: 25 or more expected"):
        build(size=24)


def test_every_weight_learns_and_paths_are_dropped_the_more_the_deeper() -> None:
    network = build()
    drops = [part.drop_prob for part in network.modules() if type(part).__name__ == "DropPath"]
    last = drops[-2] + drops[-1]  # a transformer block divides its rate between two paths
    assert drops[0] == 0
    assert last == pytest.approx(medvit.PATH_DROPOUT)
    network(images(4)).square().sum().backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None]
    assert idle == []


def test_attention_sees_means_of_consecutive_patches() -> None:
    torch.manual_seed(0)
    part = medvit.SelfAttention(64, reduction=2).eval()
    patches = torch.rand(1, 64, 4, 4)
    keys: list[Tensor] = []
    part.k.register_forward_hook(lambda _part, given, _out: keys.append(given[0]))
    assert part(patches).shape == patches.shape
    averaged = patches.flatten(2).unflatten(2, (4, 4)).mean(dim=3)
    torch.testing.assert_close(keys[0], part.norm(averaged).transpose(1, 2))


def test_feed_forward_without_weights_gives_back_what_it_got() -> None:
    part = medvit.LocalFeedForward(32, 2).eval()
    nn.init.zeros_(part.conv[-2].weight)
    patches = torch.rand(2, 32, 5, 5)
    torch.testing.assert_close(part(patches), patches)


def test_weights_have_the_published_names(network: nn.Module) -> None:
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    expected = {
        "stem.3.conv.weight": (64, 64, 3, 3),
        "features.0.patch_embed.conv.weight": (96, 64, 1, 1),
        "features.1.mhca.group_conv3x3.weight": (96, 32, 3, 3),
        "features.1.conv.conv.3.weight": (288, 1, 3, 3),
        "features.1.conv.conv.6.fc.0.weight": (3, 288),
        "features.6.e_mhsa.norm.weight": (192,),
        "features.6.projection.conv.weight": (64, 192, 1, 1),
        "features.19.e_mhsa.q.weight": (768, 768),
        "features.19.conv.conv.7.weight": (1024, 2048, 1, 1),
        "norm.weight": (1024,),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    assert "features.19.e_mhsa.norm.weight" not in shapes
