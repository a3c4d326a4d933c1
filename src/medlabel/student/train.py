"""One training loop: all images in memory, early stopping, the best epoch's weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel import params
from medlabel.errors import MedlabelError

EVALUATION_BATCH = 512  # images: bounds memory only, no result depends on it


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached; losses are means over images, accuracies fractions.

    Attributes
    ----------
    epoch
        Counted from 1.
    train_loss, train_accuracy
        Running means over the epoch's mini-batches, dropout on, as the weights moved.
    validation_loss, validation_accuracy
        Of the held-back images after the epoch, dropout off.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes
    ----------
    curve
        One entry an epoch.
    best
        The epoch of the lowest validation loss; the first one if several are equal.
    weights
        Copies of the network's parameters and buffers after epoch `best`, on the CPU.
    """

    curve: list[Epoch]
    best: int
    weights: dict[str, Tensor]


def split(
    labels: npt.NDArray[np.integer[Any]], validation_fraction: float, random: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Divide images into those to fit and those to hold back, in proportion in each class.

    The same generator state gives the same shuffle whatever the labels are, so that two label
    sets that agree on most images also agree on most of the split.

    Parameters
    ----------
    labels
        Class of each image, shape (n,).
    validation_fraction
        Part to hold back: ceil(n * fraction) images, 219 of 1092 at 0.2. The largest remainders
        decide which classes round up; at least one image stays on either side.
    random
        Shuffles the images.

    Returns
    -------
    (ndarray, ndarray)
        Indices to fit and to hold back, each sorted.

    Raises
    ------
    ValueError
        When there are fewer than two images.
    """
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} images cannot be divided")
    # Rounded first: 0.2 * 15 is 3.0000000000000004 in binary.
    wanted = math.ceil(round(validation_fraction * len(labels), 9))
    counts = np.bincount(labels)
    quotas = counts * (min(wanted, len(labels) - 1) / len(labels))
    taken = np.floor(quotas + 1e-9).astype(np.intp)
    short = min(wanted, len(labels) - 1) - taken.sum()
    taken[np.argsort(taken - quotas, kind="stable")[:short]] += 1
    shuffled = random.permutation(len(labels))
    held_back = np.concatenate(
        [shuffled[labels[shuffled] == label][:count] for label, count in enumerate(taken)]
    )
    return np.setdiff1d(np.arange(len(labels)), held_back), np.sort(held_back)


def fit(
    network: nn.Module,
    images: tuple[Tensor, Tensor],
    targets: tuple[Tensor, Tensor],
    settings: params.Student,
    order: torch.Generator,
    task: str,
) -> Fitted:
    """Train a network until its validation loss stops falling.

    Cross-entropy; mini-batches in a new random order each epoch. The network ends with the
    weights of its best epoch.

    Parameters
    ----------
    network
        On the device to train on. Its dropout draws from torch's global generator.
    images
        To fit and to hold back: uint8 of shape (n, H, W, C), on the same device. The network
        sees them as `scaled` makes them.
    targets
        Of both: classes, int64 of shape (n,), or probabilities, float32 of shape (n, classes).
    settings
        Optimiser, batch size, epochs and patience.
    order
        CPU generator of the order of the images.
    task
        Names the training in messages, such as ``"seed 3"``.

    Raises
    ------
    MedlabelError
        When a loss is no longer finite.
    """
    # Images of shape (n, H, W, C) are channels-last already; on a CPU the capstone's network
    # trains in two thirds of the time that it takes in the other layout.
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    optimizer = _optimizer(network, settings.optimizer)
    curve: list[Epoch] = []
    best, weights = 0, _copy(network)
    for epoch in range(1, settings.epochs + 1):
        shuffle = torch.randperm(len(images[0]), generator=order).to(images[0].device)
        batches = _batches(images[0][shuffle], targets[0][shuffle], settings.batch_size)
        fitted = _fit_epoch(network, optimizer, batches)
        curve.append(Epoch(epoch, *fitted, *_evaluate(network, images[1], targets[1])))
        _require_finite(curve[-1], task)
        if not best or curve[-1].validation_loss < curve[best - 1].validation_loss:
            best, weights = epoch, _copy(network)
        if epoch - best >= settings.patience:
            break
    network.load_state_dict(weights)
    return Fitted(curve, best, weights)


def predict(network: nn.Module, images: Tensor) -> npt.NDArray[np.float32]:
    """Return the probability of each class, float32 of shape (n, classes).

    Parameters
    ----------
    network
        On the images' device; it is left in evaluation mode.
    images
        uint8 of shape (n, H, W, C).
    """
    network.eval()
    with torch.inference_mode():
        logits = [network(scaled(batch)) for batch in torch.split(images, EVALUATION_BATCH)]
        probabilities = torch.cat(logits).softmax(dim=1)
    return np.asarray(probabilities.cpu().numpy(), dtype=np.float32)


def scaled(images: Tensor) -> Tensor:
    """Turn uint8 images of shape (n, H, W, C) into float32 ones in [-1, 1], (n, C, H, W).

    This is MedMNIST's own normalisation, mean 0.5 and deviation 0.5. Left in [0, 1], every input
    has the same sign, and the capstone's network at its rate of 0.001 hardly leaves chance within
    20 epochs from about every other initialisation.
    """
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def _optimizer(network: nn.Module, settings: params.Optimizer) -> torch.optim.Optimizer:
    # The fused kernels update all parameters in one call.
    weights = network.parameters()
    decay = settings.weight_decay
    if settings.name == "sgd":
        return torch.optim.SGD(
            weights, settings.lr, momentum=settings.momentum, weight_decay=decay, fused=True
        )
    maker = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return maker(weights, settings.lr, weight_decay=decay, fused=True)


def _batches(images: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give mini-batches for training, a last one of a single image left out."""
    for pixels, wanted in zip(torch.split(images, size), torch.split(targets, size), strict=True):
        # Batch normalisation has no variance in a batch of one image.
        if len(pixels) > 1 or len(images) == 1 or size == 1:
            yield pixels, wanted


def _fit_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, Tensor]],
) -> tuple[float, float]:
    network.train()
    losses, hits, count = [], [], 0
    for pixels, wanted in batches:
        logits = network(scaled(pixels))
        loss = F.cross_entropy(logits, wanted)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        # Kept as tensors: reading each number at once would stall a GPU at every step.
        losses.append(loss.detach() * len(pixels))
        hits.append(_hits(logits, wanted))
        count += len(pixels)
    return torch.stack(losses).sum().item() / count, torch.stack(hits).sum().item() / count


def _evaluate(network: nn.Module, images: Tensor, targets: Tensor) -> tuple[float, float]:
    network.eval()
    loss = hits = 0.0
    with torch.inference_mode():
        batches = (torch.split(part, EVALUATION_BATCH) for part in (images, targets))
        for pixels, wanted in zip(*batches, strict=True):
            logits = network(scaled(pixels))
            loss += F.cross_entropy(logits, wanted, reduction="sum").item()
            hits += _hits(logits, wanted).item()
    return loss / len(images), hits / len(images)


def _hits(logits: Tensor, targets: Tensor) -> Tensor:
    classes = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return (logits.argmax(dim=1) == classes).sum()


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }


def _require_finite(reached: Epoch, task: str) -> None:
    if not math.isfinite(reached.train_loss) or not math.isfinite(reached.validation_loss):
        raise MedlabelError(
            f"{task}, epoch {reached.epoch}: the loss is no longer finite (training "
            f"{reached.train_loss}, validation {reached.validation_loss}); lower "
            f"student.optimizer.lr."
        )
