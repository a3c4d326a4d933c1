"""What all sections of `params.yaml` share: strict models, common types, and inheritance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from medlabel.data.catalogue import DATASETS, PHANTOMS

Split = Literal["train", "val", "test"]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=60)]
Precision = Literal["auto", "fp32", "bf16"]


def _known_dataset(name: str) -> str:
    if name not in DATASETS and name not in PHANTOMS:
        raise ValueError(f"one of {', '.join([*DATASETS, *PHANTOMS])}")
    return name


Dataset = Annotated[str, AfterValidator(_known_dataset)]


def names_phantoms(name: str) -> bool:
    """Say whether a name stands for drawn images: those names, and no others, begin alike."""
    return name.startswith("phantom_")


def _extendable(schema: dict[str, Any]) -> None:
    """Let a part in the file leave out what it takes from the one that it extends."""
    schema.pop("required", None)
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Another part of the same kind, whose values hold for all keys that are "
        "not given.",
    }


class Section(BaseModel):
    """A block of parameters: unknown keys are refused, values are never coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Part(Section):
    """A named part, which may extend another one of its kind."""

    model_config = ConfigDict(json_schema_extra=_extendable)


def extending(*never_inherited: str) -> BeforeValidator:
    """Fill missing keys of named parts from those that they extend, but for some keys."""

    def resolved(parts: Any) -> Any:
        if not isinstance(parts, dict):
            return parts
        return {name: _resolved(name, parts, never_inherited) for name in parts}

    return BeforeValidator(resolved)


def _resolved(name: str, parts: Mapping[str, Any], never_inherited: tuple[str, ...]) -> Any:
    chain, content = [name], parts[name]
    while isinstance(content, dict) and "extends" in content:
        base = content["extends"]
        if base not in parts or base in chain:
            reason = "a circle" if base in chain else f"one of {', '.join(parts)} allowed"
            raise ValueError(f"{name}.extends: {base!r} given, {reason}")
        chain.append(base)
        inherited = parts[base] if isinstance(parts[base], dict) else {}
        kept = {key: value for key, value in inherited.items() if key not in never_inherited}
        own = {key: value for key, value in content.items() if key != "extends"}
        content = {**kept, **own}
    return content
