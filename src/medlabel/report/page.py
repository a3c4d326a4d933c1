"""One page that holds the whole report: figures, tables, parameters and provenance."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from medlabel import __version__, files
from medlabel.data.catalogue import is_phantom
from medlabel.errors import MedlabelError
from medlabel.params import Params
from medlabel.report import tables
from medlabel.report.results import Study, read_study
from medlabel.report.text import PHANTOM_MARK, p_value, percent, points, readable

CAPTIONS = {
    "boxplots": "What the student gains on its teacher, seed by seed; and each arm's own accuracy "
    "beside its controls.",
    "quality": "The student's accuracy against its teacher's: above the line, and in the shaded "
    "part, the student helps.",
    "corrections": "Images that the teacher mislabelled and the student corrected, and the "
    "reverse.",
    "confusion": "Which classes the teacher takes for which.",
    "curves": "How the students train, and when they stop.",
    "samples": "What the images look like, with their true classes.",
}
MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
FACTS = ("flag", "size", "url", "md5", "sha256", "bytes", "licence", "non_commercial")
PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "monai",
    "medmnist",
    "matplotlib",
    "snakemake",
    "dvc",
)


def write(
    study: Path,
    published: Path,
    figures: Mapping[str, Path],
    sidecars: Sequence[Path],
    provenance: Path,
    params: Params,
    target: Path,
) -> None:
    """Write the report as one HTML file that loads nothing from elsewhere.

    Parameters
    ----------
    study
        Results that `medlabel study` wrote.
    published
        Table of published values.
    figures
        .svg or .png file of each figure of `CAPTIONS`.
    sidecars
        The .json beside each official file of the mixture: checksums and licence.
    provenance
        The `provenance.json` of the study's encoder.
    params
        Parameters of the study; those that only say where and how to work are left out.
    target
        HTML file to write.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or a figure is not given.
    """
    found = read_study(study)
    datasets = [_read_facts(path) for path in sidecars]
    environment = Environment(
        loader=PackageLoader("medlabel", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("page.html.j2").render(
        title=tables.heading(found),
        phantom_mark=PHANTOM_MARK if found.phantom else None,
        summary=_summarise(found),
        figures=[_figure(figures, name) for name in CAPTIONS],
        tables=tables.build(found, published, params.mixture, params.teacher),
        parameters=_parameters(params),
        datasets=datasets,
        phantoms=[name for name in params.mixture.datasets if is_phantom(name)],
        non_commercial=[facts["flag"] for facts in datasets if facts["non_commercial"]],
        encoder=found.encoder,
        provenance=list(_flatten(files.read_json(provenance, "pretrain"))),
        versions=_versions(),
    )
    with files.replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def _read_facts(path: Path) -> dict[str, Any]:
    facts = files.read_json(path, "fetch")
    missing = [key for key in FACTS if key not in facts]
    if missing:
        raise MedlabelError(
            f"{path}: expected the keys {', '.join(FACTS)}, but {', '.join(missing)} is missing; "
            f"delete the file and run `medlabel fetch` again."
        )
    return dict(facts)


def _summarise(study: Study) -> str:
    teacher, student = (study.arms[arm]["accuracy"].mean for arm in ("teacher", "student"))
    gain = study.gains["accuracy"]
    return (
        f"Over {study.seeds} seeds on {readable(study.mixture)}, the teacher {study.encoder} "
        f"labels {percent(teacher)} of {study.test_images:,} held-out images rightly and its "
        f"student {percent(student)}: a mean difference of {points(gain.mean)} percentage points "
        f"({study.interval} {points(gain.low)} to {points(gain.high)}; {p_value(gain.holm_p)} "
        f"after Holm; {gain.wins} wins, {gain.ties} ties, {gain.losses} losses). Always answering "
        f"the commonest class gives {percent(study.trivial_accuracy)}."
    )


def _figure(figures: Mapping[str, Path], name: str) -> dict[str, str]:
    if name not in figures:
        raise MedlabelError(
            f"figures: expected {', '.join(CAPTIONS)}, but {name} is missing; run `medlabel "
            f"report` again."
        )
    path = files.require(figures[name], "report")
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


def _parameters(params: Params) -> str:
    # These differ between machines and change no number.
    where_and_how: dict[str, Any] = {
        "folders": True,
        "device": True,
        "data": {"mirrors", "retries", "timeout"},
        "embed": {"batch_size"},
    }
    content = params.model_dump(mode="json", exclude=where_and_how)
    return yaml.safe_dump(
        content, sort_keys=False, default_flow_style=None, allow_unicode=True, width=90
    )


def _flatten(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flatten(value, f"{path}.{key}" if path else str(key))
    else:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        yield path, text


def _versions() -> list[tuple[str, str]]:
    installed = [(name, importlib.metadata.version(name)) for name in PACKAGES]
    return [("medlabel", __version__), ("Python", platform.python_version()), *installed]
