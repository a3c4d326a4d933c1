from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, hub, published

CPU = torch.device("cpu")


def teacher(model: str, pretrained: str | None) -> params.Published:
    return params.Published(
        kind="open_clip",
        model=model,
        pretrained=pretrained,
        batch_size=1,
        threads=1,
        precision="fp32",
        runtime="torch",
    )


def test_open_clip_itself_loads_what_is_saved(tiny_encoder: Path, loaded: encoder.Encoder) -> None:
    import open_clip

    name = f"local-dir:{tiny_encoder}"
    model, transform = open_clip.create_model_from_pretrained(name)
    ours = loaded.model.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in model.state_dict().items())
    assert transform.transforms[0].size == loaded.manifest.preprocessing.size[0]
    assert loaded.logit_scale == pytest.approx(1 / 0.07, rel=1e-6)
    assert loaded.context_length == open_clip.get_tokenizer(name).context_length == 16


def test_same_weights_give_the_same_bytes(tmp_path: Path, make_encoder: Callable) -> None:
    first, second = make_encoder(tmp_path / "a"), make_encoder(tmp_path / "b")
    for name in (encoder.WEIGHTS, encoder.CONFIG, encoder.PROVENANCE):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert str(tmp_path) not in (first / encoder.PROVENANCE).read_text()


def test_altered_weights_are_refused(tmp_path: Path, make_encoder: Callable) -> None:
    folder = make_encoder(tmp_path / "a")
    weights = bytearray((folder / encoder.WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (folder / encoder.WEIGHTS).write_bytes(bytes(weights))
    with pytest.raises(MedlabelError, match=r"open_clip_model\.safetensors: expected sha256"):
        encoder.load(folder, CPU)


def test_interrupted_save_leaves_nothing_that_loads(
    tmp_path: Path, make_encoder: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_encoder(tmp_path / "a")

    def fail(target: Path, content: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_json", fail)
        with pytest.raises(KeyboardInterrupt):
            make_encoder(folder, seed=1)
    with pytest.raises(MedlabelError, match=r"open_clip_config\.json: no such file"):
        encoder.load(folder, CPU)


def test_weights_of_another_architecture_name_the_layers(
    tmp_path: Path, make_encoder: Callable
) -> None:
    folder = make_encoder(tmp_path / "a")
    config = json.loads((folder / encoder.CONFIG).read_text())
    config["model_cfg"]["vision_cfg"]["layers"] = 2
    config["model_cfg"]["embed_dim"] = 8
    files.write_json(folder / encoder.CONFIG, config)
    expected = r"visual\.proj.*missing \(visual\.transformer\.resblocks\.1"
    with pytest.raises(MedlabelError, match=expected) as caught:
        encoder.load(folder, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("ViT-L14", "openai", r"model: 'ViT-L14' given.*nearest names: .*ViT-L-14"),
        ("ViT-B-32", "nonsense", r"pretrained: 'nonsense' given.*tags: .*openai"),
        ("ViT-B-32", None, r"pretrained: None given"),
        ("ViT-B-32", "openai", r"with QuickGELU; use 'ViT-B-32-quickgelu'"),
        ("ViT-B-32-quickgelu", "laion2b_e16", r"no tag of ViT-B-32-quickgelu"),
        ("hf-hub:org/name", "openai", r"holds its own weights: set it to null"),
        ("local-dir:/nowhere", None, r"open_clip cannot load it"),
    ],
)
def test_impossible_teachers(
    model: str, pretrained: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(MedlabelError, match=message) as caught:
        published.adopt(teacher(model, pretrained), tmp_path / "encoder")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "encoder").exists()


@pytest.mark.parametrize(
    ("model", "tag", "address"),
    [
        ("ViT-L-14-quickgelu", "openai", "timm/vit_large_patch14_clip_224.openai"),
        ("hf-hub:org/name", None, "org/name"),
    ],
)
def test_without_network_the_message_says_what_was_tried_and_what_to_do(
    model: str, tag: str | None, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MedlabelError, match=rf"127\.0\.0\.1.*{address}") as caught:
        published.adopt(teacher(model, tag), tmp_path / "encoder")
    for part in ("local file of weights", "make demo", "local-dir:"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_local_folder_is_adopted(tiny_encoder: Path, tmp_path: Path) -> None:
    source = tmp_path / "theirs"
    shutil.copytree(tiny_encoder, source)
    (source / encoder.PROVENANCE).unlink()
    published.adopt(teacher(f"local-dir:{source}", None), tmp_path / "ours")
    adopted, original = (encoder.load(path, CPU) for path in (tmp_path / "ours", tiny_encoder))
    assert adopted.manifest.weights_sha256 == original.manifest.weights_sha256
    assert adopted.manifest.preprocessing == original.manifest.preprocessing
    record = json.loads((tmp_path / "ours" / encoder.PROVENANCE).read_text())
    assert record["model"] == "local-dir:theirs"


def test_a_file_of_weights_is_adopted_if_it_fits(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from open_clip import factory

    config = json.loads((tiny_encoder / encoder.CONFIG).read_text())["model_cfg"]
    other = {**config, "embed_dim": 8}
    monkeypatch.setitem(factory._MODEL_CONFIGS, "Tiny", config)
    monkeypatch.setitem(factory._MODEL_CONFIGS, "Other", other)
    weights = str(tiny_encoder / encoder.WEIGHTS)
    published.adopt(teacher("Tiny", weights), tmp_path / "ours")
    record = json.loads((tmp_path / "ours" / encoder.PROVENANCE).read_text())
    assert record["pretrained"] == encoder.WEIGHTS
    assert record["weights_sha256"] == files.digest(Path(weights))
    with pytest.raises(MedlabelError, match=r"layers 2 of another shape \("):
        published.adopt(teacher("Other", weights), tmp_path / "others")


def test_pickled_objects_in_weights_are_not_run(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from open_clip import factory

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "touched",)

    config = json.loads((tiny_encoder / encoder.CONFIG).read_text())["model_cfg"]
    monkeypatch.setitem(factory._MODEL_CONFIGS, "Tiny", config)
    torch.save({"state_dict": Evil()}, tmp_path / "weights.pt")
    with pytest.raises(MedlabelError, match="open_clip cannot load it"):
        published.adopt(teacher("Tiny", str(tmp_path / "weights.pt")), tmp_path / "ours")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("known", ["model", "folder"])
def test_transformers_is_asked_for_before_the_download(
    known: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F58: the weights of BiomedCLIP are 800 MB."""
    from open_clip import factory

    config = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"hf_tokenizer_name": "org/words"}}
    monkeypatch.setitem(factory._MODEL_CONFIGS, "Tiny", config)
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(encoder, "build", lambda *_: pytest.fail("it was built"))
    files.write_json(tmp_path / "theirs" / encoder.CONFIG, {"model_cfg": config})
    (tmp_path / "weights.pt").touch()
    asked = {
        "model": teacher("Tiny", str(tmp_path / "weights.pt")),
        "folder": teacher(f"local-dir:{tmp_path / 'theirs'}", None),
    }[known]
    with pytest.raises(MedlabelError, match=r"org/words .*run `pip install 'medlabel\[hub\]'`"):
        published.adopt(asked, tmp_path / "ours")


def test_a_hub_model_is_asked_for_transformers_after_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F58: the same for a hub id, whose small configuration comes first."""
    from open_clip import factory, pretrained

    def download(_: str, filename: str | None = None, **__: object) -> str:
        assert filename == encoder.CONFIG, "the weights were downloaded"
        return str(tmp_path / filename)

    content = {"model_cfg": {"text_cfg": {"hf_model_name": "org/words"}}}
    files.write_json(tmp_path / encoder.CONFIG, content)
    monkeypatch.setattr(factory, "download_pretrained_from_hf", download)
    monkeypatch.setattr(pretrained, "download_pretrained_from_hf", download)
    monkeypatch.setattr(hub, "heed_missing_network", lambda: None)
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MedlabelError, match=r"run `pip install 'medlabel\[hub\]'`"):
        published.adopt(teacher("hf-hub:org/name", None), tmp_path / "ours")
