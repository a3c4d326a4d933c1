"""Published models in the layout of their files, with random weights: the same network again."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.params.encoders import ADOPTING, WITH_WORDS
from medlabel.teacher import encoder, published, unimed

transformers = pytest.importorskip("transformers", reason="the extra `hub` is not installed")

CPU = torch.device("cpu")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "chest",
    "x",
    "-",
    "ray",
    "with",
    "pneumonia",
]
SENTENCES = ["a chest x-ray with pneumonia", "a chest"]
VISION = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8}


def settings(**given: Any) -> params.Published:
    fixed = {"batch_size": 2, "threads": 1, "precision": "fp32", "runtime": "torch"}
    return params.Published.model_validate(
        {"kind": "open_clip", "pretrained": None, **fixed, **given}
    )


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text tower's configuration and tokenizer, as a hub folder has them."""
    folder = tmp_path_factory.mktemp("hub") / "bert"
    transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=256,
    ).save_pretrained(folder)  # fmt: skip
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    files.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    return folder


def text_config(bert: Path, pooler: str) -> dict[str, Any]:
    return {
        "hf_model_name": str(bert),
        "hf_tokenizer_name": str(bert),
        "hf_pooler_type": pooler,
        "hf_proj_type": "mlp",
        "context_length": 256,
    }


def network(config: dict[str, Any]) -> Any:
    import open_clip

    torch.manual_seed(3)
    text = {**config["text_cfg"], "hf_model_pretrained": False}
    return open_clip.CustomTextCLIP(**{**config, "text_cfg": text}).eval()


def same(folder: Path, original: Any) -> None:
    """The adopted encoder says what the original network does, which saw the same tokens."""
    loaded = encoder.load(folder, CPU)
    images, tokens = torch.rand(2, 3, 32, 32), loaded.tokenizer(SENTENCES)
    assert tokens.shape == (2, 256)
    assert tokens[0, :9].tolist() == [2, 5, 6, 7, 8, 9, 10, 11, 3]
    with torch.no_grad():
        for own, other in (
            (loaded.model.encode_image(images), original.encode_image(images)),
            (loaded.model.encode_text(tokens), original.encode_text(tokens)),
        ):
            assert torch.allclose(own, other, rtol=0, atol=1e-6)


def test_biomedclip_is_a_folder_of_open_clip(bert: Path, tmp_path: Path) -> None:
    config = {
        "embed_dim": 16,
        "vision_cfg": VISION,
        "text_cfg": text_config(bert, "cls_last_hidden_state_pooler"),
    }
    original = network(config)
    theirs = tmp_path / "theirs"
    shutil.copytree(bert, theirs)
    preprocessing = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    files.write_json(
        theirs / encoder.CONFIG, {"model_cfg": config, "preprocess_cfg": preprocessing}
    )
    torch.save(original.state_dict(), theirs / "open_clip_pytorch_model.bin")
    published.adopt(settings(model=f"local-dir:{theirs}"), tmp_path / "ours")
    same(tmp_path / "ours", original)
    assert encoder.load(tmp_path / "ours", CPU).manifest.preprocessing.mean == (0.48, 0.46, 0.41)


@pytest.fixture
def tower(monkeypatch: pytest.MonkeyPatch) -> None:
    from open_clip import factory

    known = {"embed_dim": 16, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": {}}
    monkeypatch.setitem(factory._MODEL_CONFIGS, "Tiny", known)


@pytest.mark.usefixtures("tower")
def test_unimed_clip_is_one_file(bert: Path, tmp_path: Path) -> None:
    asked = settings(
        kind="unimed_clip", model="Tiny", words=str(bert), pretrained=str(tmp_path / "unimed.pt")
    )
    with pytest.raises(MedlabelError, match=r"pretrained: .*unimed\.pt given, which is no file"):
        unimed.adopt(asked, tmp_path / "ours")
    original = network(unimed.model_config(asked))
    theirs = {
        "module." + re.sub("^text[.]", "text_encoder.", name): one
        for name, one in original.state_dict().items()
    }
    counter = "module.text_encoder.transformer.embeddings.position_ids"
    torch.save(
        {"epoch": 9, "state_dict": {**theirs, counter: torch.arange(256)[None]}},
        tmp_path / "unimed.pt",
    )
    unimed.adopt(asked, tmp_path / "ours")
    same(tmp_path / "ours", original)
    # The text tower by transformers alone: BERT's first token, two linear maps.
    loaded = encoder.load(tmp_path / "ours", CPU)
    tokens = loaded.tokenizer(SENTENCES)
    model = transformers.BertModel(
        transformers.BertConfig.from_pretrained(bert), add_pooling_layer=False
    )
    part = "module.text_encoder.transformer."
    model.load_state_dict(
        {n.removeprefix(part): v for n, v in theirs.items() if n.startswith(part)}
    )
    first = model.eval()(input_ids=tokens, attention_mask=(tokens != 0).long()).last_hidden_state[
        :, 0
    ]
    hidden = torch.nn.functional.gelu(first @ theirs["module.text_encoder.proj.0.weight"].T)
    expected = hidden @ theirs["module.text_encoder.proj.2.weight"].T
    assert torch.allclose(loaded.model.encode_text(tokens), expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("tower")
def test_other_weights_name_the_tensor(bert: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.visual.proj": torch.zeros(2)}}, tmp_path / "unimed.pt")
    asked = settings(
        kind="unimed_clip", model="Tiny", words=str(bert), pretrained=str(tmp_path / "unimed.pt")
    )
    with pytest.raises(MedlabelError, match=r"of another architecture: .* tensors do not fit"):
        unimed.adopt(asked, tmp_path / "ours")
    assert not (tmp_path / "ours" / encoder.CONFIG).exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"words": "org/bert"}, "words: 'org/bert' given, null allowed for open_clip"),
        ({"kind": "unimed_clip"}, "words: None given, a text tower allowed"),
        ({"kind": "unimed_clip", "words": "a/b"}, "a file of weights allowed for unimed_clip"),
        ({"kind": "openai"}, "null given, a file of weights allowed for openai"),
        ({"kind": "medclip"}, "words: None given, a text tower allowed for medclip"),
        ({"kind": "medclip", "words": "a/b"}, "a file of weights allowed for medclip"),
        ({"kind": "transformers", "pretrained": "x"}, "null allowed for transformers"),
    ],
)
def test_keys_of_other_layouts_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(model="any", **given)


def test_every_layout_has_a_module_that_adopts_it() -> None:
    kinds = get_args(params.Published.model_fields["kind"].annotation)
    assert set(kinds) == set(ADOPTING)
    needed = {"openai": {"pretrained": "weights.pt"}}
    needed |= {key: {"words": "org/bert", "pretrained": "weights.pt"} for key in WITH_WORDS}
    for kind in kinds:
        part = settings(kind=kind, model="any", **needed.get(kind, {}))
        module = importlib.import_module(f"medlabel.{part.module}")
        assert list(inspect.signature(module.adopt).parameters) == ["settings", "folder"]
