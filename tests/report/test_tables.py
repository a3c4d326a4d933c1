"""Tables and page: the numbers of the study, marked, and complete in themselves."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medlabel import files
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.params import Params, Teacher
from medlabel.report import page, tables, text
from medlabel.report.results import read_study

from .conftest import Run, checkpoint, mixture_of

CAPSTONE = Teacher(
    source="open_clip", name="openai", model="ViT-L-14-quickgelu", pretrained="openai"
)


def cells(markdown: str, first: str) -> list[str]:
    """Return the cells of the first row that begins with `first`."""
    row = next(line for line in markdown.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.fixture(scope="module")
def markdown(
    real: Run, published: Path, default_params: Params, tmp_path_factory: pytest.TempPathFactory
) -> str:
    target = tmp_path_factory.mktemp("tables") / "tables.md"
    tables.write(real.study, published, real.mixture, default_params.teacher, target)
    return target.read_text(encoding="utf-8")


def test_scores_equal_the_studys(markdown: str, real: Run) -> None:
    study = files.read_json(real.study, "study")
    for arm, name in (("teacher", "teacher"), ("true", "student, true labels")):
        found = cells(markdown, name)
        for column, metric in enumerate(("accuracy", "f1", "auc"), start=1):
            numbers = [float(number) for number in re.findall(r"[\d.]+", found[column])]
            one = study["arms"][arm][metric]
            wanted = [100 * one[key] for key in ("mean", "low", "high")]
            assert numbers == pytest.approx(wanted, abs=0.00501)
        assert float(found[-1]) == 100 * study["trivial_accuracy"]


def test_gains_equal_the_studys(markdown: str, real: Run) -> None:
    gain = files.read_json(real.study, "study")["gains"]["f1"]
    found = cells(markdown, "F1")
    assert float(found[1]) == pytest.approx(100 * gain["mean"], abs=0.00501)
    assert float(found[4].split(" to ")[0]) == pytest.approx(100 * gain["image_low"], abs=0.00501)
    assert found[5] == f"{gain['wins']} / {gain['ties']} / {gain['losses']}"
    assert [float(p) for p in found[6:]] == pytest.approx(
        [gain["wilcoxon_p"], gain["permutation_p"], gain["holm_p"]], rel=0.05
    )


def test_each_checkpoint_has_its_row(markdown: str, real: Run) -> None:
    for point in files.read_json(real.study, "study")["curve"]:
        found = cells(markdown, str(point["step"]))
        assert float(found[2]) == pytest.approx(100 * point["pseudolabel_accuracy"], abs=0.00501)
        assert found[5].startswith(text.points(point["gain"], 2))


def test_checkpoints_tell_their_seeds_and_the_resamples_that_cross(
    markdown: str,
    altered: Callable[..., Path],
    published: Path,
    default_params: Params,
    real: Run,
    tmp_path: Path,
) -> None:
    assert "over seeds (n = 30 seeds)" in markdown
    assert "97.20 to 98.40; 93.1 % of resamples of n = 30 seeds cross" in markdown
    curve = [
        checkpoint(step, 0.9) | {"seeds": count}
        for step, count in ((5, 10), (6, 30), (7, 20), (8, 10), (None, 20))
    ]
    study = altered(curve=curve)
    tables.write(study, published, real.mixture, default_params.teacher, tmp_path / "tables.md")
    found = (tmp_path / "tables.md").read_text("utf-8")
    assert "(n = 30 seeds at step 6, 20 at step 7, 20 at phantom_clip, 10 elsewhere)" in found
    assert [cells(found, name)[1] for name in ("5", "6", "7")] == ["10", "30", "20"]


def test_published_values_stand_beside_ours_with_a_caveat(markdown: str) -> None:
    assert cells(markdown, "two_layer_cnn")[2] == "95.72"
    assert "| 80.49 | 50.00 | Capstone, report | 1092 images |" in markdown
    assert "| 82.05 |" in markdown
    assert "mean gain 6 points accuracy, 8 points F1" in markdown
    assert "resnet18" not in markdown
    assert "Not a like-for-like comparison: the images and teacher differ." in markdown
    assert "PHANTOM" not in markdown


def test_no_caveat_when_nothing_differs(real: Run, published: Path, tmp_path: Path) -> None:
    mixture = mixture_of({"chest": "chestmnist", "breast": "breastmnist"})
    tables.write(real.study, published, mixture, CAPSTONE, tmp_path / "same.md")
    assert "The same datasets and the same teacher" in (tmp_path / "same.md").read_text("utf-8")
    tables.write(real.study, published, real.mixture, CAPSTONE, tmp_path / "images.md")
    assert "the images differ" in (tmp_path / "images.md").read_text("utf-8")


def test_phantom_tables_say_so_in_their_heading(
    drawn: Run, published: Path, default_params: Params, tmp_path: Path
) -> None:
    tables.write(
        drawn.study, published, drawn.mixture, default_params.teacher, tmp_path / "tables.md"
    )
    first = (tmp_path / "tables.md").read_text("utf-8").splitlines()[0]
    assert first.startswith(f"# {text.PHANTOM_MARK}: ")


def test_published_table_without_the_task_is_an_error(
    real: Run, default_params: Params, tmp_path: Path
) -> None:
    (tmp_path / "published.csv").write_text("dataset,model,recipe,acc,source,note\n")
    with pytest.raises(MedlabelError, match="rows of the dataset breast_chest, found none"):
        tables.write(
            real.study,
            tmp_path / "published.csv",
            real.mixture,
            default_params.teacher,
            tmp_path / "t.md",
        )
    (tmp_path / "published.csv").write_text("dataset,model\n")
    with pytest.raises(MedlabelError, match="recipe, acc, source, note is missing"):
        tables.write(
            real.study,
            tmp_path / "published.csv",
            real.mixture,
            default_params.teacher,
            tmp_path / "t.md",
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": "many"}, "seeds: Input should be a valid integer"),
        ({"gains": {}}, "gains: accuracy, f1, auc missing"),
        ({"arms": None}, "arms: Input should be a valid dict"),
    ],
)
def test_altered_results_are_refused_by_key(
    altered: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(MedlabelError, match=message) as caught:
        read_study(altered(**changes))
    assert "study.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fraction", "wanted"), [(0.0791, "+7.9"), (-0.0791, "−7.9"), (0.0002, "0.0"), (-0.0002, "0.0")]
)
def test_points_carry_their_sign_unless_they_round_to_nothing(fraction: float, wanted: str) -> None:
    assert text.points(fraction) == wanted


def test_p_values_are_never_zero() -> None:
    assert text.p_value(0.0) == "p < 0.0001"
    assert text.p_value(0.032) == "p = 0.032"


def test_shorten_keeps_both_ends() -> None:
    assert text.shorten("blood", 5) == "blood"
    short = text.shorten("colorectal_adenocarcinoma_epithelium", 12)
    assert short == "colore…elium"
    assert len(short) == 12


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("raw")
    for flag in ("breastmnist", "dermamnist"):
        source = catalogue.source(flag, 28)
        content = {
            "flag": flag,
            "size": 28,
            "url": source.url,
            "md5": source.md5,
            "sha256": flag.encode().hex(),
            "bytes": 1234567,
            "licence": source.licence,
            "non_commercial": source.non_commercial,
            "task": source.task,
            "labels": list(source.labels),
        }
        files.write_json(folder / f"{flag}.json", content)
    return [folder / "breastmnist.json", folder / "dermamnist.json"]


WritePage = Callable[..., str]


@pytest.fixture
def write_page(
    real: Run, published: Path, default_params: Params, facts: list[Path], tmp_path: Path
) -> WritePage:
    """Write the page, with some of its inputs replaced, and return its text."""
    figures = {name: tmp_path / f"{name}.svg" for name in page.CAPTIONS}
    for name, path in figures.items():
        path.write_text(f"<svg>{name}</svg>")
    files.write_json(
        tmp_path / "provenance.json", {"weights_sha256": "c0ffee", "settings": {"steps": [1, 2]}}
    )
    given = {
        "study": real.study,
        "published": published,
        "figures": figures,
        "sidecars": facts,
        "provenance": tmp_path / "provenance.json",
        "params": default_params,
    }

    def write(**changes: Any) -> str:
        page.write(**(given | changes), target=tmp_path / "page.html")
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return write


def test_page_holds_everything_and_asks_for_nothing(
    write_page: WritePage, facts: list[Path], default_params: Params
) -> None:
    found = write_page()
    for name in page.CAPTIONS:
        content = base64.b64encode(f"<svg>{name}</svg>".encode()).decode()
        assert f'src="data:image/svg+xml;base64,{content}"' in found
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", found)
    assert "<script" not in found
    assert "url(" not in found
    for wanted in (
        "Not for clinical use.",
        "<strong>Not for commercial use:</strong> dermamnist",
        catalogue.source("breastmnist", 28).md5,
        files.read_json(facts[1], "fetch")["sha256"],
        "c0ffee",
        "settings.steps",
        f"epochs: {default_params.student.epochs}",
        "matplotlib",
    ):
        assert wanted in found
    assert "PHANTOM" not in found


def test_page_repeats_its_bytes_wherever_it_runs(
    write_page: WritePage, default_params: Params
) -> None:
    elsewhere = default_params.model_copy(
        update={
            "folders": default_params.folders.model_copy(update={"data": "/somewhere/else"}),
            "data": default_params.data.model_copy(update={"mirrors": ["/a/mirror"]}),
            "embed": default_params.embed.model_copy(update={"batch_size": 7}),
        }
    )
    assert write_page() == write_page(params=elsewhere)


def test_page_escapes_what_it_is_given(write_page: WritePage, altered: Callable[..., Path]) -> None:
    found = write_page(study=altered(encoder="<script>alert(1)</script>"))
    assert "<script" not in found
    assert "&lt;script&gt;alert(1)" in found


def test_page_of_phantoms_is_marked(
    write_page: WritePage, drawn: Run, default_params: Params
) -> None:
    ours = default_params.model_copy(update={"mixture": drawn.mixture})
    found = write_page(study=drawn.study, sidecars=[], params=ours)
    assert found.count(text.PHANTOM_MARK) == 3
    assert "Drawn by medlabel, not measured on anyone: phantom_colon" in found


def test_page_names_what_is_missing(write_page: WritePage, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match=r"figures: expected .*, but boxplots is missing"):
        write_page(figures={})
    with pytest.raises(MedlabelError, match=r"gone\.svg: no such file"):
        write_page(figures=dict.fromkeys(page.CAPTIONS, tmp_path / "gone.svg"))
    files.write_json(tmp_path / "facts.json", {"flag": "breastmnist"})
    with pytest.raises(MedlabelError, match=r"facts\.json: .*sha256.* is missing"):
        write_page(sidecars=[tmp_path / "facts.json"])
