"""The network of SYNTHETIC images: its shape, its start, and what it depends on."""

from __future__ import annotations

import pytest
import torch

from medlabel.networks.velocity import Velocity


@pytest.mark.parametrize("edge", [28, 64])
def test_velocities_have_the_shape_of_images_and_start_at_zero(edge: int) -> None:
    network = Velocity(8, 5)
    images, times, words = torch.rand(3, 1, edge, edge), torch.rand(3), torch.rand(3, 5)
    found = network(images, times, words)
    assert found.shape == images.shape
    assert not found.any()


def test_velocities_depend_on_image_time_and_words() -> None:
    torch.manual_seed(0)
    network = Velocity(8, 5)
    torch.nn.init.normal_(network.last.weight)
    given = [torch.rand(2, 1, 28, 28), torch.rand(2), torch.rand(2, 5)]
    found = network(*given)
    for place in range(3):
        other = [one + 0.3 if number == place else one for number, one in enumerate(given)]
        assert not torch.allclose(network(*other), found, atol=1e-4), place


def test_images_of_a_batch_do_not_see_one_another() -> None:
    torch.manual_seed(0)
    network = Velocity(8, 5)
    torch.nn.init.normal_(network.last.weight)
    images, times, words = torch.rand(4, 1, 28, 28), torch.rand(4), torch.rand(4, 5)
    alone = torch.cat([network(images[[i]], times[[i]], words[[i]]) for i in range(4)])
    torch.testing.assert_close(network(images, times, words), alone, rtol=1e-3, atol=1e-3)


def test_the_committed_width_has_the_stated_number_of_weights() -> None:
    """docs/methods.md states it."""
    assert sum(one.numel() for one in Velocity(32, 164).parameters()) == 321_540
