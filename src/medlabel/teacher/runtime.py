"""What runs an image tower: torch, or a faster engine that gives the same numbers."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medlabel.errors import MedlabelError
from medlabel.params import Runtime

logger = logging.getLogger("medlabel")

Precision = Literal["fp32", "bf16", "int8"]
Embeddings = npt.NDArray[np.float32]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
ENGINES = ("openvino", "onnxruntime")
# What each engine needs besides itself to read a network of torch.
NEEDED = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx")}
IN_FP32_ALONE = ("onnxruntime",)
IMAGES = "images"  # the input of a graph
MEASURED = 3  # batches a runtime
# Images at a time in OpenVINO, on one thread: what a layer gives of them stays in the caches.
PORTION = 2
# Largest difference of an embedding of length 1 from torch's, in float32: tests hold to it.
TOLERANCE = 1e-4

Compute = Callable[[torch.Tensor], Embeddings]


@dataclass(frozen=True)
class Runner:
    """A compiled image tower.

    Attributes
    ----------
    name
        ``"torch"``, ``"openvino"`` or ``"onnxruntime"`` with its version.
    compute
        Maps float32 (n, 3, height, width) to float32 (n, dimension), not normalised.
    """

    name: str
    compute: Compute

    def embed(self, batch: torch.Tensor) -> Embeddings:
        """Return embeddings of length 1 (L2 norm)."""
        found = torch.from_numpy(self.compute(batch))
        unit: Embeddings = nn.functional.normalize(found, dim=-1).numpy()
        return unit


class ImageSide(nn.Module):
    """The half of a network of open_clip's form that embeds images.

    Parameters
    ----------
    network
        Has ``encode_image``.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed images, not normalised."""
        found: torch.Tensor = self.network.encode_image(images)
        return found


def choose(wanted: Runtime, device: torch.device) -> Runtime:
    """Return what runs a network: on anything but a processor, torch.

    Raises
    ------
    MedlabelError
        When the engine is not installed.
    """
    if device.type != "cpu":
        return "torch"
    missing = [one for one in NEEDED.get(wanted, ()) if importlib.util.find_spec(one) is None]
    if missing:
        raise MedlabelError(
            f"runtime: {wanted!r} given, but {' and '.join(missing)} cannot be imported: run "
            f"`pip install {' '.join(missing)}`, or set runtime to torch."
        )
    return wanted


def compiled(
    network: nn.Module,
    example: torch.Tensor,
    runtime: Runtime,
    precision: Precision,
    threads: int,
    calibration: Sequence[torch.Tensor] = (),
) -> Runner:
    """Prepare an image tower for many batches.

    Parameters
    ----------
    network
        Maps images to embeddings.
    example
        A batch as it will come: float32 (n, 3, height, width).
    runtime
        As `choose` returned it; ``"auto"`` measures what is installed on `example`.
    precision
        Arithmetic: float32, bfloat16, or that of `quantised` where convolutions are.
    threads
        That may be used.
    calibration
        For int8: batches like the example, on which it finds the ranges of activations.

    Raises
    ------
    MedlabelError
        When the runtime does not have the precision, or a package for it is missing.
    """
    if precision == "int8":
        return _in_8_bits(network, runtime, threads, calibration)
    if runtime == "auto":
        return _fastest(network, example, precision, threads)
    prepare = {"torch": _torch, "openvino": _openvino, "onnxruntime": _onnxruntime}[runtime]
    return Runner(f"{runtime} {version(runtime)}", prepare(network, example, precision, threads))


def _in_8_bits(
    network: nn.Module, runtime: Runtime, threads: int, calibration: Sequence[torch.Tensor]
) -> Runner:
    if runtime != "openvino":
        raise MedlabelError(
            f"precision: int8 given with runtime {runtime}; runtime openvino allowed with it, on a "
            f"processor; set precision to auto elsewhere."
        )
    choose("onnxruntime", torch.device("cpu"))  # its packages make the graph
    from medlabel.teacher import quantised

    graph = quantised.graph(network, calibration)
    engine = _openvino_engine(graph, calibration[0], "f32", threads)
    return Runner(f"openvino {version(runtime)} int8", engine)


def version(runtime: str) -> str:
    """Return the version of a runtime, without importing it."""
    return importlib.metadata.version(runtime)


def _fastest(
    network: nn.Module, example: torch.Tensor, precision: Precision, threads: int
) -> Runner:
    timed = []
    usable = [
        name
        for name in ENGINES
        if all(importlib.util.find_spec(one) is not None for one in NEEDED[name])
        and (precision == "fp32" or name not in IN_FP32_ALONE)
    ]
    # torch comes last: it casts the network, which the others read in float32.
    for name in (*usable, "torch"):
        runner = compiled(network, example, name, precision, threads)  # type: ignore[arg-type]
        runner.compute(example)
        started = time.perf_counter()
        for _ in range(MEASURED):
            runner.compute(example)
        timed.append((time.perf_counter() - started, runner))
    best = min(timed, key=lambda one: one[0])[1]
    rates = ", ".join(
        f"{runner.name} {MEASURED * len(example) / seconds:.0f}" for seconds, runner in timed
    )
    logger.info("runtime: %s (images a second: %s)", best.name, rates)
    return best


def _torch(
    network: nn.Module, example: torch.Tensor, precision: Precision, threads: int
) -> Compute:
    network.to(DTYPES[precision])
    device = next(network.parameters()).device

    def compute(batch: torch.Tensor) -> Embeddings:
        with torch.inference_mode():
            found: Embeddings = network(batch.to(device, DTYPES[precision])).float().cpu().numpy()
        return found

    return compute


def _openvino(
    network: nn.Module, example: torch.Tensor, precision: Precision, threads: int
) -> Compute:
    openvino = _openvino_alone()

    with torch.inference_mode():
        graph = openvino.convert_model(network, example_input=example[:2])
    return _openvino_engine(graph, example, {"fp32": "f32", "bf16": "bf16"}[precision], threads)


def _openvino_alone() -> Any:
    """Import OpenVINO without its telemetry, which tells its makers of every conversion."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def _openvino_engine(graph: Any, example: torch.Tensor, precision: str, threads: int) -> Compute:
    """Compile a graph of OpenVINO, or ONNX in bytes, for portions of images side by side.

    Each portion has one thread and one size, the last one filled up: what is said of an image
    depends neither on the threads nor on the images beside it.
    """
    openvino = _openvino_alone()
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": threads,
        # Pinned, the threads of processes side by side would all take turns on the first core.
        "ENABLE_CPU_PINNING": False,
    }
    read = openvino.Core().read_model(graph) if isinstance(graph, bytes) else graph
    read.reshape([PORTION, *example.shape[1:]])
    queue = openvino.AsyncInferQueue(openvino.compile_model(read, "CPU", settings), threads)
    found: dict[int, Embeddings] = {}

    def keep(request: Any, first: int) -> None:
        # The engine's own memory is written again by the next portion.
        found[first] = np.array(request.get_output_tensor(0).data, np.float32)

    queue.set_callback(keep)

    def compute(batch: torch.Tensor) -> Embeddings:
        found.clear()
        images = batch.numpy()
        for first in range(0, len(images), PORTION):
            portion = images[first : first + PORTION]
            missing = PORTION - len(portion)
            queue.start_async([np.pad(portion, [(0, missing), (0, 0), (0, 0), (0, 0)])], first)
        queue.wait_all()
        return np.concatenate([found[first] for first in sorted(found)])[: len(images)]

    return compute


def _onnxruntime(
    network: nn.Module, example: torch.Tensor, precision: Precision, threads: int
) -> Compute:
    import onnxruntime

    if precision != "fp32":
        raise MedlabelError(
            f"runtime: onnxruntime given with precision {precision}; fp32 allowed with it."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_graph(network, example), options, providers=["CPUExecutionProvider"]
    )

    def compute(batch: torch.Tensor) -> Embeddings:
        found: Embeddings = session.run(None, {IMAGES: batch.numpy()})[0]
        return found

    return compute


def onnx_graph(network: nn.Module, example: torch.Tensor) -> bytes:
    """Return a network as ONNX has it, for any number of `IMAGES` of the example's form."""
    graph = io.BytesIO()
    with torch.inference_mode(), _plain_attention():
        torch.onnx.export(
            network,
            (example[:2],),
            graph,  # type: ignore[arg-type]
            dynamo=False,
            input_names=[IMAGES],
            dynamic_axes={IMAGES: {0: "n"}},
        )
    return graph.getvalue()


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Let torch compute attention without its fast path, an operator that ONNX does not have."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
