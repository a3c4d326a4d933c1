"""The labeller in Python follows scikit-learn's conventions and the command's labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

import medlabel
from medlabel.annotation import embedding, labelling
from medlabel.errors import MedlabelError
from medlabel.randomness import stream

CLASSES = {"chest": ["the chest"], "retina": ["the retina"]}
PIXELS = stream(0, "estimator").integers(0, 256, (7, 14, 14), dtype=np.uint8)


@pytest.fixture
def labeller(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> medlabel.Labeller:
    monkeypatch.setattr(embedding, "ENGINES", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return medlabel.Labeller(CLASSES, str(tiny_encoder), batch_size=3, precision="fp32")


@pytest.mark.parametrize(
    "check",
    [
        check_parameters_default_constructible,
        check_no_attributes_set_in_init,
        check_get_params_invariance,
        check_set_params,
    ],
)
def test_the_checks_of_parameters_pass(check) -> None:
    check("Labeller", medlabel.Labeller())


def test_it_judges_arrays(labeller: medlabel.Labeller) -> None:
    assert labeller.fit(PIXELS) is labeller
    chances = labeller.predict_proba(PIXELS)
    assert chances.shape == (7, 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    labels = labeller.predict(PIXELS)
    np.testing.assert_array_equal(labels, labeller.classes_[chances.argmax(axis=1)])
    assert 0 < labeller.estimated_accuracy_ < 1
    assert labeller.verdict_ in ("trusted", "check", "refused")
    assert labeller.reason_
    order = labeller.review_order_
    assert sorted(order) == list(range(7))
    assert (np.diff(chances.max(axis=1)[order]) >= -1e-6).all()
    assert labeller.score(PIXELS, labels) == 1.0


def test_files_and_arrays_get_the_same_labels(labeller: medlabel.Labeller, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in (*range(7), 0)]
    for path, pixels in zip(paths, PIXELS, strict=False):
        Image.fromarray(pixels).save(path)
    labeller.fit(paths)
    found = labeller.predict_proba([*map(str, paths)])
    np.testing.assert_array_equal(found[:7], labeller.predict_proba(PIXELS))
    np.testing.assert_array_equal(found[7], found[0])


def test_it_fits_into_a_pipeline_and_can_be_cloned(labeller: medlabel.Labeller) -> None:
    pipeline = make_pipeline(FunctionTransformer(lambda images: images[:, ::-1]), clone(labeller))
    expected = labeller.fit(PIXELS).predict(PIXELS[:, ::-1])
    np.testing.assert_array_equal(pipeline.fit(PIXELS).predict(PIXELS), expected)


def test_what_is_no_image_is_refused(labeller: medlabel.Labeller, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        labeller.predict(PIXELS)
    with pytest.raises(MedlabelError, match=r"uint8 of \(n, H, W\)"):
        labeller.fit(PIXELS.astype(float))
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(MedlabelError, match=r"a\.txt: no image"):
        labeller.fit([tmp_path / "a.txt"])
    with pytest.raises(MedlabelError, match="at least two"):
        medlabel.Labeller(["chest"]).fit(PIXELS)


def test_it_doubts_what_the_command_doubts(
    labeller: medlabel.Labeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that say nothing, and images of two scanners, are told from Python, too."""
    given = []

    def judge(*args: object) -> labelling.Opinion:
        given.append(args)
        return judged(*args)

    judged = labelling.judge
    monkeypatch.setattr(labelling, "judge", judge)
    labeller.set_params(classes={"a": ["the chest"], "b": ["the retina"]}).fit(PIXELS)
    *_, mute, properties, _ = given[0]
    assert mute == ("a", "b")
    assert {one.what for one in properties} >= {"contrast", "sharpness"}
    assert {len(one.values) for one in properties} == {len(PIXELS)}


def test_another_labelling_may_label(labeller: medlabel.Labeller) -> None:
    labeller.set_params(labelling="zeroshot").fit(PIXELS)
    one = labeller.predict_proba(PIXELS[:1])
    np.testing.assert_allclose(labeller.predict_proba(PIXELS)[:1], one, atol=1e-6)
    with pytest.raises(MedlabelError, match="labelling: 'best' given, one of zeroshot, "):
        labeller.set_params(labelling="best").fit(PIXELS)
