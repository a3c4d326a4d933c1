"""One model for many sets: a network on pixels, or a linear layer on frozen embeddings."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import pickle
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel import compute, files
from medlabel.data.many_sets import Numbering
from medlabel.errors import MedlabelError
from medlabel.evaluate import many_sets as evaluation
from medlabel.evaluate.many_sets import Answers
from medlabel.networks import registry
from medlabel.params import Learner, ManySets, Params, TrainingSettings
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed
from medlabel.training import schedule
from medlabel.training.inputs import Inputs
from medlabel.training.optimizer import Optimizer

logger = logging.getLogger("medlabel")

JUDGED_AT_ONCE = 512  # images: bounds memory only
PURPOSE = "many sets"


@dataclass(frozen=True)
class Examples:
    """Images of one split with what is to be answered.

    Attributes
    ----------
    images
        A row each: dataset, split and row.
    seen
        Pixels, uint8 (n, H, W, C); or embeddings, float32 (n, dimension).
    classes
        Shared classes, int64 (n,).
    labels
        Of multi-label sets, float32 (n, L), NaN where an image has none.
    """

    images: pd.DataFrame
    seen: Tensor
    classes: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached: mean losses, and validation's AUC and accuracy over all sets.

    Epochs count from 1; the learning rate is that of the last step.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    val_loss: float
    val_auc: float
    val_accuracy: float


@dataclass
class Reached:
    """How far a training has come; `best` is the epoch whose `weights` are kept, 0 before any."""

    curve: list[Epoch] = field(default_factory=list)
    best: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


def image_weights(learner: Learner, sets: npt.NDArray[np.str_]) -> npt.NDArray[np.float64]:
    """Weigh training images, (n,) with mean 1, so that sets count as a model wants it.

    Parameters
    ----------
    learner
        `balance` and `weights`.
    sets
        Name of each image's set, (n,).
    """
    if learner.balance == "none":
        return np.ones(len(sets))
    names, places, counts = np.unique(sets, return_inverse=True, return_counts=True)
    wanted = np.array([learner.weights.get(str(name), 1.0) for name in names])
    weights = (wanted / counts)[places]
    scaled: npt.NDArray[np.float64] = weights / weights.mean()
    return scaled


def loss(outputs: Tensor, classes: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean loss of images.

    Each has the cross-entropy of its shared class; one of a multi-label set besides the binary
    cross-entropy of its labels, a mean over them, which moves its own outputs alone.

    Parameters
    ----------
    outputs
        Logits, float32 (n, K + L): shared classes, then labels of multi-label sets.
    classes
        int64 (n,).
    labels
        float32 (n, L), NaN where an image has none.
    weights
        float32 (n,); None weighs images alike.
    """
    parts = [outputs.shape[1] - labels.shape[1], labels.shape[1]]
    shared, own = torch.split(outputs, parts, dim=1)
    losses = F.cross_entropy(shared, classes, reduction="none")
    if labels.shape[1]:
        known = ~labels.isnan()
        each = F.binary_cross_entropy_with_logits(own, labels.nan_to_num(), reduction="none")
        losses = losses + (each * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
    return losses.mean() if weights is None else (losses * weights).mean()


def _as_training(params: Params, many: ManySets, learner: Learner) -> TrainingSettings:
    """Return what shapes a network and the way of images into it."""
    return TrainingSettings(
        seed=params.seed,
        mixture=many.mixture,
        dataset=None,
        size=many.size,
        labelling=None,
        network=params.networks.get(str(learner.network), str(learner.network)),
        recipe=params.recipes[learner.recipe],
    )


class Training:
    """One model, its recipe, and the way of images into it."""

    def __init__(
        self,
        params: Params,
        name: str,
        model: str,
        numbering: Numbering,
        train: Examples,
        device: torch.device,
    ) -> None:
        """Build the model with random weights."""
        many = params.many_sets[name]
        self.named, self.seed, self.device = f"{name}/{model}", params.seed, device
        self.learner, self.numbering = many.models[model], numbering
        self.recipe = params.recipes[self.learner.recipe]
        self.precision = compute.choose_precision(self.recipe.precision, device)
        outputs = len(numbering.classes) + len(numbering.labels)
        torch.manual_seed(torch_seed(self.seed, PURPOSE, "weights", self.named))
        self.inputs: Inputs | None = None
        if self.learner.network is None:
            self.network: nn.Module = nn.Linear(train.seen.shape[1], outputs)
        else:
            settings = _as_training(params, many, self.learner)
            self.inputs = Inputs(settings)
            self.network = registry.build(
                settings.network,
                volumetric=False,
                channels=self.recipe.channels,
                outputs=outputs,
                size=settings.edge,
                stem=self.recipe.stem,
            )
        self.network.to(device)
        # Images are channels-last; with kernels so too, a CPU trains in two thirds of the time.
        nn.utils.convert_conv2d_weight_memory_format(self.network, torch.channels_last)
        self.optimizer = Optimizer(self.network.parameters(), self.recipe)
        self.weights = image_weights(self.learner, train.images["dataset"].to_numpy(str))
        self.reached = Reached()

    def fit(self, examples: Mapping[str, Examples], resume: Path, content: list[Any]) -> Reached:
        """Train all epochs, from where an earlier run of equal `content` left off.

        The network ends with the weights of its best epoch on the validation images, by the AUC or
        the loss, as the recipe selects.

        Raises
        ------
        MedlabelError
            When a loss is no longer finite.
        """
        identity = hashlib.sha256(
            json.dumps([content, self.precision], sort_keys=True).encode()
        ).hexdigest()
        self._restore(resume, identity)
        while len(self.reached.curve) < self.recipe.epochs:
            started = time.perf_counter()
            self._epoch(examples["train"], examples["val"])
            now = self.reached.curve[-1]
            logger.info(
                "%s: epoch %d of %d: loss %.4f, validation loss %.4f and AUC %.4f, best %d, %.1f s",
                self.named,
                now.epoch,
                self.recipe.epochs,
                now.train_loss,
                now.val_loss,
                now.val_auc,
                self.reached.best,
                time.perf_counter() - started,
            )
            self._store(resume, identity)
        self.network.load_state_dict(self.reached.weights)
        return self.reached

    def _epoch(self, train: Examples, val: Examples) -> None:
        number = len(self.reached.curve) + 1
        torch.manual_seed(torch_seed(self.seed, PURPOSE, "dropout", self.named, number))
        if self.inputs is not None:
            self.inputs.reseed(torch_seed(self.seed, PURPOSE, "inputs", self.named, number))
        batches = self._batches(len(train.classes), number)
        by_loss = self.learner.balance == "loss"
        weights = torch.from_numpy(self.weights.astype(np.float32)).to(self.device)
        self.network.train()
        rate, sums, images = self.recipe.learning_rate, [], 0
        for step, rows in enumerate(track(batches, f"{self.named}, epoch {number}", len(batches))):
            rate = schedule.learning_rate(
                self.recipe, (number - 1) * len(batches) + step, len(batches)
            )
            seen = train.seen[rows]
            if self.inputs is not None:
                seen = self.inputs.training(seen)
            with self._arithmetic():
                outputs = self.network(seen).float()
            measured = loss(
                outputs, train.classes[rows], train.labels[rows], weights[rows] if by_loss else None
            )
            torch.autograd.backward(measured)
            self.optimizer.step(rate)
            sums.append(measured.detach() * len(rows))
            images += len(rows)
        self._judge(val, rate, torch.stack(sums).sum().item() / images)

    def _batches(self, images: int, epoch: int) -> list[Tensor]:
        """Give the rows of each batch of an epoch; a last batch of a single image is left out.

        Batch normalisation has no variance in a batch of one image.
        """
        random = stream(self.seed, PURPOSE, "order", self.named, epoch)
        if self.learner.balance == "sampling":
            chances = self.weights / self.weights.sum()
            order = random.choice(images, images, p=chances)
        else:
            order = random.permutation(images)
        parts = torch.split(torch.from_numpy(order).to(self.device), self.recipe.batch_size)
        return [part for part in parts if len(part) > 1]

    def _judge(self, val: Examples, rate: float, train_loss: float) -> None:
        outputs = self.outputs(val)
        val_loss = loss(outputs, val.classes, val.labels).item()
        epoch = len(self.reached.curve) + 1
        if not math.isfinite(train_loss) or not math.isfinite(val_loss):
            raise MedlabelError(
                f"many_sets {self.named}, epoch {epoch}: the loss is no longer finite (training "
                f"{train_loss}, validation {val_loss}); lower learning_rate "
                f"({self.recipe.learning_rate}) in recipes.{self.learner.recipe}."
            )
        found = evaluation.overall(self._told(val, outputs), self.numbering)
        auc, accuracy = float(found["auc"]), float(found["accuracy"])
        self.reached.curve.append(Epoch(epoch, rate, train_loss, val_loss, auc, accuracy))
        if self._is_best():
            self.reached.best = epoch
            self.reached.weights = {
                name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
                for name, value in self.network.state_dict().items()
            }

    def _is_best(self) -> bool:
        if not self.reached.best:
            return True
        now, before = self.reached.curve[-1], self.reached.curve[self.reached.best - 1]
        if self.recipe.select == "auc":
            return now.val_auc > before.val_auc
        return now.val_loss < before.val_loss

    def outputs(self, examples: Examples) -> Tensor:
        """Return logits, float32 (n, K + L)."""
        self.network.eval()
        with torch.inference_mode(), self._arithmetic():
            parts = (
                part if self.inputs is None else self.inputs.judging(part)
                for part in torch.split(examples.seen, JUDGED_AT_ONCE)
            )
            return torch.cat([self.network(part).float() for part in parts])

    def answers(self, examples: Examples) -> Answers:
        """Return what the model says of images."""
        return self._told(examples, self.outputs(examples))

    def _told(self, examples: Examples, outputs: Tensor) -> Answers:
        parts = [len(self.numbering.classes), len(self.numbering.labels)]
        shared, own = torch.split(outputs, parts, dim=1)
        return Answers(
            examples.images,
            examples.classes.cpu().numpy(),
            examples.labels.cpu().numpy(),
            shared.softmax(dim=1).cpu().numpy(),
            own.sigmoid().cpu().numpy(),
        )

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _store(self, path: Path, identity: str) -> None:
        state = {
            "identity": identity,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "curve": [asdict(epoch) for epoch in self.reached.curve],
            "best": self.reached.best,
            "weights": self.reached.weights,
        }
        with files.replacing(path) as partial:
            torch.save(state, partial)

    def _restore(self, path: Path, identity: str) -> None:
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            logger.warning("%s is damaged (%s): training starts anew", path, error)
            return
        if state["identity"] != identity:
            logger.info("%s belongs to other settings or code: training starts anew", path)
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        weights = {name: value.cpu() for name, value in state["weights"].items()}
        curve = [Epoch(**epoch) for epoch in state["curve"]]
        self.reached = Reached(curve, state["best"], weights)
        logger.info("%s: going on after epoch %d", self.named, len(curve))
