"""What a person checked wins, and says exactly how right the teacher is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from medlabel.annotation import corrections, grouping, tables
from medlabel.annotation.corrections import Accuracy, Said
from medlabel.errors import MedlabelError
from medlabel.randomness import stream


def table(count: int = 6) -> pd.DataFrame:
    """Images with a page each; the last one is a copy of the first."""
    found = pd.DataFrame(
        {
            "file": [f"{number}.png" for number in range(count)],
            "page": pd.array([pd.NA, 2, *[pd.NA] * (count - 2)], dtype="Int32"),
            "label": ["chest", "breast"] * (count // 2),
            "status": tables.LABELLED,
            "digest": [f"{number:064x}" for number in range(count)],
            "review_rank": pd.array(range(1, count + 1), dtype="Int32"),
            "cluster": pd.array([1 + number // 4 for number in range(count)], dtype="Int32"),
        }
    )
    found["teacher"] = found["label"]
    found.loc[count - 1, ["digest", "status"]] = [found["digest"][0], tables.DUPLICATE]
    found.loc[count - 1, "label"] = found.loc[count - 1, "teacher"] = "chest"
    found["given"] = found["label"]
    found.loc[count - 1, "review_rank"] = pd.NA
    found.loc[count - 1, "cluster"] = 1
    return found


def saved(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_what_the_page_saves_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.csv", "file,page,label\n0.png,,breast\n1.png,2,breast\n2.png,,\n")
    assert corrections.read(path).images == {("0.png", ""): "breast", ("1.png", "2"): "breast"}


def test_a_review_counts_where_it_is_filled_in(tmp_path: Path) -> None:
    text = "\ufeffreview_rank,file,page,label,correction\n1,0.png,,chest,\n2,1.png,2,breast,y\n"
    path = saved(tmp_path / "a.csv", text)
    assert corrections.read(path).images == {("1.png", "2"): "y"}


def test_a_table_of_labels_counts_where_it_was_changed(tmp_path: Path) -> None:
    """F33: by hand, in a spreadsheet."""
    text = "file,page,label,teacher,status\n0.png,,hand,chest,labelled\n"
    text += "1.png,2,breast,breast,labelled\n2.png,,chest,chest,checked\n"
    path = saved(tmp_path / "a.csv", text)
    assert corrections.read(path).images == {("0.png", ""): "hand", ("2.png", ""): "chest"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,b\n", "expected the columns file and label"),
        ("file,label\na,b\na,c\n", "a stands twice, as b and as c"),
        ("", "expected a CSV of corrections"),
    ],
)
def test_tables_that_say_nothing_or_two_things_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(MedlabelError, match=message) as error:
        corrections.read(saved(tmp_path / "a.csv", text))
    assert "\n" not in str(error.value)


def test_corrected_labels_win_and_reach_copies() -> None:
    given = {("0.png", ""): "hand", ("1.png", "2"): corrections.CONFIRMED}
    found = corrections.apply(table(), Said(given), "a.csv")
    assert found["label"].tolist() == ["hand", "breast", "chest", "breast", "chest", "hand"]
    assert found["teacher"].tolist() == table()["teacher"].tolist()
    assert found["status"].tolist() == ["checked", "checked", *["labelled"] * 3, "duplicate"]
    accuracy = corrections.accuracy(found)
    assert (accuracy.right, accuracy.checked) == (1, 2)


def test_corrections_of_other_images_are_refused() -> None:
    with pytest.raises(MedlabelError, match=r"9\.png is not among the labelled images \(1 such"):
        corrections.apply(table(), Said({("9.png", ""): "hand"}), "a.csv")
    two = {("0.png", ""): "hand", ("5.png", ""): "foot"}
    with pytest.raises(MedlabelError, match="have different labels, foot and hand"):
        corrections.apply(table(), Said(two), "a.csv")


@pytest.mark.parametrize(("right", "checked"), [(0, 5), (5, 5), (47, 50), (1, 3)])
def test_the_interval_is_clopper_and_pearsons(right: int, checked: int) -> None:
    found = Accuracy.of(right, checked)
    low = beta.ppf(0.025, right, checked - right + 1) if right else 0.0
    high = beta.ppf(0.975, right + 1, checked - right) if right < checked else 1.0
    np.testing.assert_allclose([found.low, found.high], [low, high])
    assert (Accuracy.of(0, 0).low, Accuracy.of(0, 0).high) == (0.0, 1.0)


def test_an_audit_is_a_random_sample_whatever_the_teacher_thinks() -> None:
    """Its interval covers the accuracy of all images in at least 93 % of folders."""
    covered = 0
    folders, size, sample = 300, 40, 12
    for number in range(folders):
        rng = stream(number, "folder")
        right = rng.random(size) < 0.9
        order = np.array([stream(0, "audit", f"{number}-{row}").random() for row in range(size)])
        chosen = np.argsort(order)[:sample]
        found = Accuracy.of(int(right[chosen].sum()), sample)
        covered += found.low <= right.mean() <= found.high
    assert covered / folders >= 0.93


def test_an_audit_goes_on_where_it_ended() -> None:
    """The first images of a longer audit are those of a shorter one; copies are left out."""
    whole = table(40)
    order = corrections.audit_order(whole)
    assert sorted(order) == list(range(39))
    short = corrections.audit_table(whole, 5)
    assert short.index.tolist() == order[:5]
    assert (short["correction"] == "").all()
    shuffled = whole.sample(frac=1, random_state=0).reset_index(drop=True)
    again = corrections.audit_table(shuffled, 5)
    assert again["file"].tolist() == short["file"].tolist()


def test_only_what_chance_chose_speaks_for_all_images() -> None:
    whole = table(40)
    order = corrections.audit_order(whole)
    picked = [order[0], order[1], order[5]]
    keys = whole["page"].astype("string").fillna("")
    given = {(whole["file"][row], keys[row]): corrections.CONFIRMED for row in picked}
    found = corrections.apply(whole, Said(given), "a.csv")
    assert corrections.accuracy(found).checked == 3
    assert corrections.audited(found).checked == 2
    assert corrections.audited(whole).checked == 0


def test_what_is_said_of_a_cluster_is_said_of_its_images(tmp_path: Path) -> None:
    """The image that was checked alone keeps what was said of it; its cluster proves nothing."""
    whole = table(10)
    names = grouping.identities(whole)
    text = (
        f"cluster,id,images,label,correction\n1,{names[1]},4,chest,foot\n2,{names[2]},4,chest,y\n"
    )
    text += f"3,{names[3]},1,chest,\n"
    said = corrections.read(saved(tmp_path / "clusters.csv", text))
    assert said == Said(clusters={names[1]: "foot", names[2]: "chest"})
    said = Said({("0.png", ""): "hand"}).then(corrections.spread(said, whole, "a.csv"))
    found = corrections.apply(whole, said, "a.csv")
    assert found["label"].tolist() == [*["hand"] + ["foot"] * 3, *["chest"] * 5, "hand"]
    by_cluster = [tables.IN_CLUSTER] * 7
    assert found["status"].tolist() == ["checked", *by_cluster, "labelled", "duplicate"]
    assert corrections.accuracy(found).checked == 1
    assert corrections.audited(found).checked <= 1
    kept = corrections.saved(found)
    assert kept["by"].tolist() == ["", *[names[1]] * 3, *[names[2]] * 4]
    kept.to_csv(tmp_path / "corrections.csv", index=False)
    again = corrections.remembered(tmp_path / "corrections.csv", whole)
    later = corrections.spread(Said(clusters={names[1]: "knee"}), whole, "a.csv")
    renamed = corrections.apply(whole, again.then(later), "a.csv")
    assert renamed["label"].tolist()[:4] == ["hand", *["knee"] * 3]
    pd.testing.assert_frame_equal(corrections.apply(whole, again, "a.csv"), found)


def test_a_table_of_labels_tells_what_was_named_with_its_cluster(tmp_path: Path) -> None:
    """Its copies, too: else they would count as checked one by one."""
    whole = table(10)
    names = grouping.identities(whole)
    said = corrections.spread(Said(clusters={names[1]: "foot"}), whole, "a.csv")
    found = corrections.apply(whole, said, "a.csv")
    found.to_csv(tmp_path / "labels.csv", index=False)
    said = corrections.read(tmp_path / "labels.csv")
    assert said.images == {}
    pd.testing.assert_frame_equal(corrections.apply(whole, said, "a.csv"), found)


def test_a_page_without_all_images_names_the_cluster_itself(tmp_path: Path) -> None:
    whole = table(10)
    name = grouping.identities(whole)[2]
    text = f"file,page,label,by\n4.png,,foot,{name}\n1.png,2,hand,\n,,foot,{name}\n"
    said = corrections.read(saved(tmp_path / "a.csv", text))
    expected = Said({("1.png", "2"): "hand"}, {("4.png", ""): "foot"}, {name: "foot"})
    assert said == expected
    found = corrections.apply(whole, corrections.spread(said, whole, "a.csv"), "a.csv")
    assert (found["label"] == "foot").sum() == 4


def test_clusters_of_other_images_are_refused(tmp_path: Path) -> None:
    """Their numbers would name other images without a word."""
    name = grouping.identities(table(10))[1]
    text = f"cluster,id,images,label,correction\n1,{name},4,chest,foot\n"
    said = corrections.read(saved(tmp_path / "clusters.csv", text))
    with pytest.raises(MedlabelError, match=r"a\.csv: no cluster has the same images") as error:
        corrections.spread(said, table(10).drop(index=1), "a.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("3,abc,4,,y\n", "cluster 3 has no label to confirm"),
        ("3,abc,4,,hand\n3,abc,4,,foot\n", "abc stands twice, as hand and as foot"),
    ],
)
def test_tables_of_clusters_that_say_nothing_or_two_things_are_refused(
    tmp_path: Path, rows: str, message: str
) -> None:
    path = saved(tmp_path / "clusters.csv", "cluster,id,images,label,correction\n" + rows)
    with pytest.raises(MedlabelError, match=message):
        corrections.read(path)


def test_what_fits_no_class_can_be_said_and_taken_back(tmp_path: Path) -> None:
    stray = table()
    stray.loc[[0, 5], ["status", "label", "given"]] = [tables.STRAY, "", tables.STRAY]
    own = corrections.accuracy(corrections.apply(stray, Said({("0.png", ""): "y"}), "a.csv"))
    assert (own.right, own.checked) == (1, 1)
    aside = Said({("1.png", "2"): tables.STRAY, ("0.png", ""): "hand"})
    found = corrections.apply(stray, aside, "a.csv")
    assert found["label"].tolist()[:2] == ["hand", ""]
    assert found["status"].tolist() == ["checked", "checked", *["labelled"] * 3, "duplicate"]
    kept = corrections.saved(found)
    assert kept["label"].tolist() == ["hand", tables.STRAY]
    assert "left out: 1 fits no class" in tables.told(found, ["chest", "breast"])
    found.to_csv(tmp_path / "labels.csv", index=False)
    read = corrections.read(tmp_path / "labels.csv").images
    assert read == {**aside.images, ("5.png", ""): "hand"}
    back = corrections.apply(found, Said({("0.png", ""): tables.STRAY}), "a.csv")
    assert back.loc[[0, 5], "status"].tolist() == ["checked", tables.STRAY]


def test_checks_within_clusters_speak_for_all_images_once_each_cluster_has_one() -> None:
    whole = table(40)
    chosen = corrections.cluster_audit_table(whole, 3)
    assert (chosen["correction"] == "").all()
    assert chosen.groupby("cluster").size().tolist() == [3] * 10
    assert chosen["cluster"].is_monotonic_increasing
    pages = chosen["page"].astype("string").fillna("")
    keys = list(zip(chosen["file"], pages, strict=True))
    some = corrections.apply(whole, Said(dict.fromkeys(keys[3:], "y")), "a.csv")
    assert corrections.judged(some).by_clusters is None
    said = dict.fromkeys(keys, "y") | {keys[0]: "foot"}
    found = corrections.judged(corrections.apply(whole, Said(said), "a.csv")).by_clusters
    assert found is not None
    assert found.checked == 30
    assert found.share == pytest.approx(1 - 4 / 39 / 3)
    assert found.low < found.share < found.high


def test_an_audit_of_clusters_goes_on_where_it_ended() -> None:
    whole = table(40)
    short, long = (corrections.cluster_audit_table(whole, count) for count in (1, 2))
    assert set(short.index) < set(long.index)
