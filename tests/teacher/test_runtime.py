"""What runs an image tower: all engines give the numbers of torch."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from medlabel import params
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, pretrain, runtime, towers, trunks

CPU = torch.device("cpu")
EDGE = {"vit": 14, "efficientnet_lite0": 64}


@pytest.fixture(scope="module")
def networks(tiny_settings: params.Contrastive) -> dict[str, nn.Module]:
    """An image tower of open_clip, and a packaged one that sees two scales."""
    import open_clip

    # Two heads: torch has a fast path for even numbers of them, which ONNX does not know.
    wide = pretrain.model_config(tiny_settings.model_copy(update={"width": 64}), EDGE["vit"])
    torch.manual_seed(0)
    vit = open_clip.CLIP(**wide).eval()
    settings = params.Tower(source="package", model="efficientnet_lite0", weights=None)
    packaged = towers.load(settings, EDGE["efficientnet_lite0"], 0).trunk
    return {
        "vit": runtime.ImageSide(vit),
        "efficientnet_lite0": trunks.Scales(packaged, [64, 32]).eval(),
    }


def batch(edge: int, count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("ignore")  # of tracing, by torch
@pytest.mark.parametrize("engine", runtime.ENGINES)
@pytest.mark.parametrize("name", list(EDGE))
def test_engines_agree_with_torch(name: str, engine: str, networks: dict[str, nn.Module]) -> None:
    for needed in runtime.NEEDED[engine]:
        pytest.importorskip(needed)
    example = batch(EDGE[name], 4)
    ours = runtime.compiled(networks[name], example, engine, "fp32", 1)
    reference = runtime.compiled(networks[name], example, "torch", "fp32", 1)
    assert ours.name == f"{engine} {runtime.version(engine)}"
    kept = []
    for count in (4, 1, 3, 7):  # other batches than the example
        images = batch(EDGE[name], count, seed=count)
        found, expected = ours.embed(images), reference.embed(images)
        assert found.shape == expected.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(found, expected, rtol=0, atol=runtime.TOLERANCE)
        kept.append((found, expected))
    # What was returned is not written over by what comes after.
    for found, expected in kept:
        np.testing.assert_allclose(found, expected, rtol=0, atol=runtime.TOLERANCE)


@pytest.mark.parametrize("installed", [True, False])
def test_auto_takes_one_that_is_installed(
    installed: bool,
    networks: dict[str, nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # onnx is missing: onnxruntime cannot read the network, and is not tried.
    real = importlib.util.find_spec
    absent = {"onnx"} if installed else {"onnx", "openvino"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else real(name)
    )
    caplog.set_level(logging.INFO, "medlabel")
    example = batch(EDGE["vit"], 4)
    runner = runtime.compiled(networks["vit"], example, "auto", "fp32", 1)
    assert runner.name.split()[0] in (("torch", "openvino") if installed else ("torch",))
    assert f"runtime: {runner.name} (images a second: " in caplog.text
    assert f"torch {torch.__version__}".partition("+")[0] in caplog.text
    assert ("openvino" in caplog.text) is installed
    assert "onnxruntime" not in caplog.text
    expected = runtime.compiled(networks["vit"], example, "torch", "fp32", 1).embed(example)
    np.testing.assert_allclose(runner.embed(example), expected, rtol=0, atol=runtime.TOLERANCE)


def test_a_missing_engine_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MedlabelError) as caught:
        runtime.choose("onnxruntime", CPU)
    assert str(caught.value) == (
        "runtime: 'onnxruntime' given, but onnxruntime and onnx cannot be imported: run "
        "`pip install onnxruntime onnx`, or set runtime to torch."
    )
    assert runtime.choose("torch", CPU) == "torch"
    assert runtime.choose("auto", CPU) == "auto"


def test_a_graphics_card_has_torch_alone() -> None:
    assert runtime.choose("openvino", torch.device("cuda")) == "torch"


def test_onnxruntime_has_no_bfloat16(networks: dict[str, nn.Module]) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(MedlabelError, match="onnxruntime given with precision bf16; fp32 allowed"):
        runtime.compiled(networks["vit"], batch(14, 2), "onnxruntime", "bf16", 1)


@pytest.mark.filterwarnings("ignore")  # of tracing, by torch
@pytest.mark.parametrize("engine", ["torch", "openvino", "auto"])
def test_bfloat16_is_near_float32(engine: str, loaded: encoder.Encoder) -> None:
    example = batch(EDGE["vit"], 4)
    fine = runtime.compiled(runtime.ImageSide(loaded.model), example, "torch", "fp32", 1)
    expected = fine.embed(example)
    copied = runtime.ImageSide(deepcopy(loaded.model))
    coarse = runtime.compiled(copied, example, engine, "bf16", 1).embed(example)
    assert coarse.dtype == np.float32
    assert (coarse * expected).sum(axis=1).min() > 0.999


@pytest.mark.filterwarnings("ignore")  # of tracing, by torch
def test_8_bits_are_near_float32_and_the_same_each_time() -> None:
    for needed in runtime.NEEDED["onnxruntime"]:
        pytest.importorskip(needed)
    settings = params.Tower(source="random", model="test_efficientnet", weights=None)
    network = trunks.Scales(towers.load(settings, 64, 0).trunk, [64, 32]).eval()
    calibration = [batch(64, 2, seed) for seed in range(4)]
    example = batch(64, 6, seed=9)
    rough, again = (
        runtime.compiled(network, one, "openvino", "int8", 1, calibration)
        for one in (example, example[:1])
    )
    assert rough.name == f"openvino {runtime.version('openvino')} int8"
    found = rough.embed(example)
    expected = runtime.compiled(network, example, "torch", "fp32", 1).embed(example)
    assert 0.98 < (found * expected).sum(axis=1).min() < 1 - 1e-6
    np.testing.assert_array_equal(found, again.embed(example))


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "auto"])
def test_other_runtimes_have_no_8_bits(engine: str, networks: dict[str, nn.Module]) -> None:
    with pytest.raises(
        MedlabelError, match=r"int8 given with runtime .*; runtime openvino allowed"
    ):
        runtime.compiled(networks["vit"], batch(14, 2), engine, "int8", 1)


def test_8_bits_need_packages_that_are_told(
    networks: dict[str, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MedlabelError, match="run `pip install onnxruntime onnx`"):
        runtime.compiled(networks["vit"], batch(14, 2), "openvino", "int8", 1)


def test_openvino_tells_nobody_of_what_it_does() -> None:
    """Its telemetry would send an event of every conversion; nothing may leave the machine."""
    program = (
        "import sys, torch; from medlabel.teacher import runtime; "
        "run = runtime.compiled(torch.nn.Conv2d(3, 2, 3), torch.zeros(2, 3, 8, 8), 'openvino', "
        "'fp32', 1); import openvino.tools.ovc.telemetry_utils as utils; "
        "print(run.compute(torch.zeros(2, 3, 8, 8)).shape, utils.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["(2,", "2,", "6,", "6)", "openvino.tools.ovc.telemetry_stub"]
