"""Networks by name: shapes, dimensions, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medlabel.errors import MedlabelError
from medlabel.networks import names, registry


def build(
    name: str, size: int = 14, volumetric: bool = True, stem: str = "halved", channels: int = 3
) -> nn.Module:
    torch.manual_seed(0)
    return registry.build(
        name, volumetric=volumetric, channels=channels, outputs=4, size=size, stem=stem
    ).eval()


@pytest.mark.parametrize("name", ["resnet18_acs", "resnet18_2.5d", "resnet18_3d", "vit3d"])
def test_volumes_become_logits(name: str) -> None:
    assert build(name)(torch.rand(2, 3, 14, 14, 14)).shape == (2, 4)


def test_the_published_stem_pools_volumes() -> None:
    assert build("resnet18_acs", 28, stem="imagenet")(torch.rand(2, 3, 28, 28, 28)).shape == (2, 4)


def test_the_joint_network_concatenates_both_branches() -> None:
    network = build(names.JOINT)
    assert network(torch.rand(2, 3, 14, 14, 14)).shape == (2, 4)
    assert network.get_parameter("fc.weight").shape == (4, 512 + 256)


@pytest.mark.parametrize("name", ["resnet18", "vit2d", "timm:resnet10t"])
def test_images_become_logits(name: str) -> None:
    assert build(name, 28, volumetric=False)(torch.rand(2, 3, 28, 28)).shape == (2, 4)


def test_vit3d_attends_within_one_volume() -> None:
    network = build("vit3d")
    volumes = torch.rand(3, 3, 14, 14, 14)
    alone = torch.cat([network(volume[None]) for volume in volumes])
    torch.testing.assert_close(network(volumes), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "vit_tiny_patch16_224"])
def test_timm_networks_take_channels_outputs_and_size(name: str) -> None:
    size = 28 if name == "test_resnet" else 32
    network = registry.build(
        f"timm:{name}", volumetric=False, channels=1, outputs=3, size=size, stem="auto"
    )
    assert network.training
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "volumetric", "message"),
    [
        ("resnet18", True, "'resnet18' does not fit volumes, resnet18_acs"),
        ("vit3d", False, "'vit3d' does not fit images, wide_cnn"),
        ("resnet19", False, "'resnet19' is not known"),
        ("timm:resnet10t", True, "'timm:resnet10t' does not fit volumes"),
        ("timm:resnet10x", False, "timm has no model 'resnet10x'; did you mean resnet10t"),
        ("vit_base_patch16_224", False, "an edge of 28: a multiple of 16 expected"),
    ],
)
def test_networks_that_do_not_fit_are_refused(name: str, volumetric: bool, message: str) -> None:
    with pytest.raises(MedlabelError, match=message) as told:
        build(name, 28, volumetric)
    assert "\n" not in str(told.value)


def test_vit3d_names_the_sizes_that_it_can_take() -> None:
    with pytest.raises(MedlabelError, match="an edge of 64: a multiple of 7 expected"):
        build("vit3d", 64)


def test_a_timm_network_that_shrinks_images_to_nothing_is_refused() -> None:
    with pytest.raises(MedlabelError, match="timm:test_convnext: cannot take images with an edge"):
        build("timm:test_convnext", 16, volumetric=False)
