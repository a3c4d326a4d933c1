"""Members of .npz files: rows are read in bounded memory, and nothing damaged or unsafe is."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medlabel import files
from medlabel.data import archive, npz
from medlabel.errors import MedlabelError


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(0, 7), max_size=4).map(tuple),
    dtype=st.sampled_from(["u1", "<i8", ">f4", "?"]),
    fortran=st.booleans(),
    compressed=st.booleans(),
    block=st.integers(1, 64),
)
def test_what_is_read_is_what_numpy_reads(
    tmp_path_factory, shape, dtype, fortran, compressed, block
):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    array = np.asfortranarray(array) if fortran else array
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, a=array, other=np.zeros(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz, "BLOCK_BYTES", block)
        member = npz.members(path, "fetch")["a"]
        assert (member.shape, member.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(member.read(), array)
        if array.ndim and array.size:
            firsts, parts = zip(*member.blocks(), strict=True)
            np.testing.assert_array_equal(np.concatenate(parts), array)
            assert list(firsts) == np.cumsum([0, *map(len, parts)])[:-1].tolist()


def written(folder: Path) -> Path:
    path = folder / "cut.npz"
    files.write_npz(path, {"a": np.random.default_rng(0).integers(0, 255, 5000)})
    return path


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, train_images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(MedlabelError, match="found pickled Python objects"):
        npz.members(path, "fetch")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(MedlabelError, match=r"cut\.npz: expected a") as caught:
        npz.members(path, "fetch")
    assert "medlabel fetch" in str(caught.value)


@pytest.mark.parametrize("way", ["whole", "blocks"])
def test_an_altered_array_is_refused_once_it_is_read(tmp_path, monkeypatch, way):
    monkeypatch.setattr(npz, "BLOCK_BYTES", 1000)
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    member = npz.members(path, "fetch")["a"]
    with pytest.raises(MedlabelError, match="truncated or altered"):
        member.read() if way == "whole" else list(member.blocks())


@pytest.mark.parametrize("count", [49, 51])
def test_a_header_that_states_another_size_is_refused(tmp_path, count):
    path = tmp_path / "liar.npz"
    with zipfile.ZipFile(path, "w") as file, file.open("a.npy", "w") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(bytes(50))
    with pytest.raises(MedlabelError, match="a has not the size that its header states"):
        npz.members(path, "fetch")


def test_something_else_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "one.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"no array at all")
    with pytest.raises(MedlabelError, match=r"one\.npz: expected a .npz of plain arrays"):
        npz.members(path, "fetch")


def test_rows_of_a_large_archive_take_little_memory(tmp_path):
    """Fault 20: 224-pixel archives are read by slices (here 150 MB a split, of which 1 MB)."""
    shape = (3000, 224, 224)
    members = {f"{split}_labels": np.zeros((3000, 1), np.uint8) for split in archive.SPLITS}
    path = tmp_path / "phantom_chest.npz"
    images = np.zeros(shape, np.uint8)
    images[:, 0, 0] = np.arange(3000) % 251
    files.write_npz(path, members | {f"{split}_images": images for split in archive.SPLITS})
    del images
    rows = np.array([2999, 0, 1500, 7, 7, 2000])
    tracemalloc.start()
    read = archive.read(path, "phantom_chest", 224)
    found = np.zeros(len(rows), np.uint8)
    for split in archive.SPLITS:
        for positions, part in read.some(split, rows, None):
            found[positions] = part[:, 0, 0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, rows % 251)
    assert peak < 60e6
