"""What is wrong with parameters, each problem in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from medlabel.params.encoders import AnyEncoder
from medlabel.params.labellings import AnyLabelling

# Sections of version 0.1.0, and what replaced them.
REPLACED = {
    "mixture": "mixtures (named; a study's `images` chooses)",
    "teacher": "encoders (named; a study's `encoder` chooses)",
    "pretrain": "encoders.phantom_clip",
    "embed": "batch_size and precision of each encoder",
    "pseudolabel": "prompts (words) and labellings (selection, targets)",
    "student": "networks and recipes (named; a study's `network` and `recipe` choose)",
    "study": "studies (named) and statistics",
    "benchmark": "studies (named) and recipes",
}


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the models in a type such as ``dict[str, list[Model]] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)


# Sections whose parts are of several kinds, and the key that tells the kind. Tags of these unions
# stand third in pydantic's locations, but are no keys of the file.
UNIONS = {"encoders": ("kind", AnyEncoder), "labellings": ("method", AnyLabelling)}
TAGS = {
    section: {
        tag for model in _sections(union) for tag in get_args(model.model_fields[key].annotation)
    }
    for section, (key, union) in UNIONS.items()
}


def replaced(content: Mapping[str, Any]) -> list[str]:
    """Say of each section of version 0.1.0 what replaced it."""
    found = [name for name in REPLACED if name in content]
    return [f"{name}: replaced in version 0.2.0 by {REPLACED[name]}" for name in found]


def without_heirs(
    problems: Sequence[Mapping[str, Any]], content: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Leave out problems that a part only has because the one that it extends has them."""
    known = {(*problem["loc"], problem["msg"]) for problem in problems}
    kept = []
    for problem in problems:
        section, name, *rest = [*problem["loc"], "", ""][: max(2, len(problem["loc"]))]
        parts = content.get(section)
        part = parts.get(name) if isinstance(parts, Mapping) else None
        base = part.get("extends") if isinstance(part, Mapping) else None
        if (section, base, *rest, problem["msg"]) not in known:
            kept.append(problem)
    return kept


def explain(problem: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Tell one of pydantic's problems: the key's full path, the value, and what is allowed."""
    section, *inner = problem["loc"] or [""]
    tagged = inner[1:2] and inner[1] in TAGS.get(section, ())
    keys = [section, *inner[:1], *inner[2:]] if tagged else problem["loc"]
    path = ".".join(map(str, keys))
    given = problem.get("input")
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key (value {given!r}){_nearest(problem['loc'], model)}"
    if problem["type"] == "missing":
        return f"{path}: missing, a value is required"
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        key = UNIONS[section][0]
        return f"{path}.{key}: one of {problem['ctx'].get('expected_tags', 'those')} allowed"
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and isinstance(given, dict):
        return f"{path}.{reason}" if path else reason
    return f"{path}: {given!r} given, allowed: {reason[0].lower()}{reason[1:]}"


def _nearest(location: Sequence[Any], model: type[BaseModel]) -> str:
    sections = [model]
    for part in location[:-1]:
        fields = [one.model_fields[part] for one in sections if part in one.model_fields]
        inner = [section for field in fields for section in _sections(field.annotation)]
        tagged = [
            one
            for one in sections
            for key, _ in UNIONS.values()
            if key in one.model_fields and part in get_args(one.model_fields[key].annotation)
        ]
        sections = inner or tagged or sections  # keys of lists and mappings lead nowhere
    names = list(dict.fromkeys(name for section in sections for name in section.model_fields))
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; allowed here: {', '.join(names)}"
