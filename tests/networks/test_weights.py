"""Weights from elsewhere: what carries over, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medlabel.errors import MedlabelError
from medlabel.networks import names, registry, weights


def build(name: str, size: int = 14, volumetric: bool = True, outputs: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return registry.build(
        name, volumetric=volumetric, channels=3, outputs=outputs, size=size, stem="halved"
    )


def test_a_2d_resnet_carries_over_to_acs_unchanged() -> None:
    flat, deep = build("resnet18", volumetric=False), build("resnet18_acs")
    told = weights.load(deep, flat.state_dict(), "flat")
    assert "0 carried over" in told
    torch.testing.assert_close(deep.state_dict(), flat.state_dict())


def test_a_2d_resnet_is_inflated_to_3d() -> None:
    flat, deep = build("resnet18", volumetric=False), build("resnet18_3d")
    assert "20 carried over" in weights.load(deep, flat.state_dict(), "flat")
    kernels = flat.get_parameter("conv1.weight")
    for depth in range(3):
        found = deep.get_parameter("conv1.weight")[:, :, depth]
        torch.testing.assert_close(found, kernels / 3)


def test_a_2d_transformer_carries_over_to_vit3d() -> None:
    flat = build("vit2d", 28, volumetric=False)
    deep = build("vit3d", 28)
    told = weights.load(deep, flat.state_dict(), "flat")
    assert "2 carried over" in told
    # A volume that is the same in all slices gives each cube the token of its square.
    image = torch.rand(1, 3, 28, 28)
    cubes = deep.get_submodule("patch_embed")(image.unsqueeze(2).expand(-1, -1, 28, -1, -1))
    torch.testing.assert_close(cubes[:, :16], flat.get_submodule("patch_embed")(image))


def test_positions_of_another_grid_are_resized() -> None:
    flat, deep = build("vit2d", 28, volumetric=False), build("vit3d", 14)
    weights.load(deep, flat.state_dict(), "flat")
    positions = deep.get_parameter("pos_embed")
    assert positions.shape == (1, 1 + 2**3, 256)
    assert torch.equal(positions[:, 1:5], positions[:, 5:9])


@pytest.mark.parametrize(("name", "branch"), [("resnet18_acs", "resnet"), ("vit3d", "vit")])
def test_one_branch_of_the_joint_network_takes_over_what_another_learned(
    name: str, branch: str
) -> None:
    joint = build(names.JOINT)
    torch.manual_seed(1)
    single = registry.build(name, volumetric=True, channels=3, outputs=4, size=14, stem="halved")
    before = {key: value.clone() for key, value in joint.state_dict().items()}
    told = weights.load(joint, single.state_dict(), name)
    assert f"into branch {branch}" in told
    for key, value in joint.state_dict().items():
        own = key.removeprefix(f"{branch}.")
        expected = single.state_dict()[own] if own != key else before[key]
        torch.testing.assert_close(value, expected)


def test_a_classifier_of_other_classes_starts_anew_where_it_is_to_learn() -> None:
    given = build("resnet18_acs", outputs=2).state_dict()
    receiver = build("resnet18_acs")
    head = receiver.get_parameter("fc.weight").detach().clone()
    assert "2 anew" in weights.load(receiver, given, "given")
    assert torch.equal(receiver.get_parameter("fc.weight"), head)


def test_a_network_that_is_to_answer_keeps_no_random_head() -> None:
    given = build("resnet18_acs", outputs=2).state_dict()
    with pytest.raises(MedlabelError, match=r"fc\.weight 2×512 for 4×512") as told:
        weights.load(build("resnet18_acs"), given, "teacher", require_classifier=True)
    assert "\n" not in str(told.value)
    headless = {key: value for key, value in given.items() if not key.startswith("fc.")}
    with pytest.raises(MedlabelError, match=r"fc\.weight missing for 4×512"):
        weights.load(build("resnet18_acs"), headless, "teacher", require_classifier=True)


def test_whole_weights_that_fit_are_taken_whole() -> None:
    torch.manual_seed(1)
    given = build("vit3d").state_dict()
    receiver = build("vit3d")
    weights.load(receiver, given, "teacher", require_classifier=True)
    torch.testing.assert_close(receiver.state_dict(), given)


def test_weights_that_do_not_fit_name_the_layers(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"conv1.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(MedlabelError, match=r"conv1.weight 8×3×3×3 for 64×3×3×3.* more;"):
        weights.load(build("resnet18", volumetric=False), weights.read(path), str(path))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_damaged_weights_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(MedlabelError, match="expected weights"):
        weights.read(tmp_path / name)


def test_a_pt_file_may_hold_a_state_dict_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"state_dict": {"a": torch.ones(2)}}, path)
    assert list(weights.read(path)) == ["a"]
    torch.save({"a": 3}, path)
    with pytest.raises(MedlabelError, match="expected a state_dict of tensors"):
        weights.read(path)


def test_a_seed_is_found_in_the_block_that_holds_it(tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    save_file({"1/w": torch.ones(1), "10/w": torch.full((1,), 10.0)}, paths[0])
    save_file({"2/w": torch.full((1,), 2.0)}, paths[1])
    for seed in (1, 2, 10):
        assert weights.of_seed(paths, seed, "x")["w"].item() == seed
    with pytest.raises(MedlabelError, match=r"weights of seed 0 in .*keep_weights: null"):
        weights.of_seed(paths, 0, "x")
