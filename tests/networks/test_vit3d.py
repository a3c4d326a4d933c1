"""The transformer for volumes against its specification and a plain implementation of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from medlabel.networks import weights
from medlabel.networks.vit3d import ViT3D, vit2d
from medlabel.networks.vit3d_pooled import PooledViT3D


@pytest.fixture(scope="module")
def network() -> ViT3D:
    """One whose biases and class token are no longer nearly zero."""
    torch.manual_seed(0)
    made = ViT3D(channels=3, outputs=4, size=28)
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(torch.randn_like(weights) * 0.05)
    return made.double()


def volumes(n: int, size: int = 28) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, size, size, size, generator=generator, dtype=torch.float64)


def plain(state: dict[str, Tensor], volume: Tensor) -> Tensor:
    """Logits of one volume (3, D, H, W) by the equations of the paper, patch by patch."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
        return centred / deviation * state[f"{name}.weight"] + state[f"{name}.bias"]

    def attention(name: str, x: Tensor) -> Tensor:
        query, key, value = linear(f"{name}.qkv", x).chunk(3, dim=-1)
        heads = []
        for head in range(8):
            own = slice(32 * head, 32 * (head + 1))
            scores = query[:, own] @ key[:, own].T / math.sqrt(32)
            heads.append(scores.softmax(dim=-1) @ value[:, own])
        return linear(f"{name}.proj", torch.cat(heads, dim=-1))

    cells = range(0, volume.shape[-1], 7)
    kernel = state["patch_embed.proj.weight"].flatten(1)
    tokens = [state["cls_token"][0, 0]]
    for z in cells:
        for y in cells:
            for x in cells:
                cube = volume[:, z : z + 7, y : y + 7, x : x + 7].flatten()
                tokens.append(kernel @ cube + state["patch_embed.proj.bias"])
    encoded = torch.stack(tokens) + state["pos_embed"][0]
    for block in range(6):
        name = f"blocks.{block}"
        encoded = encoded + attention(f"{name}.attn", norm(f"{name}.norm1", encoded))
        inner = F.gelu(linear(f"{name}.mlp.fc1", norm(f"{name}.norm2", encoded)))
        encoded = encoded + linear(f"{name}.mlp.fc2", inner)
    return linear("head", norm("norm", encoded)[0])


def test_it_is_the_papers_transformer(network: ViT3D) -> None:
    batch = volumes(2)
    expected = torch.stack([plain(network.state_dict(), volume) for volume in batch])
    torch.testing.assert_close(network(batch), expected)


def test_a_volume_is_judged_whatever_else_is_in_its_batch(network: ViT3D) -> None:
    batch = volumes(4)
    others = batch.clone()
    others[1:] += 1
    torch.testing.assert_close(network(batch)[:1], network(batch[:1]))
    torch.testing.assert_close(network(batch)[:1], network(others)[:1])
    assert not torch.allclose(network(batch)[1:], network(others)[1:])


def test_no_gradient_reaches_another_volume(network: ViT3D) -> None:
    batch = volumes(3).requires_grad_()
    (gradient,) = torch.autograd.grad(network(batch)[1].sum(), batch)
    assert [bool(part.any()) for part in gradient] == [False, True, False]


def test_every_patch_and_its_place_matter(network: ViT3D) -> None:
    volume = volumes(1).requires_grad_()
    (gradient,) = torch.autograd.grad(network(volume).sum(), volume)
    patches = gradient[0].unfold(1, 7, 7).unfold(2, 7, 7).unfold(3, 7, 7)
    assert patches.abs().sum(dim=(0, 4, 5, 6)).gt(0).all()
    moved = torch.cat([volume[:, :, 7:], volume[:, :, :7]], dim=2)
    assert not torch.allclose(network(moved), network(volume))


def test_shapes(network: ViT3D) -> None:
    assert network.features(volumes(2)).shape == (2, 256)
    torch.testing.assert_close(network.head(network.features(volumes(2))), network(volumes(2)))
    assert network.pos_embed.shape == (1, 65, 256)
    assert ViT3D(channels=1, outputs=2, size=14)(torch.zeros(2, 1, 14, 14, 14)).shape == (2, 2)


def test_the_pooled_one_answers_from_the_class_token_and_the_mean_of_the_patches() -> None:
    torch.manual_seed(0)
    pooled = PooledViT3D(channels=3, outputs=4, size=28).eval()
    plain_one = ViT3D(channels=3, outputs=4, size=28).eval()
    own = {name: value for name, value in pooled.state_dict().items() if "head" not in name}
    plain_one.load_state_dict({**plain_one.state_dict(), **own})
    batch = volumes(2).float()
    found = pooled.features(batch)
    assert found.shape == (2, 512)
    torch.testing.assert_close(found[:, :256], plain_one.features(batch))
    torch.testing.assert_close(found[:, 256:], plain_one.tokens(batch)[:, 1:].mean(dim=1))
    assert pooled(batch).shape == (2, 4)
    flat = vit2d(channels=3, outputs=2, size=28)
    told = weights.load(pooled, flat.state_dict(), "flat")
    assert told == "flat: 78 tensors, 2 carried over to 3-D, 6 anew"


def test_the_2d_network_has_the_same_names_and_all_shapes_but_two() -> None:
    flat = vit2d(channels=3, outputs=5, size=28)
    deep = ViT3D(channels=3, outputs=5, size=28)
    assert flat(torch.zeros(2, 3, 28, 28)).shape == (2, 5)
    shapes = [
        {name: tuple(value.shape) for name, value in network.state_dict().items()}
        for network in (flat, deep)
    ]
    assert shapes[0].keys() == shapes[1].keys()
    other = {
        name: (shapes[0][name], shapes[1][name])
        for name in dict(shapes[0].items() ^ shapes[1].items())
    }
    assert other == {
        "pos_embed": ((1, 17, 256), (1, 65, 256)),
        "patch_embed.proj.weight": ((256, 3, 7, 7), (256, 3, 7, 7, 7)),
    }


def test_it_starts_as_timms_does() -> None:
    torch.manual_seed(0)
    states = [make(3, 2, 28).state_dict() for make in (vit2d, ViT3D)]
    for name in set(states[0]) - {"patch_embed.proj.weight", "patch_embed.proj.bias"}:
        flat, deep = (state[name].std().item() for state in states if state[name].numel() > 1)
        assert deep == pytest.approx(flat, rel=0.2, abs=1e-8), name
    assert states[1]["pos_embed"].std().item() == pytest.approx(0.02, rel=0.05)
    assert states[1]["cls_token"].std().item() == pytest.approx(1e-6, rel=0.2)


def test_the_seed_fixes_the_weights() -> None:
    made = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        made.append(ViT3D(1, 2, 14).state_dict())
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())
    assert not torch.equal(made[0]["pos_embed"], made[2]["pos_embed"])
