"""Where networks run, on how many threads, and how reproducibly."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import torch


def prepare(device: str, threads: int) -> torch.device:
    """Set threads and determinism for this process and choose the device.

    A device is ``"auto"`` (CUDA where there is one), ``"cpu"`` or ``"cuda"``; `threads` of the CPU
    are what torch may use.

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


def choose_precision(
    wanted: Literal["auto", "fp32", "bf16"], device: torch.device
) -> Literal["fp32", "bf16"]:
    """Return bf16 where the processor multiplies bfloat16 matrices in hardware, else fp32.

    Without such instructions bfloat16 is emulated, ten times slower than float32.
    """
    if wanted != "auto":
        return wanted
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"


def processor(device: torch.device, threads: int) -> str:
    """Name what a result was computed on, such as ``"AMD EPYC, 2 threads"``."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    facts = Path("/proc/cpuinfo")  # Linux alone has it
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"
