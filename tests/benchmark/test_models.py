"""Networks by name: shapes, dimensions, refusals; weights that carry over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medlabel.benchmark import models, names, weights
from medlabel.errors import MedlabelError


def build(name: str, size: int = 14, volumetric: bool = True) -> torch.nn.Module:
    torch.manual_seed(0)
    stem = "halved"
    return models.build(
        name, volumetric=volumetric, channels=3, outputs=4, size=size, stem=stem
    ).eval()


@pytest.mark.parametrize("name", ["resnet18_acs", "resnet18_2.5d", "resnet18_3d", "vit3d"])
def test_volumes_become_logits(name: str) -> None:
    assert build(name)(torch.rand(2, 3, 14, 14, 14)).shape == (2, 4)


def test_the_joint_model_concatenates_both_branches() -> None:
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


@pytest.mark.parametrize(
    ("name", "volumetric", "message"),
    [
        ("resnet18", True, "'resnet18' does not fit volumes, resnet18_acs"),
        ("vit3d", False, "'vit3d' does not fit images, resnet18"),
        ("resnet19", False, "'resnet19' is not known"),
        ("timm:resnet10x", False, "timm has no model 'resnet10x'; did you mean resnet10t"),
        ("vit_base_patch16_224", False, "cannot take images with an edge of 28"),
    ],
)
def test_models_that_do_not_fit_are_refused(name: str, volumetric: bool, message: str) -> None:
    with pytest.raises(MedlabelError, match=message):
        build(name, 28, volumetric)


def test_vit3d_names_the_sizes_that_it_can_take() -> None:
    with pytest.raises(MedlabelError, match="an edge of 64: a multiple of 7 expected"):
        build("vit3d", 64)


def test_a_2d_resnet_carries_over_to_acs_unchanged() -> None:
    flat, deep = build("resnet18", volumetric=False), build("resnet18_acs")
    told = weights.load(deep, flat.state_dict(), "flat")
    assert "0 carried over" in told
    torch.testing.assert_close(deep.state_dict(), flat.state_dict())


def test_a_2d_transformer_carries_over_to_vit3d() -> None:
    flat = build("vit2d", 28, volumetric=False)
    deep = build("vit3d", 28)
    told = weights.load(deep, flat.state_dict(), "flat")
    assert "2 carried over" in told
    # A volume that is the same in all slices gives each cube the token of its square.
    image = torch.rand(1, 3, 28, 28)
    cubes = deep.get_submodule("patch_embed")(image.unsqueeze(2).expand(-1, -1, 28, -1, -1))
    torch.testing.assert_close(cubes[:, :16], flat.get_submodule("patch_embed")(image))


@pytest.mark.parametrize(("name", "branch"), [("resnet18_acs", "resnet"), ("vit3d", "vit")])
def test_one_branch_of_the_joint_model_takes_over_what_a_row_learned(
    name: str, branch: str
) -> None:
    torch.manual_seed(1)
    single, joint = build(name), build(names.JOINT)
    before = {key: value.clone() for key, value in joint.state_dict().items()}
    told = weights.load(joint, single.state_dict(), name)
    assert f"into branch {branch}" in told
    for key, value in joint.state_dict().items():
        own = key.removeprefix(f"{branch}.")
        expected = single.state_dict()[own] if own != key else before[key]
        torch.testing.assert_close(value, expected)


def test_weights_that_do_not_fit_name_the_layers(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"conv1.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(MedlabelError, match=r"conv1.weight 8×3×3×3 for 64×3×3×3.* more;"):
        weights.load(build("resnet18", volumetric=False), weights.read(path), str(path))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    for name in ("w.safetensors", "w.pt"):
        path = tmp_path / name
        path.write_bytes(b"no weights at all")
        with pytest.raises(MedlabelError, match="expected weights"):
            weights.read(path)
