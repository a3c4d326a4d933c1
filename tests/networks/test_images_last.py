"""Networks with images last in memory: torch's layers are what they are measured against."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from medlabel.networks import images_last, registry
from medlabel.networks.images_last import ImagesLast
from medlabel.params import Network


def network(
    kernels: Sequence[int] = (3, 4), channels: int = 1, size: int = 28, dropout: float = 0.5
) -> ImagesLast:
    """Make a network of so many blocks, with one hidden layer."""
    widths = [10, 20, 6][: len(kernels)]
    chosen = Network(
        kind="cnn", channels=widths, kernels=list(kernels), hidden=[40], dropout=dropout
    )
    made = registry.build(
        chosen, volumetric=False, channels=channels, outputs=3, size=size, stem="auto"
    )
    assert isinstance(made, ImagesLast)
    return made


class Masked(nn.Module):
    """Dropout with a given mask."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, values: Tensor) -> Tensor:
        return values * self.mask


def plain(made: ImagesLast, drawn: Sequence[Tensor | None]) -> nn.Sequential:
    """Return the same layers as torch runs them, with given masks for dropout."""
    layers = list(copy.deepcopy(made))
    places = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Dropout)]
    for place, mask in zip(places, drawn, strict=True):
        layers[place] = nn.Identity() if mask is None else Masked(mask)
    return nn.Sequential(*layers)


def gradients(made: nn.Module, images: Tensor, slope: Tensor) -> tuple[Tensor, list[Tensor]]:
    made.zero_grad()
    found = made(images)
    torch.autograd.backward(found, slope)
    return found, [p.grad for p in made.parameters() if p.grad is not None]


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dropout", [0.0, 0.3, 0.5])
@pytest.mark.parametrize(
    ("kernels", "size", "channels", "count"),
    [
        ((3, 4), 28, 1, 32),
        ((3, 4), 28, 3, 32),
        ((3, 4), 27, 3, 7),
        ((2, 2), 29, 1, 5),
        ((5, 3), 31, 3, 1),
        ((3,), 11, 1, 33),
        ((3, 2, 2), 30, 3, 9),
    ],
)
def test_results_and_gradients_are_those_of_torch(
    kernels: Sequence[int],
    size: int,
    channels: int,
    count: int,
    dropout: float,
    memory: torch.memory_format,
) -> None:
    torch.manual_seed(0)
    made = network(kernels, channels, size, dropout)
    nn.utils.convert_conv2d_weight_memory_format(made, memory)
    images = torch.randn(count, channels, size, size).contiguous(memory_format=memory)
    images[0] = 0.25  # all of a pooled square are equal here
    sizes = [layer.in_features for layer in made if isinstance(layer, nn.Linear)]
    torch.manual_seed(1)
    drawn = images_last.masks(dropout, count, sizes)
    slope = torch.randn(count, 3)
    expected = gradients(plain(made, drawn), images, slope)
    torch.manual_seed(1)
    found = gradients(made, images, slope)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_of_equal_values_the_first_one_gets_the_gradient() -> None:
    """As in torch, where a square is constant and where each of its four values is the largest."""
    made = network((3,), size=8, dropout=0.0)
    weights = made.get_parameter("0.weight")
    with torch.no_grad():
        weights.zero_()
        weights[:, 0, 1, 1] = 1.0  # each value is that of one pixel, exactly
    for place in range(4):
        images = torch.zeros(2, 1, 8, 8)
        images[:, :, 1 + place // 2 :: 2, 1 + place % 2 :: 2] = torch.rand(2, 1, 1, 1)
        slope = torch.randn(2, 3)
        expected = gradients(plain(made, [None, None]), images, slope)
        torch.testing.assert_close(gradients(made, images, slope), expected)


def test_without_training_nothing_is_dropped_and_batches_do_not_matter() -> None:
    made = network().eval()
    images = torch.randn(150, 1, 28, 28)
    with torch.inference_mode():
        expected = plain(made, [None, None])(images)
        torch.testing.assert_close(made(images), expected, rtol=1e-4, atol=1e-5)


def test_elsewhere_torch_runs_its_own_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_last, "_Network", None)
    with torch.autocast("cpu", torch.bfloat16):
        assert network()(torch.randn(4, 1, 28, 28)).dtype == torch.bfloat16


def test_a_backward_pass_leaves_nothing_in_memory() -> None:
    made = network()
    found = made(torch.randn(4, 1, 28, 28))
    assert found.grad_fn is not None
    node = found.grad_fn.next_functions[0][0]
    torch.autograd.backward(found.sum())
    assert node.backs == []


def test_names_and_shapes_of_parameters_are_those_of_torch() -> None:
    state = network().state_dict()
    expected = nn.Sequential(*network()).state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in expected.items()}
    assert list(state)[:4] == ["0.weight", "0.bias", "3.weight", "3.bias"]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_drop_at_their_rate_and_keep_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    first, second = images_last.masks(rate, 100, [3001, 500])
    assert first is not None
    assert second is not None
    assert (first.shape, second.shape) == ((100, 3001), (100, 500))
    for mask in (first, second):
        assert torch.unique(mask).tolist() == pytest.approx([0, 1 / (1 - rate)], abs=1e-3)
        assert (mask == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
    assert first.mean().item() == pytest.approx(1, abs=0.02)
    # Neither columns, rows nor the four numbers in a word of 64 bits drop together.
    assert ((first == 0).float().mean(0) - rate).abs().max() < 0.3  # six deviations
    words = (first == 0).float().flatten()[: 4 * 75000].view(-1, 4)
    assert (torch.corrcoef(words.T) - torch.eye(4)).abs().max() < 0.02


def test_all_may_be_dropped() -> None:
    mask = images_last.masks(1.0, 4, [8])[0]
    assert mask is not None
    assert not mask.any()


def test_masks_follow_torchs_generator() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(images_last.masks(0.5, 8, [100])[0])
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert torch.equal(drawn[0], drawn[1])
    assert drawn[2] is not None
    assert not torch.equal(drawn[0], drawn[2])
