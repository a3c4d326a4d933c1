"""One run of a row: build, train, judge once on test, write."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medlabel import compute, files
from medlabel.benchmark import inputs, memory, models, train, weights
from medlabel.data import archive, catalogue
from medlabel.errors import MedlabelError
from medlabel.params import Recipe, Row
from medlabel.randomness import torch_seed
from medlabel.teacher.embed import choose_precision

logger = logging.getLogger("medlabel")

BINARY, MULTI_CLASS = "binary-class", "multi-class"
# A result of another version of these may differ in more than rounding.
VERSIONS = ("torch", "timm", "monai")


@dataclass(frozen=True)
class Outputs:
    """Where a run is written.

    Attributes
    ----------
    predictions
        Table: split (val, test), row, label_0 … and p_0 …, float32: the probability of each class,
        or of each label of a multi-label dataset.
    curve
        Table: the values of `train.Epoch`, and kept, true at the epoch whose weights were judged.
    record
        JSON: what was trained, how, on what, for how long.
    weights
        Safetensors: the network after its best epoch.
    """

    predictions: Path
    curve: Path
    record: Path
    weights: Path


@dataclass(frozen=True)
class Teacher:
    """A trained row that another one learns from.

    Attributes
    ----------
    row, recipe
        What it is, and how it was trained: its stem follows from that.
    weights
        Those of its run.
    """

    row: Row
    recipe: Recipe
    weights: Path


def run(
    row: Row,
    recipe: Recipe,
    number: int,
    source: Path,
    start: Path | None,
    teacher: Teacher | None,
    outputs: Outputs,
    checkpoint: Path,
    device: str,
    threads: int,
    seed: int,
) -> None:
    """Train one model once and write what it predicts.

    Parameters
    ----------
    row
        Dataset and model.
    recipe
        How to train.
    number
        Which of the row's repeats: names its random streams.
    source
        Archive of the dataset.
    start
        Weights of the run that this one starts from, where the recipe says so.
    teacher
        Whom the network learns from beside the labels, where the recipe says so.
    outputs
        Files to write.
    checkpoint
        File of the state after each epoch; removed at the end.
    device, threads
        As in `compute.prepare`.
    seed
        Root of the random streams.

    Raises
    ------
    MedlabelError
        When an input is missing or does not fit; when a class is absent from a split; when a loss
        is no longer finite; when a batch does not fit into memory.
    """
    images = archive.read(source, row.dataset, recipe.image_size)
    task = task_of(images)
    require_classes(images, task)
    require_sampling(row, recipe, task)
    where = compute.prepare(device, threads)
    memory.keep()
    torch.manual_seed(torch_seed(seed, "benchmark", "weights", number))
    network, started = _network(row, recipe, images, start)
    precision = choose_precision(recipe.precision, where)
    described = {
        "dataset": row.dataset,
        "model": row.model,
        "recipe": row.recipe,
        "seed": number,
        "settings": recipe.model_dump(mode="json"),
        "device": processor(where, threads),
        "precision": precision,
        "task": task,
        "phantom": catalogue.is_phantom(row.dataset),
        "start": started,
        "teacher": None if teacher is None else teacher.row.name,
        "versions": {name: version(name) for name in VERSIONS},
    }
    training = train.Training(
        network.to(where),
        inputs.Inputs(row.dataset, images.volumetric, recipe),
        recipe,
        task,
        precision,
        train.Identity(
            f"{row.name}, seed {number}",
            seed,
            number,
            checkpoint,
            _fingerprint(described, seed, images, start, teacher.weights if teacher else None),
        ),
        _taught_by(teacher, images, where),
    )
    splits = {name: inputs.split_of(images, name, where) for name in archive.SPLITS}
    with _memory_suffices(row, recipe, where):
        reached = training.fit(splits["train"], splits["val"])
    record = described | {
        "parameters": sum(value.numel() for value in network.parameters()),
        "epochs": recipe.epochs,
        "best_epoch": reached.best,
        "seconds": sum(epoch.seconds for epoch in reached.curve),
    }
    predicted = [_predictions(training, splits[name], name) for name in ("val", "test")]
    _write(outputs, reached, pd.concat(predicted, ignore_index=True), record)
    checkpoint.unlink(missing_ok=True)


@contextmanager
def _memory_suffices(row: Row, recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Turn a lack of memory into one line; on a CPU torch has no exception of its own for it."""
    try:
        yield
    except RuntimeError as error:
        lacking = isinstance(error, torch.OutOfMemoryError) or "can't allocate" in str(error)
        if not lacking:
            raise
        raise MedlabelError(
            f"{row.name}: a batch of {recipe.batch_size} images needs more memory than the "
            f"{device.type} has left; lower benchmark.recipes.{row.recipe}.batch_size, or set its "
            f"stem to halved. Finished epochs are kept."
        ) from error


def processor(device: torch.device, threads: int) -> str:
    """Name what a result was computed on, such as ``"AMD EPYC, 2 threads"``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    facts = Path("/proc/cpuinfo")  # Linux alone has it
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def task_of(images: archive.Archive) -> str:
    """Return MedMNIST's task of an archive; phantoms tell one class from others."""
    if images.dataset in catalogue.INFO:
        return str(catalogue.INFO[images.dataset]["task"])
    return BINARY if _outputs(images) == 2 else MULTI_CLASS


def _outputs(images: archive.Archive) -> int:
    if images.dataset in catalogue.INFO:
        return len(catalogue.INFO[images.dataset]["label"])
    return int(max(labels.max() for labels in images.labels.values())) + 1


def require_classes(images: archive.Archive, task: str) -> None:
    """Check that every class can be learnt, chosen and judged by AUC.

    Raises
    ------
    MedlabelError
        Naming the class that is absent from a split, or the label that all images of one share.
    """
    for split, labels in images.labels.items():
        if task.startswith("multi-label"):
            absent = np.flatnonzero(labels.min(axis=0) == labels.max(axis=0)).tolist()
        else:
            absent = sorted(set(range(_outputs(images))) - set(labels[:, 0].tolist()))
        if absent:
            raise MedlabelError(
                f"{images.path}: {split}_labels: expected images of every class, found none that "
                f"tells class {absent[0]} from the others; its AUC is undefined. Take the official "
                f"split or leave {images.dataset} out of benchmark.rows."
            )


def require_sampling(row: Row, recipe: Recipe, task: str) -> None:
    """Check that the recipe's sampling is defined for the task.

    Raises
    ------
    MedlabelError
        When images that carry several labels are to be oversampled by class.
    """
    if recipe.sampling == "oversampled" and task.startswith("multi-label"):
        raise MedlabelError(
            f"benchmark.recipes.{row.recipe}.sampling: oversampled given, but images of "
            f"{row.dataset} carry several labels; shuffled expected (class_weights does apply)."
        )


def _network(
    row: Row, recipe: Recipe, images: archive.Archive, start: Path | None
) -> tuple[nn.Module, str]:
    """Build the network with its first weights, and say where they come from."""
    network = _built(row, recipe, images)
    if recipe.start.source == "random":
        return network, "random"
    if recipe.start.source == "timm":
        return network, weights.load(network, weights.published(row.model), "timm")
    path = Path(recipe.start.path) if recipe.start.path else start
    if path is None:
        raise MedlabelError(
            f"{row.name}: its recipe starts from {recipe.start.dataset}; give that run's weights "
            f"with --start."
        )
    told = weights.load(network, weights.read(path), str(path))
    logger.info("%s: %s", row.name, told)
    return network, told


def _built(row: Row, recipe: Recipe, images: archive.Archive) -> nn.Module:
    return models.build(
        row.model,
        volumetric=images.volumetric,
        channels=inputs.CHANNELS,
        outputs=_outputs(images),
        size=recipe.network_size,
        stem=recipe.stem,
    )


def _taught_by(
    teacher: Teacher | None, images: archive.Archive, device: torch.device
) -> nn.Module | None:
    if teacher is None:
        return None
    network = _built(teacher.row, teacher.recipe, images)
    logger.info("taught by %s", weights.load(network, weights.read(teacher.weights), "teacher"))
    return network.to(device)


def _fingerprint(
    described: dict[str, Any], seed: int, images: archive.Archive, *given: Path | None
) -> str:
    digests = [None if path is None else files.digest(path) for path in given]
    content = [described, seed, images.sha256, digests]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _predictions(training: train.Training, images: inputs.Images, split: str) -> pd.DataFrame:
    judged = train.probabilities(training.task, training.logits(images.pixels))
    labels = images.labels.cpu().numpy()
    rows = np.arange(len(labels), dtype=np.int32)
    table = pd.DataFrame({"split": split, "row": rows})
    for prefix, columns in (("label", labels), ("p", judged)):
        table = table.assign(**{f"{prefix}_{i}": column for i, column in enumerate(columns.T)})
    return table


def _write(
    outputs: Outputs, reached: train.Progress, predictions: pd.DataFrame, record: dict[str, Any]
) -> None:
    curve = pd.DataFrame([asdict(epoch) for epoch in reached.curve]).astype({"epoch": np.int32})
    files.write_parquet(outputs.curve, curve.assign(kept=curve["epoch"] == reached.best))
    files.write_parquet(outputs.predictions, predictions)
    _save(reached.weights, outputs.weights)
    files.write_json(outputs.record, record)


def _save(tensors: dict[str, Tensor], target: Path) -> None:
    with files.replacing(target) as partial:
        save_file(tensors, partial)
