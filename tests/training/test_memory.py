"""Memory that the process keeps: torch reuses freed blocks, whatever their size."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, torch
from medlabel.training import memory
assert memory.keep()
for _ in range(10):
    torch.ones(64 << 20, dtype=torch.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(64 << 20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_tensors_are_not_filled_with_new_pages() -> None:
    command = [sys.executable, "-c", COUNT]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    # Ten mappings of 64 MiB would fault in 163,840 pages of 4 KiB.
    assert int(result.stdout) < 1000


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from medlabel.training import memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep() is False
