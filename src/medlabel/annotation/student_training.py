"""A student learns the labels of a folder, from pixels alone."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medlabel.annotation import places, record, students, tables
from medlabel.annotation.decoding import decoded
from medlabel.data.pixels import Pixels
from medlabel.errors import MedlabelError
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from medlabel.annotation.sources import Source
    from medlabel.data.reading.page import Reading
    from medlabel.training.loop import Training

logger = logging.getLogger("medlabel")

NETWORK = "capstone"  # of params.yaml
SIZE = 28  # pixels
FEWEST = 10  # labelled images: fewer leave too few to hold back
SEED = 0


@dataclass(frozen=True)
class Learned:
    """A student that was trained.

    Attributes
    ----------
    student
        With the weights of its best epoch.
    answers
        Its label of every distinct image, in their order.
    held_back, alike
        Labels that it did not learn, and the part of them that it gives, too.
    """

    student: students.Student
    answers: list[str]
    held_back: int
    alike: float

    @property
    def told(self) -> str:
        """How far it follows the labels, in a line."""
        return f"student: gives {self.alike:.1%} of {self.held_back} labels that it did not learn"


def learn(
    table: pd.DataFrame,
    digests: Sequence[str],
    names: Sequence[str],
    sources: Sequence[Source],
    reading: Reading,
    workers: int,
    device: torch.device,
) -> Learned:
    """Train a student on the images that have a label, each distinct one once.

    Parameters
    ----------
    table
        As `tables.build` has it, with the corrections.
    digests
        Of all distinct images, for each of which it answers then.
    names
        The classes; those that no image has are not learnt, those that a person added are.
    sources, reading, workers
        As `decoding.decoded` takes them: images are decoded again, since no pixels are kept.
    device
        Where to train.

    Raises
    ------
    MedlabelError
        When there are too few labels, or all are the same.
    """
    labels = _labels(table)
    present = set(labels.values())
    classes = [*(name for name in names if name in present), *sorted(present - set(names))]
    if len(labels) < FEWEST or len(classes) < 2:
        raise MedlabelError(
            f"--train-student: {len(labels)} labelled images of {len(classes)} classes given; at "
            f"least {FEWEST} of two classes expected; leave --train-student out."
        )
    facts = _facts(labels, classes)
    pixels = _pixels(digests, facts, sources, reading, workers)
    rows = [row for row, digest in enumerate(digests) if digest in labels]
    targets = np.array([classes.index(labels[digests[row]]) for row in rows])
    logger.info("a student learns %d labels", len(rows))
    training, held_back = _fitted(facts, pixels[rows], targets, device)
    student, reached = students.Student(facts, training), training.reached
    answers = [classes[best] for best in student.predict(pixels).argmax(axis=1)]
    return Learned(student, answers, held_back, reached.curve[reached.best - 1].val_accuracy)


def _labels(table: pd.DataFrame) -> dict[str, str]:
    """Return the labels of distinct images by digest."""
    rows = table[(table["label"] != "") & (table["status"] != tables.DUPLICATE)]
    return dict(zip(rows["digest"].tolist(), rows["label"].tolist(), strict=True))


def _facts(labels: dict[str, str], classes: list[str]) -> students.Facts:
    from medlabel import params

    part = params.read([places.parameters()])
    recipe = part.recipes[students.RECIPE]
    lines = "".join(f"{digest} {label}\n" for digest, label in sorted(labels.items()))
    return students.Facts(
        classes=classes,
        network=part.networks[NETWORK],
        channels=1,
        size=SIZE,
        stem=recipe.stem,
        enlarge_to=None,
        test_time_flips=False,
        arithmetic="fp32",
        origin=f"{len(labels)} labels by medlabel label",
        labels_sha256=hashlib.sha256(lines.encode()).hexdigest(),
        versions=record.versions(),
    )


def _pixels(
    digests: Sequence[str],
    facts: students.Facts,
    sources: Sequence[Source],
    reading: Reading,
    workers: int,
) -> Pixels:
    """Decode images once more: uint8 (n, size, size, channels), in the order of their digests."""
    place = {digest: row for row, digest in enumerate(digests)}
    found = np.zeros((len(digests), facts.size, facts.size, facts.channels), np.uint8)
    missing = set(digests)
    task = f"read {len(sources)} files for the student"
    for one in track(decoded(sources, reading, None, workers), task, len(sources)):
        for digest, pixels in one.pixels.items():
            if digest in missing:
                found[place[digest]] = students.shrunken(pixels, facts.size, facts.channels)
                missing.remove(digest)
    if missing:
        raise MedlabelError(
            f"--train-student: {len(missing)} images changed while they were labelled; run the "
            f"same command again."
        )
    return found


def _fitted(
    facts: students.Facts, pixels: Pixels, targets: npt.NDArray[np.int64], device: torch.device
) -> tuple[Training, int]:
    """Train on four fifths of the labels, and choose the epoch by the others."""
    import torch

    from medlabel.training import examples
    from medlabel.training.loop import Images

    torch.manual_seed(torch_seed(SEED, "student", "weights", 0))
    training = students.built(facts, device)
    # More threads would not be faster, and a student's sums would depend on them.
    torch.set_num_threads(training.recipe.threads)
    random = stream(SEED, "student", "split", 0)
    parts = examples.split(targets, training.recipe.validation_fraction or 0, random)
    train, val = (
        Images(
            torch.from_numpy(pixels[part]).to(device), torch.from_numpy(targets[part]).to(device)
        )
        for part in parts
    )
    training.fit(train, val)
    return training, len(parts[1])
