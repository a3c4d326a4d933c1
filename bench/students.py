"""Thirty students: medlabel's blocks against a plain script that runs anew for each seed.

The plain script is what one writes first: a new process for each seed embeds that seed's images
with open_clip's own transform (Pillow, image by image, float32, batches of 64) and trains the
two-layer network with a DataLoader, one seed after another, on all cores, as torch does by default.
medlabel embeds the pool once, on two threads as its rule does, and trains the seeds, one process a
core and one thread each. Both see the same images, the same labels (13 % of them wrong), the same
number of epochs and steps; imports count. The images are noise in the sizes of PneumoniaMNIST and
BreastMNIST, the encoder a CLIP of the default study's size with random weights unless --encoder
names another. The plain script is run for a few seeds only, and its time is extrapolated linearly:
every seed does the same work.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from medlabel import files, params
from medlabel.data import mixtures
from medlabel.params import Contrastive, Mixture, Trained
from medlabel.randomness import stream

ROOT = Path(__file__).parent.parent
EDGE = 28
BATCH = 64
WRONG = 0.13
COUNTS = {
    "phantom_chest": {"train": 4708, "val": 524, "test": 624},
    "phantom_breast": {"train": 546, "val": 78, "test": 156},
}
NAME, ENCODER = "phantom_bench", "phantom_clip@60"


def main() -> None:
    """Measure, print and write; or be one of the processes that are measured."""
    options = _options()
    if options.part == "plain":
        plain(options.world, options.seed)
    elif options.part == "embed":
        embed_pool(options.world)
    elif options.part == "block":
        train_block(options.world, options.block)
    else:
        compare(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30, help="students that medlabel trains")
    parser.add_argument("--plain-seeds", type=int, default=2, help="runs of the plain script")
    parser.add_argument("--encoder", type=Path, help="an encoder's folder instead of a random one")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes of medlabel")
    parser.add_argument("--part", choices=["plain", "embed", "block"], help=argparse.SUPPRESS)
    parser.add_argument("--block", help=argparse.SUPPRESS)
    parser.add_argument("--world", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(options: argparse.Namespace) -> None:
    """Run both sides as child processes and set their times side by side."""
    with TemporaryDirectory() as scratch:
        world = Path(scratch)
        blocks = blocks_of(options.seeds, options.jobs)
        prepare(world, options.encoder)
        common = [sys.executable, __file__, "--world", str(world)]
        runs = [
            measure([[*common, "--part", "plain", "--seed", str(seed)]])
            for seed in range(options.plain_seeds)
        ]
        embedded = measure([[*common, "--part", "embed"]])
        trained = measure([[*common, "--part", "block", "--block", block] for block in blocks])
    report: dict[str, Any] = {"seeds": options.seeds, "plain_seeds_measured": options.plain_seeds}
    for clock in ("wall", "cpu"):
        each = sum(run[clock] for run in runs) / len(runs)
        report[f"{clock}_seconds"] = {
            "plain_each": each,
            "plain_extrapolated": each * options.seeds,
            "medlabel_embed": embedded[clock],
            "medlabel_train": trained[clock],
        }
        ours = embedded[clock] + trained[clock]
        report[f"{clock}_ratio"] = each * options.seeds / ours
    print(json.dumps(report, indent=2))
    print(
        f"plain script: measured for {options.plain_seeds} seeds and extrapolated linearly to "
        f"{options.seeds}; medlabel: measured for all {options.seeds}."
    )
    if options.out:
        files.write_json(options.out, report)


def blocks_of(seeds: int, jobs: int) -> list[str]:
    """Share the seeds out among processes, as `seeds_per_job` of a recipe does."""
    parts = np.array_split(np.arange(seeds), jobs)
    return [f"{part[0]:04d}-{part[-1]:04d}" for part in parts if len(part)]


def measure(commands: list[list[str]]) -> dict[str, float]:
    """Run commands side by side and return their wall-clock and processor seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    running = [subprocess.Popen(command) for command in commands]
    if any(process.wait() for process in running):
        sys.exit("a process of the benchmark failed")
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}


def prepare(world: Path, encoder: Path | None) -> None:
    """Write what both sides read: archives, pool, labels and an encoder."""
    rng = stream(0, "bench", "students")
    for label, (dataset, counts) in enumerate(COUNTS.items()):
        arrays = {}
        for split, count in counts.items():
            noise = rng.integers(0, 200, size=(count, EDGE, EDGE)) + 50 * label
            arrays[f"{split}_images"] = noise.astype(np.uint8)
            arrays[f"{split}_labels"] = np.zeros((count, 1), np.uint8)
        files.write_npz(world / f"{dataset}.npz", arrays)
    mixtures.write_pool(NAME, mixture(), archives(world), world / "pool.parquet", 0)
    table = mixtures.read_pool(world / "pool.parquet")
    names = mixture().class_names
    truth = table["class"].map(names.index).to_numpy()
    given = truth ^ (rng.random(len(table)) < WRONG)
    table = table.assign(label=truth.astype(np.int8), pseudolabel=given.astype(np.int8))
    for label, name in enumerate(names):
        table[f"p_{name}"] = np.where(given == label, 0.9, 0.1).astype(np.float32)
    files.write_parquet(world / "labels.parquet", table.drop(columns="class"))
    if encoder:
        (world / "encoder").symlink_to(encoder.resolve())
    else:
        write_encoder(world / "encoder")


@cache
def settings() -> params.Params:
    """Return the default study on the bench's own datasets, without early stopping."""
    content = params.read_yaml(ROOT / "params.yaml")
    classes = [dict(entry) for entry in content["mixtures"]["breast_pneumonia"]["classes"]]
    for entry, dataset in zip(classes, COUNTS, strict=True):
        entry["dataset"] = dataset
    content["mixtures"][NAME] = {"extends": "breast_pneumonia", "classes": classes}
    content["recipes"]["capstone"]["patience"] = None
    return params.validate(content, "params.yaml")


def mixture() -> Mixture:
    """Return the mixture of both datasets."""
    return settings().mixtures[NAME]


def trained() -> Trained:
    """Return the students of the default study, on these images."""
    return Trained(NAME, f"{ENCODER}+capstone+zeroshot", "capstone", "capstone")


def encoder_settings() -> Contrastive:
    """Return the teacher's parameters."""
    found = settings().encoders[ENCODER.partition("@")[0]]
    assert isinstance(found, Contrastive)
    return found


def archives(world: Path) -> dict[str, Path]:
    """Return the files by dataset."""
    return {dataset: world / f"{dataset}.npz" for dataset in COUNTS}


def write_encoder(folder: Path) -> None:
    """Write a CLIP of the default study's architecture with random weights."""
    import open_clip
    import torch

    from medlabel.teacher import encoder, pretrain

    torch.manual_seed(0)
    architecture = pretrain.model_config(encoder_settings(), EDGE)
    config = {
        "model_cfg": architecture,
        "preprocess_cfg": pretrain.preprocess_config(EDGE),
    }
    folder.mkdir()
    encoder.save(open_clip.CLIP(**architecture), config, folder, {"model": "random"})


def embed_pool(world: Path) -> None:
    """Embed the pool once, as the step of that name does."""
    from medlabel.teacher import embed

    embed.embed(
        {ENCODER: world / "encoder"},
        archives(world),
        mixture(),
        world / "pool.parquet",
        world / "embeddings.parquet",
        encoder_settings(),
        world / "cache",
        "cpu",
        2,
    )


def train_block(world: Path, block: str) -> None:
    """Train one block of seeds, as the step `train` does."""
    from medlabel.training import run

    run.run(
        trained(),
        settings().training(trained()),
        block,
        archives(world),
        world / "pool.parquet",
        world / "labels.parquet",
        [],
        None,
        world / block,
        world / f"{block}.pt",
        "cpu",
        1,
        "bench",
    )


def plain(world: Path, seed: int) -> None:
    """Embed one seed's images and train its student, the straightforward way."""
    import open_clip
    import pandas as pd
    import torch
    from PIL import Image

    draw = mixtures.draw(mixture(), pd.read_parquet(world / "pool.parquet"), seed, 0)
    arrays = {dataset: np.load(path) for dataset, path in archives(world).items()}
    loaded = {(name, split): arrays[name][f"{split}_images"] for name, split in _splits(draw)}
    rows = draw[mixtures.IMAGE].itertuples(index=False)
    images = [loaded[name, split][row] for name, split, row in rows]
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{world / 'encoder'}")
    model.eval()
    with torch.no_grad():
        for first in range(0, len(images), BATCH):
            batch = [transform(Image.fromarray(image)) for image in images[first : first + BATCH]]
            model.encode_image(torch.stack(batch), normalize=True)
    labels = pd.read_parquet(world / "labels.parquet")
    joined = draw.merge(labels, on=["role", *mixtures.IMAGE])["pseudolabel"].to_numpy()
    training = (draw["role"] == "train").to_numpy(copy=True)
    pixels = torch.from_numpy(np.stack(images)[:, None]).float() / 127.5 - 1
    train_plainly(pixels[training], torch.tensor(joined[training]).long(), seed)


def _splits(draw: Any) -> list[tuple[str, str]]:
    return list(draw[["dataset", "split"]].drop_duplicates().itertuples(index=False, name=None))


def train_plainly(pixels: Any, labels: Any, seed: int) -> None:
    """Train the two-layer network with DataLoaders, as tutorials do."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset, random_split

    from medlabel.networks.registry import build

    chosen = settings().training(trained())
    recipe = chosen.recipe
    torch.manual_seed(seed)
    network = build(
        chosen.network, volumetric=False, channels=1, outputs=2, size=EDGE, stem=recipe.stem
    )
    held_back = round((recipe.validation_fraction or 0) * len(pixels) + 0.5)
    parts = random_split(TensorDataset(pixels, labels), [len(pixels) - held_back, held_back])
    training = DataLoader(parts[0], recipe.batch_size, shuffle=True)
    validation = DataLoader(parts[1], recipe.batch_size)
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, momentum=recipe.momentum
    )
    loss_of = torch.nn.CrossEntropyLoss()
    for _ in range(recipe.epochs):
        network.train()
        for images, wanted in training:
            optimizer.zero_grad()
            loss = loss_of(network(images), wanted)
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            sum(loss_of(network(images), wanted).item() for images, wanted in validation)


if __name__ == "__main__":
    main()
