"""Teaching words where images lie: what is learnt, what is repeated, what is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from medlabel import files, params
from medlabel.data import archive, phantoms
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, features, heads, runtime, sources, tower, towers, trunks

CPU = torch.device("cpu")
SHORT = {"epochs": 2, "caption_steps": 20}


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(folder / encoder.PROVENANCE, "")
    return found


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_kinds_are_told_apart_and_findings_better_than_by_chance(
    locked_folder: Path, locked_settings: params.Locked
) -> None:
    found = record(locked_folder)
    assert [one["epoch"] for one in found["curve"]] == list(range(1, locked_settings.epochs + 1))
    assert found["curve"][-1]["loss"] < 0.5 * found["curve"][0]["loss"]
    assert found["validation_accuracy"] > 0.9
    assert found["validation_findings"] > 0.4  # of 2, 3 and 8 findings: 0.32 by chance


def test_ill_chests_lie_nearer_to_words_of_illness_than_clear_ones(
    locked_folder: Path, drawn: list[sources.Source]
) -> None:
    teacher = encoder.load(locked_folder, CPU)
    images = phantoms.draw("phantom_chest", 160, 28, 9, "judge", artefacts=False)
    ill = np.array([one == "pneumonia" for one in images.findings])
    batch = tower.preprocess(np.asarray(images.images), teacher.manifest.preprocessing)
    network = runtime.compiled(runtime.ImageSide(teacher.model), batch, "torch", "fp32", 1)
    sentences = ["a chest X-ray with pneumonia", "a chest X-ray with no finding"]
    with torch.inference_mode():
        said = teacher.model.encode_text(teacher.tokenizer(sentences), normalize=True).numpy()
    toward = network.embed(batch) @ (said[0] - said[1])
    right = (toward[ill][:, None] > toward[~ill][None]).mean()  # area under the ROC curve
    assert right > 0.65  # 0.5 by chance, with a standard error of 0.05


def test_same_seed_same_bytes_and_another_seed_or_run_others(
    teach: Callable[..., Path], tmp_path: Path
) -> None:
    first = written(teach(tmp_path / "first", **SHORT))
    assert written(teach(tmp_path / "again", **SHORT)) == first
    name = encoder.WEIGHTS
    assert written(teach(tmp_path / "run", number=1, **SHORT))[name] != first[name]
    assert written(teach(tmp_path / "seed", seed=1, **SHORT))[name] != first[name]


def test_a_run_does_not_depend_on_those_beside_it(
    drawn: list[sources.Source],
    locked_settings: params.Locked,
    teach: Callable[..., Path],
    tmp_path: Path,
) -> None:
    short = locked_settings.model_copy(update=SHORT)
    folders = {number: tmp_path / str(number) for number in range(2)}
    heads.train(drawn, folders, short, 0, "cpu", 1, tmp_path / "cache")
    assert written(teach(tmp_path / "alone", number=1, **SHORT)) == written(folders[1])


def test_permuted_captions_teach_next_to_nothing(
    teach: Callable[..., Path], locked_folder: Path, tmp_path: Path
) -> None:
    found = record(teach(tmp_path / "permuted", permuted_captions=True))
    assert found["settings"]["permuted_captions"] is True
    assert found["validation_accuracy"] < 0.6  # 1/3 by chance, over 0.9 with their own captions


def test_what_only_embedding_needs_is_not_recorded(
    teach: Callable[..., Path], tmp_path: Path
) -> None:
    found = record(teach(tmp_path / "some", **SHORT))
    assert "batch_size" not in found["settings"]
    assert "pretrainings" not in found["settings"]


def test_a_loss_that_is_no_number_is_told(teach: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        MedlabelError, match=r"the loss is nan; lower learning_rate \(1e\+30\)"
    ) as caught:
        teach(tmp_path / "nan", learning_rate=1e30)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "nan" / encoder.CONFIG).exists()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of each forward pass of the locked tower."""
    counts: list[int] = []
    real = runtime.compiled

    def compiled(*given: Any) -> runtime.Runner:
        runner = real(*given)

        def compute(batch: torch.Tensor) -> runtime.Embeddings:
            counts.append(len(batch))
            return runner.compute(batch)

        return runtime.Runner(runner.name, compute)

    monkeypatch.setattr(runtime, "compiled", compiled)
    return counts


SMALL = {
    "tower": params.Tower(source="random", model="test_efficientnet", weights=None),
    "phantoms": 12,
    **SHORT,
}
IMAGES = 3 * (12 * 2 + 12)  # three kinds: two views to learn from, one to validate on


@pytest.fixture
def small(
    drawn: list[sources.Source], locked_settings: params.Locked, tmp_path: Path
) -> Callable[..., Path]:
    """Return a function that trains on a random tower with a cache of the test's own."""

    def run(
        name: str, seed: int = 0, sources: list[sources.Source] = drawn, **changes: Any
    ) -> Path:
        settings = locked_settings.model_copy(update=SMALL | changes)
        cache = tmp_path / "cache"
        heads.train(sources, {0: tmp_path / name}, settings, seed, "cpu", 1, cache)
        return tmp_path / name

    return run


def test_a_killed_run_goes_on_from_its_features(
    small: Callable[..., Path], passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            small("killed")
    assert sum(passes) == IMAGES
    resumed = written(small("killed"))
    assert sum(passes) == IMAGES
    assert resumed == written(small("again"))


def test_a_run_killed_among_its_features_computes_the_rest_alone(
    small: Callable[..., Path], passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = features.Extractor._compute
    done = []

    def compute(self: features.Extractor, images: np.ndarray) -> np.ndarray:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(len(images))
        return real(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(features.Extractor, "_compute", compute)
        with pytest.raises(KeyboardInterrupt):
            small("killed")
    assert sum(passes) == sum(done) == 36
    small("killed")
    assert sum(passes) == IMAGES


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"epochs": 1, "embed_dim": 8, "text": "transformer", "permuted_captions": True}, 0),
        ({"views": 1}, 0),
        ({"views": 3}, 3 * 12),
        ({"seed": 1}, IMAGES),  # a random tower's weights too
        ({"edges": [32]}, IMAGES),
        (
            {
                "tower": params.Tower(source="random", model="test_resnet", weights=None),
                "middle": "layer2",
            },
            IMAGES,
        ),
        ({"middle": None}, IMAGES),
        ({"phantoms": 6}, 3 * (6 * 2 + 6)),
        ({"runtime": "openvino"}, IMAGES),
    ],
    ids=["heads", "fewer views", "view", "seed", "edges", "tower", "middle", "phantoms", "runtime"],
)
def test_features_are_computed_again_only_where_they_differ(
    change: dict, again: int, small: Callable[..., Path], passes: list[int]
) -> None:
    small("first")
    assert sum(passes) == IMAGES
    small("other", **change)
    assert sum(passes) == IMAGES + again


def test_another_seed_draws_other_views_of_the_same_images(
    drawn: list[sources.Source], locked_settings: params.Locked, passes: list[int], tmp_path: Path
) -> None:
    found = towers.load(SMALL["tower"], 64, 0)
    settings = locked_settings.model_copy(update=SMALL)
    one, other = (
        features.Extractor(settings, found, tmp_path, CPU, 1, seed).read(drawn, "train")
        for seed in (0, 1)
    )
    np.testing.assert_array_equal(one.features[:, 0], other.features[:, 0])
    assert (one.features[:, 1] != other.features[:, 1]).any()
    assert sum(passes) == 3 * 12 * 3


def test_features_of_each_scale_have_length_one(
    drawn: list[sources.Source], locked_settings: params.Locked, tmp_path: Path
) -> None:
    found = towers.load(SMALL["tower"], 64, 0)
    settings = locked_settings.model_copy(update=SMALL)
    seen = features.Extractor(settings, found, tmp_path, CPU, 1, 0).read(drawn, "train")
    assert seen.features.dtype == np.float32
    count, views, length = seen.features.shape
    assert (count, views) == (36, 2)
    last = 2 * trunks.length(found.trunk, 64)
    for part in (seen.features[..., :last], seen.features[..., last:]):
        scales = part.reshape(count, views, 2, -1)
        np.testing.assert_allclose(np.linalg.norm(scales, axis=-1), 1, rtol=1e-5)
    assert length > last
    assert list(seen.table) == ["kind", "finding", "caption", "named", "measured"]
    assert len(seen.table) == count


def test_permuted_captions_keep_features_and_how_often_each_caption_stands() -> None:
    table = pd.DataFrame({"kind": list("aabbcc"), "caption": list("uvwxyz")})
    before = features.Captioned(np.arange(6, dtype=np.float32).reshape(6, 1, 1), table)
    one, again, other = (features.permuted(before, 0, run) for run in (0, 0, 1))
    assert one.features is before.features
    assert sorted(one.table["caption"]) == list("uvwxyz")
    assert one.table.groupby("caption")["kind"].first().tolist() == list("aabbcc")
    pd.testing.assert_frame_equal(one.table, again.table)
    assert not one.table.equals(other.table)
    assert not one.table.equals(table)


def test_a_volume_is_seen_as_a_projection(locked_settings: params.Locked, tmp_path: Path) -> None:
    kind, counts = "phantom_vessel3d", params.Counts(train=4, val=2, test=1)
    drawing = params.Phantoms(
        size=14, counts=counts, volumes=counts, stand_ins=counts, artefacts=False
    )
    source = sources.Source(kind, 14, tmp_path / "v.npz", tmp_path / "v.parquet")
    phantoms.write(kind, source.archive, source.captions, counts, drawing, seed=0)
    found = towers.load(SMALL["tower"], 64, 0)
    extractor = features.Extractor(
        locked_settings.model_copy(update=SMALL), found, tmp_path / "cache", CPU, 1, 0
    )
    flat = extractor._images(source, "train", np.arange(4))
    assert flat.shape == (4, 14, 14)
    volumes = archive.read(source.archive, kind, 14).images["train"]
    for image, volume in zip(flat, volumes, strict=True):
        assert any(np.array_equal(image, volume.max(axis)) for axis in range(3))
    assert extractor.read([source], "train").features.shape[:2] == (4, 2)


def test_missing_phantoms_name_the_step_that_draws_them(
    small: Callable[..., Path], drawn: list[sources.Source], tmp_path: Path
) -> None:
    captions = shutil.copy(drawn[0].captions, tmp_path)
    absent = sources.Source(drawn[0].dataset, 28, tmp_path / "absent.npz", Path(captions))
    with pytest.raises(MedlabelError, match=r"absent\.npz: no such file") as caught:
        small("none", sources=[absent])
    assert "\n" not in str(caught.value)
