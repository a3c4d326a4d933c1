"""The one training loop: resident images, selection by loss or AUC, patience, resume."""

from __future__ import annotations

import logging
import math
import pickle
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medlabel import files
from medlabel.data.catalogue import is_multi_label
from medlabel.errors import MedlabelError
from medlabel.evaluate import scores
from medlabel.params import Recipe
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed
from medlabel.training import losses, mixup, schedule
from medlabel.training.inputs import Inputs
from medlabel.training.optimizer import Optimizer

logger = logging.getLogger("medlabel")

EVALUATION_BATCH = {True: 64, False: 512}  # volumes, images: bounds memory only
Batch = tuple[Tensor, Tensor, Tensor | None]


@dataclass(frozen=True)
class Images:
    """Images with what is to be answered, resident on the device that trains on them.

    Attributes
    ----------
    pixels
        uint8 of shape (n, H, W, 1 or 3) or (n, D, H, W).
    targets
        Classes, int64 (n,); probabilities, float32 (n, classes); or of a multi-label task 0 and 1,
        float32 (n, labels).
    importance
        Weights of the images in the loss, float32 (n,) of mean 1; None weighs them alike.
    """

    pixels: Tensor
    targets: Tensor
    importance: Tensor | None = None


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached; losses are means over images, accuracies fractions.

    Epochs count from 1; the learning rate is that of the last step. Training's values are running
    means over batches, augmentation and dropout on, as the weights moved; validation's are of after
    the epoch, the AUC NaN where a class is absent.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_auc: float
    val_accuracy: float


@dataclass
class Progress:
    """How far a training has come.

    Attributes
    ----------
    best
        The epoch whose weights are kept; 0 before any.
    weights
        True copies of the network's parameters and buffers after it, on the CPU. (A reference, as
        the published 3-D script kept, would follow the training to its last epoch.)
    seconds
        Wall clock of the epochs trained by this process.
    """

    curve: list[Epoch] = field(default_factory=list)
    best: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Identity:
    """What names a training, seeds it and tells its checkpoint from others.

    Random streams depend on seed and repeat. The checkpoint, if any, is the file of the state after
    the last finished epoch; one of another fingerprint is not taken up.
    """

    name: str
    seed: int
    repeat: int
    checkpoint: Path | None
    fingerprint: str


class Training:
    """One training: a network, its recipe and how far it has come."""

    def __init__(
        self,
        network: nn.Module,
        inputs: Inputs,
        task: str,
        precision: str,
        identity: Identity,
        teacher: nn.Module | None = None,
    ) -> None:
        """Set up a training.

        Parameters
        ----------
        network
            On the device to train on. Its dropout draws from torch's global generator.
        inputs
            Turns images as read into what the network sees; holds the recipe.
        task
            MedMNIST's, which decides the loss.
        precision
            ``"fp32"`` or ``"bf16"``, of the network; weights, loss and update stay float32.
        identity
            Name, seeds and checkpoint.
        teacher
            On the same device: learned from beside the labels, where the recipe distils.
        """
        self.network = network
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self.inputs = inputs
        self.recipe: Recipe = inputs.recipe
        self.task = task
        self.precision = precision
        self.identity = identity
        self.device = next(network.parameters()).device
        # Images are channels-last already; with kernels so too, a CPU trains small networks in two
        # thirds of the time.
        nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        self.optimizer = Optimizer(network.parameters(), self.recipe)
        self.random = torch.Generator().manual_seed(
            torch_seed(identity.seed, "student", "order", identity.repeat)
        )
        self.reached = Progress()

    def fit(self, train: Images, val: Images, weights: Tensor | None = None) -> Progress:
        """Train until the last epoch, or until patience ends, from where an earlier run left off.

        The network ends with the weights of its best epoch.

        Parameters
        ----------
        train, val
            What to learn from, and what to choose the epoch by.
        weights
            Of the classes, as `losses.class_weights` gives them; None weighs images alike.

        Raises
        ------
        MedlabelError
            When a loss is no longer finite; the checkpoint of the epoch before stays.
        """
        self._restore()
        recipe = self.recipe
        measure = losses.Loss(self.task, weights, recipe.label_smoothing, recipe.robustness)
        steps = schedule.steps_per_epoch(recipe, train.targets)
        ready = self.inputs.training(train.pixels) if self.inputs.fixed(train.pixels) else None
        judged = self.inputs.judging(val.pixels) if self.inputs.fixed(val.pixels) else None
        while not self._done():
            started = time.perf_counter()
            epoch = len(self.reached.curve) + 1
            batches = self._batches(train, ready, epoch)
            if self.identity.checkpoint is not None:
                batches = track(batches, f"{self.identity.name}, epoch {epoch}", steps)
            rate, loss, accuracy = self._train(batches, epoch, steps, measure)
            self._judge(Images(val.pixels, val.targets), judged, rate, loss, accuracy)
            self.reached.seconds += time.perf_counter() - started
            self._tell(time.perf_counter() - started)
            self._store()
        self.network.load_state_dict(self.reached.weights)
        return self.reached

    def _done(self) -> bool:
        epochs, patience = len(self.reached.curve), self.recipe.patience
        waited = epochs - self.reached.best
        return epochs >= self.recipe.epochs or (patience is not None and waited >= patience)

    def _batches(self, train: Images, ready: Tensor | None, epoch: int) -> Iterator[Batch]:
        """Give what the network sees of each batch of an epoch, and what it should answer."""
        identity = self.identity
        self.inputs.reseed(torch_seed(identity.seed, "training", "inputs", identity.repeat, epoch))
        order = schedule.order(self.recipe, train.targets, self.random).to(train.pixels.device)
        size = self.recipe.batch_size
        seen = torch.split(order if ready is None else ready[order], size)
        wanted = torch.split(train.targets[order], size)
        weights: Iterable[Tensor | None] = (
            repeat(None, len(seen))
            if train.importance is None
            else torch.split(train.importance[order], size)
        )
        for part, targets, importance in zip(seen, wanted, weights, strict=True):
            if len(targets) > 1 or len(order) == 1 or size == 1:
                images = self.inputs.training(train.pixels[part]) if ready is None else part
                yield images, targets, importance

    def _train(
        self, batches: Iterable[Batch], epoch: int, steps: int, measure: losses.Loss
    ) -> tuple[float, float, float]:
        """Go through one epoch; return the last rate, the mean loss and the accuracy."""
        self.network.train()
        alpha, identity = self.recipe.mixup, self.identity
        random = stream(identity.seed, "mixup", identity.repeat, epoch)
        rate, sums, told = self.recipe.learning_rate, [], []
        for step, (seen, wanted, importance) in enumerate(batches):
            rate = schedule.learning_rate(self.recipe, (epoch - 1) * steps + step, steps)
            pairs = mixup.Pairs.draw(alpha, len(wanted), random) if alpha else None
            shown = seen if pairs is None else pairs.images(seen)
            with self._arithmetic():
                logits = self.network(shown).float()
            loss = (
                measure(logits, wanted, importance)
                if pairs is None
                else pairs.loss(measure, logits, wanted, importance)
            )
            loss = self._distilled(loss, logits, shown)
            torch.autograd.backward(loss)
            self.optimizer.step(rate)
            # Kept as tensors: reading each number at once would stall a GPU at every step.
            sums.append(loss.detach() * len(wanted))
            told.append((logits.detach(), wanted))
        answers, targets = (torch.cat(parts) for parts in zip(*told, strict=True))
        hits = losses.hits(self.task, answers, targets).item()
        return rate, torch.stack(sums).sum().item() / len(targets), hits / len(targets)

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
        followed = losses.following(self.task, logits, answers)
        return (1 - distillation.part) * loss + distillation.part * followed

    def _judge(
        self, val: Images, ready: Tensor | None, rate: float, loss: float, accuracy: float
    ) -> None:
        """Judge the validation images, and keep the weights if they are the best so far."""
        epoch = len(self.reached.curve) + 1
        logits = self.logits(val.pixels, ready)
        val_loss = losses.Loss(self.task)(logits, val.targets).item()
        if not math.isfinite(loss) or not math.isfinite(val_loss):
            raise self._diverged(epoch, loss, val_loss)
        hits = losses.hits(self.task, logits, val.targets).item() / len(logits)
        auc = _auc(self.task, val.targets, logits)
        self.reached.curve.append(Epoch(epoch, rate, loss, accuracy, val_loss, auc, hits))
        if self._is_best():
            self.reached.best = epoch
            self.reached.weights = _copy(self.network)

    def _is_best(self) -> bool:
        if not self.reached.best:
            return True
        now, before = self.reached.curve[-1], self.reached.curve[self.reached.best - 1]
        if self.recipe.select == "auc":
            return now.val_auc > before.val_auc
        return now.val_loss < before.val_loss

    def _tell(self, seconds: float) -> None:
        if self.identity.checkpoint is None:
            return
        now = self.reached.curve[-1]
        logger.info(
            "%s: epoch %d of %d: loss %.4f, validation loss %.4f and AUC %.4f, best %d, %.1f s",
            self.identity.name,
            now.epoch,
            self.recipe.epochs,
            now.train_loss,
            now.val_loss,
            now.val_auc,
            self.reached.best,
            seconds,
        )

    def _diverged(self, epoch: int, loss: float, val_loss: float) -> MedlabelError:
        kept = self.identity.checkpoint if epoch > 1 else None
        state = f" The state after epoch {epoch - 1} is kept in {kept}." if kept else ""
        return MedlabelError(
            f"{self.identity.name}, epoch {epoch}: the loss is no longer finite (training {loss}, "
            f"validation {val_loss}); lower learning_rate ({self.recipe.learning_rate}) in the "
            f"recipe.{state}"
        )

    def logits(self, pixels: Tensor, ready: Tensor | None = None) -> Tensor:
        """Return the network's answers, float32 (n, outputs); averaged over mirror images if asked.

        Pixels are uint8 as read; `ready` is what the network sees of them, where that is known.
        """
        self.network.eval()
        size = EVALUATION_BATCH[self.inputs.volumetric]
        with torch.inference_mode(), self._arithmetic():
            parts = (
                map(self.inputs.judging, torch.split(pixels, size))
                if ready is None
                else torch.split(ready, size)
            )
            return torch.cat([self._answers(seen) for seen in parts])

    def _answers(self, seen: Tensor) -> Tensor:
        if not self.recipe.test_time_flips:
            answers: Tensor = self.network(seen).float()
            return answers
        views = [seen, *(seen.flip(axis) for axis in range(2, seen.ndim))]
        return torch.stack([self.network(view).float() for view in views]).mean(dim=0)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _store(self) -> None:
        if self.identity.checkpoint is None:
            return
        state = {
            "fingerprint": self.identity.fingerprint,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "curve": [asdict(epoch) for epoch in self.reached.curve],
            "best": self.reached.best,
            "weights": self.reached.weights,
            "order": self.random.get_state(),
            "dropout": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["dropout_cuda"] = torch.cuda.get_rng_state(self.device)
        with files.replacing(self.identity.checkpoint) as partial:
            torch.save(state, partial)

    def _restore(self) -> None:
        path = self.identity.checkpoint
        if path is None or not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            logger.warning("%s is damaged (%s): training starts anew", path, error)
            return
        if state["fingerprint"] != self.identity.fingerprint:
            logger.info("%s belongs to other settings or code: training starts anew", path)
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        curve = [Epoch(**epoch) for epoch in state["curve"]]
        weights = {name: value.cpu() for name, value in state["weights"].items()}
        self.reached = Progress(curve, state["best"], weights)
        self.random.set_state(state["order"].cpu())
        torch.set_rng_state(state["dropout"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["dropout_cuda"].cpu(), self.device)
        logger.info("%s: going on after epoch %d", self.identity.name, len(curve))


def _auc(task: str, targets: Tensor, logits: Tensor) -> float:
    labels = targets.cpu()
    if not is_multi_label(task):
        labels = (labels if labels.ndim == 1 else labels.argmax(dim=1))[:, None]
    found = losses.probabilities(task, logits)
    return scores.score(task, labels.long().numpy(), found)["auc"]


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
