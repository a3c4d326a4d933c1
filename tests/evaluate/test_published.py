"""The table of published values, and which of them count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medlabel import params
from medlabel.errors import MedlabelError
from medlabel.evaluate import published
from medlabel.evaluate.results import Estimate
from medlabel.networks import names
from medlabel.params import TRUE, Params, Trained

from .world import changed

PUBLISHED = Path(__file__).parents[2] / "resources" / "published_results.csv"


def test_every_value_has_a_source_and_is_a_fraction() -> None:
    table = published.read(PUBLISHED)
    for name in ("auc", "acc", "f1"):
        values = table[name].dropna().astype(float)
        assert values.between(0, 1).all()
    key = ["dataset", "model", "recipe", "image_size", "batch_size", "epochs", "source", "split"]
    repeated = table[table.duplicated(key)]
    # Single runs behind an official mean, and two versions of one README, are listed one by one.
    assert set(repeated["recipe"]) <= {"official_single_run", "paper"}
    assert not table.duplicated([*key, "auc", "acc"]).any()


def test_doubtful_values_are_marked() -> None:
    table = published.read(PUBLISHED)
    assert 0 < table["doubtful"].sum() < len(table) / 10
    copied = table[(table["dataset"] == "vesselmnist3d") & (table["recipe"] == "reproduction")]
    assert copied["doubtful"].any()


def official(params: Params, images: str, network: str, recipe: str) -> list[str]:
    settings = params.training(Trained(images, TRUE, network, recipe))
    table = published.read(PUBLISHED)
    model = names.published_as(network)
    same = table[(table["dataset"] == settings.dataset) & (table["model"] == model)]
    return [row["recipe"] for row in same.to_dict("records") if published.alike(row, settings)]


def test_only_the_same_recipe_and_size_are_alike(default_params: Params) -> None:
    assert official(default_params, "vesselmnist3d", "resnet18_acs", "official_3d") == ["official"]
    assert official(default_params, "vesselmnist3d", "resnet18_acs", "quick_3d") == []
    assert official(default_params, "pneumoniamnist_224", "resnet18", "official") == []
    assert official(default_params, "pneumoniamnist", "resnet18", "official") == ["official"]


@pytest.mark.parametrize(
    ("images", "network", "recipe", "expected"),
    [
        ("pneumoniamnist", "medclip_vit", "medclip", ["fine_tuned"]),
        ("pneumoniamnist_224", "medclip_vit", "medclip_plus", ["fine_tuned"]),
        ("pathmnist", "medclip_vit", "medclip_long", ["fine_tuned"]),
        ("pathmnist", "medclip_vit", "medclip_batch_128", ["batch_size_128"]),
        ("vesselmnist3d", "vit3d_pooled", "vit3d", ["baseline"]),
        ("vesselmnist3d", "vit3d_pooled", "vit3d_oversampled", ["oversampled"]),
        ("vesselmnist3d", "vit3d_pooled", "vit3d_weighted", []),
        ("vesselmnist3d", "vit3d_pooled", "vit3d_all", []),
        # Published from weights that are not at hand: shown, but not as made alike.
        ("pneumoniamnist", "medvit_small", "medvit", []),
        ("pathmnist", "medvit_small", "medvit_paper", []),
    ],
)
def test_published_rows_stand_beside_their_own_values(
    images: str, network: str, recipe: str, expected: list[str]
) -> None:
    root = PUBLISHED.parents[1]
    given = params.read([root / "params.yaml", root / "config" / "published.yaml"])
    assert official(given, images, network, recipe) == expected
    dataset = given.training(Trained(images, TRUE, network, recipe)).dataset
    table = published.read(PUBLISHED)
    model = names.published_as(network)
    assert len(table[(table["dataset"] == dataset) & (table["model"] == model)]) > 1


def test_a_network_finds_what_is_published_under_another_name() -> None:
    root = PUBLISHED.parents[1]
    given = params.read([root / "params.yaml", root / "config" / "published.yaml"])
    settings = given.training(Trained("vesselmnist3d", TRUE, "vit3d_pooled", "vit3d"))
    one = Estimate(
        mean=0.7, sd=None, low=0.6, high=0.8, image_low=0.6, image_high=0.8, values=[[0.7]]
    )
    found = published.beside(
        "vit3d_pooled",
        settings,
        {"auc": one, "accuracy": one, "f1": one},
        published.read(PUBLISHED),
    )
    assert (found[0].recipe, found[0].like) == ("baseline", True)
    assert found[0].scores["auc"].within
    assert not found[0].scores["accuracy"].within
    assert {row.model for row in found} == {"vit3d"}
    assert names.published_as("timm:resnet10t") == "resnet10t"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"enlarge_to": 224}, ["official"]),  # the published 28->224
        ({"enlarge_to": 64}, []),
        ({"epochs": 5}, []),
        ({"batch_size": 32}, []),
        ({"protocol": None}, []),
    ],
)
def test_an_overlay_that_shortens_a_recipe_is_no_longer_alike(
    default_params: Params, change: dict[str, Any], expected: list[str]
) -> None:
    shortened = changed(default_params, recipes={"official": change})
    assert official(shortened, "pneumoniamnist", "resnet18", "official") == expected


def test_broken_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    with pytest.raises(MedlabelError, match="no such file"):
        published.read(path)
    path.write_text("dataset,model\n")
    with pytest.raises(MedlabelError, match=r"recipe, image_size, .* is missing"):
        published.read(path)
    header = ",".join(published.COLUMNS)
    path.write_text(f"{header}\nbreastmnist,resnet18,official,28,100,128,0.9,0.8,,,test,false\n")
    with pytest.raises(MedlabelError, match="line 2 has no source"):
        published.read(path)
    path.write_text(f"{header}\nbreastmnist,resnet18,official,28,many,128,0.9,0.8,x,,test,false\n")
    with pytest.raises(MedlabelError, match="expected a CSV table of published values"):
        published.read(path)
