"""DVC's stages, derived from the table of steps: `medlabel stages` writes dvc.yaml.

Snakemake owns the graph; a DVC stage is coarse and runs Snakemake up to one step, so that DVC
records what went in and came out, and `dvc exp` can vary parameters. Two hand-written graphs
would drift apart; this one is generated, and a test compares it with the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from medlabel.steps import STEPS

DATA = "${folders.data}"
RESULT = "${folders.results}/${mixture.name}"
HEADER = "# Written by `medlabel stages` from src/medlabel/stages.py; not by hand.\n"


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml.

    Attributes
    ----------
    steps
        The steps that it runs; the first one names it.
    needs
        Outputs of other stages that it reads.
    makes
        Folders and files that it writes, kept in DVC's cache.
    shows
        Files that it writes and Git keeps.
    persists
        Whether DVC leaves the old outputs in place for the step to complete, instead of deleting
        them first. It costs the stage its run-cache, so it is set for downloads alone.
    """

    steps: tuple[str, ...]
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    persists: bool = False

    def entry(self) -> dict[str, Any]:
        """Return the stage as dvc.yaml holds it."""
        steps = [STEPS[name] for name in self.steps]
        code = sorted({file for step in steps for file in step.code})
        keys = sorted({key for step in steps for key in (*step.reads, *step.fans_out)})
        outs: list[Any] = [
            {path: {"persist": True}} if self.persists else path for path in self.makes
        ]
        outs += [{path: {"cache": False}} for path in self.shows if not path.endswith(".json")]
        metrics = [{path: {"cache": False}} for path in self.shows if path.endswith(".json")]
        entry: dict[str, Any] = {
            "cmd": f"snakemake --until {' '.join(self.steps)}",
            "deps": [*self.needs, *code],
            "params": without_children(keys),
            "outs": outs,
        }
        return entry | ({"metrics": metrics} if metrics else {})


def without_children(keys: list[str]) -> list[str]:
    """Drop keys that lie under another key of the list; DVC refuses both together."""
    return [key for key in keys if not any(key.startswith(f"{other}.") for other in keys)]


RAW, PHANTOMS, ENCODERS = f"{DATA}/raw", f"{DATA}/phantoms", f"{DATA}/encoders"
POOL = f"{DATA}/mixtures/${{mixture.name}}/pool.parquet"
AUDIT = f"{DATA}/mixtures/${{mixture.name}}/duplicates.json"
DRAWS = f"{DATA}/mixtures/${{mixture.name}}/draws"
EMBEDDINGS = f"{DATA}/embeddings/${{mixture.name}}"
PSEUDOLABELS = f"{DATA}/pseudolabels/${{mixture.name}}"
STUDENTS = f"{DATA}/students/${{mixture.name}}"
STUDY = (f"{RESULT}_study.json", f"{RESULT}_scores.csv", f"{RESULT}_curve.csv")
FIGURES = tuple(
    f"${{folders.results}}/figures/${{mixture.name}}_{name}.{suffix}"
    for name in ("samples", "curves", "corrections", "boxplots", "quality", "confusion", "phantoms")
    for suffix in ("svg", "png")
)
PUBLISHED = "resources/published_results.csv"

STAGES = (
    Stage(("fetch",), makes=(RAW,), persists=True),
    Stage(("phantoms",), makes=(PHANTOMS,)),
    Stage(("pool",), needs=(RAW, PHANTOMS), makes=(POOL, AUDIT)),
    Stage(("mix",), needs=(POOL,), makes=(DRAWS,)),
    Stage(("pretrain", "adopt"), needs=(PHANTOMS,), makes=(ENCODERS,)),
    Stage(("embed",), needs=(RAW, PHANTOMS, POOL, ENCODERS), makes=(EMBEDDINGS,)),
    Stage(("pseudolabel",), needs=(POOL, ENCODERS, EMBEDDINGS), makes=(PSEUDOLABELS,)),
    Stage(
        ("students",), needs=(RAW, PHANTOMS, DRAWS, PSEUDOLABELS), makes=(STUDENTS,), persists=True
    ),
    Stage(("study",), needs=(DRAWS, PSEUDOLABELS, STUDENTS), shows=STUDY),
    Stage(
        ("report",),
        needs=(RAW, PHANTOMS, POOL, ENCODERS, PSEUDOLABELS, STUDENTS, *STUDY[:2], PUBLISHED),
        shows=(*FIGURES, f"{RESULT}_tables.md", f"{RESULT}_report.html"),
    ),
)

BENCHMARK_STEPS = ("vessels", "benchmark", "compare", "benchmark_report")
# A file of its own: `dvc repro` without a target must not start a benchmark, which takes hours.
BENCHMARKS_FILE = "results/benchmarks/dvc.yaml"
BENCHMARK_FIGURES = tuple(
    f"{name}.{suffix}"
    for name in ("scores", "roc", "curves", "slices")
    for suffix in ("svg", "png")
)


@dataclass(frozen=True)
class Preset:
    """One benchmark as a stage of `BENCHMARKS_FILE`.

    Attributes
    ----------
    name
        `benchmark.name` of its parameters.
    overlay
        Parameter file on top of params.yaml, if any.
    """

    name: str
    overlay: str | None = None

    @property
    def address(self) -> str:
        """The stage as DVC's commands take it."""
        return f"{BENCHMARKS_FILE}:{self.name}"

    def entry(self) -> dict[str, Any]:
        """Return the stage as `BENCHMARKS_FILE` holds it."""
        steps = [STEPS[name] for name in BENCHMARK_STEPS]
        keys = sorted({key for step in steps for key in step.reads})
        results, figures = (f"${{folders.results}}/{name}" for name in ("benchmarks", "figures"))
        shown = [f"{results}/{self.name}{end}" for end in (".csv", "_tables.md", "_report.html")]
        shown += [f"{figures}/benchmark_{self.name}_{figure}" for figure in BENCHMARK_FIGURES]
        # Snakemake keeps the finished runs and trains those that are new or changed.
        runs = {f"{DATA}/runs/{self.name}": {"persist": True}}
        return {
            "cmd": f"snakemake benchmarks{f' --configfile {self.overlay}' if self.overlay else ''}",
            "wdir": "../..",
            "deps": sorted({file for step in steps for file in step.code}),
            "params": without_children(keys) + ([{self.overlay: None}] if self.overlay else []),
            "outs": [runs, *({path: {"cache": False}} for path in shown)],
            "metrics": [{f"{results}/{self.name}.json": {"cache": False}}],
        }


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("full"),
        Preset("laptop", "config/laptop.yaml"),
        Preset("cpu", "config/cpu.yaml"),
    )
}

PLOTS = [
    {
        "Accuracy of each arm by seed": {
            "x": "seed",
            "y": {f"{RESULT}_scores.csv": "accuracy"},
            "template": "scatter",
        }
    },
    {
        "Teacher quality": {
            "x": "teacher_accuracy",
            "y": {f"{RESULT}_curve.csv": "student_accuracy"},
            "template": "linear",
        }
    },
]


def dvc_yaml() -> str:
    """Return the text of dvc.yaml."""
    content = {"stages": {stage.steps[0]: stage.entry() for stage in STAGES}, "plots": PLOTS}
    return _written(content)


def benchmarks_yaml() -> str:
    """Return the text of `BENCHMARKS_FILE`."""
    stages = {name: preset.entry() for name, preset in PRESETS.items()}
    return _written({"vars": ["../../params.yaml:folders"], "stages": stages})


def _written(content: dict[str, Any]) -> str:
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=100)
