"""One page that holds a study's report: figures, tables, parameters and provenance."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from medlabel import __version__, files
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.evaluate.results import StudyResult, grouped
from medlabel.params import Params, pool_name
from medlabel.report import summary, teachers
from medlabel.report.sources import Source
from medlabel.report.table import Table
from medlabel.report.text import PHANTOM_MARK

FACTS = ("flag", "size", "url", "md5", "sha256", "bytes", "licence", "non_commercial")


def write(
    study: StudyResult,
    sources: Sequence[Source],
    figures: Mapping[str, tuple[Path, str]],
    contents: Sequence[Table],
    target: Path,
) -> None:
    """Write the report as one HTML file that loads nothing from elsewhere.

    `figures` gives the .svg file and the caption of each figure by its name, `contents` the tables.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged.
    """
    params = sources[0].params
    archives = dict.fromkeys(one for source in sources for one in source.archive_files.items())
    facts = [
        _read_facts(Path(path).with_suffix(".json"))
        for name, path in archives
        if not catalogue.is_phantom(name)
    ]
    records = {
        str(one): teachers.provenance(source, one)
        for source in sources
        for one in source.cell.teachers
    }
    environment = Environment(
        loader=PackageLoader("medlabel", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("page.html.j2").render(
        title=summary.title(study),
        phantom_mark=PHANTOM_MARK if study.phantom else None,
        summary=summary.summarise(study),
        figures=[(name, caption, _embed(path)) for name, (path, caption) in figures.items()],
        tables=contents,
        parameters=_parameters(params, study, sources),
        datasets=facts,
        phantoms=list(dict.fromkeys(name for name, _ in archives if catalogue.is_phantom(name))),
        non_commercial=sorted({one["flag"] for one in facts if one["non_commercial"]}),
        teachers=[(name, list(_flatten(record))) for name, record in records.items()],
        versions=_versions(sources),
    )
    with files.replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def _read_facts(path: Path) -> dict[str, Any]:
    facts = files.read_json(path, "fetch")
    if missing := [key for key in FACTS if key not in facts]:
        raise MedlabelError(
            f"{path}: expected the keys {', '.join(FACTS)}, but {', '.join(missing)} is missing; "
            f"delete the file and run `medlabel fetch` again."
        )
    return dict(facts)


def _embed(path: Path) -> str:
    content = base64.b64encode(files.require(path, "report").read_bytes()).decode("ascii")
    return f"data:image/svg+xml;base64,{content}"


def _flatten(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flatten(value, f"{path}.{key}" if path else str(key))
    else:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        yield path, text


def _parameters(params: Params, study: StudyResult, sources: Sequence[Source]) -> str:
    """Return the study and all parts that it names, as in params.yaml."""
    cells = [source.cell for source in sources]
    trained = [
        one
        for cell in cells
        for student in chain(*params.students(cell, study.study).values())
        for one in params.with_sources(student)
    ]
    used: dict[str, set[str | None]] = {
        "mixtures": {pool_name(one.images) for one in trained},
        "encoders": {teacher.name for cell in cells for teacher in cell.teachers},
        "prompts": {cell.prompts for cell in cells},
        "labellings": {cell.labelling for cell in cells},
        "networks": {one.network for one in trained},
        "recipes": {one.recipe for one in trained},
        "studies": {study.study},
    }
    content = params.model_dump(mode="json", include={"seed", "phantoms", "statistics", *used})
    for section, names in used.items():
        parts = content[section]
        content[section] = {name: part for name, part in parts.items() if name in names}
    for part in content["encoders"].values():
        del part["batch_size"]  # differs between machines and changes no number
    return yaml.safe_dump(
        {key: value for key, value in content.items() if value},
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=90,
    )


def _versions(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """Name the software of the trainings, with every version that any of them was made with."""
    used = dict.fromkeys(one for source in sources for one in source.record().versions.items())
    by_name = sorted(grouped(used, lambda one: one[0]).items())
    listed = [(name, ", ".join(version for _, version in group)) for name, group in by_name]
    return [("medlabel", __version__), *listed]
