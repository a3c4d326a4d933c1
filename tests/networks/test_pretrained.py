"""EfficientNet-Lite0 as a network to train, and the pictures that it sees of volumes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medlabel.errors import MedlabelError
from medlabel.networks import names, pretrained, registry, weights
from medlabel.params import Tower
from medlabel.teacher import towers

FLAT = names.PACKAGED[0]


def build(name: str, size: int = 28, outputs: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return registry.build(
        name,
        volumetric=name == names.SURFACE,
        channels=1,
        outputs=outputs,
        size=size,
        stem="auto",
    ).eval()


def ball(
    edge: int = 28, radius: float = 8.0, centre: tuple[float, float, float] | None = None
) -> Tensor:
    """A solid ball, float32 (1, edge, edge, edge)."""
    axis = torch.arange(edge, dtype=torch.float32)
    middle = centre or ((edge - 1) / 2,) * 3
    grid = torch.meshgrid(axis, axis, axis, indexing="ij")
    squares = sum((one - at) ** 2 for one, at in zip(grid, middle, strict=True))
    return (squares <= radius**2).float().unsqueeze(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_become_logits(channels: int) -> None:
    assert build(FLAT, outputs=4)(torch.zeros(2, channels, 28, 28)).shape == (2, 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_volumes_become_logits(channels: int) -> None:
    volumes = torch.zeros(2, channels, 14, 14, 14)
    assert build(names.SURFACE, 14, 4)(volumes).shape == (2, 4)


def test_a_ball_looks_alike_from_all_sides_and_is_nearest_at_its_middle() -> None:
    (views,) = pretrained.surfaces(ball())
    assert views.shape == (6, 3, 64, 64)
    for view in views[1:]:
        torch.testing.assert_close(view, views[0], atol=0.05, rtol=0)
    middle = views[:, :, 31:33, 31:33].mean(dim=(2, 3))
    expected = torch.tensor([0.5, 0.5, 1.0]).expand(6, 3)
    torch.testing.assert_close(middle, expected, atol=0.05, rtol=0)
    assert not views[:, :, :8].any()


def test_slopes_point_into_the_object_along_rows_and_columns() -> None:
    red, green, _ = pretrained.surfaces(ball())[0, 0]
    rows, columns = torch.nonzero(red).T
    top, bottom, left, right = rows.min() + 2, rows.max() - 2, columns.min() + 2, columns.max() - 2
    assert red[top, 32] > 0.8 > 0.2 > red[bottom, 32]
    assert green[32, left] > 0.8 > 0.2 > green[32, right]


def test_what_is_in_front_hides_what_is_behind() -> None:
    near, far = ball(centre=(6, 14, 14), radius=5), ball(centre=(20, 14, 14), radius=4)
    both = pretrained.surfaces((near + far).clamp(max=1))[0]
    torch.testing.assert_close(both[0], pretrained.surfaces(near)[0, 0])
    assert (both[1] - pretrained.surfaces(near)[0, 1]).abs().max() > 0.3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_volume_has_its_ends_exchanged(axis: int) -> None:
    torch.manual_seed(0)
    volumes = nn.functional.interpolate((torch.rand(2, 1, 7, 7, 7) > 0.6).float(), (28,) * 3)[:, 0]
    ends = (2 * axis, 2 * axis + 1)
    seen = pretrained.surfaces(volumes, ends)
    mirrored = pretrained.surfaces(volumes.flip(1 + axis), ends)
    torch.testing.assert_close(mirrored, seen.flip(1), atol=1e-4, rtol=0)


def test_training_sees_some_sides_drawn_by_the_seed_and_judging_all() -> None:
    network = build(names.SURFACE)
    assert isinstance(network, pretrained.Surface)
    network.tower = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.fc = nn.Identity()  # what is left: the mean colour of the views
    network.dropout.p = 0.0
    volumes = ball(centre=(9, 12, 16))[None]
    told = network(volumes)
    torch.testing.assert_close(network(volumes), told)
    seen = pretrained._standardised(pretrained.surfaces(volumes[:, 0])[0])
    torch.testing.assert_close(told[0], seen.mean(dim=(0, 2, 3)))
    network.train()
    drawn = []
    for seed in (0, 0, 1, 2, 3):
        torch.manual_seed(seed)
        drawn.append(network(volumes))
    torch.testing.assert_close(drawn[0], drawn[1])
    assert any(not torch.equal(drawn[0], one) for one in drawn[2:])


@pytest.mark.parametrize("name", names.PACKAGED)
def test_the_package_gives_the_weights_of_the_tower_and_leaves_the_last_layer(name: str) -> None:
    network = build(name)
    assert weights.load(network, registry.packaged(name), "package").endswith(
        "0 carried over to 3-D, 2 anew"
    )
    settings = Tower(source="package", model="efficientnet_lite0", weights=None)
    expected = towers.load(settings, 112, 0).trunk
    pictures = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network.get_submodule("tower")(pictures), expected(pictures))


def test_intensities_are_those_that_the_tower_learnt_from() -> None:
    black_and_white = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    seen = pretrained._standardised(black_and_white)
    assert seen.shape == (2, 3, 1, 1)
    torch.testing.assert_close(seen[:, 0, 0, 0], torch.tensor([-127 / 128, 1.0]))


def test_volumes_without_a_surface_are_refused() -> None:
    with pytest.raises(MedlabelError, match="an edge of 4: 8 or more expected"):
        build(names.SURFACE, 4)
