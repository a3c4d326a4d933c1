"""Small CLIPs with a convolutional image tower: trained, saved, loaded and run as any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.teacher import (
    encoder,
    export,
    five_blocks,
    image_towers,
    published,
    runtime,
    sources,
    tower,
    trunks,
    verify,
)

Raw = tuple[dict[str, Path], dict[str, Path]]
SIZE = 14
CPU = torch.device("cpu")
TOWERS = ("resnet", "cnn")


def train(raw: Raw, wanted: params.Contrastive, folder: Path, start: Path | None = None) -> Path:
    archives, captions = raw
    given = [sources.Source(kind, SIZE, path, captions[kind]) for kind, path in archives.items()]
    folders = {step: folder / f"step{step}" for step in wanted.checkpoints}
    resume = folder / "resume"
    image_towers.pretrain(given, folders, wanted, SIZE, 0, "cpu", 1, 3, resume, start)
    return folders[wanted.checkpoints[-1]]


@pytest.fixture(scope="module")
def settings_of(tiny_settings: params.Contrastive) -> Callable[..., params.Contrastive]:
    def make(image_tower: str, **changes: object) -> params.Contrastive:
        return tiny_settings.model_copy(update={"image_tower": image_tower, **changes})

    return make


@pytest.fixture(scope="module", params=TOWERS)
def trained(
    request: pytest.FixtureRequest,
    raw: Raw,
    settings_of: Callable[..., params.Contrastive],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    wanted = settings_of(request.param, checkpoints=[1, 4])
    return request.param, train(raw, wanted, tmp_path_factory.mktemp(request.param))


def images(count: int) -> torch.Tensor:
    drawn = np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)
    expected = tower.Preprocessing.of(image_towers.pretraining.preprocess_config(SIZE))
    return tower.preprocess(drawn, expected)


def network(wanted: params.Contrastive, size: int) -> Any:
    import open_clip

    return open_clip.CLIP(**image_towers.model_config(wanted, size))


@example_settings(max_examples=20, deadline=None)
@given(st.integers(14, 300))
def test_five_blocks_flatten_maps_of_any_edge(edge: int) -> None:
    made = trunks.timm_network(five_blocks.name_of(edge), None)
    assert len(made.blocks) == 5
    filters = [block[0].out_channels for block in made.blocks]
    assert filters == sorted(set(filters))
    with torch.inference_mode():
        assert made(torch.zeros(1, 3, edge, edge)).shape == (1, made.num_features)
    assert made.num_features == filters[-1] * five_blocks.grid_of(edge) ** 2


@pytest.mark.parametrize("image_tower", TOWERS)
def test_a_gradient_reaches_every_parameter(
    image_tower: str, settings_of: Callable[..., params.Contrastive]
) -> None:
    torch.manual_seed(0)
    made = network(settings_of(image_tower), 28).train()
    for module in made.modules():  # timm's residual branches begin with a gain of 0
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    seen, said, scale = made(torch.randn(8, 3, 28, 28), torch.randint(1, 99, (8, 16)))
    assert seen.shape == said.shape == (8, 16)
    (scale * seen @ said.T).log_softmax(1).diagonal().mean().backward()
    without = [
        name
        for name, value in made.named_parameters()
        if value.grad is None or not value.grad.abs().sum() > 0
    ]
    assert without == []


def test_training_is_kept_and_loads_with_the_same_embeddings(
    trained: tuple[str, Path], settings_of: Callable[..., params.Contrastive]
) -> None:
    image_tower, folder = trained
    record = json.loads((folder / encoder.PROVENANCE).read_text())
    assert record["settings"]["image_tower"] == image_tower
    assert len(record["losses"]) == 4
    first, second = encoder.load(folder, CPU), encoder.load(folder, CPU)
    copied = network(settings_of(image_tower), SIZE).eval()
    copied.load_state_dict(first.model.state_dict())
    with torch.inference_mode():
        expected = copied.encode_image(images(5))
        assert torch.equal(first.model.encode_image(images(5)), expected)
        assert torch.equal(second.model.encode_image(images(5)), expected)
    assert verify.verify(folder) <= runtime.TOLERANCE


@pytest.mark.filterwarnings("ignore")  # of tracing, by torch
@pytest.mark.parametrize("engine", runtime.ENGINES)
@pytest.mark.parametrize("image_tower", TOWERS)
def test_engines_agree(
    image_tower: str, engine: str, settings_of: Callable[..., params.Contrastive]
) -> None:
    for needed in runtime.NEEDED[engine]:
        pytest.importorskip(needed)
    torch.manual_seed(0)
    side = runtime.ImageSide(network(settings_of(image_tower), 28).eval()).eval()
    batch = torch.randn(5, 3, 28, 28)
    found = runtime.compiled(side, batch[:4], engine, "fp32", 1).embed(batch)
    expected = runtime.compiled(side, batch[:4], "torch", "fp32", 1).embed(batch)
    np.testing.assert_allclose(found, expected, rtol=0, atol=runtime.TOLERANCE)


def test_training_goes_on_from_weights_of_the_same_tower(
    raw: Raw,
    trained: tuple[str, Path],
    settings_of: Callable[..., params.Contrastive],
    tmp_path: Path,
) -> None:
    image_tower, folder = trained
    wanted = settings_of(image_tower, checkpoints=[1], learning_rate=1e-9)
    again = train(raw, wanted, tmp_path, start=folder)
    first, second = (
        dict(encoder.load(one, CPU).model.named_parameters()) for one in (folder, again)
    )
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=0)


def test_a_folder_is_adopted(trained: tuple[str, Path], tmp_path: Path) -> None:
    part = params.Published(
        kind="open_clip",
        model=f"local-dir:{trained[1]}",
        pretrained=None,
        batch_size=1,
        threads=1,
        precision="fp32",
        runtime="torch",
    )
    published.adopt(part, tmp_path / "ours")
    ours, theirs = (encoder.inspect(one) for one in (tmp_path / "ours", trained[1]))
    assert ours.weights_sha256 == theirs.weights_sha256


def test_open_clip_alone_reads_the_resnet_and_the_five_blocks_are_refused(
    trained: tuple[str, Path], tmp_path: Path
) -> None:
    image_tower, folder = trained
    if image_tower == "resnet":
        export.export(folder, tmp_path / "out")
        assert (tmp_path / "out" / encoder.WEIGHTS).is_file()
        return
    with pytest.raises(MedlabelError, match="which this package alone knows") as caught:
        export.export(folder, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_unknown_tower_is_told_in_one_line(trained: tuple[str, Path], tmp_path: Path) -> None:
    encoder.copy(trained[1], tmp_path / "other")
    config = json.loads((tmp_path / "other" / encoder.CONFIG).read_text())
    config["model_cfg"]["vision_cfg"]["timm_model_name"] = "medlabel_nine_blocks"
    files.write_json(tmp_path / "other" / encoder.CONFIG, config)
    with pytest.raises(MedlabelError, match="medlabel_nine_blocks") as caught:
        encoder.load(tmp_path / "other", CPU)
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_the_images_is_refused(
    raw: Raw, settings_of: Callable[..., params.Contrastive], tmp_path: Path
) -> None:
    with pytest.raises(MedlabelError, match="pairs: 999 given, at most the 48 images"):
        train(raw, settings_of("cnn", pairs=999), tmp_path)
