"""One table of the study's steps: which parameters each reads, and which code it runs.

Snakemake's rules, DVC's stages and the command line all take these facts from here: a rule that
did not know of a parameter, or of a module, would not run again when it changes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

from medlabel.params import Params, Pretrain

PACKAGE = Path(__file__).parent
# What these say reaches a step's output only through parameters, which are tracked by value.
NOT_TRACKED = {"params.py", "errors.py", "progress.py"}


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
    module
        The code of the step, below the package; what it imports of the package counts with it.
    """

    name: str
    does: str
    module: str
    reads: tuple[str, ...]
    operates: tuple[str, ...] = ()
    fans_out: tuple[str, ...] = ()

    def settings(self, params: Params) -> dict[str, Any]:
        """Return those parameters that the step declares, and no others."""
        keys = (*self.reads, *self.operates, *self.fans_out)
        return {key: lookup(params, key) for key in keys}

    def triggers(self, params: Params) -> dict[str, Any]:
        """Return what the output depends on, as plain JSON values: Snakemake's rerun trigger."""
        content = params.model_dump(mode="json")
        return {key: reduce(getitem, key.split("."), content) for key in self.reads}

    @property
    def code(self) -> list[str]:
        """Files that the step's output depends on, from the project's folder."""
        reached: set[Path] = set()
        waiting = [_file_of(f"medlabel.{self.module}")]
        while waiting:
            file = waiting.pop()
            if file is None or file in reached or file.name in NOT_TRACKED:
                continue
            reached.add(file)
            waiting.extend(_imported(file))
        templates = {path for file in reached for path in file.parent.glob(f"{file.stem}.*.j2")}
        return sorted(
            f"src/medlabel/{file.relative_to(PACKAGE).as_posix()}" for file in reached | templates
        )


@cache
def _imported(file: Path) -> tuple[Path, ...]:
    """Files of the package that a file imports, inside functions too."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = (_file_of(name) for node in ast.walk(tree) for name in _names(node))
    return tuple(path for path in found if path is not None)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)


def _file_of(name: str) -> Path | None:
    """Find the file of a module of this package; None for other names."""
    package, *parts = name.split(".")
    if package != "medlabel" or not parts:
        return None
    path = PACKAGE.joinpath(*parts)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def lookup(params: Params, key: str) -> Any:
    """Return the parameter at a dotted key."""
    return reduce(getattr, key.split("."), params)


_ENCODERS = ("teacher.source", "teacher.name", "pretrain.checkpoints")
# A checkpoint's weights do not depend on which one the study looks at.
_TRAINING = tuple(f"pretrain.{key}" for key in Pretrain.model_fields if key != "study_checkpoint")
_BLOCKS = ("study.seeds", "study.seeds_per_job", "study.curve_seeds")

STEPS = {
    step.name: step
    for step in (
        Step(
            name="fetch",
            module="data.medmnist",
            does="Download one MedMNIST file, or copy it from a mirror, and check it.",
            reads=("data.size",),
            operates=("data",),
            fans_out=("mixture.classes",),
        ),
        Step(
            name="phantoms",
            module="data.phantoms",
            does="Draw captioned phantoms of every kind.",
            reads=("seed", "phantoms"),
        ),
        Step(
            name="pool",
            module="data.mixtures",
            does="List every image that the mixture may draw.",
            reads=("seed", "mixture", "data.size"),
        ),
        Step(
            name="mix",
            module="data.mixtures",
            does="Draw the images of a block of seeds.",
            reads=("seed", "mixture"),
            fans_out=_BLOCKS,
        ),
        Step(
            name="pretrain",
            module="teacher.pretrain",
            does="Train a small CLIP on captioned phantoms and keep its checkpoints.",
            reads=("seed", "phantoms.size", *_TRAINING),
            operates=("pretrain", "device"),
            fans_out=("teacher.source", "teacher.name"),
        ),
        Step(
            name="adopt",
            module="teacher.encoder",
            does="Bring a published open_clip model into the study.",
            reads=("teacher",),
            fans_out=("teacher.source",),
        ),
        Step(
            name="embed",
            module="teacher.embed",
            does="Compute the embedding of every image of the pool, once.",
            reads=("embed.precision",),
            operates=("embed", "device"),
            fans_out=_ENCODERS,
        ),
        Step(
            name="pseudolabel",
            module="teacher.zeroshot",
            does="Label every image of the pool from text prompts alone.",
            reads=("mixture.classes", "pseudolabel"),
            operates=("device",),
            fans_out=_ENCODERS,
        ),
        Step(
            name="students",
            module="student.students",
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
            fans_out=(*_ENCODERS, *_BLOCKS, "pretrain.study_checkpoint"),
        ),
        Step(
            name="study",
            module="evaluate.study",
            does="Compare students with their teachers on the same held-out images.",
            reads=("seed", "mixture", "study", "pseudolabel"),
            fans_out=(*_ENCODERS, "pretrain.study_checkpoint"),
        ),
        Step(
            name="vessels",
            module="data.phantoms",
            does="Draw the vessel phantoms that 3-D networks can be pretrained on.",
            reads=("seed", "phantoms", "benchmark.phantom_volumes"),
        ),
        Step(
            name="benchmark",
            module="benchmark.run",
            does="Train one supervised model once and judge it on the test split.",
            reads=("seed",),
            operates=("device",),
            fans_out=("benchmark.name", "benchmark.rows", "benchmark.recipes"),
        ),
        Step(
            name="compare",
            module="evaluate.compare",
            does="Score the benchmark's rows beside the published values and each other.",
            reads=(
                "seed",
                "benchmark.name",
                "benchmark.rows",
                "benchmark.resamples",
                "benchmark.confidence",
            ),
        ),
        Step(
            name="benchmark_report",
            module="report.benchmark.report",
            does="Draw the benchmark's figures, write its tables and its page.",
            reads=("seed", "benchmark"),
        ),
        Step(
            name="report",
            module="report.report",
            does="Draw the figures, write the tables and the HTML page.",
            reads=(
                "seed",
                "data.size",
                "phantoms",
                "mixture",
                "teacher",
                "pretrain",
                "embed.precision",
                "pseudolabel",
                "student",
                "study",
            ),
        ),
    )
}
