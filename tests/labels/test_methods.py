"""What every labelling keeps to, and where each is known to succeed or fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medlabel import params
from medlabel.errors import MedlabelError
from medlabel.labels import evidence, methods, zeroshot
from tests.conftest import ROOT
from tests.labels.world import CLASSES, folder, units

PARTS = params.read([ROOT / "params.yaml"]).labellings
METHODS = {one.method: one for one in reversed(PARTS.values())}
SMALL = {
    **METHODS,
    "clusters": METHODS["clusters"].model_copy(update={"starts": 1}),
    "turtle": METHODS["turtle"].model_copy(update={"steps": 30}),
}
SCALE = 20.0
each = pytest.mark.parametrize("method", METHODS)


def fitted(method: str, images: np.ndarray, words: np.ndarray, **changes: object):
    part = SMALL[method].model_copy(update=changes)
    return methods.fit(part, images, words, SCALE, CLASSES[: len(words)])


def right(method: str, counts: list[int], seeds: int = 5, **how: float) -> list[float]:
    """Return the share of right labels, a seed each."""
    found = []
    for seed in range(seeds):
        images, words, truth = folder(counts, seed, **how)
        labels = fitted(method, images, words).predict(images).argmax(axis=1)
        found.append(float((labels == truth).mean()))
    return found


def test_every_method_has_a_part() -> None:
    assert set(METHODS) == set(methods.METHODS)


@each
def test_probabilities_of_old_and_new_images(method: str) -> None:
    images, words, _ = folder([30, 20, 10])
    labeller = fitted(method, images[:40], words)
    for some in (images[:40], images[40:], images[:1]):
        found = labeller.predict(some)
        assert found.shape == (len(some), 3)
        assert found.dtype == np.float32
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


@each
@given(seed=st.integers(0, 99))
@settings(max_examples=3)
def test_the_order_of_images_and_copies_of_them_change_nothing(method: str, seed: int) -> None:
    images, words, _ = folder([30, 20, 10], seed)
    found = fitted(method, images, words).predict(images)
    order = np.random.default_rng(seed).permutation(len(images))
    np.testing.assert_allclose(
        fitted(method, images[order], words).predict(images), found, atol=1e-4
    )
    twice = np.concatenate([images, images[order]])
    np.testing.assert_allclose(fitted(method, twice, words).predict(images), found, atol=1e-4)


@pytest.mark.parametrize(
    "method", sorted(METHODS.keys() - {"turtle"})
)  # begins at random for each class
@given(order=st.permutations(range(3)))
@settings(max_examples=3)
def test_the_order_of_classes_changes_nothing(method: str, order: list[int]) -> None:
    images, words, _ = folder([30, 20, 10], 1)
    found = fitted(method, images, words).predict(images)
    permuted = fitted(method, images, words[order]).predict(images)
    np.testing.assert_allclose(permuted, found[:, order], atol=1e-3)


@pytest.mark.parametrize("method", ["zeroshot", "clusters", "balanced"])
@given(factor=st.floats(0.1, 10), seed=st.integers(0, 99))
@settings(max_examples=4)
def test_the_scale_of_logits_changes_no_label(method: str, factor: float, seed: int) -> None:
    images, words, _ = folder([30, 20, 10], seed)
    found = [
        methods.fit(SMALL[method], images, words, scale, CLASSES).predict(images)
        for scale in (SCALE, factor * SCALE)
    ]
    sure = np.sort(found[0], axis=1)[:, -2:] @ [-1, 1] > 0.01
    np.testing.assert_array_equal(*(one[sure].argmax(axis=1) for one in found))


@each
@pytest.mark.parametrize("counts", [[1, 0, 0], [1, 1, 0]])
def test_of_fewer_images_than_classes_words_alone_decide(
    method: str, counts: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    images, words, _ = folder(counts)
    found = fitted(method, images, words).predict(images)
    np.testing.assert_array_equal(found, zeroshot.probabilities(images, words, SCALE))
    told = f"{sum(counts)} different images for 3 classes: too few" in caplog.text
    assert told == (method != "zeroshot")


@each
def test_identical_images_get_one_label(method: str) -> None:
    images, words, _ = folder([1, 0, 0])
    found = fitted(method, np.repeat(images, 9, axis=0), words).predict(np.repeat(images, 9, 0))
    assert np.isfinite(found).all()
    assert (found == found[0]).all()


@each
def test_fitted_twice_it_is_the_same_to_the_last_bit(method: str) -> None:
    images, words, _ = folder([30, 20, 10])
    first, second = (fitted(method, images, words).predict(images) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("counts", [[80, 60, 40], [120, 60, 0], [0, 100, 0], [170, 5, 80]])
def test_clusters_never_fall_below_their_words(counts: list[int]) -> None:
    how = {"spread": 0.5, "error": 0.9}
    ours, words = (np.array(right(one, counts, **how)) for one in ("clusters", "zeroshot"))
    assert (ours >= words - 0.01).all()
    assert ours.mean() > words.mean() + 0.02


@pytest.mark.parametrize("method", ["balanced", "turtle"])
def test_where_every_class_gets_its_part_a_class_without_images_is_ruinous(method: str) -> None:
    """Why clusters are many."""
    ours, rival = (np.mean(right(one, [120, 60, 0])) for one in ("clusters", method))
    assert rival < ours - 0.1


def test_balanced_gives_the_totals_that_were_asked_for() -> None:
    images, words, _ = folder([60, 30, 10], error=1.2)
    for totals in ({"chest": 60.0, "breast": 30.0, "vessel": 10.0}, None):
        labels = fitted("balanced", images, words, totals=totals).predict(images).argmax(axis=1)
        wanted = [60, 30, 10] if totals else [33, 33, 33]
        np.testing.assert_allclose(np.bincount(labels, minlength=3), wanted, atol=2)


@pytest.mark.parametrize(
    ("totals", "message"),
    [
        ({"chest": 0.5, "breast": 0.4, "vessel": 0.2}, "totals: 1.1 given in all; .* sum to 60"),
        ({"chest": 30.0, "breast": 20.0, "vessel": 20.0}, "totals: 70 given in all"),
        ({"chest": 1.0}, "totals: chest given, one for each of chest, breast, vessel expected"),
    ],
)
def test_totals_that_cannot_be_are_refused(totals: dict[str, float], message: str) -> None:
    images, words, _ = folder([30, 20, 10])
    with pytest.raises(MedlabelError, match=message):
        fitted("balanced", images, words, totals=totals)


def test_bad_embeddings_and_words_are_told_in_one_line() -> None:
    images, words, _ = folder([30, 20, 10])
    broken = images.copy()
    broken[3, 2] = np.nan
    for given_images, given_words, message in (
        (broken, words, r"embeddings: .*found 1 of other length \(the first: not finite\)"),
        (2 * images, words, r"embeddings: .*found 60 of other length \(the first: 2\)"),
        (images[:0], words, "embeddings: expected at least one, found none"),
        (images, words[:, :9] * 2, "words: expected vectors of length 1"),
        (images, units(words[:, :9]), "words: expected vectors of length 24"),
        (images, words[:2], "words: expected one vector for each of chest, breast, vessel"),
        (images, words[[0, 0, 1]], "chest and breast have the same words"),
    ):
        with pytest.raises(MedlabelError, match=message) as caught:
            methods.fit(METHODS["clusters"], given_images, given_words, SCALE, CLASSES)
        assert "\n" not in str(caught.value)


def test_weak_words_name_what_other_eyes_see_together() -> None:
    """Embeddings of one encoder are noise but for a small mean; those of the other are clear."""
    rng = np.random.default_rng(7)
    truth = np.arange(400) % 2
    signs = np.where(truth, 1.0, -1.0)[:, None]
    weak, clear = rng.standard_normal((2, 400, 16))
    weak[:, :1] += 0.8 * signs
    clear[:, 1:2] += 8 * signs
    images, others = (
        (one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32)
        for one in (weak, clear)
    )
    words = np.zeros((2, 16), np.float32)
    words[:, 0] = -1, 1
    joint = evidence.compared_in(images, words, 10.0, others)
    np.testing.assert_allclose(np.linalg.norm(joint[0], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(joint[2] * joint[0] @ joint[1].T, 10 * images @ words.T, atol=1e-4)
    settings = METHODS["clusters"]
    alone = methods.fit(settings, images, words, 10.0, ["a", "b"]).predict(images)
    together = methods.fit(settings, *joint, ["a", "b"]).predict(joint[0])
    assert (alone.argmax(1) == truth).mean() < 0.9
    assert (together.argmax(1) == truth).mean() > 0.97


def test_several_encoders_are_joined_by_the_mean_of_their_logits() -> None:
    parts = [(*folder([9, 9, 9], seed)[:2], scale) for seed, scale in ((0, 10.0), (1, 40.0))]
    images, words, scale = evidence.joined(parts)
    mean = sum(evidence.logits(*part) for part in parts) / 2
    np.testing.assert_allclose(evidence.logits(images, words, scale), mean, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, rtol=1e-5)
