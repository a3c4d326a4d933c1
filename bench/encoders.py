"""What encoders cost: parameters, megabytes, and images a second of processor time, one thread.

Encoders of the studies that params.yaml's section `compared` names are read from data/encoders.
Published ones are built with random weights: what they cost depends on the architecture alone. Of
large ones the rate is left out.

    python bench/encoders.py --out results/bench/encoders.csv
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch

from medlabel import compute, files, layout, params
from medlabel.randomness import stream
from medlabel.teacher import encoder, locked, runtime, tower

EDGE = 28  # of the images, in pixels
ROUNDS = 3
RUNTIME: params.Runtime = "openvino"
OVERLAY = Path("config/encoders.yaml")
# Architectures that its encoders of the hub have, by open_clip's names.
OF_HUB = {"siglip_vit_b_16": "ViT-B-16-SigLIP", "pubmedclip": "ViT-B-32-quickgelu"}
TIMED = ("openai_rn50", "openai_vit_b_32", "openai_vit_b_16", "pubmedclip")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/bench/encoders.csv"))
    parser.add_argument("--images", type=int, default=32, help="images a round")
    options = parser.parse_args()
    compute.prepare("cpu", 1)
    images = stream(0, "encoders").integers(0, 256, (options.images, EDGE, EDGE)).astype(np.uint8)
    found = params.read([Path("params.yaml")])
    rows = [*_ours(found, images), *_published(images)]
    with files.replacing(options.out) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, float_format="%.3f", lineterminator="\n")


def _ours(found: params.Params, images: np.ndarray) -> Iterator[dict[str, Any]]:
    cells = [cell for one in found.compared.values() for cell in found.grids[one.study]]
    for name in dict.fromkeys(str(cell.encoder) for cell in cells):
        loaded = encoder.load(Path(layout.of(found).encoder(name)), torch.device("cpu"))
        model = loaded.model
        of_locked = isinstance(model, locked.Locked)
        seen = model.visual.scales() if of_locked else runtime.ImageSide(model)
        yield _row(name, "its own", model, _rate(seen, images, loaded.manifest.preprocessing))


def _published(images: np.ndarray) -> Iterator[dict[str, Any]]:
    for name, architecture in _architectures().items():
        if name not in TIMED:
            yield _row(name, "random", open_clip.create_model(architecture, device="meta"), None)
            continue
        model = open_clip.create_model(architecture)
        expected = tower.Preprocessing.of(open_clip.get_model_preprocess_cfg(model))
        rate = _rate(runtime.ImageSide(model.eval()), images[:8], expected)
        yield _row(name, "random", model, rate)


def _architectures() -> dict[str, str]:
    """Return open_clip's names of published architectures, by the encoders that have them."""
    found = params.read([Path("params.yaml"), OVERLAY]).encoders
    openais = {
        name: part.model
        for name, part in found.items()
        if isinstance(part, params.Published) and part.pretrained == "openai"
    }
    return openais | OF_HUB


def _rate(network: Any, images: np.ndarray, expected: tower.Preprocessing) -> float:
    """Return images a second of processor time, the best of some rounds after one to warm up."""
    batch = tower.preprocess(images, expected)
    runner = runtime.compiled(network, batch, RUNTIME, "fp32", 1)
    runner.compute(batch)
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        runner.compute(tower.preprocess(images, expected))
        seconds.append(time.process_time() - started)
    return len(images) / min(seconds)


def _row(name: str, weights: str, model: torch.nn.Module, rate: float | None) -> dict[str, Any]:
    values = model.state_dict().values()
    return {
        "encoder": name,
        "parameters": sum(one.numel() for one in values),
        "megabytes": sum(one.numel() * one.element_size() for one in values) / 1e6,
        "images_per_cpu_second": rate,
        "weights": weights,
        "processor": compute.processor(torch.device("cpu"), 1),
    }


if __name__ == "__main__":
    main()
