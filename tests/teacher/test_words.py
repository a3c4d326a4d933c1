"""Words against open_clip's own zero-shot classifier."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from medlabel.data import vectors
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, words

TEMPLATES = ["a photo of the {}", "{}, an organ"]
SENTENCES = {
    "chest": [template.format(word) for template in TEMPLATES for word in ("chest", "thorax")],
    "retina": [template.format("retina") for template in TEMPLATES],
}


def test_class_embeddings_are_open_clips_zero_shot_classifier(loaded: encoder.Encoder) -> None:
    import open_clip

    said = [[template.format(name) for template in TEMPLATES] for name in ("chest", "retina")]
    theirs = open_clip.build_zero_shot_classifier(
        loaded.model, loaded.tokenizer, ["chest", "retina"], TEMPLATES
    )
    np.testing.assert_allclose(words.class_embeddings(loaded, said), theirs.T.numpy(), atol=1e-6)


def test_ensemble_is_the_renormalised_mean_of_unit_vectors(loaded: encoder.Encoder) -> None:
    with torch.inference_mode():
        each = loaded.model.encode_text(loaded.tokenizer(SENTENCES["chest"])).double().numpy()
    mean = (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(axis=0)
    found = words.class_embeddings(loaded, list(SENTENCES.values()))
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_single_sentences_are_kept_where_classes_have_as_many(
    tiny_encoder: Path, loaded: encoder.Encoder, tmp_path: Path
) -> None:
    said = {name: [one.format(name) for one in TEMPLATES] for name in ("chest", "retina")}
    said |= {"eye": ["an eye"]}
    target = tmp_path / "words.parquet"
    words.write({"tiny@3": tiny_encoder}, said, target, "cpu", 1)
    each = vectors.read_sentences(target, "tiny@3", ["retina", "chest"])
    expected = words.class_embeddings(loaded, [[said["retina"][1]], [said["chest"][1]]])
    np.testing.assert_allclose(each[1], expected, atol=1e-6)
    mean = each.mean(axis=0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    found, _ = vectors.read_words(target, "tiny@3", ["retina", "chest"])
    np.testing.assert_allclose(found, mean, atol=1e-6)


def test_long_sentences_are_refused_with_their_token_count(loaded: encoder.Encoder) -> None:
    fits = " ".join(["chest"] * 14)  # and a token each for start and end
    words.class_embeddings(loaded, [[fits]])
    with pytest.raises(MedlabelError, match=r"chest' has 17 tokens, but .* reads 16"):
        words.class_embeddings(loaded, [["a"], [f"{fits} chest"]])


def test_the_table_has_a_column_for_each_set_of_weights(
    tiny_encoder: Path, make_encoder: Callable, loaded: encoder.Encoder, tmp_path: Path
) -> None:
    references = {"tiny@3": tiny_encoder, "tiny.1@3": make_encoder(tmp_path / "other", seed=1)}
    target = tmp_path / "words.parquet"
    words.write(references, SENTENCES, target, "cpu", 1)
    schema = pq.read_schema(target)
    assert schema.names[:3] == ["class", "tiny@3", "tiny.1@3"]
    assert schema.field("tiny@3").type == pa.list_(pa.float32(), 16)
    note = json.loads(schema.metadata[b"medlabel"])
    assert note["sentences"] == SENTENCES
    assert set(note["logit_scale"]) == set(references)
    found, scale = vectors.read_words(target, "tiny@3", ["retina", "chest"])
    expected = words.class_embeddings(loaded, list(SENTENCES.values()))
    np.testing.assert_array_equal(found, expected[::-1])
    assert scale == loaded.logit_scale
    first = target.read_bytes()
    words.write(references, SENTENCES, target, "cpu", 1)
    assert target.read_bytes() == first
