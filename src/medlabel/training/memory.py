"""Large blocks of memory, kept by the process from one training step to the next."""

from __future__ import annotations

import ctypes
import sys

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def keep() -> bool:
    """Let the C library reuse freed memory instead of returning it to the system.

    By default glibc maps every tensor above 32 MiB anew and unmaps it again, so that the system
    fills its pages with zeros at each step: a third of the time of a ResNet18-ACS step on 28³
    voxels. Kept memory is given back when the process ends.

    Returns whether the C library took the settings; where it is not glibc, nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, NEVER))
