"""The small CLIP with a convolutional image tower in place of its ViT.

A module of its own, so that trainings of ViTs need not run again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim import swa_utils

from medlabel import compute
from medlabel.errors import MedlabelError
from medlabel.params import Contrastive
from medlabel.teacher import encoder, five_blocks, trunks
from medlabel.teacher import pretrain as pretraining
from medlabel.teacher.pairs import read
from medlabel.teacher.sources import Source

RESNET = "resnet10t"


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
) -> None:
    """Train a CLIP whose image tower is `settings.image_tower`, no ViT.

    Parameters, errors and training are those of `medlabel.teacher.pretrain.pretrain`.
    """
    where = compute.prepare(device, threads)
    streams, machine = [seed, run], f"{where.type} {threads}"
    state = resume / pretraining._key(sources, settings, size, streams, machine, start)
    pairs = {split: read(sources, split, settings.context_length) for split in ("train", "val")}
    if (held := len(pairs["train"].kinds)) < settings.pairs:
        raise MedlabelError(
            f"pairs: {settings.pairs} given, at most the {held} images of the training splits "
            f"allowed."
        )
    training = _Training(settings, size, seed, run, where, state, start)
    training.run(pairs["train"], pairs["val"])
    for step, folder in folders.items():
        encoder.copy(training.kept(step), folder)
    shutil.rmtree(state)


def model_config(settings: Contrastive, size: int) -> dict[str, Any]:
    """Return the architecture in the words of open_clip's configuration files.

    The ResNet is timm's `RESNET`, averaged over its last maps; the maps of `five_blocks` are
    flattened. One linear layer makes embeddings of either.
    """
    if settings.image_tower == "resnet":
        tower = {"timm_model_name": RESNET, "timm_pool": "avg"}
    else:
        tower = {"timm_model_name": five_blocks.name_of(size), "timm_pool": ""}
    vision = {"image_size": size, **tower, "timm_proj": "linear"}
    return {**pretraining.model_config(settings, size), "vision_cfg": vision}


class _Training(pretraining._Training):
    """A training whose network has the image tower of `model_config`."""

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
        super().__init__(settings, size, seed, run, device, folder, None)
        self.config["model_cfg"] = model_config(settings, size)
        self.model.visual = trunks.build({"source": "open_clip", **self.config}).to(device)
        if start is not None:
            self.model.load_state_dict(encoder.load(start, device).model.state_dict())
        self.optimizer = torch.optim.AdamW(
            pretraining._parameter_groups(self.model, settings.weight_decay),
            betas=pretraining.BETAS,
        )
        average = swa_utils.get_ema_multi_avg_fn(settings.averaging)  # type: ignore[no-untyped-call]
        self.averaged = swa_utils.AveragedModel(self.model, multi_avg_fn=average)
