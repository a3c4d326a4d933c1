"""Labelling from Python, by scikit-learn's conventions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from medlabel.annotation import classes as naming
from medlabel.annotation import embedding, labelling, looks, places, sources, teachers, wording
from medlabel.data.pixels import Pixels
from medlabel.data.reading import windows
from medlabel.data.reading.page import Reading
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.labels import sources as origins
from medlabel.labels.sources import Property

Images = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | npt.NDArray[Any]


class Labeller(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that learns from words and from images without labels.

    Parameters
    ----------
    classes
        Names, names divided by commas, a YAML file, or sentences by name.
    encoder
        As `medlabel label --encoder` has it; None is the default teacher, made on first use.
    labelling
        How embeddings and words become labels: a part of `labellings` in params.yaml.
    window
        ``"auto"`` or ``"LOW,HIGH"``: intensities shown of images with more than 8 bits.
    batch_size, precision, device, threads
        Images a forward pass, its arithmetic (auto, fp32 or bf16), auto, cpu or cuda, and CPU
        threads; threads decode, too.

    Attributes
    ----------
    classes_
        Names in the order of the columns of `predict_proba`.
    review_order_
        Positions of the images given to `fit`, the most doubtful one first.
    estimated_accuracy_
        Of the labels of those images, from how sure words are and how far clusters agree: an
        estimate, not checked (`medlabel.labels.estimate`).
    verdict_, reason_
        Whether to use those labels, ``"trusted"``, ``"check"`` or ``"refused"``, and why, in a
        line; nothing is kept back.
    """

    def __init__(
        self,
        classes: str | Sequence[str] | Mapping[str, Sequence[str]] = (),
        encoder: str | None = None,
        labelling: str = labelling.NAME,
        window: str = windows.AUTO,
        batch_size: int = 64,
        precision: str = "auto",
        device: str = "auto",
        threads: int = 1,
    ) -> None:
        self.classes = classes
        self.encoder = encoder
        self.labelling = labelling
        self.window = window
        self.batch_size = batch_size
        self.precision = precision
        self.device = device
        self.threads = threads

    def fit(self, X: Images, y: object = None) -> Self:  # noqa: N803
        """Learn what the words mean among the images, and judge these.

        Parameters
        ----------
        X
            A folder or archive, paths of files with one image each, or uint8 (n, H, W) or
            (n, H, W, 3).
        y
            Ignored: there are no labels.

        Raises
        ------
        MedlabelError
            When classes cannot be told apart, there is no such encoder, or a file is no image.
        """
        sentences = self._sentences()
        folder = teachers.find(self.encoder, self.device, self.threads)
        self._loaded, said = wording.read(folder, sentences, self.device, self.threads)
        self.classes_ = np.array(list(sentences))
        embeddings, properties = self._seen(X)
        opinion = labelling.judge(
            embeddings,
            said.described,
            self._loaded.logit_scale,
            list(sentences),
            said.unknown,
            said.swapped,
            said.mute,
            properties,
            self.labelling,
        )
        self._labeller = opinion.labeller
        self.review_order_ = labelling.order_of_review(opinion.support, opinion.margins)
        self.estimated_accuracy_ = opinion.estimate.accuracy
        self.verdict_, self.reason_ = opinion.verdict, opinion.reason
        return self

    def predict_proba(self, X: Images) -> Vectors:  # noqa: N803
        """Return the probability of each class: float32 of shape (n, classes)."""
        check_is_fitted(self)
        return self._labeller.predict(self._seen(X)[0])

    def predict(self, X: Images) -> npt.NDArray[Any]:  # noqa: N803
        """Return the most probable class of each image, of equal ones the first."""
        best = self.predict_proba(X).argmax(axis=1)
        found: npt.NDArray[Any] = self.classes_[best]
        return found

    def _sentences(self) -> Mapping[str, Sequence[str]]:
        if isinstance(self.classes, str):
            return naming.read(self.classes)
        if isinstance(self.classes, Mapping):
            naming.require_two(self.classes)
            return self.classes
        return naming.read(",".join(self.classes))

    def _seen(self, images: Images) -> tuple[Vectors, list[Property]]:
        """Return embeddings of images, and what these are whatever they show."""
        settings = embedding.Settings(
            self.batch_size,
            embedding.arithmetic(self.precision, self._loaded),  # type: ignore[arg-type]
            self.threads,
            0 if self.threads == 1 else self.threads,
            places.cache() / "images",
        )
        if isinstance(images, np.ndarray) and images.dtype.kind in "buif":
            pixels = _stack(images)
            looked = origins.measured([looks.look(one) for one in pixels], *looks.COLUMNS)
            return embedding.embed_pixels(pixels, self._loaded, settings), looked
        reading = Reading(windows.parse(self.window))
        found = embedding.embed(_sources(images), reading, self._loaded, settings)
        digests = {digest: row for row, digest in enumerate(found.digests)}
        rows = np.array([digests[_only(file)] for file in found.files], np.intp)
        return found.vectors[rows], [one.take(rows) for one in found.properties()]


def _stack(images: npt.NDArray[Any]) -> Sequence[Pixels]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)):
        raise MedlabelError(
            f"X: an array of {images.dtype} and shape {images.shape} given; uint8 of (n, H, W) or "
            f"(n, H, W, 3) expected."
        )
    return list(images)


def _sources(images: str | os.PathLike[str] | Iterable[Any]) -> list[sources.Source]:
    if isinstance(images, str | os.PathLike):
        return sources.find(Path(images))
    return [sources.Source(str(one), str(one)) for one in images]


def _only(file: embedding.File) -> str:
    if len(file.facts.seen) == 1 and file.facts.outcome is None:
        return file.facts.seen[0].pixels
    reason = file.facts.reason or f"{len(file.facts.seen)} images, one expected"
    raise MedlabelError(f"{file.source.name}: {reason}; `medlabel label` gives such files rows.")
