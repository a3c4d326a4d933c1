from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medlabel import files
from medlabel.data import archive, phantoms
from medlabel.errors import MedlabelError
from medlabel.params import PhantomCounts, Phantoms
from medlabel.report import contact_sheet

KINDS = ("phantom_breast", "phantom_colon", "phantom_vessel3d")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("phantoms")
    counts = PhantomCounts(train=24, val=1, test=1)
    settings = Phantoms(size=28, counts=counts, artefacts=False)
    paths = {kind: folder / f"{kind}.npz" for kind in KINDS}
    for kind, path in paths.items():
        phantoms.write(kind, path, path.with_suffix(".parquet"), settings, seed=1)
    return paths


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    path = tmp_path_factory.mktemp("real") / "breastmnist.npz"
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split in archive.SPLITS:
        arrays[f"{split}_images"] = random.integers(0, 256, (10, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(10, dtype=np.uint8)[:, np.newaxis] % 2
    files.write_npz(path, arrays)
    return {"breastmnist": path}


def images_in(svg: Path) -> int:
    return len(re.findall(r"<image", svg.read_text(encoding="utf-8")))


def test_rows_of_phantoms_beside_real_images(
    drawn: dict[str, Path], real: dict[str, Path], tmp_path: Path
) -> None:
    targets = [tmp_path / "sheet.svg", tmp_path / "sheet.png"]
    contact_sheet.draw(drawn, real, targets)
    text = targets[0].read_text(encoding="utf-8")
    assert images_in(targets[0]) == 3 * contact_sheet.DRAWN + contact_sheet.REAL
    for words in ("PHANTOM", "REAL", "malignant | normal, benign", "28 × 28 × 28", "breastmnist"):
        assert words in text
    assert str(tmp_path) not in text
    with Image.open(targets[1]) as picture:
        assert picture.width > 1000


def test_same_files_same_bytes(drawn: dict[str, Path], tmp_path: Path) -> None:
    for name in ("first", "second"):
        contact_sheet.draw(drawn, {}, [tmp_path / name / "s.svg", tmp_path / name / "s.png"])
    for suffix in ("svg", "png"):
        first, second = (tmp_path / name / f"s.{suffix}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_a_kind_without_a_counterpart_stands_alone(
    drawn: dict[str, Path], real: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / "sheet.svg"
    contact_sheet.draw({"phantom_colon": drawn["phantom_colon"]}, real, [target])
    assert images_in(target) == contact_sheet.DRAWN


def test_images_take_turns_over_the_labels(real: dict[str, Path]) -> None:
    images = archive.read(real["breastmnist"], "breastmnist")
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
        contact_sheet.draw({"phantom_colon": damaged}, {}, [tmp_path / "sheet.svg"])
    assert not (tmp_path / "sheet.svg").exists()
