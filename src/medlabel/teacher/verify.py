"""Whether an encoder is what its record says, and does here what it did where it was made."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, probe, runtime

logger = logging.getLogger("medlabel")


def verify(folder: Path) -> float:
    """Check an encoder: its checksum, its tensors, and that its probe comes out again.

    Parameters
    ----------
    folder
        As `medlabel.teacher.encoder` writes it.

    Returns
    -------
    float
        The largest difference of the probe's numbers from those that are kept.

    Raises
    ------
    MedlabelError
        When a file is missing or altered, tensors do not fit the configuration, the record has no
        probe, or the probe differs by more than `runtime.TOLERANCE`.
    """
    loaded = encoder.load(folder, torch.device("cpu"))
    path = folder / encoder.PROVENANCE
    kept = files.read_json(path, encoder.MADE_BY).get("probe")
    if kept is None:
        raise MedlabelError(
            f"{path}: expected a probe, found none: the encoder was made by an older version; run "
            f"`medlabel {encoder.MADE_BY}` again."
        )
    found = probe.of(loaded.model, loaded.manifest.config)
    difference = float(np.abs(_numbers(found) - _numbers(kept)).max())
    if difference > runtime.TOLERANCE:
        raise MedlabelError(
            f"{folder}: the probe differs by {difference:.2g} from the one that {path.name} keeps, "
            f"{runtime.TOLERANCE:g} allowed: the libraries here compute another network; install "
            f"the versions of requirements.txt, or make the encoder again."
        )
    logger.info(
        "%s: sha256 %s, %d tensors, embeddings of length %d; probe reproduced within %.1g",
        folder,
        loaded.manifest.weights_sha256,
        len(loaded.model.state_dict()),
        loaded.manifest.dimension,
        difference,
    )
    return difference


def _numbers(content: dict[str, Any]) -> np.ndarray:
    return np.array([*content["image"], *content["text"], content["cosine"]], np.float64)
