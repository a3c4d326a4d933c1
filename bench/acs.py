"""ResNet18 with ACS convolutions on 28³ voxels: medlabel's training step against the plain one.

The plain way is what the paper's text suggests: three float32 `conv3d` calls on tensors in torch's
default layout, a concatenation, Adam as torch gives it. medlabel trains in bfloat16 where the
processor has it, channels last, with fused Adam and memory that the process keeps. Both run in
processes of their own, by turns, from the same weights on the same volumes of VesselMNIST3D; the
median step of all turns counts. Then both train for a few equal epochs, and their validation AUCs
are compared on the same resampled volumes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from medlabel import compute, files, params
from medlabel.evaluate.statistics import percentiles
from medlabel.networks import registry
from medlabel.networks.convolutions import PlanarConv3d
from medlabel.params import TRUE, Trained, TrainingSettings
from medlabel.randomness import stream
from medlabel.training import memory
from medlabel.training.examples import open_source
from medlabel.training.inputs import Inputs
from medlabel.training.loop import EVALUATION_BATCH, Images

ROOT = Path(__file__).parent.parent
TRAINED = Trained("vesselmnist3d", TRUE, "resnet18_acs", "official_3d")
WAYS = ("plain", "medlabel")
RESAMPLES = 10_000
VOLUMES = EVALUATION_BATCH[True]
STEMS = {"steps": "dense", "epochs": "halved"}  # the plain way needs hours for dense epochs


def main() -> None:
    """Measure, print and write; or be one of the processes that are measured."""
    options = _options()
    if options.way:
        measure(options)
    else:
        compare(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="vesselmnist3d.npz")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each way")
    parser.add_argument("--steps", type=int, default=2, help="timed steps a turn, after one more")
    parser.add_argument("--epochs", type=int, default=4, help="of the comparison of AUCs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=["steps", "epochs"], help=argparse.SUPPRESS)
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(options: argparse.Namespace) -> None:
    """Run both ways as child processes, by turns, and set their figures side by side."""
    turns: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with TemporaryDirectory() as scratch:
        found = Path(scratch) / "found.json"
        for _ in range(options.rounds):
            for way in WAYS:
                turns[way].append(_child(options, way, "steps", found))
        trained = {way: _child(options, way, "epochs", found) for way in WAYS}
    report = summary(turns, trained, options)
    print(json.dumps(report, indent=2))
    if options.out:
        files.write_json(options.out, report)


def _child(options: argparse.Namespace, way: str, part: str, found: Path) -> dict[str, Any]:
    given = ("archive", "steps", "epochs", "threads")
    words = [(f"--{name}", str(getattr(options, name))) for name in given]
    command = [sys.executable, __file__, *(word for pair in words for word in pair)]
    command += ["--way", way, "--part", part, "--found", str(found)]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"the process of {way} failed")
    content: dict[str, Any] = json.loads(found.read_text())
    return content


def measure(options: argparse.Namespace) -> None:
    """Time steps, or train epochs, in this process; write what was found."""
    device = compute.prepare("cpu", options.threads)
    settings = params.read([ROOT / "params.yaml"]).training(TRAINED)
    archives = {TRAINED.images: options.archive}
    examples = open_source(settings, archives, None, None, False, device).of(0)
    way = (Plain if options.way == "plain" else Medlabel)(settings, STEMS[options.part])
    if options.part == "steps":
        first = way.logits(examples.val.pixels[:VOLUMES])
        seconds = _timed(way.epoch(examples.train, options.steps + 1))
        found = {
            "logits": first.tolist(),
            "seconds": seconds[1:],
            "precision": way.precision,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
    else:
        for _ in range(options.epochs):
            list(way.epoch(examples.train, None))
        scores = way.logits(examples.val.pixels).softmax(dim=1)[:, 1]
        found = {"scores": scores.tolist(), "labels": examples.val.targets.tolist()}
    files.write_json(options.found, found)


def _timed(steps: Iterator[None]) -> list[float]:
    seconds, started = [], time.perf_counter()
    for _ in steps:
        now = time.perf_counter()
        seconds.append(now - started)
        started = now
    return seconds


class Plain:
    """Training as one would write it first."""

    precision = "fp32"

    def __init__(self, settings: TrainingSettings, stem: str) -> None:
        torch.manual_seed(0)
        recipe, size = settings.recipe, settings.edge
        built = registry.build(
            settings.network,
            volumetric=True,
            channels=recipe.channels,
            outputs=2,
            size=size,
            stem=stem,
        )
        self.network = self.prepared(built)
        self.batch_size, self.rate = recipe.batch_size, recipe.learning_rate
        self.inputs = Inputs(settings)
        self.inputs.reseed(0)
        self.random = np.random.default_rng(0)
        self.optimizer = self.optimizer_of(self.network)

    def prepared(self, network: nn.Module) -> nn.Module:
        """Put plain convolutions in the places of medlabel's."""
        for name, layer in list(network.named_children()):
            plain = isinstance(layer, PlanarConv3d)
            setattr(network, name, PlainACS(layer) if plain else self.prepared(layer))
        return network

    def optimizer_of(self, network: nn.Module) -> torch.optim.Optimizer:
        """Make Adam as torch gives it."""
        return torch.optim.Adam(network.parameters(), self.rate)

    def laid_out(self, volumes: Tensor) -> Tensor:
        """Give volumes the layout that the network gets."""
        return volumes.contiguous()

    def answers(self, volumes: Tensor) -> Tensor:
        """Return logits in float32."""
        answered: Tensor = self.network(self.laid_out(volumes))
        return answered.float()

    def epoch(self, train: Images, steps: int | None) -> Iterator[None]:
        """Make the steps of one epoch, or the first few; yield after each."""
        self.network.train()
        order = torch.from_numpy(self.random.permutation(len(train.pixels)))
        for picked in torch.split(order, self.batch_size)[:steps]:
            logits = self.answers(self.inputs.training(train.pixels[picked]))
            loss = F.cross_entropy(logits, train.targets[picked])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            yield

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits of images as read."""
        self.network.eval()
        with torch.inference_mode():
            parts = torch.split(pixels, VOLUMES)
            return torch.cat([self.answers(self.inputs.judging(part)) for part in parts])


class Medlabel(Plain):
    """Training as `medlabel train` does it."""

    def __init__(self, settings: TrainingSettings, stem: str) -> None:
        memory.keep()
        self.precision = compute.choose_precision("auto", torch.device("cpu"))
        super().__init__(settings, stem)

    def prepared(self, network: nn.Module) -> nn.Module:
        """Take the network as it is built."""
        return network

    def optimizer_of(self, network: nn.Module) -> torch.optim.Optimizer:
        """Make Adam that updates all parameters in one call."""
        return torch.optim.Adam(network.parameters(), self.rate, fused=True)

    def laid_out(self, volumes: Tensor) -> Tensor:
        """Keep the layout of `inputs`: channels last."""
        return volumes

    def answers(self, volumes: Tensor) -> Tensor:
        """Return logits in float32, computed in bfloat16 where the processor has it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            return super().answers(volumes)


class PlainACS(nn.Module):
    """Three `conv3d` calls and a concatenation (Yang et al., IEEE JBHI 25, 2021)."""

    def __init__(self, layer: PlanarConv3d) -> None:
        super().__init__()
        self.weight, self.stride, self.padding = layer.weight, layer.stride, layer.padding
        self.groups = layer.groups

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (n, C, D, H, W) to (n, O, D', H', W')."""
        parts = []
        for axis, kernels in enumerate(torch.split(self.weight, self.groups)):
            padding = [0 if axis == other else self.padding for other in range(3)]
            parts.append(F.conv3d(volumes, kernels.unsqueeze(2 + axis), None, self.stride, padding))
        return torch.cat(parts, dim=1)


def summary(
    turns: dict[str, list[dict[str, Any]]],
    trained: dict[str, dict[str, Any]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Compare speed, outputs and validation AUCs."""
    step = {
        way: statistics.median(second for turn in turns[way] for second in turn["seconds"])
        for way in WAYS
    }
    logits = {way: np.array(turns[way][0]["logits"]) for way in WAYS}
    gap = np.abs(logits["plain"] - logits["medlabel"])
    labels = np.array(trained["plain"]["labels"])
    scores = {way: np.array(trained[way]["scores"]) for way in WAYS}
    low, high = _difference(labels, scores)
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": turns["medlabel"][0]["precision"],
        "threads": options.threads,
        "steps_timed": options.rounds * options.steps,
        "seconds_a_step": step,
        "ratio": step["plain"] / step["medlabel"],
        "peak_gib": {way: max(turn["peak_gib"] for turn in turns[way]) for way in WAYS},
        "logits_largest_gap": float(gap.max()),
        "logits_standard_deviation": float(logits["plain"].std()),
        "epochs": options.epochs,
        "auc_stem": STEMS["epochs"],
        "validation_auc": {way: float(roc_auc_score(labels, scores[way])) for way in WAYS},
        "validation_auc_difference_95": [low, high],
    }


def _difference(labels: np.ndarray, scores: dict[str, np.ndarray]) -> tuple[float, float]:
    """Give the 95 % interval of medlabel's AUC minus the plain one's on resampled volumes."""
    random = stream(0, "bench", "acs")
    found = []
    for _ in range(RESAMPLES):
        drawn = random.integers(len(labels), size=len(labels))
        if 0 < labels[drawn].sum() < len(labels):
            aucs = {way: roc_auc_score(labels[drawn], scores[way][drawn]) for way in WAYS}
            found.append(aucs["medlabel"] - aucs["plain"])
    return percentiles(np.array(found), 0.95)


if __name__ == "__main__":
    main()
