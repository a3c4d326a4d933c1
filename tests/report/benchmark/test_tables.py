"""Tables and page: the benchmark's numbers, marked, and complete in themselves."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.params import Params, Start
from medlabel.report import text
from medlabel.report.benchmark import comparison, page, report, tables

from .conftest import DEVICE, LONG, REAL, Bench, write_bench


def numbers(cell: str) -> list[float]:
    return [
        float(one.replace(text.MINUS, "-")) for one in re.findall(rf"[+{text.MINUS}]?[\d.]+", cell)
    ]


def line(markdown: str, *first: str) -> list[str]:
    """Return the cells of the first row that begins with `first`."""
    start = f"| {' | '.join(first)} |"
    row = next(one for one in markdown.splitlines() if one.startswith(start))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def after(markdown: str, heading: str) -> str:
    return markdown[markdown.index(heading) :]


@pytest.fixture(scope="module")
def markdown(real: Bench, tmp_path_factory: pytest.TempPathFactory) -> str:
    target = tmp_path_factory.mktemp("tables") / "tables.md"
    tables.write(real.comparison, real.runs, target)
    return target.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shortened(flat: Bench, tmp_path_factory: pytest.TempPathFactory) -> str:
    target = tmp_path_factory.mktemp("tables") / "tables.md"
    tables.write(flat.comparison, flat.runs, target)
    return target.read_text(encoding="utf-8")


def test_scores_equal_the_results(markdown: str, real: Bench) -> None:
    for row in files.read_json(real.comparison, "compare")["rows"]:
        found = line(
            after(markdown, f"### Scores on {row['dataset']}"), row["model"], row["recipe"]
        )
        assert found[2] == str(row["seeds"])
        for cell, (metric, (_, decimals, unit)) in zip(
            found[3:], tables.COLUMNS.items(), strict=True
        ):
            one = row["metrics"][metric]
            keys = ("mean", "low", "high") if one["sd"] is None else ("mean", "sd", "low", "high")
            wanted = [unit * one[key] for key in keys]
            assert numbers(cell.replace("–", " ")) == pytest.approx(
                wanted, abs=0.51 * 10**-decimals
            )


def test_each_dataset_tells_n_an_images_worth_and_the_trivial_accuracy(
    markdown: str, real: Bench
) -> None:
    trivial = comparison.read(real.comparison).rows[0].trivial_accuracy
    head = after(markdown, "## vesselmnist3d").splitlines()[2]
    assert "n = 382 test images; one image = 0.26 points" in head
    assert f"the accuracy {100 * trivial:.1f} %" in head


def test_published_values_stand_beside_with_difference_and_verdict(
    markdown: str, real: Bench
) -> None:
    row = files.read_json(real.comparison, "compare")["rows"][0]
    part = after(markdown, "### Beside the published values on vesselmnist3d")
    for entry in row["published"]:
        found = line(part, "resnet18_acs", "official_3d", "28, 100, 32", entry["recipe"])
        assert found[6] == f"{entry['auc']:.3f}"
        assert numbers(found[7]) == pytest.approx([entry["auc_difference"]], abs=5.1e-4)
        assert found[8] == ("yes" if entry["auc_within"] else "no")
        assert numbers(found[11]) == pytest.approx([100 * entry["accuracy_difference"]], abs=0.051)
        assert found[12] == ("yes" if entry["accuracy_within"] else "no")
    unknown = line(part, "vit3d", "augmented", "28, 8, 128", "zero_shot")
    assert unknown[4] == "28→224, –, –"
    assert unknown[6:9] == ["–"] * 3
    assert "Beside the published values on breastmnist" not in markdown


@pytest.mark.parametrize(("model", "named"), [(None, "resnet18_acs"), ("vit3d", "vit3d")])
def test_first_weights_of_another_row_name_it_and_not_its_path(
    real: Bench, model: str | None, named: str
) -> None:
    found = comparison.read(real.comparison)
    row = found.rows[0].model_copy(update={"start": "data/w.safetensors: 3 tensors, 0 anew"})
    run = comparison.read_runs(found, real.runs)[row.name][0]
    start = Start(source="row", dataset="vesselmnist3d", model=model, recipe="first")
    settings = run.record.settings.model_copy(update={"start": start})
    told = tables._first_weights(
        row, replace(run, record=run.record.model_copy(update={"settings": settings}))
    )
    assert told == f"{named}/first on vesselmnist3d: 3 tensors, 0 anew"


def test_training_tells_what_differs_from_the_protocol(markdown: str) -> None:
    part = after(markdown, "### Training on vesselmnist3d")
    assert line(part, "resnet18_acs", "official_3d")[2] == "nothing"
    found = line(part, "resnet18_acs_vit3d", LONG)
    assert found[2] == "epochs 8 (100); batch size 128 (32)"
    assert found[4:] == ["11,000,000", "28", "8", "128", "fp32", DEVICE, "1.2"]


def test_the_title_follows_the_recipes_and_not_the_presets_name(
    markdown: str, shortened: str, default_params: Params, tmp_path: Path
) -> None:
    assert shortened.startswith(
        f"# Benchmark, laptop preset on {DEVICE}: shortened recipes; not the published protocol\n"
    )
    assert "trained for 8 epochs (published: 100)" in shortened
    assert "1 of 5 rows by the published protocol, the others not" in markdown.splitlines()[0]
    bench = write_bench(tmp_path, REAL[:1], [], default_params)
    tables.write(bench.comparison, bench.runs, tmp_path / "tables.md")
    title = (tmp_path / "tables.md").read_text(encoding="utf-8").splitlines()[0]
    assert title == f"# Benchmark, laptop preset on {DEVICE}: the published protocol"


def test_full_length_with_another_setting_is_not_the_protocol(
    default_params: Params, tmp_path: Path
) -> None:
    recipes = {
        name: recipe.model_copy(update={"label_smoothing": 0.1})
        for name, recipe in default_params.benchmark.recipes.items()
    }
    benchmark = default_params.benchmark.model_copy(update={"recipes": recipes})
    params = default_params.model_copy(update={"benchmark": benchmark})
    bench = write_bench(tmp_path, REAL[:1], [], params)
    tables.write(bench.comparison, bench.runs, tmp_path / "tables.md")
    found = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert found.splitlines()[0].endswith(": not the published protocol")
    assert "| label smoothing 0.1 (0) |" in found


@pytest.mark.parametrize(
    ("difference", "p", "verdict"),
    [
        (0.1, 0.2, "not distinguishable"),
        (0.1, 0.05, "not distinguishable"),
        (0.1, 0.049, "first higher"),
        (-0.1, 0.0001, "second higher"),
    ],
)
def test_verdicts_ask_for_holms_p(difference: float, p: float, verdict: str) -> None:
    one = comparison.Difference(
        dataset="breastmnist",
        first="a/b",
        second="c/d",
        metric="auc",
        difference=difference,
        low=difference - 0.01,
        high=difference + 0.01,
        p=0.00001,
        p_holm=p,
    )
    assert tables.judge(one, 0.05) == verdict


def test_pairs_equal_the_results(markdown: str, real: Bench) -> None:
    part = after(markdown, "## Paired comparisons")
    assert "Holm's p below 0.05" in part
    for pair in files.read_json(real.comparison, "compare")["comparisons"]:
        auc = pair["metric"] == "auc"
        found = line(part, pair["first"], pair["second"], "AUC" if auc else "Accuracy")
        unit, error = (1, 5.1e-4) if auc else (100, 0.051)
        assert numbers(found[3]) == pytest.approx([unit * pair["difference"]], abs=error)
        wanted = [unit * pair["low"], unit * pair["high"]]
        assert numbers(found[4].replace(" to ", " ")) == pytest.approx(wanted, abs=error)
        clear = pair["p_holm"] < 0.05
        assert found[5] == ("< 0.0001" if clear else "0.21")
        assert (found[7] == "not distinguishable") is not clear


def test_classes_have_recall_and_confusion(markdown: str, real: Bench) -> None:
    rows = files.read_json(real.comparison, "compare")["rows"]
    part = after(markdown, "### bloodmnist: resnet18, official")
    found = line(part, "basophil")
    assert found[1] == f"{100 * rows[-1]['recall'][0]:.1f}"
    assert [int(cell) for cell in found[2:]] == rows[-1]["confusion"][0]


def test_several_labels_an_image_have_no_confusion(mixed: Bench, tmp_path: Path) -> None:
    tables.write(mixed.comparison, mixed.runs, tmp_path / "tables.md")
    found = (tmp_path / "tables.md").read_text(encoding="utf-8")
    part = after(found, "### chestmnist: resnet18, official")
    assert "which have no confusion matrix" in part
    assert line(part, "atelectasis") == ["atelectasis", "90.0"]
    assert "Trivial: always answering that an image carries no label" in found


def test_phantoms_are_marked_where_they_are(mixed: Bench, drawn: Bench, tmp_path: Path) -> None:
    tables.write(mixed.comparison, mixed.runs, tmp_path / "mixed.md")
    found = (tmp_path / "mixed.md").read_text(encoding="utf-8")
    assert found.count(text.PHANTOM_MARK) == 1
    assert "## PHANTOM: phantom_vessel3d" in found
    assert "phantom images; epochs 8 (100)" in found
    tables.write(drawn.comparison, drawn.runs, tmp_path / "drawn.md")
    found = (tmp_path / "drawn.md").read_text(encoding="utf-8")
    assert found.startswith(f"# {text.PHANTOM_MARK}: Benchmark")
    assert "No two rows share a dataset." in found
    assert "No value is published for these datasets and models." in found


def test_sources_have_each_published_value_once(
    markdown: str, default_params: Params, tmp_path: Path
) -> None:
    part = after(markdown, "## Sources of the published values")
    found = line(part, "vesselmnist3d", "resnet18_acs", "official")
    assert found[4:] == ["0.930", "92.8", "Yang et al. 2023", r"as quoted \| by Abdalla 2024"]
    rows = [REAL[0], replace(REAL[0], recipe=LONG)]
    bench = write_bench(tmp_path, rows, [], default_params)
    tables.write(bench.comparison, bench.runs, tmp_path / "tables.md")
    twice = after((tmp_path / "tables.md").read_text(encoding="utf-8"), "## Sources")
    assert twice.count("| vesselmnist3d | resnet18_acs | official |") == 1


WritePage = Callable[..., str]


@pytest.fixture
def write_page(real: Bench, tmp_path: Path) -> WritePage:
    def write(bench: Bench = real, figures: Mapping[str, Path] | None = None) -> str:
        drawn = {name: tmp_path / f"{name}.svg" for name in page.CAPTIONS}
        for name, path in drawn.items():
            path.write_text(f"<svg>{name}</svg>", encoding="utf-8")
        target = tmp_path / "page.html"
        given = drawn if figures is None else figures
        page.write(bench.comparison, bench.runs, given, bench.settings, target)
        return target.read_text(encoding="utf-8")

    return write


def test_page_holds_everything_and_asks_for_nothing(write_page: WritePage) -> None:
    found = write_page()
    for name in page.CAPTIONS:
        content = base64.b64encode(f"<svg>{name}</svg>".encode()).decode()
        assert f'src="data:image/svg+xml;base64,{content}"' in found
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", found)
    assert "<script" not in found
    assert "url(" not in found
    for wanted in (
        "Not for clinical use.",
        "Pairs on vesselmnist3d",
        "Yang et al. 2023",
        "label_smoothing: 0.0",
        "2.13.0",
        DEVICE,
    ):
        assert wanted in found
    assert "PHANTOM" not in found
    assert "Not for commercial use" not in found
    assert found == write_page()


def test_page_escapes_what_it_is_given(
    write_page: WritePage, altered: Callable[..., Bench]
) -> None:
    found = write_page(altered(devices=["<script>alert(1)</script>"]))
    assert "<script" not in found
    assert "&lt;script&gt;alert(1)" in found


def test_page_names_the_phantoms(write_page: WritePage, mixed: Bench) -> None:
    found = write_page(mixed)
    assert f"{text.PHANTOM_MARK}: phantom_vessel3d" in found
    assert f"{text.PHANTOM_MARK}: breastmnist" not in found


def test_page_names_what_is_missing(write_page: WritePage, tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match=r"figures: expected .*, but scores is missing"):
        write_page(figures={})
    with pytest.raises(MedlabelError, match=r"gone\.svg: .*`medlabel benchmark_report`"):
        write_page(figures=dict.fromkeys(page.CAPTIONS, tmp_path / "gone.svg"))


def test_the_report_writes_every_file(flat: Bench, tmp_path: Path) -> None:
    figures, markdown, html = tmp_path / "figures", tmp_path / "t.md", tmp_path / "p.html"
    report.write(
        comparison=flat.comparison,
        runs=flat.runs,
        archives=flat.archives,
        settings=flat.settings,
        seed=1,
        figures=figures,
        tables=markdown,
        page=html,
    )
    expected = {
        f"benchmark_laptop_{name}{suffix}"
        for name in ("scores", "roc", "curves", "slices")
        for suffix in (".svg", ".png")
    }
    assert {path.name for path in figures.iterdir()} == expected
    assert markdown.read_text(encoding="utf-8").startswith("# Benchmark, laptop")
    content = base64.b64encode((figures / "benchmark_laptop_roc.svg").read_bytes()).decode()
    assert content in html.read_text(encoding="utf-8")
    # No path of the machine that made them.
    for written in (markdown, html, *figures.glob("*.svg")):
        assert str(tmp_path) not in written.read_text(encoding="utf-8")
        assert str(flat.comparison.parent) not in written.read_text(encoding="utf-8")
