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

from medlabel import files, params
from medlabel.data import archive
from medlabel.errors import MedlabelError
from medlabel.randomness import stream
from medlabel.teacher import embed, encoder

SETTINGS = params.Embed(batch_size=2, precision="fp32")
CPU = torch.device("cpu")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of each forward pass of the image tower."""
    counts: list[int] = []
    real = embed.encode_images

    def count(loaded: encoder.Encoder, batch: torch.Tensor, precision: embed.Precision) -> object:
        counts.append(len(batch))
        return real(loaded, batch, precision)

    monkeypatch.setattr(embed, "encode_images", count)
    return counts


@pytest.fixture
def run(tiny_encoder: Path, raw: tuple, pool: Path, tmp_path: Path) -> Callable[..., Path]:
    def call(name: str = "out", settings: params.Embed = SETTINGS, **other: object) -> Path:
        target = tmp_path / f"{name}.parquet"
        given = {
            "encoders": [tiny_encoder],
            "archives": raw[0],
            "pool": pool,
            "targets": [target],
            "cache": tmp_path / "cache",
            **other,
        }
        embed.embed(**given, settings=settings, device="cpu", threads=1)
        return target

    return call


def smooth(shape: tuple[int, ...]) -> np.ndarray:
    """Blurred noise: like an image, unlike white noise, it has no energy at single pixels."""
    noise = stream(1, "smooth", *shape).random(shape)
    for axis in (1, 2):
        noise = sum(np.roll(noise, shift, axis) for shift in range(-2, 3)) / 5
    return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((3, 28, 28), 224),
        ((3, 28, 28, 3), 224),
        ((2, 90, 61, 3), 28),
        ((2, 31, 47), 64),
        ((2, 28, 28), 28),
    ],
)
def test_preprocessing_agrees_with_open_clip(
    shape: tuple[int, ...], size: int, mode: str, interpolation: str
) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = PreprocessCfg(size=size, resize_mode=mode, interpolation=interpolation)
    transform = image_transform_v2(config, is_train=False)
    images = smooth(shape)
    reference = torch.stack([transform(Image.fromarray(image)) for image in images])
    expected = encoder.Preprocessing(
        (size, size), config.mean, config.std, interpolation, mode, config.fill_color
    )
    ours = embed.preprocess(images, expected)
    assert ours.shape == reference.shape
    assert ours.dtype == torch.float32
    levels = (ours - reference).abs() * torch.tensor(config.std).view(1, 3, 1, 1) * 255
    assert levels.mean() < 0.05
    assert levels.max() < 2.01
    cosine = torch.nn.functional.cosine_similarity(ours.flatten(1), reference.flatten(1))
    assert cosine.min() > 0.9999


def test_images_of_the_right_size_are_not_resampled() -> None:
    images = smooth((2, 28, 28))
    expected = encoder.Preprocessing((28, 28), (0, 0, 0), (1, 1, 1), "bicubic", "shortest", 0)
    ours = embed.preprocess(images, expected)
    np.testing.assert_array_equal(ours[:, 1].numpy(), images.astype(np.float32) / 255)


def test_other_interpolation_is_refused() -> None:
    expected = encoder.Preprocessing((8, 8), (0, 0, 0), (1, 1, 1), "nearest", "shortest", 0)
    with pytest.raises(MedlabelError, match="expected bicubic or bilinear, found 'nearest'"):
        embed.preprocess(smooth((1, 28, 28)), expected)


def test_table_has_one_unit_row_a_distinct_image(run: Callable, pool: Path, raw: tuple) -> None:
    path = run()
    images, embeddings = embed.read(path)
    wanted = pd.read_parquet(pool)[embed.IMAGE_COLUMNS].drop_duplicates()
    assert images.to_records(index=False).tolist() == sorted(
        wanted.to_records(index=False).tolist()
    )
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)
    schema = pq.read_schema(path)
    assert schema.field("embedding").type == pa.list_(pa.float32(), 16)
    record = json.loads(schema.metadata[b"medlabel"])
    assert record["datasets"] == {name: files.digest(file) for name, file in raw[0].items()}
    assert record["precision"] == "fp32"


def test_embeddings_are_those_of_open_clips_own_loop(
    run: Callable, raw: tuple, tiny_encoder: Path
) -> None:
    import open_clip

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{tiny_encoder}")
    model.eval()
    images, embeddings = embed.read(run())
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
    real = embed.RowStore.write
    calls = []

    def write(self: embed.RowStore, *given: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(embed.RowStore, "write", write)
        with pytest.raises(KeyboardInterrupt):
            run()
    passes.clear()
    images, _ = embed.read(run())
    assert (sum(passes), len(images)) == (3, 5)


def test_precision_weights_and_preprocessing_have_their_own_entries(
    run: Callable, passes: list[int], make_encoder: Callable, tmp_path: Path
) -> None:
    run()
    run(settings=params.Embed(batch_size=2, precision="bf16"))
    run(encoders=[make_encoder(tmp_path / "other_weights", seed=1)])
    run(encoders=[make_encoder(tmp_path / "other_mean", mean=[0.4] * 3)])
    assert sum(passes) == 20
    run(settings=params.Embed(batch_size=5, precision="fp32"))
    assert sum(passes) == 20


def test_damaged_entries_are_found_and_computed_anew(
    run: Callable, passes: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run().read_bytes()
    paths = sorted((tmp_path / "cache").glob("*.rows"))
    assert len(paths) == 2
    record = 4 + 4 * 16
    content = bytearray(paths[0].read_bytes())
    written = next(i for i in range(0, len(content), record) if any(content[i : i + 4]))
    content[written + 10] ^= 1
    paths[0].write_bytes(bytes(content))
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    passes.clear()
    assert run("again").read_bytes() == first
    assert "1 damaged embeddings" in caplog.text
    assert "is damaged (not" in caplog.text
    assert 1 < sum(passes) < 5


def test_full_disk_is_told_in_one_line(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = embed.RowStore(tmp_path, {}, 3, encoder.inspect(tiny_encoder))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(MedlabelError, match="the disk is full"):
        store.write(np.array([0]), np.ones((1, 16), np.float32))


def test_bf16_agrees_with_fp32(run: Callable) -> None:
    _, fine = embed.read(run("fine"))
    _, coarse = embed.read(run("coarse", settings=params.Embed(batch_size=2, precision="bf16")))
    assert not np.array_equal(fine, coarse)
    assert (fine * coarse).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx2": True}, "fp32"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_bf16": True}, "bf16"),
    ],
)
def test_auto_takes_bf16_only_where_the_processor_multiplies_it(
    able: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert embed.choose_precision("auto", CPU) == expected
    assert embed.choose_precision("fp32", CPU) == "fp32"


def test_rows_beyond_the_archive_are_refused(run: Callable, pool: Path) -> None:
    table = pd.read_parquet(pool)
    table.loc[0, "row"] = 6
    files.write_parquet(pool, table)
    with pytest.raises(MedlabelError, match=r"row 6 of val_images, found 6 rows.*medlabel pool"):
        run()


def test_volumes_are_refused(run: Callable, pool: Path, tmp_path: Path) -> None:
    arrays = {f"{split}_images": np.zeros((2, 8, 8, 8), np.uint8) for split in archive.SPLITS}
    arrays |= {f"{split}_labels": np.zeros((2, 1), np.uint8) for split in archive.SPLITS}
    files.write_npz(tmp_path / "v.npz", arrays)
    files.write_parquet(pool, pd.read_parquet(pool).iloc[:1].assign(dataset="phantom_vessel3d"))
    with pytest.raises(MedlabelError, match="expected images, found volumes"):
        run(archives={"phantom_vessel3d": tmp_path / "v.npz"})
