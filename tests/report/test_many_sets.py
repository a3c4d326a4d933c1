"""Tables and figures of one model for many sets say what the answers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medlabel.data.many_sets import Numbering
from medlabel.evaluate import published
from medlabel.evaluate.many_sets import ALL, SCORES, Answers
from medlabel.layout import MANY_SETS_FILES, PUBLISHED
from medlabel.params import Params
from medlabel.report import many_sets
from medlabel.report.many_sets import Ran
from medlabel.report.text import PHANTOM_MARK

ROOT = Path(__file__).parents[2]
SETS = ["breastmnist", "chestmnist", "octmnist"]
NUMBERING = Numbering(tuple(SETS))
NOTHING = published.read(ROOT / PUBLISHED)[:0]


def answered(noise: float) -> Ran:
    """Answers of a model that is right but for noise, to seven images a class and split."""
    random = np.random.default_rng(0)
    truth = np.tile(np.repeat(np.arange(len(NUMBERING.classes)), 7), 3)
    images = pd.DataFrame(
        {
            "dataset": np.array(SETS)[NUMBERING.set_of_class[truth]],
            "split": np.repeat(["train", "val", "test"], len(truth) // 3),
            "row": np.arange(len(truth)),
        }
    )
    labels = random.integers(0, 2, (len(truth), len(NUMBERING.labels))).astype(np.float32)
    own = np.clip(labels + noise * random.normal(size=labels.shape), 0, 1)
    labels[NUMBERING.set_of_class[truth] != 1] = np.nan
    shared = np.eye(len(NUMBERING.classes))[truth]
    shared = np.abs(shared + noise * random.random(shared.shape))
    shared /= shared.sum(axis=1, keepdims=True)
    answers = Answers(images, truth, labels, shared.astype(np.float32), own.astype(np.float32))
    return Ran(answers, {"parameters": 1234, "best_epoch": 7})


@pytest.fixture
def settings(default_params: Params) -> Params:
    """An entry of stand-ins of three sets, and the same one of official images."""
    drawn = default_params.many_sets["phantom_twelve"]
    models = {"head": drawn.models["head"], "small_cnn": drawn.models["small_cnn"]}
    drawn = drawn.model_copy(update={"sets": SETS, "models": models})
    real = drawn.model_copy(update={"images": "official"})
    few = default_params.statistics.model_copy(update={"resamples": 50})
    return default_params.model_copy(
        update={"many_sets": {"phantom_three": drawn, "three": real}, "statistics": few}
    )


@pytest.fixture
def models() -> dict[str, Ran]:
    return {"head": answered(0.2), "small_cnn": answered(3.0)}


def test_the_table_has_every_score_and_published_ones_apart(
    settings: Params, models: dict[str, Ran], tmp_path: Path
) -> None:
    table = published.read(ROOT / PUBLISHED)
    beside = table[table["dataset"] == "eleven_2d_sets"]
    many_sets.write(settings, "phantom_three", models, beside, tmp_path)
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert list(scores.columns[: len(SCORES)]) == SCORES
    assert len(scores) == 2 * 3 * (1 + len(SETS))
    test = scores[scores["split"] == "test"].set_index(["model", "set"])
    assert test.loc[("head", ALL), "accuracy"] == 1
    assert test.loc[("small_cnn", ALL), "accuracy"] < 0.9
    assert test[["accuracy_low", "auc_high"]].notna().all(axis=None)
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert f"**{PHANTOM_MARK}.**" in text
    assert "| test | resnet | 10 | 74.205 | 0.99433 | Munier 2024" in text
    assert "| PHANTOM chestmnist | 14 labels | 7 |" in text
    assert "of head, the best model on validation images" in text


def test_every_image_of_a_test_split_is_counted_once(
    settings: Params, models: dict[str, Ran], tmp_path: Path
) -> None:
    many_sets.write(settings, "three", models, NOTHING, tmp_path)
    counted = pd.read_csv(tmp_path / "confusion.csv")
    sums = counted.groupby(["model", "set"])["images"].sum()
    assert sums.tolist() == [14, 7, 28] * 2
    right = counted.query("model == 'head' and set == answered")
    assert right["images"].sum() == 49
    assert "Published" not in (tmp_path / "tables.md").read_text(encoding="utf-8")


def test_drawn_images_are_marked_and_measured_ones_are_not(
    settings: Params, models: dict[str, Ran], tmp_path: Path
) -> None:
    for name in settings.many_sets:
        many_sets.write(settings, name, models, NOTHING, tmp_path / name)
        assert {path.name for path in (tmp_path / name).iterdir()} == set(MANY_SETS_FILES)
        for figure in (tmp_path / name).glob("*.svg"):
            assert ("PHANTOM" in figure.read_text()) == name.startswith("phantom_")


def test_committed_results_are_those_of_the_parameters(default_params: Params) -> None:
    for name, many in default_params.many_sets.items():
        folder = ROOT / "results" / "many_sets" / name
        scores = pd.read_csv(folder / "scores.csv")
        assert list(dict.fromkeys(scores["model"])) == list(many.models), name
        assert list(dict.fromkeys(scores["set"])) == [ALL, *many.sets], name
        text = (folder / "tables.md").read_text(encoding="utf-8")
        over_all = scores[(scores["set"] == ALL) & (scores["split"] == "test")]
        for accuracy in over_all["accuracy"]:
            assert f"| {100 * accuracy:.2f} (" in text, f"run snakemake many_sets_all: {name}"
