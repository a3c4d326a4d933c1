"""The set-up's two builds of torch, with a stand-in for uv."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.txt").read_text()

# Notes what it is asked, keeps the requirements it is given, and fails where told to.
UV = """#!/usr/bin/env bash
echo "$*" >> "$(dirname "$0")/calls"
for last; do :; done
if [[ $* == *--requirement* ]]; then cp "$last" "$(dirname "$0")/requirements.txt"; fi
if [[ $* == *--torch-backend* && -e $(dirname "$0")/offline ]]; then
  printf 'error: Request failed\\n  cause: dns error\\n' >&2
  exit 2
fi
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with the stand-in."""
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    return tmp_path


def install(tools: Path, build: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "workflow" / "scripts" / "install.sh", str(tools), build],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def names(lock: str) -> set[str]:
    return set(re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", lock, re.M))


def test_the_default_build_is_the_lock_with_its_hashes(tools: Path) -> None:
    assert install(tools, "default").returncode == 0
    (call,) = (tools / "calls").read_text().splitlines()
    assert "--require-hashes" in call
    assert (tools / "requirements.txt").read_text() == LOCK


def test_the_cpu_build_takes_all_else_from_the_lock_with_its_hashes(tools: Path) -> None:
    assert install(tools, "cpu").returncode == 0
    torch, cuda, rest = (tools / "calls").read_text().splitlines()
    pins = re.findall(r"^((?:torch|torchvision)==\S+)", LOCK, re.M)
    assert torch.split()[-2:] == pins
    assert "--torch-backend cpu" in torch
    assert cuda.split()[1] == "uninstall"
    assert "--require-hashes" in rest
    kept = (tools / "requirements.txt").read_text()
    left_out = names(LOCK) - names(kept)
    assert {"torch", "torchvision", "triton", "nvidia-cublas"} <= left_out
    assert all(re.match("torch|triton|nvidia-|cuda-", name) for name in left_out)
    assert set(kept.splitlines()) <= set(LOCK.splitlines())
    assert kept.count("--hash") > 100
    assert not kept.startswith(" ")


def test_an_index_out_of_reach_is_one_line_and_changes_nothing(tools: Path) -> None:
    (tools / "offline").touch()
    result = install(tools, "cpu")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("install: error: PyTorch's CPU build cannot be had from its own index")
    assert "(dns error)" in line
    assert len((tools / "calls").read_text().splitlines()) == 1


def test_another_build_is_one_line(tools: Path) -> None:
    result = install(tools, "rocm")
    assert result.returncode == 1
    assert result.stderr == "install: error: TORCH=rocm given; default or cpu expected.\n"
