"""What is looked for: names of classes, what is said of them, and in which sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from medlabel import params as parameters
from medlabel.errors import MedlabelError
from medlabel.params.base import Section

CAPSTONE_TEMPLATE = "This is a photo of the {}, and it's a type of organ"
YAML = (".yaml", ".yml")

ClassName = Annotated[str, Field(min_length=1, max_length=120)]
Description = Annotated[str, Field(pattern=r"\S")]


class Classes(Section):
    """The content of a ``classes.yaml``."""

    classes: dict[ClassName, list[Description]] = Field(
        description="What is said of each class; a class without descriptions is described by its "
        "name."
    )
    templates: list[str] = Field(
        default=[CAPSTONE_TEMPLATE], min_length=1, description="Sentences with one {} each."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, content: Any) -> Any:
        """Take a list of names, one description instead of a list, and the key `words`."""
        if not isinstance(content, dict):
            return content
        content = dict(content)
        if "words" in content and "classes" not in content:
            content["classes"] = content.pop("words")
        classes = content.get("classes")
        if isinstance(classes, list):
            classes = dict.fromkeys(classes)
        if isinstance(classes, Mapping):
            content["classes"] = {
                name: [] if said is None else [said] if isinstance(said, str) else said
                for name, said in classes.items()
            }
        return content

    @model_validator(mode="after")
    def _templates(self) -> Classes:
        for template in self.templates:
            if template.count("{}") != 1:
                raise ValueError(f"templates: {template!r} given, one {{}} in each allowed")
        return self

    def sentences(self) -> dict[str, list[str]]:
        """Return every sentence about each class: each template with each description."""
        return {
            name: [
                template.replace("{}", text)
                for template in self.templates
                for text in said or [name.replace("_", " ")]
            ]
            for name, said in self.classes.items()
        }


def read(classes: str | None, words: Path | None = None) -> dict[str, list[str]]:
    """Return what to say of each class.

    Parameters
    ----------
    classes
        Names, divided by commas, or a YAML file.
    words
        A YAML file, as older versions name it.

    Raises
    ------
    MedlabelError
        When neither or both are given, the file is none, or there are fewer than two classes.
    """
    if (classes is None) == (words is None):
        raise MedlabelError('label: give either --classes "one, other" or --classes FILE.yaml.')
    file = words if words is not None else Path(str(classes))
    if words is not None or file.suffix.lower() in YAML:
        content, source = parameters.read_yaml(file), str(file)
    else:
        names = [name.strip() for name in str(classes).split(",") if name.strip()]
        if twice := [name for name in names if names.count(name) > 1]:
            raise MedlabelError(f"classes: {twice[0]} stands twice.")
        content, source = {"classes": names}, "--classes"
    found = parameters.check(Classes, content, source).sentences()
    require_two(found)
    return found


def require_two(classes: Mapping[str, Any]) -> None:
    """Refuse fewer than two classes."""
    if len(classes) < 2:
        raise MedlabelError(
            f"classes: {', '.join(classes) or 'none'} given, at least two different ones expected."
        )
