"""Archives: what is accepted, what is refused and in which words, and how pixels are gathered."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image

from medlabel import files
from medlabel.data import archive, npz
from medlabel.data.pixels import luma
from medlabel.errors import MedlabelError

COUNTS = {"train": 5, "val": 3, "test": 4}


def content(
    edges: tuple[int, ...] = (8, 8), highest: int = 1, columns: int = 1
) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    members: dict[str, np.ndarray] = {}
    for split, count in COUNTS.items():
        members[f"{split}_images"] = random.integers(0, 256, (count, *edges), dtype=np.uint8)
        members[f"{split}_labels"] = random.integers(
            0, highest + 1, (count, columns), dtype=np.uint8
        )
    return members


def written(folder: Path, members: dict[str, np.ndarray], name: str = "one.npz") -> Path:
    files.write_npz(folder / name, members)
    return folder / name


@pytest.mark.parametrize(
    ("dataset", "edges", "columns", "channels", "volumetric"),
    [
        ("breastmnist", (8, 8), 1, 1, False),
        ("bloodmnist", (8, 8, 3), 1, 3, False),
        ("vesselmnist3d", (8, 8, 8), 1, 1, True),
        ("chestmnist", (8, 8), 14, 1, False),
        ("phantom_chest", (8, 8), 1, 1, False),
        ("phantom_skin", (8, 8, 3), 1, 3, False),
        ("phantom_vessel3d", (3, 3, 3), 1, 1, True),
    ],
)
def test_layouts_are_read_as_they_are(tmp_path, dataset, edges, columns, channels, volumetric):
    members = content(edges, columns=columns)
    read = archive.read(written(tmp_path, members), dataset, size=edges[0])
    assert (read.channels, read.volumetric, read.size) == (channels, volumetric, edges[0])
    assert read.multi_label == (columns > 1)
    for split in archive.SPLITS:
        np.testing.assert_array_equal(read.images[split], members[f"{split}_images"])
        np.testing.assert_array_equal(read.labels[split], members[f"{split}_labels"])


def test_sha256_is_that_of_the_file(tmp_path):
    path = written(tmp_path, content())
    assert archive.read(path, "breastmnist").sha256 == files.digest(path)


def changed(key: str, array: np.ndarray | None) -> dict[str, np.ndarray]:
    members = content()
    if array is None:
        del members[key]
    else:
        members[key] = array
    return members


@pytest.mark.parametrize(
    ("key", "array", "expected", "found"),
    [
        ("val_labels", None, "arrays train_images, train_labels", "train_images"),
        ("val_images", np.zeros((3, 8, 8), np.float32), "uint8", "float32"),
        ("val_images", np.zeros((3, 8), np.uint8), "shape (n, size, size)", "(3, 8)"),
        ("val_images", np.zeros((3, 8, 9), np.uint8), "shape (n, size, size)", "(3, 8, 9)"),
        ("val_images", np.zeros((3, 8, 8, 3), np.uint8), "shape (n, size, size)", "(3, 8, 8, 3)"),
        ("val_images", np.zeros((3, 0, 0), np.uint8), "shape (n, size, size)", "(3, 0, 0)"),
        ("val_images", np.zeros((3, 9, 9), np.uint8), "as in train_images", "(9, 9)"),
        ("val_images", np.array(3, np.uint8), "shape (n, size, size)", "()"),
        ("test_labels", np.zeros((4, 1), np.float64), "integers", "float64"),
        ("test_labels", np.zeros((4,), np.uint8), "shape (n, number of labels)", "(4,)"),
        ("test_labels", np.zeros((4, 2), np.uint8), "shape (n, 1)", "(4, 2)"),
        ("test_labels", np.zeros((3, 1), np.uint8), "4 rows, as in test_images", "3"),
        ("test_labels", np.array([[0], [1], [2], [9]]), "labels from 0 to 1", "2 (2 out of range)"),
        ("test_labels", np.array([[0], [1], [-1], [0]]), "labels from 0 to 1", "-1 (1 out of"),
    ],
)
def test_each_violation_is_one_line_that_says_all(tmp_path, key, array, expected, found):
    path = written(tmp_path, changed(key, array))
    with pytest.raises(MedlabelError) as error:
        archive.read(path, "breastmnist")
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: {key}: expected ")
    assert expected in message
    assert f"found {found}" in message
    assert "run `medlabel fetch` again" in message


def test_multi_hot_labels_are_zero_or_one(tmp_path):
    members = content(columns=14)
    members["train_labels"][2, 3] = 2
    with pytest.raises(MedlabelError, match="train_labels: expected labels from 0 to 1, found 2"):
        archive.read(written(tmp_path, members), "chestmnist")


def test_size_is_checked_where_it_is_asked_for(tmp_path):
    path = written(tmp_path, content())
    assert archive.read(path, "breastmnist").size == 8
    with pytest.raises(MedlabelError, match="expected an edge of 28 pixels, found 8"):
        archive.read(path, "breastmnist", size=28)


def test_a_colour_image_is_no_volume(tmp_path):
    path = written(tmp_path, content((8, 8, 3)))
    with pytest.raises(MedlabelError, match=r"\(n, size, size, size\), found \(5, 8, 8, 3\)"):
        archive.read(path, "vesselmnist3d")


def test_phantoms_name_their_own_step(tmp_path):
    members = content()
    members["val_labels"] = -np.ones((3, 1), np.int64)
    with pytest.raises(MedlabelError, match=r"found -1 .*`medlabel phantoms`"):
        archive.read(written(tmp_path, members), "phantom_chest")


def test_a_missing_file_names_the_step_that_makes_it(tmp_path):
    with pytest.raises(MedlabelError, match=r"none\.npz: no such file.*`medlabel fetch`"):
        archive.read(tmp_path / "none.npz", "breastmnist")


def test_pickled_objects_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    path = tmp_path / "one.npz"
    np.savez(path, **changed("train_labels", np.array([[Bomb()]] * 5, dtype=object)))
    with pytest.raises(MedlabelError, match="found pickled Python objects"):
        archive.read(path, "breastmnist")
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(MedlabelError, match="expected a"):
        archive.read(path, "breastmnist")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.9, -1])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = written(tmp_path, content())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(MedlabelError, match=r"one\.npz: expected"):
        archive.read(path, "breastmnist")


def test_an_altered_file_never_gives_other_pixels(tmp_path):
    path = written(tmp_path, content())
    whole = path.read_bytes()
    before = archive.read(path, "breastmnist")
    assert len(dict(before.images)) == 3
    refused = 0
    for position in range(0, len(whole), 7):
        altered = bytearray(whole)
        altered[position] ^= 0x11
        path.write_bytes(altered)
        try:
            after = archive.read(path, "breastmnist")
            images = dict(after.images)
        except MedlabelError:
            refused += 1
            continue
        for split in archive.SPLITS:  # Such as a changed time stamp of a member.
            np.testing.assert_array_equal(images[split], before.images[split])
            np.testing.assert_array_equal(after.labels[split], before.labels[split])
    assert refused > len(whole) // 7 // 2


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, archive.Archive]:
    folder = tmp_path_factory.mktemp("sources")
    grey = written(folder, content((8, 8)), "grey.npz")
    colour = written(folder, content((8, 8, 3)), "colour.npz")
    return {
        "breastmnist": archive.read(grey, "breastmnist"),
        "bloodmnist": archive.read(colour, "bloodmnist"),
    }


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    image = st.sampled_from(["breastmnist", "bloodmnist"]).flatmap(
        lambda dataset: st.sampled_from(archive.SPLITS).flatmap(
            lambda split: st.tuples(
                st.just(dataset), st.just(split), st.integers(0, COUNTS[split] - 1)
            )
        )
    )
    images = draw(st.lists(image, max_size=12))
    return pd.DataFrame(images, columns=["dataset", "split", "row"]).astype({"row": "int32"})


@given(table=tables(), channels=st.sampled_from([1, 3]))
def test_pixels_are_those_of_pillow_in_the_order_of_the_table(sources, table, channels):
    gathered = archive.pixels(sources, table, channels, size=8)
    assert gathered.dtype == np.uint8
    assert gathered.shape == (len(table), 8, 8) + ((3,) if channels == 3 else ())
    mode = "L" if channels == 1 else "RGB"
    for (dataset, split, row), found in zip(table.itertuples(index=False), gathered, strict=True):
        original = Image.fromarray(sources[dataset].images[split][row])
        np.testing.assert_array_equal(found, np.asarray(original.convert(mode)))


@given(arrays_of.arrays(np.uint8, (2, 8, 8, 3)))
def test_luma_is_bit_for_bit_pillows(images):
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    np.testing.assert_array_equal(luma(images), expected)


def test_luma_agrees_with_pillow_on_every_extreme():
    steps = np.array([0, 1, 2, 3, 31, 63, 64, 126, 127, 128, 191, 253, 254, 255], dtype=np.uint8)
    image = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, len(steps), 3)
    np.testing.assert_array_equal(
        luma(image)[0], np.asarray(Image.fromarray(image[0]).convert("L"))
    )


def test_tables_with_a_foreign_index_and_categories_are_gathered_alike(sources):
    table = pd.DataFrame(
        {"dataset": ["bloodmnist", "breastmnist"], "split": ["val", "test"], "row": [2, 0]}
    )
    foreign = table.astype({"dataset": "category", "split": "category"}).set_index([[7, 7]])
    np.testing.assert_array_equal(
        archive.pixels(sources, foreign, 3), archive.pixels(sources, table, 3)
    )


@pytest.mark.parametrize("row", [-1, 5])
def test_rows_that_an_archive_lacks_are_refused(sources, row):
    table = pd.DataFrame({"dataset": ["bloodmnist"], "split": ["train"], "row": [row]})
    with pytest.raises(MedlabelError, match=rf"rows from 0 to 4 of train_images, found .*{row}"):
        archive.pixels(sources, table, 1)


def test_sizes_and_volumes_do_not_mix(tmp_path, sources):
    table = pd.DataFrame({"dataset": ["bloodmnist"], "split": ["train"], "row": [0]})
    larger = archive.read(written(tmp_path, content((9, 9))), "phantom_chest")
    with pytest.raises(
        MedlabelError, match="found breastmnist: 8, bloodmnist: 8, phantom_chest: 9"
    ):
        archive.pixels({**sources, "phantom_chest": larger}, table, 1)
    with pytest.raises(MedlabelError, match="expected 28 pixels, found breastmnist: 8"):
        archive.pixels(sources, table, 1, size=28)
    volumes = archive.read(written(tmp_path, content((8, 8, 8))), "vesselmnist3d")
    table = table.assign(dataset="vesselmnist3d")
    with pytest.raises(MedlabelError, match=r"expected images, found volumes of vesselmnist3d; pr"):
        archive.pixels({**sources, "vesselmnist3d": volumes}, table, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_volumes_become_images_of_their_brightest_voxels(tmp_path, channels):
    members = content((8, 8, 8))
    volumes = archive.read(written(tmp_path, members), "vesselmnist3d")
    table = pd.DataFrame({"dataset": "vesselmnist3d", "split": "val", "row": [2, 0, 2]})
    found = archive.pixels({"vesselmnist3d": volumes}, table, channels, projection="maximum")
    expected = members["val_images"].max(axis=1)[[2, 0, 2]]
    for plane in [found] if channels == 1 else np.moveaxis(found, -1, 0):
        np.testing.assert_array_equal(plane, expected)


@given(rows=st.lists(st.integers(0, 4), max_size=9), block=st.integers(1, 400))
def test_streamed_rows_are_those_of_the_whole_array(sources, rows, block):
    images = archive.Images(sources["breastmnist"].images.members)
    found = np.zeros((len(rows), 8, 8), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "KEPT_BYTES", 0)
        patch.setattr(npz, "BLOCK_BYTES", block)
        for positions, part in images.some("train", np.array(rows, np.int32)):
            found[positions] = part
    np.testing.assert_array_equal(found, images["train"][np.array(rows, int)])


@pytest.mark.real
@pytest.mark.parametrize(
    ("dataset", "shape"),
    [
        ("breastmnist", (546, 28, 28)),
        ("pneumoniamnist", (4708, 28, 28)),
        ("vesselmnist3d", (1335, 28, 28, 28)),
    ],
)
def test_official_files_are_accepted(mirror, dataset, shape):
    read = archive.read(mirror / f"{dataset}.npz", dataset, size=28)
    assert read.images.shape("train") == read.images["train"].shape == shape
