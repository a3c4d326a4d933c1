"""Classifiers that learn from SYNTHETIC images, from others, and from both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from medlabel import compute
from medlabel.data import npz
from medlabel.data.pixels import Pixels
from medlabel.generation.run import SYNTHETIC, Labels, Source, alone, lacking
from medlabel.networks import registry
from medlabel.params import Generation, Network
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed

LEARNING_RATE = 0.001  # of Adam
HALF = 127.5  # of the range of pixels

# What classifiers learn from; the second is left out where it is the third.
ALONE = ("SYNTHETIC", "images that these were learnt from", "training images of the sets judged")
FILLED = ("oversampled", "nothing done", "filled up with SYNTHETIC")


@dataclass(frozen=True)
class Shown:
    """Images uint8 (n, H, W) and their classes (n,)."""

    images: Pixels
    labels: Labels

    def of(self, *labels: int) -> Shown:
        """Return the images of some classes."""
        return self.some(np.isin(self.labels, labels))

    def some(self, rows: npt.NDArray[np.bool_] | Labels) -> Shown:
        """Return some rows."""
        return Shown(self.images[rows], self.labels[rows])

    def first(self, counts: list[int]) -> Shown:
        """Return so many images of each class."""
        rows = [np.flatnonzero(self.labels == one)[:count] for one, count in enumerate(counts)]
        return self.some(np.concatenate(rows))


@dataclass(frozen=True)
class Answers:
    """What classifiers of one sort say of held-out images.

    Attributes
    ----------
    question, taught
        Of the parameters; of `ALONE` or `FILLED`.
    images, synthetic
        How many images they learn from, and how many of them are SYNTHETIC.
    truth
        Groups of the held-out images (m,).
    probabilities
        float32 (seeds, m, groups).
    """

    question: str
    taught: str
    images: int
    synthetic: int
    truth: Labels
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """SYNTHETIC images, those that they were learnt from, held-out ones of the same mixture.

    `answers` are those of classifiers.
    """

    synthetic: Shown
    learnt: Shown
    held_out: Shown
    answers: list[Answers]


@dataclass(frozen=True)
class _Sort:
    """A sort of classifiers: what they learn from. Balanced ones see all groups alike often."""

    question: str
    taught: str
    material: Shown
    synthetic: int
    balanced: bool


def judge(
    learnt: Source,
    judged: Source,
    folder: Path,
    settings: Generation,
    network: Network,
    seed: int,
    device: str,
) -> Judged:
    """Train classifiers on SYNTHETIC images and on others, and let them answer for held-out ones.

    Parameters
    ----------
    learnt, judged
        Images that the SYNTHETIC ones were learnt from, and those that classifiers are judged on.
    folder
        With the SYNTHETIC images, as `medlabel.generation.run.write` writes them.
    settings
        Questions, and how classifiers learn.
    network
        The classifier.
    seed, device
        Root of the random streams, and as for `medlabel.compute.prepare`.

    Raises
    ------
    MedlabelError
        When a file is missing, damaged, or does not fit the others.
    """
    kept = npz.members(folder / SYNTHETIC, "generate")
    synthetic = Shown(kept["images"].read(), kept["labels"].read().astype(np.intp))
    known, train, test = (
        Shown(found.images, found.labels)
        for found in (
            learnt.read("train", seed),
            judged.read("train", seed),
            judged.read("test", seed),
        )
    )
    names, same = judged.mixture.class_names, learnt.pool == judged.pool
    sorts = [
        *_alone(synthetic, known, train, names, settings, same),
        *_filled(synthetic, train, names, settings),
    ]
    where = compute.prepare(device, 1)
    answers = [
        _answers(one, test, names, settings, network, seed, where)
        for one in track(sorts, "generation: classifiers", len(sorts))
    ]
    if not same:
        found = learnt.read("test", seed)
        test = Shown(found.images, found.labels)
    return Judged(synthetic, known, test, answers)


def _alone(
    synthetic: Shown, known: Shown, train: Shown, names: list[str], settings: Generation, same: bool
) -> Iterator[_Sort]:
    """Give as many images of each source, to learn from without others."""
    counts = alone(known.labels, train.labels, len(names), settings)
    for question in settings.questions:
        for taught, source in zip(ALONE, (synthetic, known, train), strict=True):
            if not (same and source is known):
                material = source.first(counts).of(*_labels(question, names, settings))
                made = len(material.labels) if source is synthetic else 0
                yield _Sort(question, taught, material, made, balanced=True)


def _filled(
    synthetic: Shown, train: Shown, names: list[str], settings: Generation
) -> Iterator[_Sort]:
    """Give all images of a question, the rarer class as it is, drawn more often, or filled up."""
    for question, (rare, count) in lacking(train.labels, names, settings).items():
        given = train.of(*_labels(question, names, settings))
        more = synthetic.of(rare).some(np.arange(count))
        whole = Shown(
            np.concatenate([given.images, more.images]), np.concatenate([given.labels, more.labels])
        )
        oversampled, nothing, filled = FILLED
        yield _Sort(question, oversampled, given, 0, balanced=True)
        yield _Sort(question, nothing, given, 0, balanced=False)
        yield _Sort(question, filled, whole, count, balanced=False)


def _labels(question: str, names: list[str], settings: Generation) -> list[int]:
    return [names.index(one) for group in settings.questions[question] for one in group]


def _answers(
    sort: _Sort,
    test: Shown,
    names: list[str],
    settings: Generation,
    network: Network,
    seed: int,
    device: torch.device,
) -> Answers:
    groups = settings.questions[sort.question]
    group_of = np.full(len(names), -1)
    for number, group in enumerate(groups):
        group_of[[names.index(one) for one in group]] = number
    taught, asked = (Shown(one.images, group_of[one.labels]) for one in (sort.material, test))
    asked = asked.some(asked.labels >= 0)
    each = [
        _learnt(taught, asked.images, sort, len(groups), settings, network, (seed, number), device)
        for number in range(settings.seeds)
    ]
    many = len(taught.labels)
    return Answers(sort.question, sort.taught, many, sort.synthetic, asked.labels, np.stack(each))


def _learnt(
    taught: Shown,
    asked: Pixels,
    sort: _Sort,
    groups: int,
    settings: Generation,
    network: Network,
    seeds: tuple[int, int],
    device: torch.device,
) -> npt.NDArray[np.float32]:
    """Train one classifier and return its probabilities (m, groups) of other images.

    Those of a seed start alike, whatever they learn from.
    """
    purpose = ("classifier", sort.question, seeds[1])
    torch.manual_seed(torch_seed(seeds[0], *purpose, "weights"))
    random = stream(seeds[0], *purpose, "images")
    built = registry.build(
        network, volumetric=False, channels=1, outputs=groups, size=asked.shape[1], stem="auto"
    ).to(device)
    optimizer = torch.optim.Adam(built.parameters(), LEARNING_RATE, fused=True)
    images, labels = _tensor(taught.images, device), torch.from_numpy(taught.labels).to(device)
    shares = np.ones(len(labels))
    if sort.balanced:
        shares = 1 / np.bincount(taught.labels)[taught.labels]
    chosen = random.choice(
        len(labels),
        (settings.classifier_steps, settings.classifier_batch),
        p=shares / shares.sum(),
    )
    built.train()
    for rows in torch.from_numpy(chosen).to(device):
        loss = F.cross_entropy(built(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    built.eval()
    with torch.inference_mode():
        found: npt.NDArray[np.float32] = built(_tensor(asked, device)).softmax(dim=1).cpu().numpy()
    return found


def _tensor(images: Pixels, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(images).to(device)[:, None] / HALF - 1
