"""Learn to make images from captioned ones, and make SYNTHETIC images of every class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors.torch import save_file

from medlabel import compute, files
from medlabel.data import archive, mixtures
from medlabel.data.phantoms.captions import NAMING_A_FINDING
from medlabel.data.pixels import Pixels
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.evaluate.retrieval import captioned
from medlabel.generation import flow
from medlabel.layout import GENERATED_FILES
from medlabel.params import Generation, Mixture
from medlabel.randomness import stream, torch_seed
from medlabel.teacher import encoder, words

NETWORK, SYNTHETIC = GENERATED_FILES
Labels = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Images:
    """Images of a mixture's first draw, in one role.

    Attributes
    ----------
    table
        A row an image: dataset, split, row, label.
    images
        uint8 (n, H, W).
    """

    table: pd.DataFrame
    images: Pixels

    @property
    def labels(self) -> Labels:
        """Classes (n,)."""
        return self.table["label"].to_numpy(np.intp)


@dataclass(frozen=True)
class Source:
    """Where the images of a mixture lie.

    Attributes
    ----------
    mixture
        Its classes and counts.
    pool
        Its table.
    archives, captions
        By dataset.
    """

    mixture: Mixture
    pool: Path
    archives: Mapping[str, Path]
    captions: Mapping[str, Path]

    def table(self, role: str, seed: int) -> pd.DataFrame:
        """Return the images of a role: dataset, split, row, label.

        Raises
        ------
        MedlabelError
            When the pool is missing, damaged, or too small.
        """
        drawn = mixtures.draw(self.mixture, mixtures.read_pool(self.pool), 0, seed)
        return drawn[drawn["role"] == role].reset_index(drop=True)

    def read(self, role: str, seed: int) -> Images:
        """Read the images of a role.

        Raises
        ------
        MedlabelError
            When a file is missing, damaged, or does not fit the others.
        """
        table = self.table(role, seed)
        opened = {
            name: archive.read(path, name, self.mixture.size)
            for name, path in self.archives.items()
        }
        projection = self.mixture.projection
        return Images(table, archive.pixels(opened, table, 1, self.mixture.size, projection))


def write(
    learnt: Source,
    judged: Source,
    folder: Path,
    settings: Generation,
    target: Path,
    seed: int,
    device: str,
) -> None:
    """Train a network on captioned images, and let it make as many images as will be judged.

    Parameters
    ----------
    learnt
        Captioned images to learn from, those of role train.
    judged
        Images whose rare classes are to be filled up.
    folder
        Of the encoder that embeds captions.
    settings
        How to learn, and what to make.
    target
        Folder to write `GENERATED_FILES` into: the network's weights, and ``images`` uint8
        (n, H, W) with ``labels`` (n,) of SYNTHETIC images, sorted by class.
    seed, device
        Root of the random streams, and as for `medlabel.compute.prepare`.

    Raises
    ------
    MedlabelError
        When a file is missing, damaged, or does not fit the others, or no caption of a class names
        what it shows.
    """
    known = learnt.read("train", seed)
    said = known.table[mixtures.IMAGE].merge(
        captioned(known.table, learnt.captions), on=mixtures.IMAGE, how="left"
    )
    names = learnt.mixture.class_names
    held = judged.table("train", seed)["label"].to_numpy(np.intp)
    counts = wanted(known.labels, held, names, settings)
    sayings = _sayings(said["style"], known.labels, counts, names, settings.images, seed)
    where = compute.prepare(device, 1)
    embedded = _embedded(encoder.load(folder, where), said["caption"])
    material = flow.Captioned(known.images, embedded, known.labels)
    generator = flow.learn(material, settings, seed, where)
    noise, edge = torch_seed(seed, "generation", "made"), learnt.mixture.size
    images = flow.imagine(generator, embedded[np.concatenate(sayings)], edge, settings, noise)
    with files.replacing(target / NETWORK) as partial:
        save_file(generator.tensors(), partial)
    labels = np.repeat(np.arange(len(counts)), counts)
    files.write_npz(target / SYNTHETIC, {"images": images, "labels": labels})


def _sayings(
    styles: pd.Series[str],
    labels: Labels,
    counts: list[int],
    names: list[str],
    images: str,
    seed: int,
) -> list[Labels]:
    """Choose captions of each class that name what they show, any of them again and again."""
    telling, found = styles.isin(NAMING_A_FINDING).to_numpy(), []
    for label, count in enumerate(counts):
        rows = np.flatnonzero(telling & (labels == label))
        if not len(rows):
            raise MedlabelError(
                f"generation: expected captions of {images} that name what images of "
                f"{names[label]} show, found none; choose images with other captions."
            )
        found.append(stream(seed, "generation", "captions", label).choice(rows, count))
    return found


def alone(learnt: Labels, judged: Labels, classes: int, settings: Generation) -> list[int]:
    """Return how many images of each class classifiers learn from, of whatever source."""
    held = (np.bincount(one, minlength=classes) for one in (learnt, judged))
    return [min(settings.at_most, int(one), int(other)) for one, other in zip(*held, strict=True)]


def lacking(judged: Labels, names: list[str], settings: Generation) -> dict[str, tuple[int, int]]:
    """Return the rarer class of each question to be filled up, and how many images it lacks."""
    counts, found = np.bincount(judged, minlength=len(names)), {}
    for question in settings.filled:
        pair = [names.index(one) for (one,) in settings.questions[question]]
        rare, common = sorted(pair, key=lambda label: int(counts[label]))
        found[question] = rare, int(counts[common] - counts[rare])
    return found


def wanted(learnt: Labels, judged: Labels, names: list[str], settings: Generation) -> list[int]:
    """Return how many images of each class are made."""
    found = alone(learnt, judged, len(names), settings)
    for label, count in lacking(judged, names, settings).values():
        found[label] = max(found[label], count)
    return found


def _embedded(loaded: encoder.Encoder, captions: pd.Series[str]) -> Vectors:
    distinct = list(dict.fromkeys(captions))
    each = words.class_embeddings(loaded, [[one] for one in distinct])
    place = {one: number for number, one in enumerate(distinct)}
    return each[captions.map(place).to_numpy()]
