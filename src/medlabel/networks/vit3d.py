"""A vision transformer over the patches of a volume, and its 2-D twin."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medlabel.networks.classifier import Classifier, cannot_take
from medlabel.params import Network

PATCH, WIDTH, DEPTH, HEADS = 7, 256, 6, 8  # voxels, channels, blocks: Abdalla 2024's ViT3D


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make ``vit3d``, or its 2-D twin ``vit2d``; as `registry.build`."""
    require_patches(str(network), size)
    return (ViT3D if network == "vit3d" else vit2d)(channels, outputs, size)


def require_patches(name: str, size: int) -> None:
    """Check that images divide into whole patches."""
    if size % PATCH:
        raise cannot_take(name, size, f"a multiple of {PATCH} expected")


class PatchEmbedding(nn.Module):
    """Cut volumes into cubes and map each to a token."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, WIDTH, PATCH, stride=PATCH)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) to (n, patches, WIDTH)."""
        tokens: Tensor = self.proj(volumes)
        return tokens.flatten(2).transpose(1, 2)


class ViT3D(nn.Module):
    """Transformer encoder with a class token and learned positions.

    Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, with cubes for squares. Attention
    runs over the patches of one volume, never over the volumes of a batch. Parameters are named as
    in timm's `VisionTransformer`. The edge of the volumes is a multiple of 7 voxels.
    """

    def __init__(self, channels: int, outputs: int, size: int) -> None:
        from timm.layers.weight_init import trunc_normal_
        from timm.models.vision_transformer import Block

        super().__init__()
        patches = (size // PATCH) ** 3
        self.patch_embed = PatchEmbedding(channels)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + patches, WIDTH))
        blocks: list[Any] = [Block(WIDTH, HEADS, qkv_bias=True) for _ in range(DEPTH)]
        for block in blocks:
            # Over so few tokens torch's fused attention takes two fifths of a CPU's training step.
            block.attn.fused_attn = False
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = Classifier(WIDTH, outputs)
        trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def tokens(self, volumes: Tensor) -> Tensor:
        """Return all tokens after the last block, that of the class first: (n, tokens, WIDTH)."""
        patches = self.patch_embed(volumes)
        classes = self.cls_token.expand(len(patches), -1, -1)
        tokens = torch.cat([classes.to(patches.dtype), patches], dim=1) + self.pos_embed
        found: Tensor = self.norm(self.blocks(tokens))
        return found

    def features(self, volumes: Tensor) -> Tensor:
        """Return the class token after the last block, (n, WIDTH)."""
        return self.tokens(volumes)[:, 0]

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) to logits (n, outputs)."""
        logits: Tensor = self.head(self.features(volumes))
        return logits


def vit2d(channels: int, outputs: int, size: int) -> nn.Module:
    """Make the 2-D transformer whose weights carry over to `ViT3D`: same width, depth and heads."""
    from timm.models.vision_transformer import VisionTransformer

    network: nn.Module = VisionTransformer(
        img_size=size,
        patch_size=PATCH,
        in_chans=channels,
        num_classes=outputs,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
    )
    return network
