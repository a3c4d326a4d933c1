"""Rectified flow: a network learns the straight way from noise to an image that words describe.

Lipman et al., Flow matching for generative modeling, ICLR 2023; Liu, Gong & Liu, Flow straight and
fast: learning to generate and transfer data with rectified flow, ICLR 2023.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from medlabel.data.pixels import Pixels
from medlabel.data.vectors import Vectors
from medlabel.networks.velocity import Velocity
from medlabel.params import Generation
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed

WARMUP = 100  # steps in which the rate rises
BETAS, DECAY = (0.9, 0.99), 0.01  # of AdamW
LONGEST_GRADIENT = 1.0
LONGEST_AVERAGE = 0.998  # part of the averaged weights that a step leaves as it is
HALF = 127.5  # of the range of pixels
PART = 256  # images that are made at once: bounds memory only
SMALLEST_SPREAD = 1e-6  # of what all captions have in common


@dataclass(frozen=True)
class Captioned:
    """Images to learn from.

    Attributes
    ----------
    images
        uint8 (n, H, W).
    words
        float32 (n, dimension), embeddings of their captions.
    labels
        Classes (n,), which are drawn alike often.
    """

    images: Pixels
    words: Vectors
    labels: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Generator:
    """A network that makes images, and what brings words to the scale that it knows.

    Attributes
    ----------
    network
        Of velocities.
    middle, spread
        float32 (dimension,): mean and standard deviation of the words that it learnt.
    """

    network: Velocity
    middle: Tensor
    spread: Tensor

    def scaled(self, words: Vectors) -> Tensor:
        """Return embeddings (n, dimension) with mean 0 and standard deviation 1 as learnt."""
        return (torch.from_numpy(words).to(self.middle.device) - self.middle) / self.spread

    def tensors(self) -> dict[str, Tensor]:
        """Return all that it is made of, by name."""
        weights = self.network.state_dict()
        return {
            **{f"network.{name}": one.contiguous() for name, one in weights.items()},
            "middle": self.middle,
            "spread": self.spread,
        }


def learn(known: Captioned, settings: Generation, seed: int, device: torch.device) -> Generator:
    """Train a network on images and the embeddings of their captions.

    A point between noise and an image, at a time whose logit is normal (Esser et al., ICML 2024),
    has to move by their difference. Some captions are left out, so that the network also knows how
    images move of which nothing is said (Ho & Salimans, Classifier-free diffusion guidance, 2022).
    Kept is the average of the weights of the last steps.

    Parameters
    ----------
    known
        Images whose edge is a multiple of 4.
    settings
        Network and training.
    seed
        Root of the random streams.
    device
        Where to train.
    """
    words = torch.from_numpy(known.words).to(device)
    middle, spread = words.mean(dim=0), words.std(dim=0) + SMALLEST_SPREAD
    words = (words - middle) / spread
    images = torch.from_numpy(known.images).to(device)[:, None] / HALF - 1
    torch.manual_seed(torch_seed(seed, "generation", "weights"))
    network = Velocity(settings.width, words.shape[1]).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(network, avg_fn=_average)
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, betas=BETAS, weight_decay=DECAY
    )
    random = stream(seed, "generation", "images")
    noise = torch.Generator().manual_seed(torch_seed(seed, "generation", "noise"))
    shares = 1 / np.bincount(known.labels)[known.labels]
    for step in track(range(settings.steps), "generate: learn", settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _rate(step, settings.steps)
        chosen = random.choice(len(images), settings.batch_size, p=shares / shares.sum())
        said = words[chosen]
        silent = torch.rand(len(said), 1, generator=noise) < settings.silenced
        loss = _loss(network, images[chosen], said.masked_fill(silent.to(device), 0.0), noise)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        averaged.update_parameters(network)
    network.load_state_dict(averaged.module.state_dict())
    return Generator(network.eval(), middle, spread)


def _loss(network: Velocity, images: Tensor, words: Tensor, noise: torch.Generator) -> Tensor:
    """Square the distance from the straight way: equation 1 of Liu et al. 2023."""
    times = torch.sigmoid(torch.randn(len(images), generator=noise)).to(images.device)
    start = torch.randn(images.shape, generator=noise).to(images.device)
    between = torch.lerp(start, images, times[:, None, None, None])
    between = between.contiguous(memory_format=torch.channels_last)
    return F.mse_loss(network(between, times, words), images - start)


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2


def _average(kept: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
    """Average over more steps the more there were."""
    steps = int(count)
    return torch.lerp(new, kept, min(LONGEST_AVERAGE, (steps + 1) / (steps + 10)))


@torch.inference_mode()
def imagine(
    generator: Generator, words: Vectors, edge: int, settings: Generation, seed: int
) -> Pixels:
    """Make SYNTHETIC images of what sentences say.

    Noise moves by Euler's steps. With guidance above 1 it moves farther from where it would go if
    nothing were said.

    Parameters
    ----------
    generator
        As `learn` returns it.
    words
        float32 (n, dimension), an embedding an image.
    edge
        Of the images, in pixels.
    settings
        Guidance, and the number of steps.
    seed
        Of the noise.

    Returns
    -------
    ndarray
        uint8 (n, edge, edge).
    """
    noise = torch.Generator().manual_seed(seed)
    parts = torch.split(generator.scaled(words), PART)
    made = [
        _moved(generator.network, said, edge, settings, noise)
        for said in track(parts, "generate: images", len(parts))
    ]
    pixels = (torch.cat(made)[:, 0].clamp(-1, 1) + 1) * HALF
    found: Pixels = pixels.round().to(torch.uint8).cpu().numpy()
    return found


def _moved(
    network: Velocity, words: Tensor, edge: int, settings: Generation, noise: torch.Generator
) -> Tensor:
    images = torch.randn(len(words), 1, edge, edge, generator=noise).to(words.device)
    for step in range(settings.integration):
        times = torch.full((len(words),), step / settings.integration, device=words.device)
        velocity = network(images, times, words)
        if settings.guidance > 1:
            silent = network(images, times, torch.zeros_like(words))
            velocity = torch.lerp(silent, velocity, settings.guidance)
        images = images + velocity / settings.integration
    return images
