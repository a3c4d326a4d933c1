"""Where networks run, on how many threads, and how reproducibly."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import torch


def prepare(device: str, threads: int) -> torch.device:
    """Set threads and determinism for this process and choose the device.

    Parameters
    ----------
    device
        ``"auto"`` (CUDA where there is one), ``"cpu"`` or ``"cuda"``.
    threads
        CPU threads that torch may use, as the rule declares them.

    Raises
    ------
    MedlabelError
        When CUDA is asked for and there is none.
    """
    # cuBLAS reads this once, before its first call; without it some sums change order.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(threads)
    # The same switch as use_deterministic_algorithms, without its import of torch's compiler (7 s).
    torch.set_deterministic_debug_mode("error")
    # Filling memory that is about to be overwritten costs 4 % of a training and changes nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise MedlabelError(
            "device: 'cuda' given, but torch finds no CUDA device here; use auto or cpu."
        )
    return torch.device("cuda" if available and device != "cpu" else "cpu")
