"""A study's student as one file, and any student as ONNX has it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medlabel import files
from medlabel.annotation import students
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.networks import weights
from medlabel.networks.images_last import ImagesLast
from medlabel.params import TrainingSettings
from medlabel.randomness import stream
from medlabel.teacher import runtime
from medlabel.training.record import RunRecord

CHECKED = 4  # images of noise, on which a graph has to answer as torch does
TOLERANCE = 1e-5  # largest difference of a probability


def of_training(folder: Path, seed: int, device: torch.device) -> students.Student:
    """Read one student of a study.

    Parameters
    ----------
    folder
        Of a block of seeds, as ``medlabel train`` writes it.
    seed
        Which of them.
    device
        Where it shall answer.

    Raises
    ------
    MedlabelError
        When the folder is none, the weights of this seed were not kept, or the network does not
        give one class to each image.
    """
    record = _record(folder / "run.json")
    settings = record.settings
    dataset = settings["dataset"]
    if dataset is not None and catalogue.is_volumetric(dataset):
        raise MedlabelError(f"{folder}: a network of volumes; one of images expected.")
    if catalogue.is_multi_label(record.task):
        raise MedlabelError(
            f"{folder}: a network that gives several labels; one label an image expected."
        )
    name = f"{record.images}/{record.labels}/{record.network}/{record.recipe}"
    found = weights.of_seed([folder / "weights.safetensors"], seed, name)
    return students.of(_facts(record, f"{name}, seed {seed}"), found, str(folder), device)


def _record(path: Path) -> RunRecord:
    try:
        record = RunRecord.model_validate(files.read_json(path, "train"))
        if not TrainingSettings.model_fields.keys() <= record.settings.keys():
            raise ValueError("settings of another version")
        return record
    except ValueError as error:  # as pydantic's is
        raise MedlabelError(
            f"{path}: expected what `medlabel train` tells of a training, found something else; "
            f"name a folder such as data/trainings/…/0000-0009."
        ) from error


def _facts(record: RunRecord, origin: str) -> students.Facts:
    settings, recipe = record.settings, record.settings["recipe"]
    return students.Facts(
        classes=record.classes,
        network=settings["network"],
        channels=recipe["channels"],
        size=settings["size"],
        stem=recipe["stem"],
        enlarge_to=recipe["enlarge_to"],
        test_time_flips=recipe["test_time_flips"],
        arithmetic=record.precision,
        origin=origin,
        labels_sha256=None,
        versions=record.versions,
    )


def write_onnx(path: Path, student: students.Student) -> None:
    """Write a student as a graph from ``images`` to probabilities.

    It takes float32 (n, channels, size, size) with intensities from 0 to 255, and answers in
    float32 whatever the student's arithmetic.

    Raises
    ------
    MedlabelError
        When a package is missing, or the graph answers otherwise than torch.
    """
    runtime.choose("onnxruntime", torch.device("cpu"))
    facts = student.facts.model_copy(update={"arithmetic": "fp32"})
    state = student.training.network.state_dict()
    exact = students.of(facts, state, str(path), torch.device("cpu"))
    shape = (CHECKED, facts.size, facts.size, facts.channels)
    pixels = stream(0, "student", "onnx").integers(0, 256, shape, dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous()
    with warnings.catch_warnings():
        # Tracing warns of what might differ for other images, which the comparison rules out.
        warnings.simplefilter("ignore")
        graph = runtime.onnx_graph(_Whole(exact).eval(), images)
    _require_alike(path, _answers(graph, images.numpy()), exact.predict(pixels))
    with files.replacing(path) as partial:
        partial.write_bytes(graph)


class _Whole(nn.Module):
    """What is done to intensities, the network, and what is done to its answers, as one."""

    def __init__(self, student: students.Student) -> None:
        super().__init__()
        network = student.training.network
        # A graph is made of torch's own layers, which are what these are.
        self.network = nn.Sequential(*network) if isinstance(network, ImagesLast) else network
        self.inputs = student.training.inputs
        self.flips = student.facts.test_time_flips

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, C, H, W), 0 to 255, to probabilities (n, classes)."""
        seen = self.inputs.judging(images.permute(0, 2, 3, 1))
        views = [seen, seen.flip(2), seen.flip(3)] if self.flips else [seen]
        answers = torch.stack([self.network(view) for view in views]).mean(dim=0)
        return answers.softmax(dim=1)


def _answers(graph: bytes, images: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {runtime.IMAGES: images})[0]


def _require_alike(path: Path, found: Any, wanted: Any) -> None:
    apart = float(np.abs(found - wanted).max())
    if not apart <= TOLERANCE:
        raise MedlabelError(
            f"{path}: the graph's probabilities differ by {apart:.1g} from torch's, {TOLERANCE:g} "
            f"allowed; use the student's own file."
        )
