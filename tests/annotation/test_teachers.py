"""The default teacher is made once; others are found by whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from medlabel import params
from medlabel.annotation import teachers
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, heads, published


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "medlabel"


def test_a_folder_or_a_file_in_it_is_an_encoder(tiny_encoder: Path, tmp_path: Path) -> None:
    assert teachers.find(str(tiny_encoder), "cpu", 1) == tiny_encoder
    assert teachers.find(str(tiny_encoder / encoder.WEIGHTS), "cpu", 1) == tiny_encoder
    (tmp_path / "weights.pt").touch()
    with pytest.raises(MedlabelError, match=r"give MODEL:FILE, such as ViT-B-32:weights\.pt"):
        teachers.find(str(tmp_path / "weights.pt"), "cpu", 1)
    with pytest.raises(MedlabelError, match="no such folder or file"):
        teachers.find(str(tmp_path / "missing"), "cpu", 1)


@pytest.mark.parametrize(
    ("given", "model", "pretrained"),
    [
        ("ViT-B-32:openai", "ViT-B-32", "openai"),
        ("ViT-B-32:/some/weights.pt", "ViT-B-32", "/some/weights.pt"),
        ("org/name", "hf-hub:org/name", None),
        ("hf-hub:org/name", "hf-hub:org/name", None),
    ],
)
def test_published_models_are_fetched_once(
    monkeypatch: pytest.MonkeyPatch, given: str, model: str, pretrained: str | None
) -> None:
    asked = []

    def adopt(settings: params.Published, folder: Path) -> None:
        asked.append((settings.model, settings.pretrained))
        folder.mkdir(parents=True)
        (folder / encoder.CONFIG).touch()

    monkeypatch.setattr(published, "adopt", adopt)
    first = teachers.find(given, "cpu", 1)
    assert teachers.find(given, "cpu", 1) == first
    assert asked == [(model, pretrained)]


def test_unknown_names_are_one_line() -> None:
    with pytest.raises(MedlabelError, match=r"ViT-B-33.*nearest names"):
        teachers.find("ViT-B-33:openai", "cpu", 1)


def test_the_default_teacher_is_that_of_the_parameters_and_made_once(
    monkeypatch: pytest.MonkeyPatch, cache: Path, default_params: params.Params
) -> None:
    asked = []

    def train(**given: object) -> None:
        asked.append(given)
        folder = given["folders"][0]
        folder.mkdir(parents=True)
        (folder / encoder.CONFIG).touch()

    monkeypatch.setattr(heads, "train", train)
    monkeypatch.setattr("medlabel.data.phantoms.write", lambda *_: None)
    monkeypatch.setattr("joblib.Parallel.__call__", lambda _, tasks: [list(tasks)])
    first = teachers.find(None, "cpu", 1)
    assert teachers.find(None, "cpu", 1) == first
    (given,) = asked
    expected = default_params.encoders["locked"].model_copy(update={"pretrainings": 1})
    assert given["settings"] == expected
    assert given["seed"] == default_params.seed
    assert len(given["sources"]) == len(default_params.phantoms_of(expected))
    assert first.parent == cache / "encoders"
    assert [path.name for path in first.parent.iterdir()] == [first.name]  # no drawing is left
