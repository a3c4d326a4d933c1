"""The command line: quick help, one line for each expected failure, exit codes."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from medlabel import __version__
from medlabel.cli import STEPS

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "open_clip", "pandas", "matplotlib", "monai", "sklearn", "scipy")


def medlabel(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medlabel", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_there_is_a_command_for_each_step() -> None:
    shown = medlabel("--help")
    assert shown.returncode == 0
    for step in STEPS:
        assert f"  {step.__name__} " in shown.stdout
    assert medlabel("--version").stdout.strip() == __version__


def test_the_command_line_imports_nothing_heavy() -> None:
    code = f"import sys, medlabel.cli; sys.exit(str([m for m in {HEAVY} if m in sys.modules]))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "expected"),
    [("medlabel lab", "label"), ("medlabel label --arith", "--arithmetic")],
)
def test_a_shell_completes_commands_and_options(words: str, expected: str) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    result = subprocess.run(
        [sys.executable, "-m", "medlabel"],
        env={**os.environ, **asked, "_MEDLABEL_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split() == [expected]


TRAINING = "breast_pneumonia/phantom_clip@6+capstone+zeroshot/capstone/capstone"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "seed=-1", "pool", "x"], "params.yaml: seed: -1 given"),
        (["--params", "absent.yaml", "phantoms"], "absent.yaml: no such parameter file"),
        (["pool", "breast"], "mixtures: 'breast' given, one of breast_pneumonia, "),
        (["pool", "breast_pneumonia"], "pneumoniamnist.npz: no such file or folder; it is made"),
        (["fetch", "BreastMNIST"], "'BreastMNIST' given, which is no dataset of MedMNIST; did you"),
        (["fetch", "breastmnst"], "did you mean breastmnist"),
        (["fetch", "breastmnist_32"], "breastmnist is published in 28, 64, 128, 224"),
        (["train", "a/b/c/d", "--block", "0000-0001"], "no study of the parameters asks for this"),
        (["train", TRAINING, "--block", "1-2"], "'1-2' given; first-last with four digits"),
        (
            ["adopt", "phantom_clip"],
            "encoders.phantom_clip: kind contrastive given; a published one ex",
        ),
        (["pseudolabel", "breast_pneumonia", "oops"], "'oops' given; encoder+prompts+labelling"),
        (
            ["label", ".", "--encoder", "e"],
            'give either --classes "one, other"',
        ),
        (
            ["label", ".", "--encoder", "e", "--classes", "one"],
            "classes: one given, at least two different ones expected",
        ),
        (
            ["label", ".", "--classes", "one, other", "--clusters-only"],
            "label: give either --classes or --clusters-only",
        ),
        (
            ["label", ".", "--clusters-only", "--student", "s.bin"],
            "--student: given with --clusters-only, which asks for no label; leave one of them",
        ),
        (
            ["label", ".", "--target", "t.csv", "--classes", "one, other"],
            "--target t.csv: replaced by --out FOLDER, which holds labels.csv and more",
        ),
        (
            ["label", ".", "--classes", "one, other", "--precision", "fp32"],
            "--precision fp32: arithmetic is --arithmetic now; give --arithmetic fp32",
        ),
        (["label", ".", "--student", "s.bin"], "s.bin: expected a student, as `medlabel label"),
        (["export-student", "."], "--target, --onnx: neither given"),
    ],
)
def test_an_expected_failure_is_one_line(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    result = medlabel(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("medlabel: error: ")
    assert expected in lines[0]
    assert not lines[0].endswith("?.")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


READERS = {"read_arrow", "read_json", "read_parquet", "require"}


def test_a_missing_file_is_said_to_be_made_by_the_step_that_makes_it() -> None:
    """A teacher's labels are made by `medlabel pseudolabel`; `label` is for one's own images."""
    told = {
        str(call.args[1].value)
        for path in (ROOT / "src").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func).rpartition(".")[2] in READERS
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
    }
    assert {"fetch", "pool", "pseudolabel", "train"} <= told
    assert told <= {step.__name__ for step in STEPS}


def test_extras_that_messages_name_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"medlabel\[(\w+)\]", text)}
    assert named == {"hub", "volumes"} <= set(extras)
