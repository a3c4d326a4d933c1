from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medlabel.data import archive, phantoms
from medlabel.errors import MedlabelError
from medlabel.params import Counts, Phantoms
from medlabel.report import contact_sheet

KINDS = ("phantom_breast", "phantom_colon", "phantom_vessel3d")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("phantoms")
    counts = Counts(train=24, val=1, test=1)
    settings = Phantoms(size=28, counts=counts, volumes=counts, stand_ins=counts, artefacts=False)
    paths = {kind: folder / f"{kind}.npz" for kind in KINDS}
    for kind, path in paths.items():
        phantoms.write(kind, path, path.with_suffix(".parquet"), counts, settings, seed=1)
    return paths


def images_in(svg: Path) -> int:
    return len(re.findall(r"<image", svg.read_text(encoding="utf-8")))


def test_a_line_of_each_kind_marked_and_named(drawn: dict[str, Path], tmp_path: Path) -> None:
    targets = [tmp_path / "sheet.svg", tmp_path / "sheet.png"]
    contact_sheet.draw(drawn, targets)
    text = targets[0].read_text(encoding="utf-8")
    assert images_in(targets[0]) == 3 * contact_sheet.COLUMNS
    for words in ("PHANTOM", "malignant | normal, benign", "28 × 28 × 28", "colon"):
        assert words in text
    assert str(tmp_path) not in text
    with Image.open(targets[1]) as picture:
        assert picture.width > 1000


def test_same_files_same_bytes(drawn: dict[str, Path], tmp_path: Path) -> None:
    for name in ("first", "second"):
        contact_sheet.draw(drawn, [tmp_path / name / "s.svg", tmp_path / name / "s.png"])
    for suffix in ("svg", "png"):
        first, second = (tmp_path / name / f"s.{suffix}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_images_take_turns_over_the_labels(drawn: dict[str, Path]) -> None:
    images = archive.read(drawn["phantom_breast"], "phantom_breast")
    labels = images.labels["train"][:, 0]
    shown = contact_sheet._turns(images, 4)
    rows = [
        int(np.flatnonzero((images.images["train"] == tile[..., 0]).all((1, 2)))[0])
        for tile in shown
    ]
    assert labels[rows].tolist() == [0, 0, 1, 1]
    assert len(set(rows)) == 4


def test_a_damaged_file_is_named(drawn: dict[str, Path], tmp_path: Path) -> None:
    damaged = tmp_path / "phantom_colon.npz"
    damaged.write_bytes(drawn["phantom_colon"].read_bytes()[:900])
    with pytest.raises(MedlabelError, match=re.escape(str(damaged))):
        contact_sheet.draw({"phantom_colon": damaged}, [tmp_path / "sheet.svg"])
    assert not (tmp_path / "sheet.svg").exists()
