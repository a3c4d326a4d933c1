"""Embedding with ViT-B/32: medlabel by each runtime against the straightforward loop, side by side.

The loop is what one writes first: open_clip's own transform on each image, float32, batches of 64.
All use the same random weights and the same images of 28 pixels. Rounds alternate and medians
are compared, so that other work on the machine hits all alike. Rates are images a second of
processor time (all threads together), and arithmetic as a share of the rate at which this machine
multiplies matrices of the same size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from medlabel import compute, files
from medlabel.randomness import stream
from medlabel.teacher import encoder, runtime, tower, words

MODEL = "ViT-B-32"
BATCH = 64
EDGE = 28
# The yardstick is the first matrix of a block's MLP, (images * 50, 768) x (768, 3072), for so few
# images because a processor without bfloat16 instructions takes a second for each.
YARDSTICK = 8
TOKENS, WIDTH, HIDDEN, BLOCKS = 50, 768, 3072, 12
PATCH = 32
DIMENSION = 512
RUNTIMES = ["torch", *runtime.ENGINES]
SENTENCES = [
    [f"This is a photo of the {organ}, and it's a type of organ"] for organ in ("chest", "breast")
]


def main() -> None:
    """Measure, print and write."""
    options = _options()
    device = compute.prepare("cpu", options.threads)
    images = draw(options.images)
    with TemporaryDirectory() as scratch:
        folder = write_encoder(Path(scratch) / MODEL)
        reference = encoder.load(folder, device)
    transform = image_transform_v2(PreprocessCfg(**reference.model.visual.preprocess_cfg), False)
    precision = compute.choose_precision(options.precision, device)
    expected = reference.manifest.preprocessing
    example = tower.preprocess(images[:BATCH], expected)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "loop": lambda: straightforward(reference.model, transform, images)
    }
    for name in options.runtimes:
        side = runtime.ImageSide(deepcopy(reference.model))
        engine = runtime.choose(name, device)
        runner = runtime.compiled(side, example, engine, precision, options.threads)
        ways[name] = partial(batched, runner, expected, images)
    seconds, found = alternate(ways, options.rounds)
    described = words.class_embeddings(reference, SENTENCES)
    report = summary(seconds, found, described, len(images), precision)
    print(json.dumps(report, indent=2))
    if options.out:
        files.write_json(options.out, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--images", type=int, default=200, help="images a round")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each way")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--precision", choices=["auto", "fp32", "bf16"], default="fp32", help="of the runtimes"
    )
    parser.add_argument(
        "--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES, help="measured beside the loop"
    )
    return parser.parse_args()


def draw(count: int) -> np.ndarray:
    """Return grey blobs, uint8 of shape (count, 28, 28): smooth, as medical images are."""
    rng = stream(0, "bench", "images")
    y, x = np.mgrid[:EDGE, :EDGE][..., None] / EDGE
    centres, widths = rng.random((2, count, 6)), 0.05 + 0.2 * rng.random((count, 6))
    blobs = [
        np.exp(-((x - a) ** 2 + (y - b) ** 2) / w**2).sum(axis=2)
        for a, b, w in zip(*centres, widths, strict=True)
    ]
    return np.stack([255 * blob / blob.max() for blob in blobs]).astype(np.uint8)


def write_encoder(folder: Path) -> Path:
    """Write ViT-B/32 with random weights in an encoder's layout."""
    torch.manual_seed(0)
    model = open_clip.create_model(MODEL, pretrained_text=False).eval()
    config = {
        "model_cfg": open_clip.get_model_config(MODEL),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(model),
    }
    encoder.save(model, config, folder, {"model": MODEL, "pretrained": "random"})
    return folder


def straightforward(model: Any, transform: Callable[..., Any], images: np.ndarray) -> np.ndarray:
    """Embed one image after another through Pillow, in float32 batches."""
    rows = []
    with torch.no_grad():
        for first in range(0, len(images), BATCH):
            batch = torch.stack(
                [transform(Image.fromarray(image)) for image in images[first : first + BATCH]]
            )
            rows.append(model.encode_image(batch, normalize=True).numpy())
    return np.concatenate(rows)


def batched(
    runner: runtime.Runner, expected: tower.Preprocessing, images: np.ndarray
) -> np.ndarray:
    """Embed as `medlabel embed` does."""
    rows = []
    for first in range(0, len(images), BATCH):
        batch = tower.preprocess(images[first : first + BATCH], expected)
        rows.append(runner.embed(batch))
    return np.concatenate(rows)


def alternate(
    ways: dict[str, Callable[[], np.ndarray]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Run all ways in turn, several times; return processor seconds and the last results."""
    matrices = {f"matmul_{name}": _matmul(dtype) for name, dtype in runtime.DTYPES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in (*ways, *matrices)}
    found = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            found[name] = way()
            seconds[name].append(time.process_time() - started)
        for name, multiply in matrices.items():
            started = time.process_time()
            multiply()
            seconds[name].append(time.process_time() - started)
    return seconds, found


def _matmul(dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    tokens = torch.randn(YARDSTICK * TOKENS, WIDTH).to(dtype)
    weights = torch.randn(WIDTH, HIDDEN).to(dtype)
    torch.mm(tokens, weights)  # the first call allocates
    return lambda: torch.mm(tokens, weights)


def arithmetic() -> float:
    """Floating-point operations in the matrix products of ViT-B/32 for one image."""
    patches = TOKENS - 1
    block = TOKENS * WIDTH * (4 * WIDTH + 2 * HIDDEN) + 2 * TOKENS * TOKENS * WIDTH
    return 2.0 * (patches * 3 * PATCH**2 * WIDTH + BLOCKS * block + WIDTH * DIMENSION)


def summary(
    seconds: dict[str, list[float]],
    found: dict[str, np.ndarray],
    described: np.ndarray,
    count: int,
    precision: runtime.Precision,
) -> dict[str, Any]:
    """Compare speed and results."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    product = 2.0 * YARDSTICK * TOKENS * WIDTH * HIDDEN / 1e9
    rates = {name: product / median[f"matmul_{name}"] for name in runtime.DTYPES}
    engines = [name for name in found if name != "loop"]
    cosines = {name: (found["loop"] * found[name]).sum(axis=1) for name in engines}
    labels = {name: (rows @ described.T).argmax(axis=1) for name, rows in found.items()}
    gigaflops = {name: count * arithmetic() / median[name] / 1e9 for name in engines}
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "images": count,
        "rounds": len(seconds["loop"]),
        "images_per_cpu_second": {name: count / median[name] for name in found},
        "ratio": {name: median["loop"] / median[name] for name in engines},
        "gflops": gigaflops,
        "matmul_gflops": rates,
        "share_of_matmul": {name: gigaflops[name] / rates[precision] for name in engines},
        "cosine_min": {name: float(cosines[name].min()) for name in engines},
        "cosine_mean": {name: float(cosines[name].mean()) for name in engines},
        "label_agreement": {
            name: float((labels["loop"] == labels[name]).mean()) for name in engines
        },
    }


if __name__ == "__main__":
    main()
