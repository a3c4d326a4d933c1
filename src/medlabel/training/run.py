"""One job: a network trained once for each seed of a block, and judged."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medlabel import compute, files
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.networks import registry, weights
from medlabel.params import Trained, TrainingSettings
from medlabel.progress import track
from medlabel.randomness import torch_seed
from medlabel.training import losses, memory
from medlabel.training.examples import Judged, Source, open_source
from medlabel.training.inputs import Inputs
from medlabel.training.loop import Identity, Images, Progress, Training
from medlabel.training.record import RunRecord, SeedRecord

logger = logging.getLogger("medlabel")

BLOCK = re.compile(r"(\d{4,})-(\d{4,})")
VERSIONS = ("torch", "torchvision", "timm", "monai", "numpy", "medmnist")
Teacher = tuple[TrainingSettings, Sequence[Path]]


def run(
    trained: Trained,
    settings: TrainingSettings,
    block: str,
    archives: Mapping[str, Path],
    pool: Path | None,
    labels: Path | None,
    start: Sequence[Path],
    teacher: Teacher | None,
    folder: Path,
    resume: Path,
    device: str,
    threads: int,
    code: str,
) -> None:
    """Train a network once for each seed of a block, and write what it answers.

    Parameters
    ----------
    trained
        What names the training.
    settings
        All parameters that the result depends on.
    block
        The seeds, such as ``"0000-0009"``.
    archives
        Image files by dataset.
    pool, labels
        Of a mixture: the images that may be drawn, and the teacher's labels (None: true ones).
    start
        Weights of the training to start from: files that hold the seeds of the block.
    teacher
        Settings and weights of the training whose answers are learned beside the labels.
    folder
        Where to write ``predictions.parquet``, ``curves.parquet``, ``weights.safetensors`` and
        ``run.json``, the last one last.
    resume
        File of the state after each epoch, where a job trains a single seed.
    device, threads
        As for `compute.prepare`.
    code
        Fingerprint of the code.

    Raises
    ------
    MedlabelError
        When an input is missing or does not fit the others; when the network cannot take the
        images; when a loss is no longer finite; when memory does not suffice.
    """
    seeds = parse_block(block)
    where = compute.prepare(device, threads)
    memory.keep()
    source = open_source(settings, archives, pool, labels, trained.permuted, where)
    processor = compute.processor(where, threads)
    job = _Job(trained, settings, source, where, processor, start, teacher, code, resume)
    rounds = seeds if job.single else track(seeds, f"train {trained.name}", len(seeds))
    with _memory_suffices(trained, settings, where):
        learned = {seed: job.learn(seed) for seed in rounds}
    _write(folder, job.record(block, learned), learned, settings.recipe.keep_weights)
    resume.unlink(missing_ok=True)


def parse_block(block: str) -> range:
    """Return the seeds of a block ``first-last``, both included, such as ``"0000-0014"``.

    Raises
    ------
    MedlabelError
        When it is written otherwise, or ends before it begins.
    """
    parts = BLOCK.fullmatch(block)
    if parts is None or int(parts[1]) > int(parts[2]):
        raise MedlabelError(
            f"block: {block!r} given; first-last with four digits each expected, such as 0000-0014."
        )
    return range(int(parts[1]), int(parts[2]) + 1)


@dataclass(frozen=True)
class _Learned:
    """One seed's training, on how many images, what it answers, and its first weights."""

    reached: Progress
    images: int
    predictions: pd.DataFrame
    parameters: int
    start: str


@dataclass(frozen=True)
class _Job:
    """What the trainings of a block share."""

    trained: Trained
    settings: TrainingSettings
    source: Source
    device: torch.device
    processor: str
    start: Sequence[Path]
    teacher: Teacher | None
    code: str
    resume: Path

    @property
    def single(self) -> bool:
        """Whether a job trains one seed, whose state is then kept after each epoch."""
        return self.settings.recipe.seeds_per_job == 1

    @property
    def _precision(self) -> str:
        return compute.choose_precision(self.settings.recipe.precision, self.device)

    def learn(self, seed: int) -> _Learned:
        """Train one seed, in as many rounds as it teaches itself, and let it answer."""
        examples = self.source.of(seed)
        train, val = examples.train, examples.val
        training, start = self._fitted(seed, train, val, 0)
        for number in range(1, self.settings.recipe.self_training + 1):
            train, val = (_answered(training, one) for one in (train, val))
            training, start = self._fitted(seed, train, val, number)
        tables = [self._answers(training, judged) for judged in examples.judged]
        predictions = pd.concat(tables, ignore_index=True)
        predictions.insert(0, "seed", np.int32(seed))
        images = len(examples.train.targets)
        if self.settings.mixture is not None:  # its validation images are training images
            images += len(examples.val.targets)
        parameters = sum(value.numel() for value in training.network.parameters())
        return _Learned(training.reached, images, predictions, parameters, start)

    def _fitted(self, seed: int, train: Images, val: Images, number: int) -> tuple[Training, str]:
        """Train a new network in one round of self-training, 0 being that on the labels given."""
        torch.manual_seed(torch_seed(self.settings.seed, "student", "weights", seed))
        network, start = self._network(seed)
        training = Training(
            network.to(self.device),
            Inputs(self.settings),
            self.source.task,
            self._precision,
            self._identity(seed, number),
            self._taught_by(seed),
        )
        balance = None
        if self.settings.recipe.class_weights:
            outputs = len(self.source.classes)
            balance = losses.class_weights(self.source.task, train.targets, outputs)
        training.fit(train, val, balance)
        return training, start

    def _network(self, seed: int) -> tuple[nn.Module, str]:
        """Build the network with its first weights, and tell where these come from."""
        network = self._built(self.settings)
        begin = self.settings.recipe.start
        if begin.source == "random":
            return network, begin.source
        if begin.source == "timm":
            given, told = weights.published(str(self.settings.network)), "timm"
        elif begin.source == "package":
            given, told = registry.packaged(str(self.settings.network)), "package (ImageNet-1k)"
        elif begin.path is not None:
            given, told = weights.read(Path(begin.path)), Path(begin.path).name
        else:
            given = weights.of_seed(self.start, seed, self.trained.name)
            told = f"{begin.images}/{begin.network or self.trained.network}/{begin.recipe}"
        start = weights.load(network, given, told)
        logger.info("%s, seed %d: %s", self.trained.name, seed, start)
        return network, start

    def _built(self, settings: TrainingSettings) -> nn.Module:
        return registry.build(
            settings.network,
            volumetric=settings.volumetric,
            channels=settings.recipe.channels,
            outputs=len(self.source.classes),
            size=settings.edge,
            stem=settings.recipe.stem,
        )

    def _taught_by(self, seed: int) -> nn.Module | None:
        if self.teacher is None:
            return None
        settings, paths = self.teacher
        with torch.random.fork_rng(devices=[]):  # the student's dropout does not depend on it
            network = self._built(settings)
        given = weights.of_seed(paths, seed, self.trained.name)
        weights.load(network, given, f"teacher {settings.network}", require_classifier=True)
        return network.to(self.device)

    def _identity(self, seed: int, number: int) -> Identity:
        given = [files.digest(path) for path in (*self.start, *(self.teacher or ((), ()))[1])]
        local = self.settings.recipe.start.path
        content = [
            self.settings.trigger(),
            self.trained.name,
            [seed, number],
            self.source.digests,
            given + ([files.digest(Path(local))] if local else []),
            self._precision,
            self.processor,
            _versions(),
            self.code,
        ]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        checkpoint = self.resume if self.single else None
        name = f"{self.trained.name}, seed {seed}" + (f", round {number}" if number else "")
        return Identity(name, self.settings.seed, seed, checkpoint, digest)

    def _answers(self, training: Training, judged: Judged) -> pd.DataFrame:
        found = losses.probabilities(self.source.task, training.logits(judged.pixels))
        table = judged.table.reset_index(drop=True)
        table.insert(0, "role", judged.role)
        columns = {f"label_{i}": c for i, c in enumerate(judged.labels.astype(np.int16).T)}
        columns |= {f"p_{i}": column for i, column in enumerate(found.T)}
        return table.assign(**columns)

    def record(self, block: str, learned: Mapping[int, _Learned]) -> RunRecord:
        """Return what the job tells of itself."""
        first = next(iter(learned.values()))
        mixture = self.settings.mixture
        return RunRecord(
            images=self.trained.images,
            labels=self.trained.labels,
            network=self.trained.network,
            recipe=self.trained.recipe,
            block=block,
            settings=self.settings.trigger(),
            classes=self.source.classes,
            task=self.source.task,
            phantom=mixture.phantom
            if mixture is not None
            else catalogue.is_phantom(str(self.settings.dataset)),
            train_images=first.images,
            test_images=int((first.predictions["role"] == "test").sum()),
            parameters=first.parameters,
            device=self.processor,
            precision=self._precision,
            start=first.start,
            teacher=None if self.teacher is None else str(self.teacher[0].network),
            versions=_versions(),
            code=self.code,
            seeds=[
                SeedRecord(
                    seed=seed,
                    epochs=len(one.reached.curve),
                    best_epoch=one.reached.best,
                    seconds=round(one.reached.seconds, 3),
                )
                for seed, one in learned.items()
            ],
        )


def _answered(training: Training, images: Images) -> Images:
    """Return images with the answers of a network in the place of their labels."""
    logits = training.logits(images.pixels)
    answers = (
        (logits > 0).float() if catalogue.is_multi_label(training.task) else logits.argmax(dim=1)
    )
    return Images(images.pixels, answers.to(images.targets.device))


def _versions() -> dict[str, str]:
    return {name: version(name) for name in VERSIONS}


@contextmanager
def _memory_suffices(
    trained: Trained, settings: TrainingSettings, device: torch.device
) -> Iterator[None]:
    """Turn a lack of memory into one line; on a CPU torch has no exception of its own for it."""
    try:
        yield
    except RuntimeError as error:
        lacking = isinstance(error, torch.OutOfMemoryError) or "can't allocate" in str(error)
        if not lacking:
            raise
        raise MedlabelError(
            f"{trained.name}: a batch of {settings.recipe.batch_size} images needs more memory "
            f"than the {device.type} has left; lower recipes.{trained.recipe}.batch_size, or set "
            f"its stem to halved. Finished epochs are kept."
        ) from error


def _write(
    folder: Path, record: RunRecord, learned: Mapping[int, _Learned], keep: int | None
) -> None:
    curves = [_curve(seed, one.reached) for seed, one in learned.items()]
    files.write_parquet(folder / "curves.parquet", pd.concat(curves, ignore_index=True))
    predictions = [one.predictions for one in learned.values()]
    files.write_parquet(folder / "predictions.parquet", pd.concat(predictions, ignore_index=True))
    kept: dict[str, Tensor] = {
        f"{seed}/{name}": value
        for seed, one in learned.items()
        if keep is None or seed < keep
        for name, value in one.reached.weights.items()
    }
    with files.replacing(folder / "weights.safetensors") as partial:
        save_file(kept, partial)
    files.write_json(folder / "run.json", record.model_dump(mode="json"))


def _curve(seed: int, reached: Progress) -> pd.DataFrame:
    table = pd.DataFrame([asdict(epoch) for epoch in reached.curve]).astype({"epoch": np.int32})
    table.insert(0, "seed", np.int32(seed))
    return table.assign(kept=table["epoch"] == reached.best)
