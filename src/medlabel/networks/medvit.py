"""MedViT-small: convolutional and transformer blocks by turns (Manzari et al. 2023).

Manzari, Ahmadabadi, Kashiani, Shokouhi & Ayatollahi, MedViT: A robust vision transformer for
generalized medical image classification, Computers in Biology and Medicine 157:106791, 2023
(arXiv 2302.09462), section 3, with the widths and depths of the authors' published code, whose
weights have the names that the parts have here. Left out is the patch momentum changer, which
exchanges moments of features between images in training: that code has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel.networks.classifier import Classifier, cannot_take
from medlabel.params import Network

HEAD = 32  # channels of an attention head, and of a group of convolutions
GREY, COLOUR = 1, 3
DEVIATION = 0.02  # of first weights
PATH_DROPOUT = 0.1  # of the last block; it rises linearly from 0 at the first
EXPANSION = {"convolution": 3, "transformer": 2}  # of the hidden layer of feed-forward parts
ATTENDED = 3 / 4  # part of a transformer block's channels that comes of self-attention
SMALLEST = 25  # pixels: below, the third stage has fewer patches than it averages


@dataclass(frozen=True)
class Stage:
    """Blocks at one resolution: `repeats` times so many convolution blocks and one transformer.

    Attributes
    ----------
    convolutions, width
        Convolution blocks a repeat, and their channels.
    attended
        Channels of the transformer block; None for a stage without any.
    reduction
        Edge of the square of patches that keys and values are averaged over.
    """

    convolutions: int
    width: int
    attended: int | None = None
    reduction: int = 1
    repeats: int = 1


STEM = (64, 32, 64, 64)
SMALL = (Stage(3, 96), Stage(3, 192, 256, 4), Stage(4, 384, 512, 2, 2), Stage(2, 768, 1024))


class Convolved(nn.Module):
    """A 3×3 convolution of the stem, normalised, then ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, inputs, H, W) to (n, outputs, H / stride, W / stride)."""
        return F.relu(self.norm(self.conv(images)))


class PatchEmbedding(nn.Module):
    """Patches with other channels, and at stride 2 a quarter as many; else as they are."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
        self.pooled = stride > 1
        changed = self.pooled or inputs != outputs
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False) if changed else nn.Identity()
        self.norm = nn.BatchNorm2d(outputs) if changed else nn.Identity()

    def forward(self, patches: Tensor) -> Tensor:
        """Map (n, inputs, H, W) to (n, outputs, H / stride, W / stride), rounded up."""
        embedded: Tensor = self.norm(self.conv(self.pool(patches) if self.pooled else patches))
        return embedded


class ConvolutionalAttention(nn.Module):
    """Multi-head convolutional attention: heads are groups of one 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        heads = channels // HEAD
        self.group_conv3x3 = nn.Conv2d(channels, channels, 3, padding=1, groups=heads, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.projection = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Keep the shape (n, channels, H, W)."""
        seen: Tensor = self.projection(F.relu(self.norm(self.group_conv3x3(patches))))
        return seen


class Excitation(nn.Module):
    """Squeeze and excitation (Hu et al., CVPR 2018) through as few values as `squeezed`."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, squeezed),
            nn.ReLU(),
            nn.Linear(squeezed, channels),
            nn.Hardsigmoid(),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Keep the shape (n, channels, H, W)."""
        weighed: Tensor = patches * self.fc(patches.mean(dim=(2, 3)))[:, :, None, None]
        return weighed


class LocalFeedForward(nn.Module):
    """Two 1×1 convolutions with a depthwise 3×3 between, beside what came in.

    Li et al., LocalViT: Bringing locality to vision transformers, 2021.
    """

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.Hardswish(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.Hardswish(),
            Excitation(hidden, expansion),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Keep the shape (n, channels, H, W)."""
        added: Tensor = patches + self.conv(patches)
        return added


class SelfAttention(nn.Module):
    """Self-attention whose keys and values are means over consecutive patches."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(channels, channels) for _ in range(3))
        self.proj = nn.Linear(channels, channels)
        self.averaged = reduction**2
        if reduction > 1:
            self.norm = nn.BatchNorm1d(channels)

    def forward(self, patches: Tensor) -> Tensor:
        """Keep the shape (n, channels, H, W); rows of patches make one sequence."""
        sequence = patches.flatten(2)
        fewer = sequence
        if self.averaged > 1:
            fewer = self.norm(F.avg_pool1d(sequence, self.averaged))
        queries = self._heads(self.q(sequence.transpose(1, 2)))
        keys, values = (self._heads(layer(fewer.transpose(1, 2))) for layer in (self.k, self.v))
        found = F.scaled_dot_product_attention(queries, keys, values)
        joined = self.proj(found.transpose(1, 2).flatten(2))
        back: Tensor = joined.transpose(1, 2).unflatten(2, patches.shape[2:])
        return back

    @staticmethod
    def _heads(sequence: Tensor) -> Tensor:
        """Divide (n, patches, channels) into heads: (n, heads, patches, `HEAD`)."""
        return sequence.reshape(*sequence.shape[:2], -1, HEAD).transpose(1, 2)


class ConvolutionBlock(nn.Module):
    """Efficient convolution block (ECB): convolutional attention, then feed-forward."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(inputs, outputs, stride)
        self.mhca = ConvolutionalAttention(outputs)
        self.drop = DropPath(dropout)
        self.norm = nn.BatchNorm2d(outputs)
        self.conv = LocalFeedForward(outputs, EXPANSION["convolution"])

    def forward(self, patches: Tensor) -> Tensor:
        """Map (n, inputs, H, W) to (n, outputs, H / stride, W / stride)."""
        patches = self.patch_embed(patches)
        patches = patches + self.drop(self.mhca(patches))
        # The feed-forward part adds what it is given a second time, normalised, as published.
        found: Tensor = patches + self.conv(self.norm(patches))
        return found


class TransformerBlock(nn.Module):
    """Local transformer block (LTB): self-attention, convolutional attention, feed-forward.

    The first gives `ATTENDED` of the channels, the second, which sees these, the others.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, dropout: float, reduction: int
    ) -> None:
        super().__init__()
        attended = int(outputs * ATTENDED)
        self.patch_embed = PatchEmbedding(inputs, attended, stride)
        self.norm1 = nn.BatchNorm2d(attended)
        self.e_mhsa = SelfAttention(attended, reduction)
        self.drop_attended = DropPath(dropout * ATTENDED)
        self.projection = PatchEmbedding(attended, outputs - attended)
        self.mhca = ConvolutionalAttention(outputs - attended)
        self.drop_convolved = DropPath(dropout * (1 - ATTENDED))
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv = LocalFeedForward(outputs, EXPANSION["transformer"])

    def forward(self, patches: Tensor) -> Tensor:
        """Map (n, inputs, H, W) to (n, outputs, H / stride, W / stride)."""
        patches = self.patch_embed(patches)
        patches = patches + self.drop_attended(self.e_mhsa(self.norm1(patches)))
        convolved = self.projection(patches)
        convolved = convolved + self.drop_convolved(self.mhca(convolved))
        both = torch.cat([patches, convolved], dim=1)
        found: Tensor = both + self.conv(self.norm2(both))
        return found


class MedViT(nn.Module):
    """Stem, stages at a quarter to a 32nd of the edge, mean over patches, one linear layer."""

    def __init__(self, stages: tuple[Stage, ...], outputs: int) -> None:
        super().__init__()
        entering = (COLOUR, *STEM)
        self.stem = nn.Sequential(
            *(
                Convolved(entering[i], entering[i + 1], stride)
                for i, stride in enumerate((2, 1, 1, 2))
            )
        )
        self.features = nn.Sequential(*_blocks(stages))
        width = stages[-1].attended or stages[-1].width
        self.norm = nn.BatchNorm2d(width)
        self.fc = Classifier(width, outputs)
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(part.weight, std=DEVIATION)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 1 or 3, H, W) to logits (n, outputs)."""
        if images.shape[1] == GREY:
            images = images.expand(-1, COLOUR, -1, -1)
        patches = self.norm(self.features(self.stem(images)))
        logits: Tensor = self.fc(patches.mean(dim=(2, 3)))
        return logits


def _blocks(stages: tuple[Stage, ...]) -> list[nn.Module]:
    """Make the blocks of all stages in their order."""
    total = sum(one.repeats * (one.convolutions + (one.attended is not None)) for one in stages)
    dropouts = iter(torch.linspace(0, PATH_DROPOUT, total).tolist())
    made: list[nn.Module] = []
    width = STEM[-1]
    for number, stage in enumerate(stages):
        strides = iter([2 if number else 1] + [1] * (total - 1))
        for _ in range(stage.repeats):
            for _ in range(stage.convolutions):
                given = (width, stage.width, next(strides), next(dropouts))
                made.append(ConvolutionBlock(*given))
                width = stage.width
            if stage.attended is not None:
                given = (width, stage.attended, next(strides), next(dropouts))
                made.append(TransformerBlock(*given, stage.reduction))
                width = stage.attended
    return made


def build(network: Network | str, channels: int, outputs: int, size: int, stem: str) -> nn.Module:
    """Make MedViT-small; as `registry.build`."""
    if size < SMALLEST:
        raise cannot_take(str(network), size, f"{SMALLEST} or more expected")
    return MedViT(SMALL, outputs)
