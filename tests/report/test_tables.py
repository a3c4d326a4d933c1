"""Tables and page: the numbers of a study, marked, and complete in themselves."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medlabel import files
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.evaluate import study
from medlabel.evaluate.results import Comparison
from medlabel.layout import Layout
from medlabel.params import Params, Trained
from medlabel.report import page, protocol, report, tables, text
from tests.evaluate.world import DEVICE, World, changed

from .conftest import PUBLISHED, Reported

Report = Callable[[str], Reported]


def numbers(cell: str) -> list[float]:
    found = re.findall(rf"[+{text.MINUS}]?\d[\d.]*", cell)
    return [float(one.replace(text.MINUS, "-")) for one in found]


def line(markdown: str, *first: str) -> list[str]:
    """Return the cells of the first row that begins with `first`."""
    start = f"| {' | '.join(first)} |"
    row = next(one for one in markdown.splitlines() if one.startswith(start))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def after(markdown: str, heading: str) -> str:
    return markdown[markdown.index(f"## {heading}") :]


def test_scores_equal_the_studys(reported: Report) -> None:
    one = reported("main")
    markdown, cell = one.text("tables.md"), one.found.cells[0]
    for arm, name in text.ARMS.items():
        found = line(markdown, "breast_pneumonia", name)
        for column, (metric, (_, _, factor, decimals)) in enumerate(text.METRICS.items(), start=3):
            estimate = cell.arms[arm][metric]
            wanted = [factor * value for value in (estimate.mean, estimate.low, estimate.high)]
            assert numbers(found[column]) == pytest.approx(wanted, abs=0.501 * 10**-decimals)
        assert float(found[-1]) == 50


def test_gains_equal_the_studys(reported: Report) -> None:
    one = reported("main")
    gain = one.found.cells[0].gains["f1"]
    found = line(after(one.text("tables.md"), "Gain"), "breast_pneumonia", "F1")
    assert numbers(found[3]) == pytest.approx([gain.mean], abs=5.1e-4)
    assert numbers(found[6]) == pytest.approx([gain.image_low, gain.image_high], abs=5.1e-4)
    assert found[7] == f"{gain.wins} / {gain.ties} / {gain.losses}"
    p_values = [gain.wilcoxon_p, gain.permutation_p, gain.holm_p]
    assert [float(p) for p in found[8:]] == pytest.approx(p_values, rel=0.05)


def test_grids_have_a_line_a_cell_and_the_crossing(reported: Report) -> None:
    one = reported("quality")
    markdown = one.text("tables.md")
    for cell in one.found.cells:
        found = line(after(markdown, "Gain"), cell.label, "Accuracy (%)")
        assert cell.pseudolabel_accuracy is not None
        assert numbers(found[2]) == pytest.approx([100 * cell.pseudolabel_accuracy], abs=0.0051)
        assert found[3] == text.points(cell.gains["accuracy"].mean, 2)
        assert "3 pretrainings × 2 seeds" in line(markdown, cell.label, "teacher")
    assert "The student stops helping where its teacher reaches" in markdown


def test_comparisons_name_their_reference_and_the_family(reported: Report) -> None:
    one = reported("students")
    part = after(one.text("tables.md"), "Each cell against the first")
    assert "(capstone, capstone)" in part
    assert "not over all pairs" in part
    for entry in one.found.comparisons:
        heading = text.heading(entry.metric)
        found = line(part, entry.cell, entry.reference, heading)
        assert numbers(found[6]) == pytest.approx([entry.holm_p], rel=0.05)
        assert found[3] == text.change(entry.metric, entry.difference)


@pytest.mark.parametrize(
    ("difference", "p", "verdict"),
    [
        (0.1, 0.2, "not distinguishable"),
        (0.1, 0.05, "not distinguishable"),
        (0.1, 0.049, "higher"),
        (-0.1, 0.0001, "lower"),
    ],
)
def test_verdicts_ask_for_holms_p(difference: float, p: float, verdict: str) -> None:
    one = Comparison(
        images="breastmnist",
        cell="b",
        reference="a",
        metric="auc",
        difference=difference,
        low=difference - 0.01,
        high=difference + 0.01,
        p=0.00001,
        holm_p=p,
    )
    assert tables.judge(one, 0.05) == verdict


def test_the_capstones_values_stand_beside_ours_for_orientation(reported: Report) -> None:
    markdown = reported("main").text("tables.md")
    part = after(markdown, "Beside published teachers and students")
    assert "For orientation only" in part
    assert "pneumoniamnist, breastmnist, with a teacher taught here by phantoms" in part
    assert line(part, "two_layer_cnn", "student, 28 px")[2] == "95.72"
    assert line(part, "two_layer_cnn", "student gain accuracy, 28 px")[2] == "gain +6"
    assert line(part, "openai_vit_l_14", "zero shot test, 28→224 px")[2] == "82.05"
    assert "Beside published teachers" not in reported("drawn").text("tables.md")
    assert "PHANTOM" not in markdown


def test_published_values_made_alike_stand_apart(reported: Report) -> None:
    one = reported("files")
    markdown = one.text("tables.md")
    alike = after(markdown, "Beside published values made alike").split("\n## ")[0]
    label = one.found.cells[0].label
    found = line(alike, label, "AUC")
    value = next(entry for entry in one.found.cells[0].published if entry.like).scores["auc"]
    assert found[3] == "0.930"
    assert numbers(found[4]) == pytest.approx([value.difference], abs=5.1e-4)
    assert found[5] == ("yes" if value.within else "no")
    assert "reproduction" not in alike
    part = after(markdown, "Published values of the same images and network, made otherwise")
    copied = line(part, "vesselmnist3d", "resnet18_acs", "reproduction")
    assert copied[8] == "yes"
    entries = [one for cell in one.found.cells for one in cell.published]
    doubtful = {(one.model, one.source, one.note) for one in entries if one.doubtful}
    assert f"({len(doubtful)} of " in part
    assert "Within" not in part.split("\n## ")[0]


def test_what_is_not_recorded_is_not_called_unpublished(reported: Report) -> None:
    markdown = reported("drawn").text("tables.md")
    assert "Of published values made alike, none is recorded here." in markdown
    assert "published values made alike\n" not in markdown


def test_training_tells_what_differs_from_the_protocol(reported: Report, params: Params) -> None:
    part = after(reported("files").text("tables.md"), "Training")
    found = line(part, "vesselmnist3d", "resnet18_acs", "official_3d")
    assert found[3] == "nothing"
    assert found[4:] == ["random", "103,132", "28", "100", "32", "fp32", DEVICE]
    quick = line(part, "vesselmnist3d", "vit3d", "quick_3d")[3]
    epochs = params.recipes["quick_3d"].epochs
    for said in (f"epochs {epochs} (100)", "schedule cosine (steps)", "augmentations flip (none)"):
        assert said in quick
    assert "phantom images" in line(part, "phantom_vessel3d", "vit3d", "official_3d")[3]
    assert line(after(reported("main").text("tables.md"), "Training"), "breast_pneumonia")[3] == "–"


@pytest.mark.parametrize(
    ("images", "change", "told"),
    [
        ("breastmnist", {}, []),
        ("breastmnist", {"label_smoothing": 0.1}, ["label smoothing 0.1 (0)"]),
        ("breastmnist", {"enlarge_to": 224}, []),
        ("breastmnist", {"enlarge_to": 64}, ["enlarged to 64 (28 or 224)"]),
        ("breastmnist_224", {}, ["image size 224 (28)"]),
        ("breastmnist", {"stem": "halved"}, ["stem halved (dense)"]),
        ("breastmnist", {"start": {"source": "timm"}}, ["first weights from timm (random)"]),
        ("vesselmnist3d", {}, ["batch size 128 (32)"]),
    ],
)
def test_every_difference_from_the_protocol_is_told(
    params: Params, images: str, change: dict[str, object], told: list[str]
) -> None:
    ours = changed(params, recipes={"official": change}, studies={}, default_studies=["main"])
    settings = ours.training(Trained(images, "true", "resnet18", "official"))
    assert protocol.differences(settings) == told


def test_classes_have_recall_and_confusion(reported: Report) -> None:
    one = reported("main")
    cell = one.found.cells[0]
    found = line(after(one.text("tables.md"), "Classes"), "student", "breast")
    assert numbers(found[2]) == pytest.approx([100 * cell.recall["student"][1]], abs=0.051)
    assert [int(count) for count in found[3:]] == cell.confusion["student"][1]
    several = after(reported("files").text("tables.md"), "Classes: chestmnist")
    assert "have no confusion" in several
    assert len(line(several, "trained on true labels", "atelectasis")) == 3


def test_phantoms_are_marked_where_they_are(reported: Report) -> None:
    first = reported("drawn").text("tables.md").splitlines()[0]
    assert first.startswith(f"# {text.PHANTOM_MARK}: ")
    pairs = reported("pairs").text("tables.md")
    assert text.PHANTOM_MARK not in pairs
    assert "3 of the cells hold PHANTOM images" in pairs


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


def test_the_page_holds_everything_and_asks_for_nothing(reported: Report) -> None:
    one = reported("main")
    found = one.text("report.html")
    for name in one.figures:
        content = base64.b64encode(one.path(f"figures/{name}.svg").read_bytes()).decode()
        assert f'src="data:image/svg+xml;base64,{content}"' in found
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", found)
    assert "<script" not in found
    assert "url(" not in found
    for wanted in (
        "Not for clinical use.",
        catalogue.source("breastmnist", 28).md5,
        b"breastmnist".hex(),
        "c0ffee",
        "settings.steps",
        "Teacher locked",
        "epochs: 20",
        "2.13.0",
        DEVICE,
        "Gain of the student on its teacher",
    ):
        assert wanted in found
    assert "PHANTOM" not in found
    assert "Not for commercial use" not in found
    # Other studies' parts are no part of this one.
    assert "quick_3d" not in found
    assert "phantom_pairs" not in found


def test_the_page_marks_phantoms(reported: Report) -> None:
    drawn = reported("drawn").text("report.html")
    assert f"{text.PHANTOM_MARK}. Nothing on this page" in drawn
    assert "Drawn by medlabel, not measured on anyone: phantom_vessel3d" in drawn
    assert "Some of the images are PHANTOMS" in reported("pairs").text("report.html")


def test_results_depend_on_no_folder_and_repeat_their_bytes(
    reported: Report, params: Params, tmp_path: Path
) -> None:
    one = reported("main")
    ours = changed(params, data={"mirrors": ["/a/mirror"]}, encoders={"locked": {"batch_size": 7}})
    layout = Layout(one.world.layout.data, str(tmp_path))
    study.write(ours, "main", layout, PUBLISHED)
    (tmp_path / "main" / "figures").mkdir()
    (tmp_path / "main" / "figures" / "old.svg").write_text("left over")
    report.write(ours, "main", layout, PUBLISHED)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    theirs = Path(one.world.layout.results)
    assert written == {path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file()}
    for name in written:
        assert (tmp_path / name).read_bytes() == (theirs / name).read_bytes(), name


def test_the_page_escapes_what_it_is_given(reported: Report, tmp_path: Path) -> None:
    one = reported("main")
    found = one.found.model_copy(update={"title": "<script>alert(1)</script>"})
    page.write(found, one.sources, {}, [], tmp_path / "page.html")
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in written
    assert "&lt;script&gt;alert(1)" in written


def test_licences_that_forbid_commercial_use_are_named(params: Params, tmp_path: Path) -> None:
    skin = {"images": "dermamnist", "network": "resnet18", "recipe": "official"}
    ours = changed(params, studies={"drawn": skin})
    world = World(tmp_path, ours).add("drawn")
    study.write(ours, "drawn", world.layout, PUBLISHED)
    report.write(ours, "drawn", world.layout, PUBLISHED)
    written = Path(world.layout.study("drawn", "report.html")).read_text(encoding="utf-8")
    assert "<strong>Not for commercial use:</strong> dermamnist" in written
    facts = Path(world.layout.raw("dermamnist")).with_suffix(".json")
    files.write_json(facts, {"flag": "dermamnist"})
    with pytest.raises(MedlabelError, match=r"dermamnist\.json: .*sha256.* is missing"):
        report.write(ours, "drawn", world.layout, PUBLISHED)


def test_results_of_other_cells_are_refused(reported: Report, params: Params) -> None:
    one = reported("main")
    ours = changed(params, studies={"main": {"seeds": 5}})
    with pytest.raises(MedlabelError, match=r"study\.json: expected the 1 cells of studies\.main"):
        report.write(ours, "main", one.world.layout, PUBLISHED)


def test_the_summary_tells_the_main_numbers(reported: Report) -> None:
    one = reported("main")
    cell = one.found.cells[0]
    summary = one.text("tables.md").splitlines()[2]
    assert f"labels {100 * cell.arms['teacher']['accuracy'].mean:.1f} % of 40" in summary
    assert text.points(cell.gains["accuracy"].mean) in summary
    assert "Always answering the commonest class gives 50.0 %" in summary
    assert json.loads(one.path("study.json").read_text())["title"] in one.text("tables.md")


def test_words_that_a_teacher_does_not_know_are_told_of_the_classes_shown(
    reported: Report,
) -> None:
    one = reported("main")
    heading = "Words that a teacher does not know"
    found = after(one.text("tables.md"), heading)
    assert line(found, "locked", "breast") == ["locked", "breast", "bosom echo"]
    assert "elsewhere" not in found
    assert heading in one.text("report.html")
    assert "bosom echo" in one.text("report.html")
    assert heading not in reported("files").text("tables.md")


def test_weights_of_others_stand_with_licence_and_checksum(reported: Report) -> None:
    one = reported("main")
    found = after(one.text("tables.md"), "Weights of others")
    for part, name in (("tower", "image tower"), ("words", "word vectors")):
        wanted = [f"some {part}", f"{part} package", "0.1", "MIT", f"{part} cafe"]
        assert line(found, "locked", name) == ["locked", name, *wanted]
        assert f"{part} cafe" in one.text("report.html")
    assert "Weights of others" not in reported("files").text("tables.md")


def test_words_of_an_older_version_name_the_step_to_run(tmp_path: Path, params: Params) -> None:
    world = World(tmp_path, params)
    world.unknown_words = {}
    world.add("main")
    study.write(params, "main", world.layout, PUBLISHED)
    words = Path(world.layout.words("locked", "capstone"))
    old = pq.read_table(words).replace_schema_metadata({"medlabel": "{}"})
    pq.write_table(old, words)
    with pytest.raises(MedlabelError, match="run `medlabel words` again") as caught:
        report.write(params, "main", world.layout, PUBLISHED)
    assert "\n" not in str(caught.value)


def test_a_teacher_that_true_labels_taught_is_told(tmp_path: Path, params: Params) -> None:
    world = World(tmp_path, params)
    world.add("main")
    study.write(params, "main", world.layout, PUBLISHED)
    for path in Path(world.layout.encoder("locked")).parent.glob("locked*/provenance.json"):
        record = files.read_json(path, "")
        files.write_json(path, {**record, "trained_on": "phantoms and true labels of breastmnist"})
    report.write(params, "main", world.layout, PUBLISHED)
    found = after(
        Path(world.layout.study("main", "tables.md")).read_text(), "Teachers that learnt from true"
    )
    assert "| locked | phantoms and true labels of breastmnist |" in found
