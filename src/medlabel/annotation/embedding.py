"""Images to embeddings: decoded by workers, embedded in batches, kept by content as they come."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from medlabel import compute, fingerprint
from medlabel.annotation import looks
from medlabel.annotation.decoding import Caches, Decoded, decoded
from medlabel.annotation.sources import Source
from medlabel.annotation.store import Facts, Store, key_of, vectors_of
from medlabel.data.pixels import Pixels
from medlabel.data.reading.page import Reading
from medlabel.data.vectors import Vectors
from medlabel.labels import sources as origins
from medlabel.labels.sources import Property
from medlabel.progress import track

if TYPE_CHECKING:
    import torch

    from medlabel.teacher import encoder, runtime

SECONDS_BETWEEN_COMMITS = 2.0
BATCHES_AHEAD = 2  # gathered while the network runs
ENGINES = {"cpu": "openvino"}  # by kind of device; torch on all others
# What decides on pixels, their digests, and what is measured of them.
READERS = ("data.reading.images", "annotation.store", "annotation.looks")
EMBEDDERS = ("teacher.tower", "teacher.runtime", "teacher.trunks")


@dataclass(frozen=True)
class File:
    """A file that was looked at."""

    source: Source
    facts: Facts


@dataclass(frozen=True)
class Embedded:
    """All files, in order, and the embeddings of their distinct images.

    Attributes
    ----------
    files
        In the order of their names.
    digests
        Of distinct images, in the order in which they first appear.
    vectors
        float32 of shape (len(digests), dimension), of length 1.
    thumbnails
        Where small copies of the images are kept, by digest.
    computed
        How many of them were embedded now.
    """

    files: list[File]
    digests: list[str]
    vectors: Vectors
    thumbnails: Store
    computed: int

    def properties(self) -> list[Property]:
        """Return what distinct images are, whatever they show: looks, and folders of some size."""
        first = {
            seen.pixels: (seen.look, file.source.name.rpartition("/")[0])
            for file in reversed(self.files)
            for seen in file.facts.seen
        }
        seen = [first[one] for one in self.digests]
        measured = origins.measured([look for look, _ in seen], *looks.COLUMNS)
        return [*measured, *origins.folders([folder for _, folder in seen])]


@dataclass(frozen=True)
class Settings:
    """How images are embedded.

    Attributes
    ----------
    batch_size
        Images a forward pass.
    precision
        Arithmetic: fp32 or bf16.
    threads
        Of the network.
    workers
        Processes that decode; 0 decodes in this one.
    cache
        Folder of what was computed before.
    """

    batch_size: int
    precision: runtime.Precision
    threads: int
    workers: int
    cache: Path


class Network(Protocol):
    """What makes a vector of an image."""

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """Return float32 (n, dimension) of n images of any shapes, at most a batch of them."""


def arithmetic(
    wanted: Literal["auto", "fp32", "bf16"], loaded: encoder.Encoder
) -> Literal["fp32", "bf16"]:
    """Return the arithmetic in which an encoder's image tower is fastest, if it is left open.

    As `compute.choose_precision`; but a pretrained network of convolutions stays in float32 on a
    processor, where most of its layers are too thin for bfloat16: EfficientNet-Lite0 takes 13 ms
    an image and core in float32 and 18 ms with AVX512-BF16.
    """
    from medlabel.teacher import locked

    own = loaded.manifest.config.get(locked.CONFIG_KEY)
    if wanted == "auto" and loaded.device.type == "cpu" and own is not None:
        tower = own["tower"]
        if tower["source"] == "timm" and "vit" not in tower["model"]:
            return "fp32"
    return compute.choose_precision(wanted, loaded.device)


def embed(
    sources: Sequence[Source], reading: Reading, loaded: encoder.Encoder, settings: Settings
) -> Embedded:
    """Embed every image of some files, each distinct one once.

    A batch is always full, its end filled up with copies, so that an embedding does not depend on
    which images were embedded before: a run that was killed ends with the same bytes.
    """
    engine = ENGINES.get(loaded.device.type, "torch")
    network, recipe = _Network(loaded, settings, engine), _recipe(loaded, settings, engine)
    return through(sources, reading, network, recipe, loaded.manifest.dimension, settings)


def through(
    sources: Sequence[Source],
    reading: Reading,
    network: Network,
    recipe: Mapping[str, Any],
    dimension: int,
    settings: Settings,
) -> Embedded:
    """Bring every image of some files through a network, each distinct one once.

    Parameters
    ----------
    sources, reading, settings
        As `embed` takes them.
    network
        Makes vectors of a dimension.
    recipe
        All that decides on them beside the images: what was made by another one is not taken.
    """
    reading_key = key_of({"reading": asdict(reading), "code": fingerprint.of(*READERS)})
    caches = Caches(
        settings.cache / "stamps.sqlite",
        settings.cache / "files" / f"{reading_key}.sqlite",
        settings.cache / "embeddings" / f"{key_of(recipe)}.sqlite",
    )
    keeper = _Keeper(caches, settings, network)
    files: list[File] = []
    task = f"label {len(sources)} files"
    for one in track(decoded(sources, reading, caches, settings.workers), task, len(sources)):
        files.append(File(one.source, one.facts))
        keeper.take(one)
    keeper.finish()
    digests = list(dict.fromkeys(seen.pixels for file in files for seen in file.facts.seen))
    vectors = vectors_of(keeper.embeddings, digests, dimension)
    return Embedded(files, digests, vectors, keeper.thumbnails, keeper.computed)


def embed_pixels(pixels: Sequence[Pixels], loaded: encoder.Encoder, settings: Settings) -> Vectors:
    """Embed images that lie in memory; nothing is kept.

    Returns
    -------
    ndarray
        float32 of shape (len(pixels), dimension), of length 1.
    """
    network = _Network(loaded, settings, ENGINES.get(loaded.device.type, "torch"))
    starts = range(0, len(pixels), settings.batch_size)
    parts = [network.embed(pixels[first : first + settings.batch_size]) for first in starts]
    empty = np.empty((0, loaded.manifest.dimension), np.float32)
    return np.concatenate([empty, *parts])


def _recipe(loaded: encoder.Encoder, settings: Settings, engine: str) -> dict[str, Any]:
    from medlabel.teacher import runtime

    return {
        "weights": loaded.manifest.weights_sha256,
        "architecture": loaded.manifest.config,
        "preprocessing": asdict(loaded.manifest.preprocessing),
        "precision": settings.precision,
        "device": loaded.device.type,
        "engine": [engine, runtime.version(engine), runtime.version("torch")],
        "batch": settings.batch_size,
        "threads": settings.threads,
        "code": fingerprint.of(*EMBEDDERS),
    }


class _Network:
    """The image tower, compiled when the first batch comes."""

    def __init__(self, loaded: encoder.Encoder, settings: Settings, engine: str) -> None:
        self.loaded, self.settings, self.engine = loaded, settings, engine
        self._runner: runtime.Runner | None = None

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed at most a batch of images of any shapes."""
        import torch

        from medlabel.teacher import halves, runtime

        count, size = len(pixels), self.settings.batch_size
        batch = self._prepared(pixels)
        if count < size:
            batch = torch.cat([batch, batch[-1:].expand(size - count, *batch.shape[1:])])
        if self._runner is None:
            side = runtime.ImageSide(halves.with_images(self.loaded).model)
            self._runner = runtime.compiled(
                side,
                batch,
                self.engine,  # type: ignore[arg-type]
                self.settings.precision,
                self.settings.threads,
            )
        return self._runner.embed(batch)[:count]

    def _prepared(self, pixels: Sequence[Pixels]) -> torch.Tensor:
        """Bring images to the tower's size, those of one shape together."""
        import torch

        from medlabel.teacher import tower

        shapes: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, one in enumerate(pixels):
            shapes[one.shape].append(place)
        expected = self.loaded.manifest.preprocessing
        prepared = torch.empty((len(pixels), 3, *expected.size))
        for places in shapes.values():
            stack = np.stack([pixels[place] for place in places])
            prepared[places] = tower.preprocess(stack, expected)
        return prepared


class _Keeper:
    """Gathers images into batches while the network runs, and keeps what is known of them."""

    def __init__(self, caches: Caches, settings: Settings, network: Network) -> None:
        self.facts, self.embeddings = Store(caches.facts), Store(caches.embeddings)
        self.stamps = Store(caches.stamps)
        self.thumbnails = Store(settings.cache / "thumbnails.sqlite")
        self.size, self.network = settings.batch_size, network
        self.computed = 0
        self._waiting: dict[str, Pixels] = {}
        self._facts: dict[bytes, bytes] = {}
        self._stamps: dict[bytes, bytes] = {}
        self._thumbnails: dict[bytes, bytes] = {}
        self._vectors: dict[bytes, bytes] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._running: deque[tuple[list[bytes], Future[Vectors]]] = deque()
        self._committed = time.monotonic()

    def take(self, one: Decoded) -> None:
        """Take a file over, and embed when a batch is full."""
        if one.digest and (one.pixels or one.facts.outcome):
            self._facts[one.digest] = one.facts.to_bytes()
        if one.digest and one.stamp:
            self._stamps[one.stamp] = one.digest
        for digest, pixels in one.pixels.items():
            key = bytes.fromhex(digest)
            if digest in self._waiting or key in self._vectors or self._embeds(key):
                continue
            self._waiting[digest] = pixels
            self._thumbnails[key] = one.thumbnails[digest]
            if len(self._waiting) == self.size:
                self._embed()
        if time.monotonic() - self._committed > SECONDS_BETWEEN_COMMITS:
            self._commit()

    def finish(self) -> None:
        """Embed what is left and keep everything."""
        if self._waiting:
            self._embed()
        while self._running:
            self._gather()
        self._worker.shutdown()
        self._commit()

    def _embeds(self, key: bytes) -> bool:
        return any(key in keys for keys, _ in self._running)

    def _embed(self) -> None:
        known = self.embeddings.present(map(bytes.fromhex, self._waiting))
        new = {
            bytes.fromhex(digest): pixels
            for digest, pixels in self._waiting.items()
            if bytes.fromhex(digest) not in known
        }
        if new:
            found = self._worker.submit(self.network.embed, list(new.values()))
            self._running.append((list(new), found))
        self._waiting.clear()
        if len(self._running) > BATCHES_AHEAD:
            self._gather()

    def _gather(self) -> None:
        keys, running = self._running.popleft()
        for key, vector in zip(keys, running.result().astype("<f4"), strict=True):
            self._vectors[key] = vector.tobytes()
        self.computed += len(keys)

    def _commit(self) -> None:
        # In this order: whoever finds an embedding finds the small copy too.
        self.thumbnails.put(self._thumbnails)
        self.embeddings.put(self._vectors)
        self.facts.put(self._facts)
        self.stamps.put(self._stamps)
        for entries in (self._thumbnails, self._vectors, self._facts, self._stamps):
            entries.clear()
        self._committed = time.monotonic()
