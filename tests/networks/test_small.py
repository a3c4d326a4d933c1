"""Small networks against their specification."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medlabel.errors import MedlabelError
from medlabel.networks import registry
from medlabel.params import Network, Params

CAPSTONE = Network(kind="cnn", channels=[10, 20], kernels=[3, 4], hidden=[250, 50], dropout=0.5)


def build(
    network: Network | str, channels: int = 1, outputs: int = 2, size: int = 28
) -> nn.Sequential:
    made = registry.build(
        network, volumetric=False, channels=channels, outputs=outputs, size=size, stem="auto"
    )
    assert isinstance(made, nn.Sequential)
    return made


def parameters(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def shapes(network: nn.Sequential, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    return [tuple(layer.get_parameter("weight").shape) for layer in network if type(layer) is kind]


def test_the_capstone_network_is_the_reproduced_one(default_params: Params) -> None:
    assert default_params.networks["capstone"] == CAPSTONE
    layers = build(CAPSTONE)
    assert shapes(layers, nn.Conv2d) == [(10, 1, 3, 3), (20, 10, 4, 4)]
    assert shapes(layers, nn.Linear) == [(250, 500), (50, 250), (2, 50)]
    order = list(layers)
    for linear in (layer for layer in order if isinstance(layer, nn.Linear)):
        before = order[order.index(linear) - 1]
        assert isinstance(before, nn.Dropout)
        assert before.p == 0.5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["capstone", "deeper", "wider", "small_kernels", "no_dropout"])
def test_every_committed_network_takes_images_of_28_pixels(
    default_params: Params, name: str, channels: int
) -> None:
    network = build(default_params.networks[name], channels, 3)
    assert network(torch.rand(2, channels, 28, 28)).shape == (2, 3)


def test_all_committed_networks_are_tested(default_params: Params) -> None:
    tested = {"capstone", "deeper", "wider", "small_kernels", "no_dropout"}
    assert set(default_params.networks) == tested


def test_parameters_reach_the_layers(default_params: Params) -> None:
    networks = {name: build(one) for name, one in default_params.networks.items()}
    assert len(shapes(networks["deeper"], nn.Conv2d)) == 3
    assert [shape[0] for shape in shapes(networks["wider"], nn.Conv2d)] == [32, 64]
    assert {shape[2] for shape in shapes(networks["small_kernels"], nn.Conv2d)} == {2}
    assert {one.p for one in networks["no_dropout"] if isinstance(one, nn.Dropout)} == {0.0}


def test_a_network_may_have_no_hidden_layer() -> None:
    plain = CAPSTONE.model_copy(update={"hidden": []})
    assert shapes(build(plain), nn.Linear) == [(2, 500)]


@pytest.mark.parametrize("network", [CAPSTONE, "wide_cnn"])
@pytest.mark.parametrize(("channels", "outputs", "size"), [(1, 2, 12), (3, 5, 28), (1, 9, 65)])
def test_any_size_channels_and_outputs(
    network: Network | str, channels: int, outputs: int, size: int
) -> None:
    made = build(network, channels, outputs, size)
    assert made(torch.zeros(3, channels, size, size)).shape == (3, outputs)


def test_the_wide_network_has_about_a_hundred_thousand_parameters() -> None:
    assert 100_000 < parameters(build("wide_cnn")) < 300_000


def test_the_wide_network_judges_an_image_alone_as_in_a_batch() -> None:
    network = build("wide_cnn")
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(network(images)[:1], network(images[:1]))


@pytest.mark.parametrize(
    ("network", "name", "size"), [(CAPSTONE, "cnn", 11), ("wide_cnn",) * 2 + (3,)]
)
def test_too_small_images_are_refused(network: Network | str, name: str, size: int) -> None:
    with pytest.raises(MedlabelError, match=rf"{name}: cannot take images with an edge of {size}:"):
        build(network, size=size)


def test_the_smallest_sizes_work() -> None:
    assert build(CAPSTONE, size=12)(torch.zeros(1, 1, 12, 12)).shape == (1, 2)
    assert build("wide_cnn", size=4)(torch.zeros(1, 1, 4, 4)).shape == (1, 2)


def test_the_seed_fixes_the_weights() -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(build(CAPSTONE)[0].get_parameter("weight"))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
