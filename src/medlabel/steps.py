"""One table of the study's steps: which parameters each reads, and which code it runs.

Snakemake's rules, DVC's stages and the command line all take these facts from here. A rule that
did not know of a parameter would not run again when it changes; a command cannot read a parameter
that its step does not declare (`Step.settings` refuses).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from medlabel.params import Params

PACKAGE = Path(__file__).parent
SOURCE = (".py", ".j2")
EVERY_STEP = ("files.py", "randomness.py")


@dataclass(frozen=True)
class Step:
    """One word for a Snakemake rule, a DVC stage and a command.

    Attributes
    ----------
    name
        The word.
    does
        One line of help.
    reads
        Dotted keys of `params.yaml` on which the step's output depends: a change reruns it.
    operates
        Dotted keys that say how to work but not what comes out (mirrors, retries, device).
    fans_out
        Dotted keys that decide which files the step has to make, not what is in them.
    modules
        Code that the output depends on, relative to the package.
    """

    name: str
    does: str
    reads: tuple[str, ...]
    operates: tuple[str, ...] = ()
    fans_out: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    def settings(self, params: Params) -> dict[str, Any]:
        """Return those parameters that the step declares, and no others."""
        keys = (*self.reads, *self.operates, *self.fans_out)
        return {key: lookup(params, key) for key in keys}

    def triggers(self, params: Params) -> dict[str, Any]:
        """Return what the output depends on, as plain JSON values: Snakemake's rerun trigger."""
        return {key: plain(lookup(params, key)) for key in self.reads}

    @property
    def code(self) -> list[str]:
        """Paths of the step's modules from the project's folder, a package file by file."""
        paths = [PACKAGE / module for module in (*self.modules, *EVERY_STEP)]
        files = [
            file
            for path in paths
            for file in (sorted(path.iterdir()) if path.is_dir() else [path])
            if file.suffix in SOURCE
        ]
        return [f"src/medlabel/{file.relative_to(PACKAGE).as_posix()}" for file in files]


def lookup(params: Params, key: str) -> Any:
    """Return the parameter at a dotted key."""
    return reduce(getattr, key.split("."), params)


def plain(value: Any) -> Any:
    """Return a parameter as JSON values."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value


_ENCODERS = ("teacher.source", "teacher.name", "pretrain.checkpoints")
_BLOCKS = ("study.seeds", "study.seeds_per_job")

STEPS = {
    step.name: step
    for step in (
        Step(
            name="fetch",
            does="Download one MedMNIST file, or copy it from a mirror, and check it.",
            reads=("data.size",),
            operates=("data",),
            fans_out=("mixture.classes",),
            modules=("data/medmnist.py", "data/catalogue.py"),
        ),
        Step(
            name="phantoms",
            does="Draw captioned phantoms of every kind.",
            reads=("seed", "phantoms"),
            modules=("data/phantoms",),
        ),
        Step(
            name="pool",
            does="List every image that the mixture may draw.",
            reads=("seed", "mixture", "data.size"),
            modules=("data/mixtures.py", "data/archive.py", "data/catalogue.py"),
        ),
        Step(
            name="mix",
            does="Draw the images of a block of seeds.",
            reads=("seed", "mixture"),
            fans_out=_BLOCKS,
            modules=("data/mixtures.py",),
        ),
        Step(
            name="pretrain",
            does="Train a small CLIP on captioned phantoms and keep its checkpoints.",
            reads=("seed", "pretrain", "phantoms.size"),
            operates=("device",),
            fans_out=("teacher.source", "teacher.name"),
            modules=("teacher/pretrain.py", "teacher/encoder.py", "compute.py"),
        ),
        Step(
            name="adopt",
            does="Bring a published open_clip model into the study.",
            reads=("teacher",),
            fans_out=("teacher.source",),
            modules=("teacher/encoder.py",),
        ),
        Step(
            name="embed",
            does="Compute the embedding of every image of the pool, once.",
            reads=("embed.precision",),
            operates=("embed", "device"),
            fans_out=_ENCODERS,
            modules=("teacher/embed.py", "teacher/encoder.py", "data/archive.py", "compute.py"),
        ),
        Step(
            name="pseudolabel",
            does="Label every image of the pool from text prompts alone.",
            reads=("mixture.classes", "pseudolabel"),
            operates=("device",),
            fans_out=_ENCODERS,
            modules=("teacher/zeroshot.py", "teacher/encoder.py", "compute.py"),
        ),
        Step(
            name="students",
            does="Train a block of students on the teacher's, permuted or true labels.",
            reads=(
                "seed",
                "student",
                "pseudolabel",
                "mixture.classes",
                "data.size",
                "study.keep_weights",
            ),
            operates=("device",),
            fans_out=(*_ENCODERS, *_BLOCKS, "pretrain.study_checkpoint", "study.curve"),
            modules=(
                "student/models.py",
                "student/train.py",
                "student/students.py",
                "teacher/zeroshot.py",
                "data/archive.py",
                "compute.py",
            ),
        ),
        Step(
            name="study",
            does="Compare students with their teachers on the same held-out images.",
            reads=("seed", "mixture", "study", "pseudolabel"),
            fans_out=(*_ENCODERS, "pretrain.study_checkpoint"),
            modules=("evaluate/metrics.py", "evaluate/statistics.py", "evaluate/study.py"),
        ),
        Step(
            name="report",
            does="Draw the figures, write the tables and the HTML page.",
            reads=(
                "seed",
                "data.size",
                "phantoms",
                "mixture",
                "teacher",
                "pretrain",
                "embed",
                "pseudolabel",
                "student",
                "study",
            ),
            modules=("report", "data/archive.py", "data/catalogue.py"),
        ),
    )
}
