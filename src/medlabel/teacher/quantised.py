"""Convolutions in 8 bits: a graph whose activations have fixed ranges.

Weights have a scale a channel; activations one a tensor, from the range that they have on some
images (Jacob et al., CVPR 2018). What follows the convolutions (features of length 1, heads) stays
in float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medlabel.teacher import runtime

# Padding between convolutions too: else their ranges are lost on the way.
OPERATORS = ["Conv", "Clip", "Relu", "Add", "Pad", "AveragePool", "GlobalAveragePool"]


def graph(network: nn.Module, calibration: Sequence[torch.Tensor]) -> bytes:
    """Return a network as an ONNX graph that computes its convolutions in 8 bits.

    Parameters
    ----------
    network
        Maps images to embeddings, in float32.
    calibration
        Batches on which ranges are found, float32 (n, 3, height, width).
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as name:
        plain, prepared, done = (Path(name) / f"{stage}.onnx" for stage in ("a", "b", "c"))
        plain.write_bytes(runtime.onnx_graph(network, calibration[0]))
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(done),
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=OPERATORS,
        )
        return done.read_bytes()


class _Reader:
    """Batches, as onnxruntime asks for them."""

    def __init__(self, batches: Sequence[torch.Tensor]) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, None after the last one."""
        batch = next(self._left, None)
        return None if batch is None else {runtime.IMAGES: batch.numpy()}
