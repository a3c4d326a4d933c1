"""A small CLIP trained on captioned phantoms or images: a teacher that needs no download."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import pickle
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.optim import swa_utils

from medlabel import compute, files, fingerprint
from medlabel.errors import MedlabelError
from medlabel.params import Contrastive
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed
from medlabel.teacher import encoder
from medlabel.teacher.pairs import Pairs, contrast, positives, read
from medlabel.teacher.sources import Source, learnt_from

logger = logging.getLogger("medlabel")

HEAD_WIDTH = 32
VOCABULARY = 49408  # of open_clip's own tokenizer
MEAN, STD = 0.5, 0.25  # of intensities from 0 to 1, for all channels alike
BETAS = (0.9, 0.98)  # Radford et al. 2021, table 19
HIGHEST_LOGIT_SCALE = 100.0  # Radford et al. 2021, section 2.5
SECONDS_BETWEEN_STATES = 60.0  # a state is four times as large as a network
EVALUATION_BATCH = 256


def pretrain(
    sources: Sequence[Source],
    folders: Mapping[int, Path],
    settings: Contrastive,
    size: int,
    run: int,
    device: str,
    threads: int,
    seed: int,
    resume: Path,
    start: Path | None = None,
    training: type[Training] | None = None,
) -> None:
    """Train a CLIP on the training splits of captioned images and keep it at several steps.

    Parameters
    ----------
    sources
        Captioned images of `size`, none of them volumes.
    folders
        For each step in `settings.checkpoints`, the encoder's folder to write.
    settings
        Architecture and optimisation.
    size
        Edge length of the images in pixels.
    run
        Which of the pretrainings: each has its own initial weights and order of pairs.
    device, threads
        As for `medlabel.compute.prepare`.
    seed
        Root of the initial weights and of the order of the pairs.
    resume
        Folder for the state of a training that was interrupted; emptied at the end. The same
        call goes on from there and ends with the very same weights.
    start
        Folder of an encoder whose weights are gone on from; None starts from random ones.
    training
        Of another image tower than a ViT.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, a caption is too long for `settings.context_length`, a
        batch is larger than the training split, or the loss is no longer finite.

    Notes
    -----
    The image tower sees 8-bit images as they are, at the size at which they were drawn. What is
    kept is the exponential moving average of the weights (Polyak and Juditsky 1992): single steps
    jump between good and bad labels, their average improves from checkpoint to checkpoint. Each
    checkpoint's provenance holds the loss of every step up to it and the accuracy on the
    validation split, each image being labelled with the kind whose captions lie nearest to it.
    """
    where = compute.prepare(device, threads)
    machine = f"{where.type} {threads}"
    key = _key(sources, settings, size, [seed, run], machine, start)
    pairs = {split: read(sources, split, settings.context_length) for split in ("train", "val")}
    if len(pairs["train"].kinds) < settings.pairs:
        raise MedlabelError(
            f"pairs: {settings.pairs} given, at most the {len(pairs['train'].kinds)} images of "
            f"the training splits allowed."
        )
    made = (training or Training)(settings, size, seed, run, where, resume / key, start)
    made.run(pairs["train"], pairs["val"])
    for step, folder in folders.items():
        encoder.move(made.kept(step), folder)
    shutil.rmtree(resume / key)


def model_config(settings: Contrastive, size: int) -> dict[str, Any]:
    """Return the architecture in the words of open_clip's configuration files."""
    return {
        "embed_dim": settings.embed_dim,
        "vision_cfg": {
            "image_size": size,
            "patch_size": settings.patch_size,
            "width": settings.width,
            "head_width": HEAD_WIDTH,
            "layers": settings.image_layers,
        },
        "text_cfg": {
            "context_length": settings.context_length,
            "vocab_size": VOCABULARY,
            "width": settings.width,
            "heads": settings.width // HEAD_WIDTH,
            "layers": settings.text_layers,
        },
    }


def preprocess_config(size: int) -> dict[str, Any]:
    """Return the preprocessing in the words of open_clip's configuration files."""
    return {
        "size": size,
        "mode": "RGB",
        "mean": [MEAN] * 3,
        "std": [STD] * 3,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    }


def learning_rate(step: int, settings: Contrastive) -> float:
    """Return AdamW's rate in step 1, 2, …: linear warm-up, then cosine decay to 0.

    Loshchilov and Hutter 2017 (equation 5) without restarts.
    """
    if step <= settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    last = settings.checkpoints[-1]
    progress = (step - settings.warmup_steps) / max(last - settings.warmup_steps, 1)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def purpose(run: int, *words: str | int) -> tuple[str | int, ...]:
    """Name a random stream of a pretraining; those of the first one lack the number."""
    return ("pretrain", *((run,) if run else ()), *words)


def batch_rows(step: int, count: int, size: int, seed: int, run: int) -> npt.NDArray[np.int64]:
    """Return the rows of the batch of step 1, 2, …: epochs in random order, short rests dropped.

    The order depends on step, seed and run alone, so that nothing of it has to be saved.
    """
    epoch, position = divmod(step - 1, count // size)
    order = stream(seed, *purpose(run, "epoch", epoch)).permutation(count)
    return order[position * size : (position + 1) * size]


class Training:
    """One training: the network, its optimiser, and the folder that holds its state."""

    def __init__(
        self,
        settings: Contrastive,
        size: int,
        seed: int,
        run: int,
        device: torch.device,
        folder: Path,
        start: Path | None,
    ) -> None:
        import open_clip

        torch.manual_seed(torch_seed(seed, *purpose(run, "weights")))
        self.settings = settings
        self.seed, self.number = seed, run
        self.device = device
        self.folder = folder
        self.config = {
            "model_cfg": model_config(settings, size),
            "preprocess_cfg": preprocess_config(size),
        }
        self.model = open_clip.CLIP(**self.config["model_cfg"]).to(device)
        if start is not None:
            self.model.load_state_dict(encoder.load(start, device).model.state_dict())
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, settings.weight_decay), betas=BETAS
        )
        average = swa_utils.get_ema_multi_avg_fn(settings.averaging)  # type: ignore[no-untyped-call]
        self.averaged = swa_utils.AveragedModel(self.model, multi_avg_fn=average)
        self.losses: list[float] = []

    def kept(self, step: int) -> Path:
        """Folder of the encoder after `step` steps."""
        return self.folder / f"step{step:05d}"

    def run(self, train: Pairs, val: Pairs) -> None:
        """Train to the last checkpoint, from where an interrupted training left off."""
        self._restore()
        started, last = len(self.losses), self.settings.checkpoints[-1]
        stored = time.monotonic()
        for step in track(range(started + 1, last + 1), "pretrain", last - started):
            self._step(step, train)
            if step in self.settings.checkpoints:
                accuracy = validation_accuracy(self.averaged.module, val, self.device)
                logger.info(
                    "pretrain: step %d: loss %.3f, validation accuracy %.3f",
                    step,
                    self.losses[-1],
                    accuracy,
                )
                self._keep(step, accuracy)
            if time.monotonic() - stored >= SECONDS_BETWEEN_STATES:
                self._store()
                stored = time.monotonic()

    def _step(self, step: int, train: Pairs) -> None:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.settings)
        rows = torch.from_numpy(
            batch_rows(step, len(train.kinds), self.settings.pairs, self.seed, self.number)
        )
        image, text, scale = self.model(
            _normalised(train.images[rows], self.device), train.tokens[rows].to(self.device)
        )
        right = positives(train, rows, self.settings.positives).to(self.device)
        loss = contrast(image, text, scale, right)
        if not torch.isfinite(loss):
            raise MedlabelError(
                f"pretrain: the loss is {loss.item()} in step {step}; lower "
                f"learning_rate ({self.settings.learning_rate}) or raise warmup_steps "
                f"({self.settings.warmup_steps})."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0.0, math.log(HIGHEST_LOGIT_SCALE))
        self.averaged.update_parameters(self.model)
        self.losses.append(loss.item())

    def _keep(self, step: int, accuracy: float) -> None:
        provenance = {
            "model": "medlabel pretrain",
            "trained_on": learnt_from(self.settings.datasets, drawn=self.settings.phantoms),
            "step": step,
            "settings": _decisive(self.settings),
            "seed": self.seed,
            "run": self.number,
            "losses": self.losses,
            "validation_accuracy": accuracy,
        }
        encoder.save(self.averaged.module, self.config, self.kept(step), provenance)

    def _store(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "losses": self.losses,
        }
        with files.replacing(self.folder / "state.pt") as partial:
            torch.save(state, partial)

    def _restore(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            logger.warning("%s is damaged (%s): training starts anew", path, error)
            return
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.losses = state["losses"]
        logger.info("pretrain: going on after step %d", len(self.losses))


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: gains, biases and the logit scale are left alone, as CLIP does."""
    matrices = [value for value in model.parameters() if value.ndim >= 2]
    others = [value for value in model.parameters() if value.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def validation_accuracy(model: Any, pairs: Pairs, device: torch.device) -> float:
    """Return the share of images that lie nearest to the mean caption of their own kind."""
    model.eval()
    images, texts = [], []
    with torch.inference_mode():
        for first in range(0, len(pairs.kinds), EVALUATION_BATCH):
            rows = slice(first, first + EVALUATION_BATCH)
            batch = _normalised(pairs.images[rows], device)
            images.append(model.encode_image(batch, normalize=True).cpu())
            texts.append(model.encode_text(pairs.tokens[rows].to(device), normalize=True).cpu())
    words = torch.cat(texts)
    kinds = torch.unique(pairs.kinds)
    centres = torch.stack([words[pairs.kinds == kind].mean(dim=0) for kind in kinds])
    cosines = torch.cat(images) @ torch.nn.functional.normalize(centres, dim=1).T
    return float((kinds[cosines.argmax(dim=1)] == pairs.kinds).double().mean())


def _normalised(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    return (images.to(device).float() / 255.0 - MEAN) / STD


def _decisive(settings: Contrastive) -> dict[str, Any]:
    """Return the settings that decide on the weights, as JSON has them; what is usual is left out.

    So that records of earlier versions, which had fewer settings, stay as they are.
    """
    without = {"batch_size", "threads", "precision", "runtime", "pretrainings"}
    return settings.model_dump(mode="json", exclude=without, exclude_defaults=True)


def _key(
    sources: Sequence[Source],
    settings: Contrastive,
    size: int,
    streams: list[int],
    machine: str,
    start: Path | None,
) -> str:
    """Name all that decides on the weights, so that a state never goes on with other inputs."""
    content = {
        "settings": _decisive(settings),
        "size": size,
        "streams": streams,
        "machine": machine,
        "code": fingerprint.of("teacher.pretrain"),
        "versions": [torch.__version__, encoder.open_clip_version()],
        "sources": [
            [one.dataset, files.digest(one.archive), files.digest(one.captions), one.findings]
            for one in sources
        ],
        "start": None if start is None else files.digest(start / encoder.WEIGHTS),
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
