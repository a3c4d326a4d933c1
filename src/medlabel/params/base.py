"""What all sections of `params.yaml` share: strict models, common types, and inheritance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, json_schema_extra=_extendable
    )


def resolve(name: str, parts: Mapping[str, Any], never_inherited: tuple[str, ...] = ()) -> Any:
    """Fill a part's missing keys from the one that it extends, and so on.

    Parameters
    ----------
    name
        Of the part.
    parts
        All parts of its kind, as read.
    never_inherited
        Keys that hold for the part that states them alone.

    Raises
    ------
    ValueError
        When the extended part does not exist, or parts extend one another in a circle.
    """
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
