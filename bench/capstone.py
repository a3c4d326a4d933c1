"""The capstone's teacher in full size: OpenAI's ViT-L/14, adopted from its own file, embeds.

The weights are random, so that no label is worth anything; the file is laid out as OpenAI's
`ViT-L-14.pt` is, and has its size. The images are real: of PneumoniaMNIST and BreastMNIST, half of
each. `medlabel adopt` and `medlabel embed` run as commands, in float32. The plain loop is what one
writes first: open_clip reads the same file by its own reader, and its transform prepares one image
after the other. Each is a process of its own, whose start counts and whose memory is measured.

    MEDLABEL_MIRROR=/folder/with/medmnist python bench/capstone.py --out results/bench/capstone.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from medlabel import compute, files, layout
from medlabel.data import archive, mixtures, vectors

MODEL = "ViT-L-14-quickgelu"
OVERLAY = Path("config/capstone.yaml")
ENCODER, IMAGES = "openai_vit_l_14", "measured"
DATASETS = {"chest": "pneumoniamnist", "breast": "breastmnist"}
ROLES = {"train": ["train"], "test": ["val", "test"]}
BATCH = 16
MB = 1_000_000


def main() -> None:
    """Measure, print and write; or be the plain loop."""
    options = _options()
    if options.loop:
        torch.set_num_threads(options.threads)
        np.save(options.out, plain_loop(options.loop, options.plain))
        return
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(options, Path(scratch))
    print(json.dumps(report, indent=2))
    if options.out:
        files.write_json(options.out, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--images", type=int, default=500, help="embedded, a multiple of 4")
    parser.add_argument("--plain", type=int, default=500, help="images of the plain loop at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runtime", choices=["torch", "openvino"], default="torch")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Compare medlabel with the plain loop; both read the same file of weights."""
    weights = scratch / "ViT-L-14.pt"
    write_archive(MODEL, weights)
    overlays = [OVERLAY, scratch / "overlay.yaml"]
    overlays[1].write_text(yaml.safe_dump(overlay(options, scratch, weights)))
    for dataset in DATASETS.values():
        medlabel(overlays, "fetch", dataset)
    medlabel(overlays, "pool", IMAGES)
    adopted = medlabel(overlays, "adopt", ENCODER)
    embedded = medlabel(overlays, "embed", IMAGES, ENCODER, "--threads", str(options.threads))
    loop = [sys.executable, __file__, "--loop", str(scratch), "--plain", str(options.plain)]
    loop += ["--threads", str(options.threads), "--out", str(scratch / "plain.npy")]
    plain = cost(loop)
    path, table = embeddings(scratch)
    seen = spread(table, options.plain)
    difference = vectors.read_embeddings(path, ENCODER, seen) - np.load(scratch / "plain.npy")
    return {
        "processor": compute.processor(torch.device("cpu"), options.threads),
        "threads": options.threads,
        "model": MODEL,
        "runtime": options.runtime,
        "file_megabytes": weights.stat().st_size / MB,
        "adopt": adopted,
        "embed": embedded | _rate(len(table), embedded),
        "plain": plain | _rate(len(seen), plain),
        "largest_difference": float(np.abs(difference).max()),
    }


def _rate(images: int, spent: dict[str, float]) -> dict[str, float]:
    return {
        "images": images,
        "images_per_second": images / spent["seconds"],
        "images_per_cpu_second": images / spent["cpu_seconds"],
    }


def write_archive(name: str, path: Path) -> None:
    """Write a network of open_clip with random weights as OpenAI lays its own files out.

    A TorchScript archive of a module that holds the weights by their names, those of linear layers
    and convolutions in half precision, with three numbers about the network among them.
    """
    import open_clip
    from open_clip.model import convert_weights_to_fp16

    torch.manual_seed(0)
    config = open_clip.get_model_config(name)
    network = open_clip.CLIP(**config)
    convert_weights_to_fp16(network)
    numbers = {
        "input_resolution": config["vision_cfg"]["image_size"],
        "context_length": network.context_length,
        "vocab_size": network.vocab_size,
    }
    root = torch.nn.Module()
    for key, value in {**network.state_dict(), **numbers}.items():
        *parents, last = key.split(".")
        place = root
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, torch.nn.Module())
            place = getattr(place, parent)
        place.register_buffer(last, torch.as_tensor(value))
    torch.jit.save(torch.jit.script(root), path)


def overlay(options: argparse.Namespace, scratch: Path, weights: Path) -> dict[str, Any]:
    """Return parameters that have the images and the encoder of `options` in a folder."""
    share = options.images // (len(DATASETS) * len(ROLES))
    classes = [
        {
            "name": name,
            "dataset": dataset,
            **{role: {"splits": splits, "count": share} for role, splits in ROLES.items()},
        }
        for name, dataset in DATASETS.items()
    ]
    encoder = {
        "kind": "openai",
        "model": MODEL,
        "pretrained": str(weights),
        "batch_size": BATCH,
        "threads": options.threads,
        "precision": "fp32",
        "runtime": options.runtime,
    }
    return {
        "folders": {"data": str(scratch / "data"), "results": str(scratch / "results")},
        "mixtures": {IMAGES: {"extends": "breast_pneumonia", "pool": share, "classes": classes}},
        "encoders": {ENCODER: encoder},
        "studies": {IMAGES: {"title": "Measured", "extends": "capstone", "images": IMAGES}},
    }


def medlabel(overlays: list[Path], *command: str) -> dict[str, float]:
    """Run one of the package's commands; return what it cost."""
    given = [word for path in overlays for word in ("--overlay", str(path))]
    return cost([sys.executable, "-m", "medlabel", *given, *command])


def cost(command: list[str]) -> dict[str, float]:
    """Run a command; return seconds, those of processors, and its most memory."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(code)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_megabytes": usage.ru_maxrss * 1024 / MB,
    }


def embeddings(scratch: Path) -> tuple[Path, pd.DataFrame]:
    """Return the file that medlabel wrote, and its table of images."""
    path = Path(layout.Layout(str(scratch / "data"), "").embeddings(IMAGES, ENCODER))
    return path, pd.read_parquet(path, columns=mixtures.IMAGE)


def spread(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return rows from all over a table, so many at most."""
    return table.iloc[np.linspace(0, len(table) - 1, min(count, len(table))).astype(int)]


def plain_loop(scratch: Path, count: int) -> np.ndarray:
    """Embed images of the table with open_clip alone."""
    from open_clip.openai import load_openai_model
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    model: Any = load_openai_model(str(scratch / "ViT-L-14.pt"), "fp32", "cpu")
    transform = image_transform_v2(PreprocessCfg(size=model.visual.image_size), is_train=False)
    data = layout.Layout(str(scratch / "data"), "")
    chosen = spread(embeddings(scratch)[1], count)
    sources = {
        name: archive.read(Path(data.archive(name, 28)), name, 28) for name in DATASETS.values()
    }
    rows = []
    with torch.no_grad():
        for first in range(0, len(chosen), BATCH):
            images = [
                transform(Image.fromarray(sources[one.dataset].images[one.split][one.row]))
                for one in chosen.iloc[first : first + BATCH].itertuples()
            ]
            rows.append(model.encode_image(torch.stack(images), normalize=True).numpy())
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
