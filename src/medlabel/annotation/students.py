"""A student in one file: its weights, with all that it needs to label in the header.

A student is a small network that learnt labels from pixels alone: it needs neither words nor a
teacher.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medlabel import files
from medlabel.annotation import places
from medlabel.data.pixels import Pixels, with_channels
from medlabel.data.vectors import Vectors
from medlabel.errors import MedlabelError
from medlabel.networks.names import tower_of
from medlabel.params import Network

if TYPE_CHECKING:
    import torch
    from torch import nn

    from medlabel.params import TrainingSettings
    from medlabel.training.loop import Training

HEADER = "medlabel_student"  # the key in the header of a .safetensors
RECIPE = "pneumonia"  # of params.yaml: a few epochs with Adam
Normalisation = Literal["intensity / 127.5 - 1"]


class Facts(BaseModel):
    """What is known of a student beside its weights.

    Attributes
    ----------
    classes
        In the order of its answers.
    network
        Parameters of a small network, or a name.
    channels
        Of its images: 1 for grey, 3 for colour.
    size
        Edge of its images in pixels.
    stem, enlarge_to, test_time_flips
        As in a recipe.
    arithmetic
        In which it answers.
    normalisation
        What becomes of an intensity from 0 to 255.
    origin
        What it learnt from.
    labels_sha256
        SHA-256 of the lines ``<digest of pixels> <label>`` that it learnt; None where they lie in
        a study.
    versions
        Of what it was trained with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal[1] = 1
    classes: Annotated[list[str], Field(min_length=2)]
    network: Network | str
    channels: Literal[1, 3]
    size: Annotated[int, Field(ge=1)]
    stem: str
    enlarge_to: int | None
    test_time_flips: bool
    arithmetic: Literal["fp32", "bf16"]
    normalisation: Normalisation = "intensity / 127.5 - 1"
    origin: str
    labels_sha256: str | None
    versions: dict[str, str]

    @property
    def settings(self) -> TrainingSettings:
        """What the code that trains and judges takes, as far as it decides on answers."""
        from medlabel import params

        seen = {"channels": self.channels, "enlarge_to": self.enlarge_to, "stem": self.stem}
        recipe = params.read([places.parameters()]).recipes[RECIPE]
        return params.TrainingSettings(
            seed=0,
            mixture=None,
            dataset=None,
            size=self.size,
            labelling=None,
            network=self.network,
            recipe=recipe.model_copy(update={**seen, "test_time_flips": self.test_time_flips}),
        )


class Student:
    """A network that answers.

    Parameters
    ----------
    facts
        What is known of it.
    training
        Holds the network, and judges images as every training does.
    """

    def __init__(self, facts: Facts, training: Training) -> None:
        self.facts, self.training = facts, training

    def predict(self, pixels: Pixels) -> Vectors:
        """Return probabilities, float32 (n, classes), of uint8 (n, size, size, channels)."""
        import torch

        from medlabel.training import losses

        images = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.training.device)
        return losses.probabilities(self.training.task, self.training.logits(images))

    def save(self, path: Path) -> None:
        """Write it in one file; equal students give equal bytes."""
        from safetensors.torch import save_file

        told = json.dumps(self.facts.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        state = self.training.network.state_dict()
        weights = {name: value.cpu().contiguous() for name, value in state.items()}
        with files.replacing(path) as partial:
            save_file(weights, partial, {HEADER: told})


def built(
    facts: Facts, device: torch.device, given: Mapping[str, torch.Tensor] | None = None
) -> Training:
    """Return a student that learnt nothing yet; torch's global generator draws its weights.

    A network with an encoder's tower is made as the weights `given` say: its encoder may be away.

    Raises
    ------
    MedlabelError
        When there is no such network, or it cannot take images of this size.
    """
    from medlabel.data import catalogue
    from medlabel.training.inputs import Inputs
    from medlabel.training.loop import Identity, Training

    settings = facts.settings
    network: nn.Module
    if given is not None and isinstance(facts.network, str) and tower_of(facts.network):
        from medlabel.networks import encoder_head

        network = encoder_head.restore(given)
    else:
        network = _registered(facts)
    task = catalogue.task_of(len(facts.classes))
    identity = Identity("student", settings.seed, 0, None, "")
    return Training(network.to(device), Inputs(settings), task, facts.arithmetic, identity)


def _registered(facts: Facts) -> nn.Module:
    from medlabel.networks import registry

    return registry.build(
        facts.network,
        volumetric=False,
        channels=facts.channels,
        outputs=len(facts.classes),
        size=facts.settings.edge,
        stem=facts.stem,
    )


def shrunken(pixels: Pixels, size: int, channels: Literal[1, 3]) -> Pixels:
    """Bring an image to what a student sees; one that has its size keeps its pixels.

    Parameters
    ----------
    pixels
        uint8 of shape (H, W) or (H, W, 3). Both edges are brought to the size, so that nothing is
        cut off.

    Returns
    -------
    ndarray
        uint8 of shape (size, size, channels).
    """
    from PIL import Image

    seen = with_channels(pixels[None], channels)[0]
    if seen.shape[:2] != (size, size):
        image = Image.fromarray(np.ascontiguousarray(seen))
        seen = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
    found: Pixels = seen.reshape(size, size, channels)
    return found


def read(path: Path) -> Facts:
    """Read what is known of a student, without its weights.

    Raises
    ------
    MedlabelError
        When there is no such file, or it holds no student.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        found = "no such file" if not path.exists() else f"something else ({error})"
        raise _wrong(path, found) from error
    if HEADER not in header:
        raise _wrong(path, "weights without the facts of a student")
    try:
        return Facts.model_validate_json(header[HEADER])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _wrong(path, f"one of another version ({where}: {first['msg']})") from error


def _wrong(path: Path, found: str) -> MedlabelError:
    return MedlabelError(
        f"{path}: expected a student, as `medlabel label --train-student` and `medlabel "
        f"export-student` write it, found {found}."
    )


def load(path: Path, device: torch.device) -> Student:
    """Read a student.

    Raises
    ------
    MedlabelError
        As `read` and `of`.
    """
    from safetensors.torch import load_file

    return of(read(path), load_file(path), str(path), device)


def of(
    facts: Facts, given: Mapping[str, torch.Tensor], source: str, device: torch.device
) -> Student:
    """Put weights into the network that they are of.

    Parameters
    ----------
    facts, given
        What is known of the student, and its weights.
    source
        Names them in messages.
    device
        Where it shall answer.

    Raises
    ------
    MedlabelError
        When they do not fit what is known of the network.
    """
    from medlabel.networks import weights

    training = built(facts, device, given)
    weights.load(training.network, given, source, require_classifier=True)
    return Student(facts, training)
