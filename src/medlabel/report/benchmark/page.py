"""One page that holds the benchmark's report: figures, tables, parameters and provenance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from medlabel import files
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.params import Benchmark
from medlabel.report.benchmark import comparison, tables
from medlabel.report.benchmark.comparison import Run
from medlabel.report.page import MEDIA_TYPES
from medlabel.report.text import PHANTOM_MARK

CAPTIONS = {
    "scores": "AUC and accuracy of every row on the test split, each seed and the mean with its "
    "interval, beside published values of the same model. Overlapping intervals are not progress.",
    "roc": "ROC curves on the test split, averaged over the seeds.",
    "curves": "How every row trained: losses, validation AUC, and the epoch whose weights are "
    "kept.",
    "slices": "What the images look like, before and after the augmentations of the recipes.",
}


def write(
    results: Path,
    runs: Mapping[str, Sequence[Path]],
    figures: Mapping[str, Path],
    settings: Benchmark,
    target: Path,
) -> None:
    """Write the report as one HTML file that loads nothing from elsewhere.

    Parameters
    ----------
    results
        The JSON file that `medlabel compare` wrote.
    runs
        Folders of the runs by the row's name.
    figures
        .svg or .png file of each figure of `CAPTIONS`.
    settings
        Parameters of the benchmark.
    target
        HTML file to write.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, a figure is not given, or the runs are not those that
        were compared.
    """
    found = comparison.read(results)
    read = comparison.read_runs(found, runs)
    environment = Environment(
        loader=PackageLoader("medlabel.report", "benchmark"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("page.html.j2").render(
        title=tables.heading(found, read),
        phantom_mark=PHANTOM_MARK,
        phantoms=[name for name, rows in found.datasets.items() if rows[0].phantom],
        non_commercial=[name for name in found.datasets if _non_commercial(name)],
        summary=tables.summarise(found, read),
        figures=[_figure(figures, name) for name in CAPTIONS],
        parts=tables.build(found, read),
        parameters=_parameters(settings),
        devices=found.devices,
        versions=_versions(read),
    )
    with files.replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def _figure(figures: Mapping[str, Path], name: str) -> dict[str, str]:
    if name not in figures:
        raise MedlabelError(
            f"figures: expected {', '.join(CAPTIONS)}, but {name} is missing; run `medlabel "
            f"benchmark_report` again."
        )
    path = files.require(figures[name], "benchmark_report")
    if path.suffix not in MEDIA_TYPES:
        raise MedlabelError(
            f"{path}: expected a figure to end in {' or '.join(MEDIA_TYPES)}, found "
            f"{path.suffix or 'no suffix'!r}."
        )
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return {
        "name": name,
        "caption": CAPTIONS[name],
        "source": f"data:{MEDIA_TYPES[path.suffix]};base64,{content}",
    }


def _non_commercial(dataset: str) -> bool:
    return not catalogue.is_phantom(dataset) and catalogue.source(dataset, 28).non_commercial


def _parameters(settings: Benchmark) -> str:
    return yaml.safe_dump(
        settings.model_dump(mode="json"),
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=90,
    )


def _versions(runs: Mapping[str, Sequence[Run]]) -> list[tuple[str, str]]:
    """Name the software of the runs, with every version that any of them was trained with."""
    found: dict[str, dict[str, None]] = {}
    for group in runs.values():
        for run in group:
            for name, version in run.record.versions.items():
                found.setdefault(name, {})[version] = None
    return [(name, ", ".join(versions)) for name, versions in sorted(found.items())]
