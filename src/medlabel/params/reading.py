"""Parameter files: read, overlaid, checked."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from medlabel.errors import MedlabelError
from medlabel.params.messages import explain, replaced, without_heirs
from medlabel.params.model import Params

Checked = TypeVar("Checked", bound=BaseModel)


try:
    from yaml import CSafeLoader as SafeLoader  # ten times as fast
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]


class _Loader(SafeLoader):
    """YAML in which a key may stand once: a second section would silently replace the first."""


def _unique_keys(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise yaml.constructor.ConstructorError(
            None, None, f"the key {twice[0]!r} stands twice", node.start_mark
        )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_keys)


def validate(content: Mapping[str, Any], source: str) -> Params:
    """Check parameters as read from YAML; `source` is where they come from, for messages.

    Raises
    ------
    MedlabelError
        One line for each problem: the key's full path, the value, and what is allowed.
    """
    if lines := replaced(content):
        raise MedlabelError("\n".join(f"{source}: {line}" for line in lines))
    return check(Params, content, source)


def check(model: type[Checked], content: Mapping[str, Any], source: str) -> Checked:
    """Check one section; as `validate`, which checks all of them."""
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        problems = without_heirs(error.errors(), content)
        lines = [explain(problem, model) for problem in problems]
        raise MedlabelError("\n".join(f"{source}: {line}" for line in lines)) from error


def read(
    paths: Iterable[Path], overrides: Iterable[str] = (), given: Mapping[str, Any] | None = None
) -> Params:
    """Read a parameter file and its overlays.

    Parameters
    ----------
    paths
        YAML files; a later one overlays an earlier one key by key, as Snakemake's do.
    overrides
        ``dotted.key=value`` pairs, the value in YAML.
    given
        What Snakemake's ``--config`` gave, on top of all; see `retyped`.

    Raises
    ------
    MedlabelError
        When a file is missing or no YAML mapping, or a value is not allowed.
    """
    merged: dict[str, Any] = {}
    files = list(paths)
    for path in files:
        overlay(merged, read_yaml(path))
    for override in overrides:
        overlay(merged, _parse_override(override))
    overlay(merged, retyped(given or {}))
    return validate(merged, " + ".join(map(str, files)))


def retyped(content: Any) -> Any:
    """Read texts as YAML where they are numbers, truth values or null.

    Snakemake's ``--config key='{nested: 0.01}'`` hands nested values over as text.
    """
    if isinstance(content, Mapping):
        return {key: retyped(value) for key, value in content.items()}
    if isinstance(content, list):
        return [retyped(value) for value in content]
    if not isinstance(content, str) or not content.strip():
        return content
    try:
        found = yaml.safe_load(content)
    except yaml.YAMLError:
        return content
    return found if found is None or isinstance(found, bool | int | float) else content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping, in which no key stands twice.

    Raises
    ------
    MedlabelError
        When the file is missing, not UTF-8, or no such mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506
    except FileNotFoundError as error:
        raise MedlabelError(
            f"{path}: no such parameter file; run from the project's folder or give --params."
        ) from error
    except OSError as error:
        raise MedlabelError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise MedlabelError(
            f"{path}: expected UTF-8, found byte 0x{error.object[error.start]:02x} at position "
            f"{error.start}; save the file as UTF-8."
        ) from error
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise MedlabelError(f"{path}: expected YAML, found a syntax error: {where}") from error
    if not isinstance(content, dict):
        raise MedlabelError(f"{path}: expected a YAML mapping, found {type(content).__name__}.")
    return content


def overlay(base: dict[str, Any], upper: Mapping[str, Any]) -> None:
    """Put `upper` over `base` in place: mappings merge, everything else is replaced."""
    for key, value in upper.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            overlay(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value


def _parse_override(text: str) -> dict[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise MedlabelError(
            f"--set {text}: expected key=value, such as recipes.capstone.learning_rate=0.01."
        )
    try:
        nested: Any = yaml.load(value, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise MedlabelError(f"--set {text}: expected a value in YAML, found {value!r}.") from error
    for part in reversed(path.split(".")):
        nested = {part: nested}
    return dict(nested)


def schema() -> str:
    """Return the JSON schema (draft 2020-12) of `params.yaml`."""
    content = Params.model_json_schema()
    # A part in the file may leave out its kind, which it takes from the one that it extends.
    for section in content["properties"].values():
        for kinds in section.get("patternProperties", {}).values():
            if "oneOf" in kinds:
                kinds["anyOf"] = kinds.pop("oneOf")
                kinds.pop("discriminator")
    content["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    content["title"] = "medlabel parameters"
    return json.dumps(content, indent=2) + "\n"
