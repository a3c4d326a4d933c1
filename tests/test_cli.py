"""The command line: quick help, one line for each expected failure, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medlabel import __version__
from medlabel.steps import STEPS

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "open_clip", "pandas", "matplotlib", "monai", "sklearn", "scipy")


def medlabel(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from medlabel.cli import main; main()", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_there_is_a_command_for_each_step() -> None:
    shown = medlabel("--help")
    assert shown.returncode == 0
    for step in STEPS.values():
        assert f"  {step.name} " in shown.stdout
    assert medlabel("--version").stdout.strip() == __version__


def test_the_command_line_imports_nothing_heavy() -> None:
    code = f"import sys, medlabel.cli; sys.exit(str([m for m in {HEAVY} if m in sys.modules]))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "seed=-1", "mix"], "params.yaml: seed: -1 given"),
        (["--params", "absent.yaml", "mix"], "absent.yaml: no such parameter file"),
        (["mix"], "pool.parquet: no such file or folder; it is made by `medlabel pool`"),
        (
            ["pool", "--archive", "a.npz", "--target", "x.parquet", "--audit", "x.json"],
            "--archive: 1 given; one file for each of pneumoniamnist, breastmnist expected",
        ),
        (
            [
                *("students", "--archive", "a.npz", "--archive", "b.npz", "--draw", "d.parquet"),
                *("--block", "0000-0001", "--arm", "guessed", "--predictions", "p.parquet"),
                *("--curves", "c.parquet", "--weights", "w.safetensors"),
            ],
            "--arm: 'guessed' given; one of true, permuted_phantom_clip_step00006",
        ),
    ],
    ids=["value", "file", "input", "archives", "arm"],
)
def test_an_expected_failure_is_one_line(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    if arguments[-1] == "mix":
        pool = ["--pool", "pool.parquet", "--block", "0000-0001", "--target", "draw.parquet"]
        arguments = [*arguments, *pool]
    result = medlabel(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("medlabel: error: ")
    assert expected in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
