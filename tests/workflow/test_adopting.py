"""Published models, adopted from a folder and from a file, label real images for a whole study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medlabel import files
from medlabel.data import archive
from tests.workflow.conftest import Workplace, make_workplace

pytestmark = [pytest.mark.workflow, pytest.mark.real, pytest.mark.xdist_group("workflow")]

CONFIG = {
    "embed_dim": 8,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"width": 64, "heads": 1, "layers": 1},
}
BUILT_IN = "ViT-S-32-alt"  # the smallest that open_clip knows by name
FIXED = {"kind": "open_clip", "batch_size": 8, "threads": 1, "precision": "fp32"}
FIXED |= {"runtime": "torch"}
ENCODERS = {
    "from_folder": {"model": "local-dir:theirs/tiny", "pretrained": None},
    "from_file": {"model": BUILT_IN, "pretrained": "theirs/weights.pt"},
}
ROLES = {"train": {"splits": ["train"], "count": 16}, "test": {"splits": ["test"], "count": 8}}
CLASSES = [
    {"name": "chest", "dataset": "pneumoniamnist", **ROLES},
    {"name": "breast", "dataset": "breastmnist", **ROLES},
]


def write_published(folder: Path) -> None:
    """Write random models: a folder as open_clip has it, and what its training saves."""
    import open_clip

    torch.manual_seed(0)
    tiny = open_clip.CLIP(**CONFIG)
    preprocessing = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config = {"model_cfg": CONFIG, "preprocess_cfg": preprocessing}
    files.write_json(folder / "tiny" / "open_clip_config.json", config)
    torch.save(tiny.state_dict(), folder / "tiny" / "open_clip_pytorch_model.bin")
    named = open_clip.create_model(BUILT_IN, precision="fp16")
    trained = {f"module.{name}": value for name, value in named.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": trained}, folder / "weights.pt")


@pytest.fixture
def place(tmp_path: Path, mirror: Path) -> Workplace:
    found = make_workplace(tmp_path)
    write_published(tmp_path / "theirs")
    mixture = {"extends": "breast_pneumonia", "published": None, "pool": 16, "classes": CLASSES}
    study = {"extends": "tiny", "images": "real_tiny", "encoder": list(ENCODERS), "controls": []}
    found.set(
        data={"mirrors": [str(mirror)]},
        mixtures={"real_tiny": mixture},
        encoders={name: {**FIXED, **part} for name, part in ENCODERS.items()},
        studies={"adopted": {"title": "Adopted models", **study}},
    )
    return found


def by_open_clip(name: str, place: Workplace, table: pd.DataFrame) -> np.ndarray:
    """Embed the images of a table as open_clip's own examples do."""
    import open_clip

    given = ENCODERS[name]
    at = {
        key: value and value.replace("theirs", f"{place.folder}/theirs")
        for key, value in given.items()
    }
    model, transform = open_clip.create_model_from_pretrained(at["model"], at["pretrained"])
    raw = place.folder / "data" / "raw"
    sources = {one: archive.read(raw / f"{one}.npz", one) for one in table["dataset"].unique()}
    images = [
        transform(Image.fromarray(sources[one.dataset].images[one.split][one.row]))
        for one in table.itertuples()
    ]
    with torch.no_grad():
        return model.eval().encode_image(torch.stack(images), normalize=True).numpy()


def test_a_study_adopts_models_from_a_folder_and_from_a_file(place: Workplace) -> None:
    result = place.snakemake("study_adopted")
    assert result.returncode == 0, result.stdout + result.stderr
    data, results = place.folder / "data", place.folder / "results" / "adopted"
    for name, given in ENCODERS.items():
        record = files.read_json(data / "encoders" / name / "provenance.json", "")
        told = record["model"], record["pretrained"]
        assert told == (
            given["model"].replace("theirs/", ""),
            given["pretrained"] and Path(given["pretrained"]).name,
        )
        table = pd.read_parquet(data / "embeddings" / "real_tiny" / f"{name}.parquet")
        assert len(table) == 2 * 2 * 16
        some = table.iloc[::8]
        expected = by_open_clip(name, place, some)
        # Few pixels differ by a grey level: Pillow enlarges in whole numbers.
        assert np.allclose(np.stack(some[name].to_numpy()), expected, rtol=0, atol=2e-4)
    content = json.loads((results / "study.json").read_text())
    assert content["phantom"] is False
    assert [cell["encoder"] for cell in content["cells"]] == list(ENCODERS)
    assert all(set(cell["arms"]) == {"teacher", "student"} for cell in content["cells"])
    page = (results / "report.html").read_text()
    assert all(name in page for name in ENCODERS)
    assert "PHANTOM" not in page
    assert list((results / "figures").glob("*.svg"))
