"""Captions of official files: a grammar for every dataset, from its labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medlabel.data import captions, catalogue
from medlabel.data.phantoms.captions import NAMING_A_FINDING, STYLES
from medlabel.errors import MedlabelError


def official(folder: Path, dataset: str, labels: np.ndarray, edge: int = 28) -> Path:
    """Write a file in the layout of a dataset, all splits alike."""
    channels = (3,) if catalogue.INFO[dataset]["n_channels"] == 3 else ()
    shape = (edge,) * (3 if catalogue.is_volumetric(dataset) else 2) + (
        () if catalogue.is_volumetric(dataset) else channels
    )
    arrays = {
        f"{split}_{part}": value
        for split in ("train", "val", "test")
        for part, value in (
            ("images", np.zeros((len(labels), *shape), np.uint8)),
            ("labels", labels),
        )
    }
    np.savez(folder / f"{dataset}.npz", **arrays)
    return folder / f"{dataset}.npz"


def written(folder: Path, dataset: str, labels: np.ndarray, seed: int = 0) -> pd.DataFrame:
    path = official(folder, dataset, labels)
    captions.write(dataset, path, folder / "captions.parquet", seed)
    return pd.read_parquet(folder / "captions.parquet")


@pytest.mark.parametrize("dataset", catalogue.DATASETS)
def test_every_label_of_every_dataset_is_put_into_words(dataset: str, tmp_path: Path) -> None:
    names = catalogue.class_names(dataset)
    described = captions.DESCRIBED[dataset]
    several = catalogue.is_multi_label(catalogue.INFO[dataset]["task"])
    assert len(described.findings) == len(names) + several
    labels = np.eye(len(names), dtype=np.uint8) if several else np.arange(len(names))[:, None]
    table = written(tmp_path, dataset, np.repeat(labels.astype(np.uint8), 12, axis=0))
    assert set(table["kind"]) == {described.kind}
    assert set(table["finding"]) == set(described.findings[: len(names)])
    assert set(table["style"]) == set(STYLES)
    naming = table[table["style"].isin(NAMING_A_FINDING)]
    for finding, caption in zip(naming["finding"], naming["caption"], strict=True):
        phrases = described.words.findings[finding]
        others = [one for some in described.words.findings.values() for one in some]
        negated = [f"no {one.removeprefix('a ').removeprefix('an ')}" for one in others]
        assert any(phrase in caption for phrase in (*phrases, *negated))


@pytest.mark.parametrize(
    ("dataset", "label", "meant"),
    [
        ("pneumoniamnist", 1, "pneumonia"),
        ("breastmnist", 0, "malignant mass"),
        ("vesselmnist3d", 1, "aneurysm"),
        ("octmnist", 2, "drusen"),
        ("retinamnist", 4, "proliferative retinopathy"),
        ("organmnist3d", 0, "liver"),
        ("organamnist", 0, "bladder"),
        ("pathmnist", 8, "adenocarcinoma"),
        ("dermamnist", 4, "melanoma"),
        ("bloodmnist", 7, "platelet"),
        ("nodulemnist3d", 1, "malignant nodule"),
        ("synapsemnist3d", 0, "inhibitory synapse"),
    ],
)
def test_findings_stand_in_the_order_of_the_labels(dataset: str, label: int, meant: str) -> None:
    assert captions.DESCRIBED[dataset].findings[label] == meant


def test_several_labels_are_listed_and_none_is_said_to_be_none(tmp_path: Path) -> None:
    labels = np.zeros((40, 14), np.uint8)
    labels[:20, [0, 2, 7]] = 1
    table = written(tmp_path, "chestmnist", labels)
    assert set(table["finding"]) == {"atelectasis and effusion and pneumothorax", "no finding"}
    naming = table[table["style"].isin(NAMING_A_FINDING) & (table["finding"] != "no finding")]
    assert naming["caption"].str.contains(r"pneumothorax").all()
    assert naming["caption"].str.contains(r", .* and ").all()


def test_captions_depend_on_the_seed_and_the_image_alone(tmp_path: Path) -> None:
    labels = np.arange(2, dtype=np.uint8)[:, None].repeat(10, axis=0)
    first = written(tmp_path, "pneumoniamnist", labels)
    assert written(tmp_path, "pneumoniamnist", labels).equals(first)
    assert not written(tmp_path, "pneumoniamnist", labels, seed=1)["caption"].equals(
        first["caption"]
    )
    fewer = written(tmp_path, "pneumoniamnist", labels[:5])
    kept = first[first["row"] < 5].reset_index(drop=True)
    assert fewer.equals(kept)


@pytest.mark.parametrize("stem", ["phantom_chest", "breastmist"])
def test_what_is_no_official_file_is_told(stem: str, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match=f"captions: '{stem}' given"):
        captions.write(stem, tmp_path / "no.npz", tmp_path / "captions.parquet", 0)
