"""What this machine has and lacks for labelling, each lack with its remedy; what is kept on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medlabel.annotation import places
from medlabel.errors import MedlabelError

OLDEST_PYTHON = (3, 11)
MEMORY_WANTED = 2 << 30  # bytes
DISK_WANTED = 2 << 30
GIB = 1 << 30
FAST = {"avx512_bf16": "bfloat16", "amx_bf16": "bfloat16 in tiles", "avx2": "AVX2"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what, found
        What was looked at, and what it is like.
    verdict
        ``ok``; ``slow`` where it works, but slower or with less; ``missing`` where it does not.
    remedy
        What to do; empty where there is nothing to do.
    """

    what: str
    found: str
    verdict: Literal["ok", "slow", "missing"] = "ok"
    remedy: str = ""

    def told(self) -> str:
        """Say it in one line."""
        return f"{self.verdict:<8}{self.what}: {self.found}" + (
            f"; {self.remedy}" if self.remedy else ""
        )


def examine() -> list[Finding]:
    """Look at Python, packages, processor, device, memory, disk, teacher and mirror."""
    return [_python(), *_packages(), *_compute(), _memory(), *_cache(), *_mirror()]


def _python() -> Finding:
    found = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("Python", found, "missing", "install Python 3.11 or later")
    return Finding("Python", found)


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        wanted = importlib.metadata.requires("medlabel") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "medlabel is not installed", "missing", "pip install medlabel")
        return
    lacking = []
    requirements = [Requirement(text) for text in wanted]
    needed = [one for one in requirements if one.marker is None or one.marker.evaluate()]
    for one in needed:
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version or not one.specifier.contains(version, prereleases=True):
            lacking.append(f"'{one.name}{one.specifier}'")
    if lacking:
        remedy = f"pip install {' '.join(lacking)}"
        yield Finding("packages", f"{len(lacking)} missing or too old", "missing", remedy)
    else:
        yield Finding("packages", f"all {len(needed)}")


def _compute() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("torch", f"cannot be imported ({error})", "missing", "pip install torch")
        return
    able = torch.cpu.get_capabilities()
    names = [name for key, name in FAST.items() if able.get(key)]
    cores = f"{os.cpu_count()} cores"
    if names:
        yield Finding("processor", f"{cores}, {', '.join(names)}")
    else:
        remedy = "labelling works, several times as slow as on newer processors"
        yield Finding("processor", f"{cores}, none of {', '.join(FAST.values())}", "slow", remedy)
    if torch.cuda.is_available():
        yield Finding("device", torch.cuda.get_device_name(0))
    else:
        yield Finding("device", "processor alone (no CUDA device)")


def _memory() -> Finding:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "not told by this system")
    found = f"{free / GIB:.1f} GiB free"
    if free < MEMORY_WANTED:
        return Finding("memory", found, "slow", "close other programs, or lower --batch-size")
    return Finding("memory", found)


def _cache() -> Iterator[Finding]:
    try:
        folder = places.cache()
    except MedlabelError as error:
        yield Finding("cache", "none", "missing", str(error))
        return
    place = next(one for one in (folder, *folder.parents) if one.exists())
    remedy = "set XDG_CACHE_HOME to a folder that you may write to"
    if not os.access(place, os.W_OK):
        yield Finding("cache", f"{folder} may not be written to", "missing", remedy)
        return
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free for {folder}"
    enough = free >= DISK_WANTED
    yield Finding("disk", found, "ok" if enough else "missing", "" if enough else remedy)
    made = any((folder / "encoders").glob("default-*"))
    yield Finding("default teacher", "made" if made else "made on first use, in minutes")


def _mirror() -> Iterator[Finding]:
    given = os.environ.get("MEDLABEL_MIRROR")
    if given is None:
        return
    if Path(given).is_dir() or given.startswith(("http://", "https://")):
        yield Finding("mirror of MedMNIST", given)
    else:
        remedy = "set MEDLABEL_MIRROR to a folder or an address, or unset it"
        yield Finding("mirror of MedMNIST", f"{given} is no folder", "missing", remedy)


def kept() -> dict[str, Any]:
    """Return what the user's cache holds: teachers with their sizes, images, bytes in all."""
    folder = places.cache()
    encoders = sorted(path for path in (folder / "encoders").glob("[!.]*") if path.is_dir())
    images = folder / "images"
    return {
        "folder": str(folder),
        "encoders": {path.name: _size(path) for path in encoders},
        "images": sum(_entries(path) for path in images.glob("embeddings/*.sqlite")),
        "images_bytes": _size(images),
        "bytes": _size(folder),
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _entries(path: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM entry").fetchone()[0])
    except sqlite3.Error:
        return 0
