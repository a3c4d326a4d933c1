"""A run that is killed, whenever that is, ends with the same bytes when it is run again."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medlabel.annotation import embedding
from medlabel.annotation.label import label
from medlabel.annotation.request import Request
from medlabel.randomness import stream
from tests.annotation.conftest import CLASSES
from tests.annotation.test_label import SAME_EACH_TIME

KILLS = 20
IMAGES = 60
PRELOADED = ["medlabel.annotation.label", "torch", "open_clip", "sklearn.cluster", __name__]


def _label(asked: dict[str, Any]) -> None:
    embedding.ENGINES.clear()  # torch needs no compiling
    embedding.SECONDS_BETWEEN_COMMITS = 0.0  # all that is kept is kept in many steps
    label(Request(**asked))


@pytest.fixture
def many_images(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    drawn = stream(0, "kills").integers(0, 256, (IMAGES, 28, 28), dtype="uint8")
    for number, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def test_twenty_kills_at_random_moments_change_no_byte(
    many_images: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    given = {
        "images": many_images,
        "out": tmp_path / "whole",
        "sentences": CLASSES,
        "encoder": str(tiny_encoder),
        "batch_size": 2,
        "arithmetic": "fp32",
        "device": "cpu",
        "cache": tmp_path / "empty",
        "anyway": True,  # this encoder learnt nothing
    }
    _run(context, given)  # waits for the imports, too
    started = time.monotonic()
    _run(context, {**given, "out": tmp_path / "again", "cache": tmp_path / "cache"})
    needed = time.monotonic() - started
    interrupted = 0
    for number, moment in enumerate(stream(0, "moments").uniform(0, needed, KILLS)):
        asked = {**given, "out": tmp_path / f"labels{number}", "cache": tmp_path / f"kept{number}"}
        process = _started(context, asked)
        process.join(moment)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            interrupted += 1
        process.join()
        _run(context, asked)
        for name in SAME_EACH_TIME:
            whole = (tmp_path / "whole" / name).read_bytes()
            assert (asked["out"] / name).read_bytes() == whole, (number, moment, name)
    assert interrupted > KILLS / 2


def _started(context: Any, asked: dict[str, Any]) -> Any:
    process = context.Process(target=_label, args=(asked,))
    process.start()
    return process


def _run(context: Any, asked: dict[str, Any]) -> None:
    process = _started(context, asked)
    process.join()
    assert process.exitcode == 0
