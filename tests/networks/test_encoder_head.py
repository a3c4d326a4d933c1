"""An encoder's tower with a new last layer: what it sees, what learns, what is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

from medlabel.annotation import student_export
from medlabel.commands.training import _placed, tower_weights
from medlabel.errors import MedlabelError
from medlabel.layout import Layout
from medlabel.networks import encoder_head, names, registry
from medlabel.params import Contrastive, Params, Trained
from medlabel.teacher import encoder, pretrain, tower
from medlabel.teacher.tower import preprocess
from tests.training.world import Official, settings, thirds, write_archive

SIZE = 14  # what the encoder was trained on
CPU = torch.device("cpu")


def make(folder: Path, size: int = SIZE, **preprocessing: Any) -> Path:
    """Write a tiny untrained CLIP."""
    import open_clip

    torch.manual_seed(0)
    config = {
        "model_cfg": pretrain.model_config(TINY, size),
        "preprocess_cfg": {**pretrain.preprocess_config(size), **preprocessing},
    }
    encoder.save(open_clip.CLIP(**config["model_cfg"]), config, folder, {"model": "untrained"})
    return folder


TINY = Contrastive(
    kind="contrastive",
    batch_size=2,
    threads=1,
    precision="fp32",
    runtime="torch",
    pretrainings=1,
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
    checkpoints=[1],
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("encoder") / "clip")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A locked encoder of a random tower, not trained."""
    from medlabel.teacher import trunks
    from medlabel.teacher.locked import CONFIG_KEY, ImageTower, Locked, TextTower

    torch.manual_seed(0)
    built = {"source": "timm", "model": "test_efficientnet", "edge": None}
    trunk = trunks.build(built)
    visual = ImageTower(trunk, [28], "blocks.1", (256 + 24, 256), 8, 3)
    nn.init.normal_(visual.directions)
    text = TextTower(torch.rand(5, 4), 6, 8, 3, "mean")
    words = Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1}, unk_token="<unk>"))
    settings = {"edges": [28], "middle": "blocks.1", "hidden": 6, "text": "mean", "tower": built}
    config = {
        CONFIG_KEY: settings,
        "model_cfg": {"embed_dim": 12},
        "preprocess_cfg": pretrain.preprocess_config(28),
    }
    folder = tmp_path_factory.mktemp("encoder") / "locked"
    encoder.save(
        Locked(visual, text, words.to_str().encode()), config, folder, {"model": "untrained"}
    )
    return folder


def build(folder: Path, frozen: bool = False, outputs: int = 2) -> encoder_head.EncoderHead:
    torch.manual_seed(0)
    prefix = names.FROZEN if frozen else names.ENCODER
    made = registry.build(
        f"{prefix}{folder}", volumetric=False, channels=1, outputs=outputs, size=28, stem="auto"
    )
    assert isinstance(made, encoder_head.EncoderHead)
    return made


def pixels(count: int = 5, size: int = 28, channels: int = 1) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def as_inputs(given: np.ndarray) -> Tensor:
    """As `training.inputs` makes them: from -1 to 1, channels first."""
    return torch.from_numpy(given).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [SIZE, 28, 40])
def test_the_layer_sees_what_the_encoder_says_of_the_images(
    clip: Path, size: int, channels: int
) -> None:
    network = build(clip).eval()
    network.fc = nn.Identity()
    given = pixels(size=size, channels=channels)
    loaded = encoder.load(clip, CPU)
    with torch.inference_mode():
        expected = loaded.model.encode_image(
            preprocess(given.squeeze(-1) if channels == 1 else given, loaded.manifest.preprocessing)
        )
        found = network(as_inputs(given))
    # The encoder rounds resized intensities to 8 bits.
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    assert expected.std(dim=0).mean() > 0.05


def test_the_tower_of_a_locked_encoder_is_taken(locked: Path) -> None:
    network = build(locked).eval()
    network.fc = nn.Identity()
    given = pixels()
    loaded = encoder.load(locked, CPU)
    with torch.inference_mode():
        seen = preprocess(given.squeeze(-1), loaded.manifest.preprocessing)
        torch.testing.assert_close(network(as_inputs(given)), loaded.model.encode_image(seen))


def step(network: nn.Module) -> dict[str, Tensor]:
    """Train one step; return what it changed."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(as_inputs(pixels())).square().sum().backward()
    optimizer.step()
    return {
        name: value
        for name, value in network.state_dict().items()
        if not torch.equal(value, before[name])
    }


def test_a_frozen_tower_stays_as_it_is_and_its_features_are_standardised(locked: Path) -> None:
    network = build(locked, frozen=True)
    assert set(step(network)) == {
        "fc.weight",
        "fc.bias",
        "standardise.running_mean",
        "standardise.running_var",
        "standardise.num_batches_tracked",
    }
    seen: list[Tensor] = []
    network.fc.register_forward_hook(lambda _part, given, _out: seen.append(given[0]))
    network(as_inputs(pixels(64)))
    torch.testing.assert_close(seen[0].mean(dim=0), torch.zeros(12), atol=1e-5, rtol=0)


def test_a_frozen_tower_sees_each_image_once_and_alike_whatever_is_beside(locked: Path) -> None:
    network = build(locked, frozen=True).eval()
    calls: list[int] = []
    network.tower.register_forward_hook(lambda _part, given, _out: calls.append(len(given[0])))
    given = as_inputs(pixels(20))
    together = network(given)
    assert calls == [encoder_head.FULL] * 2
    again = build(locked, frozen=True).eval()
    order = torch.randperm(20)
    for part in order.split(3):
        again(given[part])
    assert torch.equal(again(given), together)
    assert calls == [encoder_head.FULL] * 2


def test_a_tower_that_learns_changes_with_its_normalisation(locked: Path) -> None:
    changed = set(step(build(locked)))
    assert any(name.startswith("tower.trunk.") and "running_mean" in name for name in changed)
    assert {"fc.weight", "tower.trunk.conv_stem.weight", "tower.kinds.weight"} <= changed
    assert encoder_head.DESCRIPTION not in changed


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("kind", ["clip", "locked"])
def test_what_a_training_saves_is_enough_without_the_encoder(
    request: pytest.FixtureRequest, kind: str, frozen: bool
) -> None:
    network = build(request.getfixturevalue(kind), frozen, outputs=3)
    step(network)
    restored = encoder_head.restore(network.state_dict())
    given = as_inputs(pixels())
    assert restored.frozen is frozen
    torch.testing.assert_close(restored.eval()(given), network.eval()(given))


def test_a_missing_folder_and_towers_that_see_no_square_are_refused(
    tmp_path: Path, clip: Path
) -> None:
    with pytest.raises(MedlabelError, match=r"absent/open_clip_config\.json: no such file"):
        build(tmp_path / "absent")
    wide = make(tmp_path / "wide", size=SIZE)
    config = json.loads((wide / encoder.CONFIG).read_text())
    for change, told in (({"size": [14, 28]}, r"\(14, 28\)"), ({"interpolation": "box"}, "'box'")):
        changed = {**config, "preprocess_cfg": {**config["preprocess_cfg"], **change}}
        (wide / encoder.CONFIG).write_text(json.dumps(changed))
        with pytest.raises(MedlabelError, match=f"{told}.*bicubic, bilinear expected") as error:
            build(wide)
        assert "\n" not in str(error.value)
    assert tower.Preprocessing.of(config["preprocess_cfg"]).size == (SIZE, SIZE)


def test_a_whole_job_learns_and_its_weights_answer_without_the_encoder(tmp_path: Path) -> None:
    folder = make(tmp_path / "clip")
    network = f"{names.FROZEN}{folder}"
    path = write_archive(tmp_path / "phantom_chest.npz", (28, 28), thirds())
    chosen = settings(28, network=network, epochs=12, learning_rate=0.05)
    official = Official(tmp_path, path, chosen, "phantom_chest")
    run = official.run(given=[folder / encoder.WEIGHTS])
    kept = load_file(run / "weights.safetensors")
    given = load_file(folder / encoder.WEIGHTS)
    assert torch.equal(kept["0/tower.conv1.weight"], given["visual.conv1.weight"])
    for file in folder.iterdir():
        file.unlink()
    student = student_export.of_training(run, 0, CPU)
    answers = student.predict(np.load(path)["test_images"][..., np.newaxis])
    truth = np.load(path)["test_labels"][:, 0]
    assert (answers.argmax(axis=1) == truth).mean() > 0.9


def test_commands_find_the_encoder_of_a_network(default_params: Params) -> None:
    layout = Layout("here", "there")
    plain = default_params.training(
        Trained("breastmnist", "true", "frozen:phantom_clip.2@60", "official")
    )
    assert _placed(plain, layout).network == "frozen:here/encoders/phantom_clip.2@60"
    assert Path("here/encoders/phantom_clip.2@60") / encoder.WEIGHTS in tower_weights(layout, plain)
    other = default_params.training(Trained("breastmnist", "true", "resnet18", "official"))
    assert _placed(other, layout) is other
    assert tower_weights(layout, other) == []
    published = default_params.training(Trained("breastmnist", "true", "medclip_vit", "official"))
    assert _placed(published, layout).network == "encoder:here/encoders/medclip_vit"
