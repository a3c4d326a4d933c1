"""Tiny encoders and tiny archives, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medlabel import files, params
from medlabel.data import phantoms
from medlabel.randomness import stream
from medlabel.teacher import encoder, heads, pretrain, sources

SIZE = 14
COUNTS = {"train": 24, "val": 6, "test": 6}
SENTENCES = {
    "phantom_chest": ["an X-ray of the chest, no abnormality", "chest with pneumonia"],
    "phantom_retina": ["a photograph of the retina", "retina, fundus image"],
}
LEARNT = ("phantom_chest", "phantom_breast", "phantom_blood")


@pytest.fixture(scope="session")
def tiny_settings() -> params.Contrastive:
    """A CLIP that trains in well under a second."""
    return params.Contrastive(
        kind="contrastive",
        batch_size=2,
        threads=1,
        precision="fp32",
        runtime="torch",
        pretrainings=2,
        patch_size=7,
        width=32,
        image_layers=1,
        text_layers=1,
        embed_dim=16,
        context_length=16,
        pairs=16,
        learning_rate=0.01,
        weight_decay=0.1,
        warmup_steps=1,
        averaging=0.9,
        checkpoints=[1, 3, 6],
    )


@pytest.fixture(scope="session")
def make_encoder(tiny_settings: params.Contrastive) -> Callable[..., Path]:
    """Return a function that writes an untrained encoder with other settings or another seed."""

    def make(folder: Path, seed: int = 0, size: int = SIZE, **preprocess: object) -> Path:
        import open_clip

        torch.manual_seed(seed)
        config = {
            "model_cfg": pretrain.model_config(tiny_settings, size),
            "preprocess_cfg": {**pretrain.preprocess_config(size), **preprocess},
        }
        encoder.save(open_clip.CLIP(**config["model_cfg"]), config, folder, {"model": "untrained"})
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory, make_encoder: Callable) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def loaded(tiny_encoder: Path) -> encoder.Encoder:
    return encoder.load(tiny_encoder, torch.device("cpu"))


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, Path]]:
    """Archives and captions of two kinds that differ in brightness; one is in colour."""
    folder = tmp_path_factory.mktemp("raw")
    archives, captions = {}, {}
    for level, (kind, sentences) in enumerate(SENTENCES.items()):
        rng = stream(0, kind)
        shape = (SIZE, SIZE, 3) if kind == "phantom_retina" else (SIZE, SIZE)
        arrays, tables = {}, []
        for split, count in COUNTS.items():
            images = rng.integers(0, 128, (count, *shape)) + 127 * level
            arrays[f"{split}_images"] = images.astype(np.uint8)
            arrays[f"{split}_labels"] = np.zeros((count, 1), np.uint8)
            words = [sentences[index % 2] for index in range(count)]
            rows = {"split": split, "row": np.arange(count), "kind": kind, "caption": words}
            rows |= {
                "finding": [f"finding {index % 2}" for index in range(count)],
                "style": "title",
            }
            tables.append(pd.DataFrame(rows))
        archives[kind] = folder / f"{kind}.npz"
        captions[kind] = folder / f"{kind}.captions.parquet"
        files.write_npz(archives[kind], arrays)
        files.write_parquet(captions[kind], pd.concat(tables))
    return archives, captions


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Write a pool of both datasets, out of order and with an image twice."""
    rows = [
        ("test", "phantom_retina", "val", 2, "retina"),
        ("train", "phantom_chest", "train", 9, "chest"),
        ("train", "phantom_chest", "train", 3, "chest"),
        ("test", "phantom_chest", "test", 5, "chest"),
        ("train", "phantom_retina", "train", 0, "retina"),
        ("test", "phantom_retina", "val", 2, "retina"),
    ]
    table = pd.DataFrame(rows, columns=["role", "dataset", "split", "row", "class"])
    files.write_parquet(tmp_path / "pool.parquet", table.astype({"row": np.int32}))
    return tmp_path / "pool.parquet"


@pytest.fixture(scope="session")
def mixture() -> params.Mixture:
    """Two classes of images of `SIZE` pixels."""
    role = {"train": {"splits": ["train"], "count": 1}, "test": {"splits": ["val"], "count": 1}}
    classes = [{"name": name, "dataset": f"phantom_{name}", **role} for name in ("chest", "retina")]
    chosen = params.Mixture.model_validate({"size": 28, "classes": classes})
    return chosen.model_copy(update={"size": SIZE})


@pytest.fixture(scope="session")
def locked_settings() -> params.Locked:
    """A packaged tower that sees small images, and heads that train in two seconds."""
    return params.Locked(
        kind="locked",
        batch_size=16,
        threads=1,
        precision="fp32",
        runtime="torch",
        tower=params.Tower(source="package", model="efficientnet_lite0", weights=None),
        edges=[64, 32],
        middle="blocks.3",
        pretrainings=1,
        phantom_sizes=[28],
        phantoms=48,
        views=2,
        text="mean",
        embed_dim=16,
        hidden=64,
        dropout=0.1,
        epochs=10,
        caption_steps=800,
        pairs=32,
        learning_rate=0.003,
        weight_decay=0.01,
        permuted_captions=False,
    )


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[sources.Source]:
    """Captioned phantoms of three kinds; blood is in colour."""
    folder = tmp_path_factory.mktemp("drawn")
    counts = params.Counts(train=48, val=12, test=1)
    drawing = params.Phantoms(
        size=28, counts=counts, volumes=counts, stand_ins=counts, artefacts=False
    )
    found = []
    for kind in LEARNT:
        one = sources.Source(kind, 28, folder / f"{kind}.npz", folder / f"{kind}.parquet")
        phantoms.write(kind, one.archive, one.captions, counts, drawing, seed=3)
        found.append(one)
    return found


@pytest.fixture(scope="session")
def teach(
    drawn: list[sources.Source],
    locked_settings: params.Locked,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Return a function that teaches words to a locked tower; features are computed once."""
    cache = tmp_path_factory.mktemp("features")

    def run(folder: Path, number: int = 0, seed: int = 0, **changes: object) -> Path:
        heads.train(
            drawn,
            {number: folder},
            locked_settings.model_copy(update=changes),
            seed,
            "cpu",
            1,
            cache,
        )
        return folder

    return run


@pytest.fixture(scope="session")
def locked_folder(teach: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(tmp_path_factory.mktemp("locked") / "locked")
