from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.teacher import embed, encoder, zeroshot

TEMPLATES = ["a photo of the {}", "{}, an organ"]
WORDS = [["chest", "thorax"], ["retina"]]


def settings(**changes: object) -> params.Pseudolabel:
    given = {
        "templates": TEMPLATES,
        "prompts": [
            params.Prompt(label=name, descriptions=words)
            for name, words in zip(("chest", "retina"), WORDS, strict=True)
        ],
        "logit_scale": None,
        "select": "all",
        "k": 2,
        "targets": "hard",
        **changes,
    }
    return params.Pseudolabel(**given)


@pytest.fixture
def label(
    tiny_encoder: Path, raw: tuple, pool: Path, tmp_path: Path
) -> Callable[..., pd.DataFrame]:
    source, target = tmp_path / "embeddings.parquet", tmp_path / "pseudolabels.parquet"
    embed.embed(
        [tiny_encoder],
        raw[0],
        pool,
        [source],
        params.Embed(batch_size=4, precision="fp32"),
        tmp_path / "cache",
        "cpu",
        1,
    )

    def call(**changes: object) -> pd.DataFrame:
        zeroshot.write(
            [tiny_encoder],
            [source],
            pool,
            [target],
            settings(**changes),
            ["chest", "retina"],
            "cpu",
            1,
        )
        return pd.read_parquet(target)

    return call


def test_class_embeddings_are_open_clips_zero_shot_classifier(loaded: encoder.Encoder) -> None:
    import open_clip

    ours = zeroshot.class_embeddings(loaded, TEMPLATES, [["chest"], ["retina"]])
    theirs = open_clip.build_zero_shot_classifier(
        loaded.model, loaded.tokenizer, ["chest", "retina"], TEMPLATES
    )
    np.testing.assert_allclose(ours, theirs.T.numpy(), atol=1e-6)


def test_ensemble_is_the_renormalised_mean_of_unit_vectors(loaded: encoder.Encoder) -> None:
    sentences = [template.replace("{}", word) for template in TEMPLATES for word in WORDS[0]]
    with torch.inference_mode():
        each = loaded.model.encode_text(loaded.tokenizer(sentences)).double().numpy()
    mean = (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(axis=0)
    found = zeroshot.class_embeddings(loaded, TEMPLATES, WORDS)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_long_prompts_are_refused_with_their_token_count(loaded: encoder.Encoder) -> None:
    fits = " ".join(["chest"] * 14)  # and a token each for start and end
    zeroshot.class_embeddings(loaded, ["{}"], [[fits]])
    with pytest.raises(MedlabelError, match=r"chest' has 17 tokens, but .* reads 16"):
        zeroshot.class_embeddings(loaded, ["{}"], [["a"], [f"{fits} chest"]])


def test_probabilities_of_two_classes_are_logistic_in_the_difference() -> None:
    images = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    found = zeroshot.probabilities(images, np.eye(2, dtype=np.float32), 100.0)
    difference = 100.0 * (images[:, 0].astype(float) - images[:, 1])
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.exp(-difference)), rtol=1e-6, atol=1e-30)
    assert found.dtype == np.float32


def test_pseudolabels_follow_the_contract(label: Callable, pool: Path) -> None:
    table, source = label(), pd.read_parquet(pool)
    assert list(table.columns) == [*source.columns, "pseudolabel", "p_chest", "p_retina"]
    pd.testing.assert_frame_equal(table[source.columns], source)
    assert table.dtypes[["pseudolabel", "p_chest"]].tolist() == [np.int8, np.float32]
    chances = table[["p_chest", "p_retina"]].to_numpy()
    np.testing.assert_array_equal(table["pseudolabel"], chances.argmax(axis=1))
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-6)
    assert chances[0].tolist() == chances[5].tolist()  # the same image twice


def test_logit_scale_sharpens_and_keeps_the_labels(label: Callable) -> None:
    mild, sharp = label(), label(logit_scale=500.0)
    assert mild["pseudolabel"].tolist() == sharp["pseudolabel"].tolist()
    confidence = [table[["p_chest", "p_retina"]].max(axis=1) for table in (mild, sharp)]
    assert (confidence[1] > confidence[0]).all()


def test_images_that_were_never_embedded_are_counted(label: Callable, pool: Path) -> None:
    table = pd.read_parquet(pool)
    files.write_parquet(pool, pd.concat([table, table.iloc[:2].assign(row=np.int32(1))]))
    with pytest.raises(MedlabelError, match=r"found none for 2 of them; run `medlabel embed`"):
        label()


def test_templates_may_hold_other_braces(loaded: encoder.Encoder) -> None:
    found = zeroshot.class_embeddings(loaded, ["{x} {}"], [["chest"]])
    same = zeroshot.class_embeddings(loaded, ["{}"], [["{x} chest"]])
    np.testing.assert_array_equal(found, same)


def test_images_embedded_twice_are_refused(label: Callable, tmp_path: Path) -> None:
    label()
    source = tmp_path / "embeddings.parquet"
    table = pd.read_parquet(source)
    files.write_parquet(source, pd.concat([table, table.iloc[:1]]))
    with pytest.raises(MedlabelError, match="expected one embedding an image"):
        label()
