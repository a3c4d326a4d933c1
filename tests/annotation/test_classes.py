"""Classes by their names, or with descriptions and templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from medlabel.annotation import classes
from medlabel.errors import MedlabelError


def saved(folder: Path, text: str) -> Path:
    path = folder / "classes.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_alone_are_put_into_the_usual_sentence() -> None:
    """F23: one's own classes need no mixture."""
    found = classes.read("normal, chest x-ray,effusion")
    assert list(found) == ["normal", "chest x-ray", "effusion"]
    (sentence,) = found["chest x-ray"]
    assert sentence == classes.CAPSTONE_TEMPLATE.replace("{}", "chest x-ray")


@pytest.mark.parametrize("option", ["classes", "words"])
def test_a_file_has_descriptions_and_templates(tmp_path: Path, option: str) -> None:
    path = saved(
        tmp_path,
        "templates: ['a {}', 'the {}']\nclasses:\n  Chest x-ray: [radiograph, x-ray]\n  hand: "
        "one hand\n  eye_fundus:\n",
    )
    given = (str(path), None) if option == "classes" else (None, path)
    assert classes.read(*given) == {
        "Chest x-ray": ["a radiograph", "a x-ray", "the radiograph", "the x-ray"],
        "hand": ["a one hand", "the one hand"],
        "eye_fundus": ["a eye fundus", "the eye fundus"],
    }


def test_older_files_and_lists_of_names_are_read(tmp_path: Path) -> None:
    found = classes.read(None, saved(tmp_path, "words: {chest: [a chest], hand: [a hand]}\n"))
    assert list(found) == ["chest", "hand"]
    assert list(classes.read(str(saved(tmp_path, "classes: [one, two]\n")))) == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: {one: []}\n", "one given, at least two"),
        ("classes: [one, two]\ntemplates: [a photo]\n", "one {} in each allowed"),
        ("classes: {one: [' '], two: [b]}\n", "classes.one"),
        ("clases: [one, two]\n", "clases"),
        ("classes: [yes, no]\n", "classes"),
        ("- one\n", "expected a YAML mapping"),
    ],
)
def test_files_that_mean_nothing_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = saved(tmp_path, text)
    with pytest.raises(MedlabelError, match=message) as error:
        classes.read(str(path))
    assert "Traceback" not in str(error.value)


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="--classes"):
        classes.read(None)
    with pytest.raises(MedlabelError, match="--classes"):
        classes.read("a, b", tmp_path / "b.yaml")
    with pytest.raises(MedlabelError, match="chest stands twice"):
        classes.read("chest, hand, chest")
    with pytest.raises(MedlabelError, match=r"missing\.yaml: no such"):
        classes.read(str(tmp_path / "missing.yaml"))
