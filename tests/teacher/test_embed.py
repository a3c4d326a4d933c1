from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from medlabel import files, fingerprint, params
from medlabel.data import archive, vectors
from medlabel.data.mixtures import IMAGE
from medlabel.errors import MedlabelError
from medlabel.randomness import stream
from medlabel.teacher import embed, encoder, heads, runtime, store, tower

COLUMN = "tiny@3"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of each forward pass of an image tower."""
    counts: list[int] = []
    real = runtime.compiled

    def compiled(*given: object) -> runtime.Runner:
        runner = real(*given)  # type: ignore[arg-type]

        def count(batch: torch.Tensor) -> runtime.Embeddings:
            counts.append(len(batch))
            return runner.compute(batch)

        return runtime.Runner(runner.name, count)

    monkeypatch.setattr(runtime, "compiled", compiled)
    return counts


@pytest.fixture
def run(
    tiny_encoder: Path,
    raw: tuple,
    pool: Path,
    tmp_path: Path,
    mixture: params.Mixture,
    tiny_settings: params.Contrastive,
) -> Callable[..., Path]:
    def call(name: str = "out", **other: object) -> Path:
        target = tmp_path / f"{name}.parquet"
        varied = ("batch_size", "precision", "runtime")
        changes = {key: other.pop(key) for key in varied if key in other}
        given = {
            "references": {COLUMN: tiny_encoder},
            "archives": raw[0],
            "mixture": mixture,
            "pool": pool,
            "cache": tmp_path / "cache",
            **other,
        }
        settings = tiny_settings.model_copy(update=changes)
        embed.embed(**given, target=target, settings=settings, device="cpu", threads=1)
        return target

    return call


def read(path: Path, column: str = COLUMN) -> tuple[pd.DataFrame, np.ndarray]:
    images = pd.read_parquet(path, columns=IMAGE)
    return images, vectors.read_embeddings(path, column, images)


def test_table_has_one_unit_row_a_distinct_image(run: Callable, pool: Path, raw: tuple) -> None:
    path = run()
    images, embeddings = read(path)
    wanted = pd.read_parquet(pool)[IMAGE].drop_duplicates()
    assert images.to_records(index=False).tolist() == sorted(
        wanted.to_records(index=False).tolist()
    )
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)
    schema = pq.read_schema(path)
    assert schema.field(COLUMN).type == pa.list_(pa.float32(), 16)
    record = json.loads(schema.metadata[b"medlabel"])
    assert record["datasets"] == {name: files.digest(file) for name, file in raw[0].items()}
    assert record["references"][COLUMN]["precision"] == "fp32"


def test_embeddings_are_those_of_open_clips_own_loop(
    run: Callable, raw: tuple, tiny_encoder: Path
) -> None:
    import open_clip

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{tiny_encoder}")
    model.eval()
    images, embeddings = read(run())
    sources = {name: archive.read(path, name) for name, path in raw[0].items()}
    for (dataset, split, row), ours in zip(images.itertuples(index=False), embeddings, strict=True):
        pixels = Image.fromarray(sources[dataset].images[split][row])
        with torch.inference_mode():
            theirs = model.encode_image(transform(pixels)[None], normalize=True)[0]
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_nothing_is_computed_twice(
    run: Callable, passes: list[int], pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("first").read_bytes()
    assert sum(passes) == 5
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "load", lambda *_: pytest.fail("the network was built"))
        assert run("second").read_bytes() == first
    more = pd.read_parquet(pool)
    extra = more.iloc[[1]].assign(row=np.int32(20))
    files.write_parquet(pool, pd.concat([more, extra]))
    run("third")
    assert sum(passes) == 6


def test_killed_run_goes_on_where_it_was(
    run: Callable, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.RowStore.write
    calls = []

    def write(self: store.RowStore, *given: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(store.RowStore, "write", write)
        with pytest.raises(KeyboardInterrupt):
            run()
    passes.clear()
    images, _ = read(run())
    assert (sum(passes), len(images)) == (3, 5)


def test_precision_weights_and_preprocessing_have_their_own_entries(
    run: Callable, passes: list[int], make_encoder: Callable, tmp_path: Path
) -> None:
    run()
    run(precision="bf16")
    run(references={COLUMN: make_encoder(tmp_path / "other_weights", seed=1)})
    run(references={COLUMN: make_encoder(tmp_path / "other_mean", mean=[0.4] * 3)})
    assert sum(passes) == 20
    run(batch_size=5)
    assert sum(passes) == 20


@pytest.mark.parametrize("what", ["code", "torch", "open_clip_torch", "openvino"])
def test_nothing_stale_is_taken(
    run: Callable, passes: list[int], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 4: other code or libraries may give other values."""
    engine = "openvino" if what == "openvino" else "torch"
    run(runtime=engine)
    assert sum(passes) == 5
    if what == "code":
        monkeypatch.setattr(fingerprint, "of", lambda *_: "other")
    else:
        real = runtime.version
        monkeypatch.setattr(runtime, "version", lambda name: "9.9" if name == what else real(name))
    run(runtime=engine)
    assert sum(passes) == 10


def test_the_fingerprint_knows_all_that_changes_pixels() -> None:
    files_ = {path.name for path in fingerprint.closure(Path(tower.__file__))}
    assert {"tower.py", "pixels.py"} <= files_


def test_each_set_of_weights_has_its_column(
    run: Callable, passes: list[int], make_encoder: Callable, tiny_encoder: Path, tmp_path: Path
) -> None:
    other = make_encoder(tmp_path / "other_weights", seed=1)
    path = run(references={COLUMN: tiny_encoder, "tiny.1@3": other})
    assert pq.read_schema(path).names == [*IMAGE, COLUMN, "tiny.1@3"]
    one, two = (read(path, column)[1] for column in (COLUMN, "tiny.1@3"))
    assert not np.allclose(one, two)
    np.testing.assert_array_equal(read(run("alone"))[1], one)
    assert sum(passes) == 10


def test_batches_are_filled_across_splits(run: Callable, passes: list[int]) -> None:
    run(batch_size=4)  # three chests of two splits, two retinas of two splits
    assert passes == [3, 2]
    assert read(run("again", batch_size=4))[0]["row"].tolist() == [5, 3, 9, 0, 2]


def test_damaged_entries_are_found_and_computed_anew(
    run: Callable, passes: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, first = read(run())
    paths = sorted((tmp_path / "cache").glob("*.rows"))
    assert len(paths) == 2
    record = 4 + 4 * 16
    content = bytearray(paths[0].read_bytes())
    written = next(i for i in range(0, len(content), record) if any(content[i : i + 4]))
    content[written + 10] ^= 1
    paths[0].write_bytes(bytes(content))
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    passes.clear()
    again, found = read(run("again"))
    assert again.equals(images)
    # Last digits depend on which images share a batch.
    np.testing.assert_allclose(found, first, rtol=0, atol=1e-6)
    assert "1 damaged embeddings" in caplog.text
    assert "is damaged (not" in caplog.text
    assert 1 < sum(passes) < 5


def test_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = store.RowStore(tmp_path, {}, 3, 16)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(MedlabelError, match="the disk is full"):
        rows.write(np.array([0]), np.ones((1, 16), np.float32))


def test_bf16_agrees_with_fp32(run: Callable) -> None:
    _, fine = read(run("fine"))
    _, coarse = read(run("coarse", precision="bf16"))
    assert not np.array_equal(fine, coarse)
    assert (fine * coarse).sum(axis=1).min() > 0.999


def test_rows_beyond_the_archive_are_refused(run: Callable, pool: Path) -> None:
    table = pd.read_parquet(pool)
    table.loc[0, "row"] = 6
    files.write_parquet(pool, table)
    with pytest.raises(
        MedlabelError, match=r"rows from 0 to 5 of val_images.*from 2 to 6.*medlabel pool"
    ):
        run()


@pytest.fixture
def volumes(tmp_path: Path, pool: Path) -> dict[str, Path]:
    random = stream(0, "volumes")
    shape = (12, 14, 14, 14)
    arrays = {
        f"{split}_images": random.integers(0, 99, shape, dtype=np.uint8) for split in archive.SPLITS
    }
    arrays |= {f"{split}_labels": np.zeros((12, 1), np.uint8) for split in archive.SPLITS}
    files.write_npz(tmp_path / "v.npz", arrays)
    table = pd.read_parquet(pool)
    files.write_parquet(pool, table[:4].assign(dataset="phantom_vessel3d"))
    return {"phantom_vessel3d": tmp_path / "v.npz"}


def test_volumes_are_embedded_as_their_projection(
    run: Callable, volumes: dict[str, Path], loaded: encoder.Encoder, mixture: params.Mixture
) -> None:
    brightest = mixture.model_copy(update={"projection": "maximum"})
    images, embeddings = read(run(archives=volumes, mixture=brightest))
    source = archive.read(volumes["phantom_vessel3d"], "phantom_vessel3d")
    flat = archive.pixels({"phantom_vessel3d": source}, images, 1, projection="maximum")
    batch = tower.preprocess(flat, loaded.manifest.preprocessing)
    side = runtime.ImageSide(loaded.model)
    ours = runtime.compiled(side, batch, "torch", "fp32", 1).embed(batch)
    np.testing.assert_allclose(ours, embeddings, atol=1e-5)


def test_volumes_are_refused_without_a_projection(run: Callable, volumes: dict[str, Path]) -> None:
    with pytest.raises(MedlabelError, match="expected images, found volumes"):
        run(archives=volumes)


def test_encoders_of_one_tower_share_its_passes(
    run: Callable,
    passes: list[int],
    drawn: list,
    locked_settings: params.Locked,
    tmp_path: Path,
    pool: Path,
    raw: tuple,
) -> None:
    folders = {one: tmp_path / f"locked.{one}" for one in range(2)}
    heads.train(drawn, folders, locked_settings, 0, "cpu", 1, tmp_path / "features")
    passes.clear()
    together = run("together", references={f"locked.{one}": folders[one] for one in folders})
    assert sum(passes) == 5
    later = tmp_path / "later"
    longer = locked_settings.model_copy(update={"epochs": 2})
    heads.train(drawn, {0: later}, longer, 0, "cpu", 1, tmp_path / "features")
    passes.clear()
    run("later", references={COLUMN: later})
    assert not passes  # heads that were trained later see what the tower said before
    for number, folder in folders.items():
        alone = run("alone", references={COLUMN: folder}, cache=tmp_path / f"cache {number}")
        images, expected = read(alone)
        _, found = read(together, f"locked.{number}")
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        direct = encoder.load(folder, torch.device("cpu"))
        name, split, row = images.iloc[0]
        pixels = archive.read(raw[0][name], name).images[split][row][None]
        batch = tower.preprocess(np.asarray(pixels), direct.manifest.preprocessing)
        with torch.inference_mode():
            whole = direct.model.encode_image(batch, normalize=True).numpy()
        np.testing.assert_allclose(found[:1], whole, rtol=0, atol=1e-5)
    assert not np.allclose(found, read(together, "locked.0")[1], atol=1e-3)


@pytest.mark.filterwarnings("ignore")  # of tracing, by torch
def test_8_bits_have_a_cache_of_their_own_for_each_calibration(
    run: Callable, passes: list[int]
) -> None:
    for needed in runtime.NEEDED["onnxruntime"]:
        pytest.importorskip(needed)
    rng = stream(0, "calibration")
    one, other = (rng.integers(0, 256, (4, 14, 14), dtype=np.uint8) for _ in range(2))
    _, fine = read(run("fine", runtime="openvino"))
    after = sum(passes)
    wanted = {"runtime": "openvino", "precision": "int8"}
    _, rough = read(run("rough", **wanted, calibration=[one]))
    assert sum(passes) == 2 * after
    assert (rough * fine).sum(axis=1).min() > 0.9
    run("again", **wanted, calibration=[one])
    assert sum(passes) == 2 * after
    run("other", **wanted, calibration=[other])
    assert sum(passes) == 3 * after
