"""The one training loop of all benchmarks: resident data, resumed after any epoch."""

from __future__ import annotations

import logging
import math
import pickle
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel import files
from medlabel.benchmark.inputs import Images, Inputs
from medlabel.errors import MedlabelError
from medlabel.evaluate import classification
from medlabel.params import Recipe
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed
from medlabel.teacher.embed import Precision

logger = logging.getLogger("medlabel")

EVALUATION_BATCH = 64  # images: bounds memory only, no result depends on it


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached.

    Attributes
    ----------
    epoch
        Counted from 1.
    learning_rate
        At its last step.
    train_loss
        Mean over its steps as the weights moved, augmentation and dropout on.
    val_loss, val_auc, val_accuracy
        Of the validation split after it.
    seconds
        Wall clock, validation included.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    val_loss: float
    val_auc: float
    val_accuracy: float
    seconds: float


@dataclass
class Progress:
    """How far a training has come.

    Attributes
    ----------
    curve
        One entry a finished epoch.
    best
        The first epoch of the highest validation AUC; 0 before any.
    weights
        True copies of the network's parameters and buffers after it, on the CPU. (A reference, as
        the published 3-D script kept, would follow the training to its last epoch.)
    """

    curve: list[Epoch] = field(default_factory=list)
    best: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Identity:
    """What names a training, seeds it and tells its checkpoint from others.

    Attributes
    ----------
    name
        For messages.
    seed, run
        Root of the random streams, and which of the repeats this is.
    checkpoint
        File of the state after the last finished epoch.
    fingerprint
        Of everything that decides the result; a checkpoint of another one is not taken up.
    """

    name: str
    seed: int
    run: int
    checkpoint: Path
    fingerprint: str


class Training:
    """One run: a network, its recipe and how far it has come."""

    def __init__(
        self,
        network: nn.Module,
        inputs: Inputs,
        recipe: Recipe,
        task: str,
        precision: Precision,
        identity: Identity,
        teacher: nn.Module | None = None,
    ) -> None:
        """Set up a training.

        Parameters
        ----------
        network
            On the device to train on.
        inputs
            Turns images as read into what the network sees.
        recipe
            Loss, optimiser, schedule, sampling.
        task
            MedMNIST's, which decides the loss.
        precision
            Arithmetic of the network; weights, loss and update stay float32.
        identity
            Name, seeds and checkpoint.
        teacher
            Trained network whose answers to the same images are learned beside the labels, where
            the recipe distils; on the same device.
        """
        self.network = network
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self.inputs = inputs
        self.recipe = recipe
        self.task = task
        self.precision = precision
        self.identity = identity
        self.device = next(network.parameters()).device
        self.optimizer = _optimizer(network, recipe)
        self.reached = Progress()

    def fit(self, train: Images, val: Images) -> Progress:
        """Train to the last epoch, from where an interrupted training left off.

        The network ends with the weights of its best epoch.

        Raises
        ------
        MedlabelError
            When a loss is no longer finite; the checkpoint of the epoch before stays.
        """
        self._restore()
        steps = steps_per_epoch(train, self.recipe)
        left = (self.recipe.epochs - len(self.reached.curve)) * steps
        weights = class_weights(self.task, train.labels) if self.recipe.class_weights else None
        losses: list[Tensor] = []
        started = time.perf_counter()
        for epoch, step, picked in track(self._batches(train, steps), self.identity.name, left):
            rate = learning_rate(self.recipe, (epoch - 1) * steps + step, steps)
            losses.append(self._step(train, picked, rate, weights))
            if step + 1 == steps:
                self._finish_epoch(rate, torch.stack(losses).mean().item(), val, started)
                losses, started = [], time.perf_counter()
        self.network.load_state_dict(self.reached.weights)
        return self.reached

    def _batches(self, train: Images, steps: int) -> Iterator[tuple[int, int, Tensor]]:
        """Give the epoch, the step within it and the images of each step still to do.

        Every epoch draws from streams of its own, so that nothing has to be remembered of the
        random state to go on as if never interrupted.
        """
        for epoch in range(len(self.reached.curve) + 1, self.recipe.epochs + 1):
            purpose = ("benchmark", "epoch", self.identity.run, epoch)
            torch.manual_seed(torch_seed(self.identity.seed, *purpose, "network"))
            self.inputs.reseed(torch_seed(self.identity.seed, *purpose, "inputs"))
            order = _order(train, self.recipe, stream(self.identity.seed, *purpose, "order"))
            # A last step of one image would leave batch normalisation without a variance.
            batches = torch.split(torch.from_numpy(order), self.recipe.batch_size)
            for step in range(steps):
                yield epoch, step, batches[step].to(train.pixels.device)

    def _step(self, train: Images, picked: Tensor, rate: float, weights: Tensor | None) -> Tensor:
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seen = self.inputs.training(train.pixels[picked])
        with self._arithmetic():
            logits = self.network(seen).float()
        smoothing = self.recipe.label_smoothing
        loss = _loss(self.task, logits, train.labels[picked], weights, smoothing)
        loss = self._distilled(loss, logits, seen)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        # Kept as a tensor: reading each number at once would stall a GPU at every step.
        return loss.detach()

    def _distilled(self, loss: Tensor, logits: Tensor, seen: Tensor) -> Tensor:
        """Mix the loss with that of following the teacher, which sees the same augmented images.

        Hinton et al., Distilling the knowledge in a neural network, 2015, at temperature 1; one
        view for both: Beyer et al., Knowledge distillation: a good teacher is patient and
        consistent, CVPR 2022.
        """
        distillation = self.recipe.distillation
        if self.teacher is None or distillation is None:
            return loss
        with torch.no_grad(), self._arithmetic():
            answers = self.teacher(seen).float()
        followed = following_loss(self.task, logits, answers)
        return (1 - distillation.part) * loss + distillation.part * followed

    def _finish_epoch(self, rate: float, train_loss: float, val: Images, started: float) -> None:
        epoch = len(self.reached.curve) + 1
        logits = self.logits(val.pixels)
        val_loss = _loss(self.task, logits, val.labels, None, 0.0).item()
        if not math.isfinite(train_loss) or not math.isfinite(val_loss):
            raise self._diverged(epoch, train_loss, val_loss)
        judged = probabilities(self.task, logits)
        scores = classification.score(self.task, val.labels.cpu().numpy(), judged)
        auc, accuracy = scores["auc"], scores["accuracy"]
        if not self.reached.best or auc > self.reached.curve[self.reached.best - 1].val_auc:
            self.reached.best = epoch
            self.reached.weights = _copy(self.network)
        seconds = time.perf_counter() - started
        self.reached.curve.append(Epoch(epoch, rate, train_loss, val_loss, auc, accuracy, seconds))
        logger.info(
            "%s: epoch %d of %d: loss %.4f, validation loss %.4f and AUC %.4f, best AUC in epoch "
            "%d, %.1f s",
            self.identity.name,
            epoch,
            self.recipe.epochs,
            train_loss,
            val_loss,
            auc,
            self.reached.best,
            seconds,
        )
        self._store()

    def _diverged(self, epoch: int, train_loss: float, val_loss: float) -> MedlabelError:
        state = f"The state after epoch {epoch - 1} is kept in {self.identity.checkpoint}."
        return MedlabelError(
            f"{self.identity.name}, epoch {epoch}: the loss is no longer finite (training "
            f"{train_loss}, validation {val_loss}); lower learning_rate "
            f"({self.recipe.learning_rate}) in the recipe.{f' {state}' if epoch > 1 else ''}"
        )

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the network's answers, float32 (n, outputs); averaged over mirror images if asked.

        Parameters
        ----------
        pixels
            uint8 images as read.
        """
        self.network.eval()
        with torch.inference_mode(), self._arithmetic():
            return torch.cat([self._judged(part) for part in torch.split(pixels, EVALUATION_BATCH)])

    def _judged(self, pixels: Tensor) -> Tensor:
        seen = self.inputs.judging(pixels)
        axes = range(2, seen.ndim) if self.recipe.test_time_flips else ()
        views = [seen, *(seen.flip(axis) for axis in axes)]
        answers: list[Tensor] = [self.network(view).float() for view in views]
        return torch.stack(answers).mean(dim=0)

    def _arithmetic(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _store(self) -> None:
        state = {
            "fingerprint": self.identity.fingerprint,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "curve": [asdict(epoch) for epoch in self.reached.curve],
            "best": self.reached.best,
            "weights": self.reached.weights,
        }
        with files.replacing(self.identity.checkpoint) as partial:
            torch.save(state, partial)

    def _restore(self) -> None:
        path = self.identity.checkpoint
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            logger.warning("%s is damaged (%s): training starts anew", path, error)
            return
        if state["fingerprint"] != self.identity.fingerprint:
            logger.info("%s belongs to other settings: training starts anew", path)
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        curve = [Epoch(**epoch) for epoch in state["curve"]]
        weights = {name: value.cpu() for name, value in state["weights"].items()}
        self.reached = Progress(curve, state["best"], weights)
        logger.info("%s: going on after epoch %d", self.identity.name, len(curve))


def steps_per_epoch(train: Images, recipe: Recipe) -> int:
    """Return how many updates an epoch makes; a last batch of a single image is left out."""
    images = len(_order(train, recipe, np.random.default_rng(0)))
    full, rest = divmod(images, recipe.batch_size)
    return full + (rest > 1)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the rate of one step, counted from 0, at `steps` steps an epoch.

    Milestones take effect at the start of an epoch, as MedMNIST's protocol has them; warm-up and
    the cosine move at every step.
    """
    total, warm = recipe.epochs * steps, recipe.warmup * recipe.epochs * steps
    if step < warm:
        return recipe.learning_rate * (step + 1) / math.ceil(warm)
    if recipe.schedule == "cosine":
        done = (step - warm) / (total - warm)
        return recipe.learning_rate * (1 + math.cos(math.pi * done)) / 2
    passed = sum(step // steps >= part * recipe.epochs for part in recipe.milestones)
    return float(recipe.learning_rate * recipe.decay**passed)


def class_weights(task: str, labels: Tensor) -> Tensor:
    """Weigh each class by its inverse frequency: n / (classes * n of the class).

    Multi-label: the weight of each label's positives, its negatives over its positives.
    """
    if task.startswith("multi-label"):
        positives = labels.float().sum(dim=0)
        return (len(labels) - positives) / positives
    counts = torch.bincount(labels[:, 0].long()).float()
    return len(labels) / (len(counts) * counts)


def probabilities(task: str, logits: Tensor) -> npt.NDArray[np.float32]:
    """Turn logits into probabilities: of each class, or of each label of a multi-label task."""
    scores = logits.sigmoid() if task.startswith("multi-label") else logits.softmax(dim=1)
    return np.asarray(scores.cpu().numpy(), dtype=np.float32)


def _loss(
    task: str, logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float
) -> Tensor:
    if task.startswith("multi-label"):
        targets = labels.float() * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
    return F.cross_entropy(logits, labels[:, 0].long(), weights, label_smoothing=smoothing)


def following_loss(task: str, logits: Tensor, answers: Tensor) -> Tensor:
    """Return the cross-entropy between a teacher's probabilities and the network's.

    Parameters
    ----------
    task
        MedMNIST's.
    logits, answers
        The network's and the teacher's logits, (n, outputs).
    """
    if task.startswith("multi-label"):
        return F.binary_cross_entropy_with_logits(logits, answers.sigmoid())
    return F.cross_entropy(logits, answers.softmax(dim=1))


def _order(train: Images, recipe: Recipe, random: np.random.Generator) -> npt.NDArray[np.intp]:
    """Give the training images of one epoch in random order.

    Oversampled, each class comes as often as the commonest one: all its images, then random ones
    of them again.
    """
    if recipe.sampling == "shuffled":
        return random.permutation(len(train.pixels))
    classes = train.labels[:, 0].cpu().numpy()
    most = np.bincount(classes).max()
    members = (np.flatnonzero(classes == label) for label in np.unique(classes))
    drawn = [np.append(own, random.choice(own, most - len(own))) for own in members]
    return random.permutation(np.concatenate(drawn))


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # The fused kernels update all parameters in one call.
    weights, rate, decay = network.parameters(), recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            weights, rate, momentum=recipe.momentum, weight_decay=decay, fused=True
        )
    maker = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return maker(weights, rate, weight_decay=decay, fused=True)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in network.state_dict().items()
    }
