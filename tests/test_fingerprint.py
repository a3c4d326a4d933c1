"""Fingerprints of code: they follow what code does, through its imports, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from medlabel import fingerprint

CODE = '''"""A module."""

from medlabel.helper import rate


def double(x, by=2):
    """Double it."""
    # why
    return rate * by * x
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package of two modules in place of this one."""
    (tmp_path / "step.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("rate = 1\n")
    (tmp_path / "other.py").write_text("rate = 1\n")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    fingerprint._read.cache_clear()
    return tmp_path


def after(package: Path, name: str, text: str) -> str:
    (package / name).write_text(text)
    fingerprint._read.cache_clear()
    return fingerprint.of("step")


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        ("step.py", CODE.replace("# why", "# because"), True),
        ("step.py", CODE.replace('"""Double it."""', '"""Twice."""\n'), True),
        ("step.py", CODE.replace("A module", "Another"), True),
        ("step.py", CODE.replace("by=2", "by=3"), False),
        ("helper.py", "# one\nrate = 1\n", True),
        ("helper.py", "rate = 1.5\n", False),
        ("other.py", "rate = 7\n", True),
    ],
    ids=["comment", "docstring", "module's", "default", "helper's comment", "helper", "unused"],
)
def test_what_code_does_decides(package: Path, name: str, text: str, same: bool) -> None:
    before = fingerprint.of("step")
    assert (after(package, name, text) == before) is same


def test_an_import_that_only_makes_names_known_decides_nothing(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint.of("step")
    monkeypatch.setattr(fingerprint, "REGISTERING", ("medlabel.other",))
    known = CODE.replace("    # why\n", "    import medlabel.other\n")
    assert after(package, "step.py", known) == before
    assert after(package, "other.py", "rate = 7\n") == before
    used = CODE.replace("    # why\n", "    from medlabel.other import rate\n")
    assert after(package, "step.py", used) != before


def test_a_decorator_that_leads_names_elsewhere_decides_nothing(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint.of("step")
    monkeypatch.setattr(fingerprint, "LEADING", "medlabel.other")
    leading = CODE.replace("import rate\n", "import rate\nfrom medlabel.other import by_name\n")
    led = leading.replace("def double", "@by_name\ndef double")
    assert after(package, "step.py", led) == before
    assert after(package, "other.py", "rate = 7\n") == before
    assert after(package, "step.py", leading.replace("def double", "@cache\ndef double")) != before


def test_a_module_that_is_not_there_is_an_error(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        fingerprint.of("nothing")


def test_steps_follow_imports_within_functions_and_leave_others_alone() -> None:
    def files(module: str) -> set[str]:
        found = fingerprint._file_of(f"medlabel.{module}")
        assert found is not None
        return {str(p.relative_to(fingerprint.PACKAGE)) for p in fingerprint.closure(found)}

    assert "data/phantoms/scanner.py" in files("data.phantoms")
    assert not [file for file in files("labels.label") if file.startswith("training/")]
    assert not [file for file in files("training.run") if file.startswith("report/")]
    assert "networks/vit3d.py" not in files("training.run")
    # A network that gets a name retrains no other one.
    assert "networks/names.py" not in files("training.run")
    assert "networks/registry.py" in files("training.run")
    # Nor does an augmentation that has a module of its own.
    assert "training/augment.py" in files("training.run")
    assert not {"training/apart.py", "training/augmix.py"} & files("training.run")
