"""The small CLIP with a convolutional image tower in place of its ViT.

A module of its own, so that trainings of ViTs need not run again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import swa_utils

from medlabel.params import Contrastive
from medlabel.teacher import encoder, five_blocks, trunks
from medlabel.teacher import pretrain as pretraining

RESNET = "resnet10t"


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


class Training(pretraining.Training):
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
            pretraining.parameter_groups(self.model, settings.weight_decay),
            betas=pretraining.BETAS,
        )
        average = swa_utils.get_ema_multi_avg_fn(settings.averaging)  # type: ignore[no-untyped-call]
        self.averaged = swa_utils.AveragedModel(self.model, multi_avg_fn=average)


# As `medlabel.teacher.pretrain.pretrain`, with `settings.image_tower`, which is no ViT.
pretrain = partial(pretraining.pretrain, training=Training)
