"""Fetching: mirrors in their order, interrupted and faulty downloads, and what is told."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from medlabel import files, params
from medlabel.data import catalogue, medmnist
from medlabel.errors import MedlabelError

NAME = "breastmnist.npz"


@pytest.fixture(scope="module")
def payload(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("payload") / NAME
    random = np.random.default_rng(0)
    files.write_npz(path, {"train_images": random.integers(0, 256, (40, 28, 28), dtype=np.uint8)})
    return path.read_bytes()


class Server(ThreadingHTTPServer):
    """A loopback server of one file; `faults` are spent one a request, then it behaves."""

    daemon_threads = True

    def __init__(self, payload: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.payload = payload
        self.faults: list[str] = []
        self.ranges: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault.isdecimal():
            self.send_error(int(fault))
            return
        if self.path.split("?")[0] != f"/{NAME}":
            self.send_error(404)
            return
        body, start = self.server.payload, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked and fault != "ignore range":
            start = int(asked[1])
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if fault != "no length":
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if fault == "truncate":
            rest = rest[: len(rest) // 2]
        if fault == "corrupt":
            rest = bytes(len(rest))
        self.wfile.write(rest)

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def server(payload) -> Iterator[Server]:
    with Server(payload) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(autouse=True)
def waits(monkeypatch, tmp_path) -> list[float]:
    """Cut the machine's own mirrors off, and record waits instead of waiting."""
    waited: list[float] = []
    monkeypatch.setattr(medmnist.time, "sleep", waited.append)
    monkeypatch.setattr(medmnist, "CHUNK_BYTES", 1024)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MEDLABEL_MIRROR", raising=False)
    return waited


@pytest.fixture
def publish(monkeypatch, payload) -> Callable[..., None]:
    """Make the test's file the published one."""
    official = catalogue.source

    def at(address: str, **changes: object) -> None:
        def source(flag: str, size: int) -> catalogue.Source:
            return dataclasses.replace(
                official(flag, size),
                **{
                    "url": f"{address}/{NAME}?download=1",
                    "md5": hashlib.md5(payload).hexdigest(),
                    **changes,
                },
            )

        monkeypatch.setattr(catalogue, "source", source)

    return at


def settings(*mirrors: object, retries: int = 2, timeout: float = 5.0) -> params.Download:
    return params.Download(
        mirrors=[str(mirror) for mirror in mirrors], retries=retries, timeout=timeout
    )


def fetch(flag: str, size: int, target: Path, given: params.Download) -> None:
    medmnist.fetch(flag, size, target, target.parent / "cache", given)


def folder_with(folder: Path, content: bytes, name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_every_official_file_has_a_source():
    names = set()
    for flag in catalogue.DATASETS:
        for size in catalogue.sizes(flag):
            source = catalogue.source(flag, size)
            assert source.url.startswith("https://zenodo.org/")
            assert source.file_name in source.url
            assert re.fullmatch(r"[0-9a-f]{32}", source.md5)
            assert source.labels
            assert source.licence.startswith("CC BY")
            assert source.non_commercial == (flag == "dermamnist")
            names.add(source.file_name)
    assert len(catalogue.DATASETS) == 18
    assert len(names) == 12 * 4 + 6 * 2


def test_download_writes_the_file_and_its_facts(tmp_path, server, publish, payload, waits):
    publish(server.address)
    target = tmp_path / "raw" / NAME
    fetch("breastmnist", 28, target, settings())
    assert target.read_bytes() == payload
    assert json.loads(target.with_suffix(".json").read_text()) == {
        "flag": "breastmnist",
        "size": 28,
        "url": f"{server.address}/{NAME}?download=1",
        "md5": hashlib.md5(payload).hexdigest(),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "bytes": len(payload),
        "licence": "CC BY 4.0",
        "non_commercial": False,
        "task": "binary-class",
        "labels": ["malignant", "normal, benign"],
    }
    assert left_over(target.parent) == ["breastmnist.json", NAME, "cache"]
    assert left_over(target.parent / "cache") == [NAME]
    assert target.samefile(target.parent / "cache" / NAME)
    assert target.stat().st_mode & 0o777 == 0o644
    assert waits == []


def test_a_download_tells_how_far_it_is(tmp_path, server, publish, payload, caplog):
    publish(server.address)
    caplog.set_level(logging.INFO, logger="medlabel")
    fetch("breastmnist", 28, tmp_path / NAME, settings())
    chunks = -(-len(payload) // medmnist.CHUNK_BYTES)
    assert f"download {NAME} (MiB): {chunks} of {chunks}, about 0 s left" in caplog.text


def test_what_is_there_already_is_kept(tmp_path, server, publish, payload):
    publish(server.address)
    target = folder_with(tmp_path / "raw", payload) / NAME
    before = target.stat().st_mtime_ns
    fetch("breastmnist", 28, target, settings())
    assert target.stat().st_mtime_ns == before
    assert server.ranges == []
    assert target.with_suffix(".json").exists()


def test_an_altered_target_is_replaced(tmp_path, server, publish, payload):
    publish(server.address)
    target = folder_with(tmp_path / "raw", payload[:-1]) / NAME
    fetch("breastmnist", 28, target, settings())
    assert target.read_bytes() == payload


@pytest.mark.parametrize("first", ["environment", "params", "home"])
def test_mirrors_are_searched_in_their_order(
    tmp_path, server, publish, payload, monkeypatch, caplog, first
):
    publish(server.address)
    caplog.set_level(logging.INFO, logger="medlabel")
    environment, parameter = tmp_path / "environment", tmp_path / "params"
    monkeypatch.setenv("MEDLABEL_MIRROR", str(environment))
    home = tmp_path / "home" / ".medmnist"
    for folder in [environment, parameter, home][["environment", "params", "home"].index(first) :]:
        folder_with(folder, payload)
    target = tmp_path / "raw" / NAME
    fetch("breastmnist", 28, target, settings(parameter))
    assert target.read_bytes() == payload
    taken = {"environment": environment, "params": parameter, "home": home}[first]
    assert f"{target.parent / 'cache' / NAME}: taken from {taken / NAME}" in caplog.text
    assert server.ranges == []
    assert str(tmp_path) not in target.with_suffix(".json").read_text()


def test_mirrors_may_be_addresses_and_begin_with_a_tilde(
    tmp_path, server, publish, payload, monkeypatch
):
    publish(closed_port())
    monkeypatch.setenv("MEDLABEL_MIRROR", f"{server.address}/")
    fetch("breastmnist", 28, tmp_path / "one.npz", settings(retries=0))
    assert len(server.ranges) == 1
    monkeypatch.delenv("MEDLABEL_MIRROR")
    folder_with(tmp_path / "home" / "mine", payload)
    fetch("breastmnist", 28, tmp_path / "two.npz", settings("~/mine", retries=0))
    assert (tmp_path / "two.npz").read_bytes() == payload


def test_an_altered_mirror_is_skipped_and_named(tmp_path, server, publish, payload, caplog):
    publish(server.address)
    altered = folder_with(tmp_path / "altered", payload[:-1] + b"?")
    target = tmp_path / "raw" / NAME
    fetch("breastmnist", 28, target, settings(altered))
    assert target.read_bytes() == payload
    found = hashlib.md5(payload[:-1] + b"?").hexdigest()
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    expected = hashlib.md5(payload).hexdigest()
    assert f"{altered / NAME}: MD5 expected {expected}, found {found}" in warning.getMessage()


def test_when_no_place_delivers_every_one_is_named(tmp_path, server, publish, payload):
    nowhere = closed_port()
    publish(nowhere)
    altered = folder_with(tmp_path / "altered", b"not this")
    empty = f"{server.address}/empty"
    target = tmp_path / "raw" / NAME
    with pytest.raises(MedlabelError) as error:
        fetch("breastmnist", 28, target, settings(altered, empty, retries=1))
    message = str(error.value)
    assert "\n" not in message
    assert f"{altered / NAME} (MD5 expected {hashlib.md5(payload).hexdigest()}" in message
    assert f"{empty}/{NAME} (HTTP 404 Not Found)" in message
    assert f"{tmp_path / 'home' / '.medmnist' / NAME} (no such file)" in message
    assert f"{nowhere}/{NAME}?download=1 (ConnectionRefusedError" in message
    for remedy in ("MEDLABEL_MIRROR", "data.mirrors", "`make demo` runs without any download"):
        assert remedy in message
    assert left_over(target.parent) == ["cache"]
    assert left_over(target.parent / "cache") == []


def test_no_network_is_one_line(tmp_path, publish, monkeypatch):
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    publish("http://zenodo.example")
    with pytest.raises(MedlabelError) as error:
        fetch("breastmnist", 28, tmp_path / NAME, settings(retries=0))
    assert "\n" not in str(error.value)
    assert f"http://zenodo.example/{NAME}?download=1 (gaierror: [Errno -3]" in str(error.value)
    assert "`make demo` runs without any download" in str(error.value)


def test_a_silent_server_is_given_up(tmp_path, publish):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        publish(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(MedlabelError, match=r"\(no answer within 0\.1 s\)"):
            fetch("breastmnist", 28, tmp_path / NAME, settings(retries=1, timeout=0.1))


def test_a_truncated_answer_is_continued(tmp_path, server, publish, payload, waits):
    publish(server.address)
    server.faults = ["truncate", "truncate"]
    fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert (tmp_path / NAME).read_bytes() == payload
    first, second, third = server.ranges
    assert first is None
    assert 0 < int(second[6:-1]) < int(third[6:-1]) < len(payload)
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_passing_errors_are_tried_again(tmp_path, server, publish, payload, waits, status):
    publish(server.address)
    server.faults = [status, status]
    fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert (tmp_path / NAME).read_bytes() == payload
    assert waits == [1.0, 2.0]


def test_waits_double_up_to_a_minute(tmp_path, server, publish, waits):
    publish(server.address)
    server.faults = ["500"] * 9
    fetch("breastmnist", 28, tmp_path / NAME, settings(retries=9))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("status", ["403", "404"])
def test_lasting_errors_are_not_tried_again(tmp_path, server, publish, waits, status):
    publish(server.address)
    server.faults = [status]
    with pytest.raises(MedlabelError, match=f"HTTP {status}"):
        fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert len(server.ranges) == 1
    assert waits == []


def test_corrupt_bytes_are_thrown_away_and_fetched_anew(tmp_path, server, publish, payload):
    publish(server.address)
    server.faults = ["corrupt"]
    fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert (tmp_path / NAME).read_bytes() == payload
    assert server.ranges == [None, None]


def test_bytes_that_stay_corrupt_are_never_taken(tmp_path, server, publish, payload):
    publish(server.address)
    server.faults = ["corrupt"] * 3
    with pytest.raises(MedlabelError, match="MD5 expected"):
        fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert left_over(tmp_path / "cache") == []


def test_an_answer_of_unknown_length_is_taken_if_it_is_right(tmp_path, server, publish, payload):
    publish(server.address)
    server.faults = ["no length"]
    fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert (tmp_path / NAME).read_bytes() == payload


@pytest.mark.parametrize("held", [1, 1000, -1])
def test_a_part_of_an_earlier_run_is_continued(tmp_path, server, publish, payload, held):
    publish(server.address)
    part = folder_with(tmp_path / "cache", payload[:held], f"{NAME}.part") / f"{NAME}.part"
    length = part.stat().st_size
    fetch("breastmnist", 28, tmp_path / NAME, settings(retries=0))
    assert (tmp_path / NAME).read_bytes() == payload
    assert server.ranges == [f"bytes={length}-"]
    assert not part.exists()


def test_a_whole_part_is_taken_without_a_request_for_its_bytes(tmp_path, server, publish, payload):
    publish(server.address)
    folder_with(tmp_path / "cache", payload, f"{NAME}.part")
    fetch("breastmnist", 28, tmp_path / NAME, settings(retries=0))
    assert (tmp_path / NAME).read_bytes() == payload
    assert server.ranges == []


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_a_part_of_another_file_is_started_over(tmp_path, server, publish, payload, extra):
    publish(server.address)
    foreign = bytes(len(payload)) + extra
    folder_with(tmp_path / "cache", foreign, f"{NAME}.part")
    fetch("breastmnist", 28, tmp_path / NAME, settings(retries=1))
    assert (tmp_path / NAME).read_bytes() == payload
    assert server.ranges == [f"bytes={len(foreign)}-", None]


def test_a_server_that_ignores_ranges_starts_over(tmp_path, server, publish, payload):
    publish(server.address)
    server.faults = ["ignore range"]
    folder_with(tmp_path / "cache", b"x" * (len(payload) + 5), f"{NAME}.part")
    fetch("breastmnist", 28, tmp_path / NAME, settings(retries=0))
    assert (tmp_path / NAME).read_bytes() == payload


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_one_line_for_downloads(tmp_path, server, publish):
    publish(server.address)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{NAME}.part").symlink_to("/dev/full")
    with pytest.raises(MedlabelError, match="the disk is full"):
        fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert len(server.ranges) == 1
    assert not (tmp_path / NAME).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_one_line_for_copies(tmp_path, publish, payload, monkeypatch):
    publish(closed_port())
    mirror = folder_with(tmp_path / "mirror", payload)

    def into_full(original: Path, _: Path) -> None:
        Path("/dev/full").write_bytes(original.read_bytes())

    monkeypatch.setattr(medmnist.shutil, "copyfile", into_full)
    target = tmp_path / "raw" / NAME
    with pytest.raises(MedlabelError, match="the disk is full"):
        fetch("breastmnist", 28, target, settings(mirror))
    assert left_over(target.parent) == ["cache"]
    assert left_over(target.parent / "cache") == []


def test_a_mirror_that_cannot_be_read_is_skipped(tmp_path, server, publish, payload):
    publish(server.address)
    (tmp_path / "mirror" / NAME).mkdir(parents=True)
    fetch("breastmnist", 28, tmp_path / NAME, settings(tmp_path / "mirror"))
    assert (tmp_path / NAME).read_bytes() == payload


def test_a_killed_download_leaves_only_its_part(tmp_path, server, publish, payload, monkeypatch):
    publish(server.address)

    class KilledError(BaseException):
        pass

    def killed(_: int) -> None:
        raise KilledError

    server.faults = ["truncate"]
    monkeypatch.setattr(medmnist.time, "sleep", killed)
    with pytest.raises(KilledError):
        fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert left_over(tmp_path / "cache") == [f"{NAME}.part"]
    assert 0 < (tmp_path / "cache" / f"{NAME}.part").stat().st_size < len(payload)
    fetch("breastmnist", 28, tmp_path / NAME, settings(retries=0))
    assert (tmp_path / NAME).read_bytes() == payload


def test_the_non_commercial_licence_is_pointed_out(tmp_path, publish, payload, caplog):
    publish(closed_port())
    mirror = folder_with(tmp_path / "mirror", payload, "dermamnist_64.npz")
    fetch("dermamnist", 64, tmp_path / "dermamnist_64.npz", settings(mirror))
    assert "dermamnist: its licence (CC BY-NC 4.0) forbids commercial use" in caplog.text
    assert json.loads((tmp_path / "dermamnist_64.json").read_text())["non_commercial"] is True


@pytest.mark.parametrize(
    ("flag", "size", "message"),
    [
        ("vesselmnist3d", 224, r"vesselmnist3d is published in 28, 64$"),
        ("breastmnist", 32, r"breastmnist is published in 28, 64, 128, 224$"),
        ("BreastMNIST", 28, r"'BreastMNIST' given, which is no dataset .* mean breastmnist"),
        ("breastmnst", 28, r"'breastmnst' given, .* did you mean breastmnist"),
        ("phantom_chest", 28, r"phantom_chest given, which is drawn .*`medlabel phantoms`"),
    ],
)
def test_what_is_not_published_is_refused_with_the_nearest_names(tmp_path, flag, size, message):
    """F35, F38: MedMNIST's own spelling, a slip of the pen, sizes that do not exist."""
    with pytest.raises(MedlabelError, match=message) as error:
        fetch(flag, size, tmp_path / "v.npz", settings())
    assert "\n" not in str(error.value)


def test_a_deleted_target_comes_back_without_network(tmp_path, server, publish, payload):
    """Snakemake deletes a rule's outputs before its job."""
    publish(server.address)
    target = tmp_path / "raw" / NAME
    fetch("breastmnist", 28, target, settings())
    target.unlink()
    publish(closed_port())
    fetch("breastmnist", 28, target, settings(retries=0))
    assert target.read_bytes() == payload
    assert len(server.ranges) == 1


def test_a_target_of_older_times_gets_into_the_cache(tmp_path, publish, payload):
    publish(closed_port())
    target = folder_with(tmp_path / "raw", payload) / NAME
    fetch("breastmnist", 28, target, settings(retries=0))
    target.unlink()
    fetch("breastmnist", 28, target, settings(retries=0))
    assert target.read_bytes() == payload


def test_an_altered_cache_is_not_taken(tmp_path, server, publish, payload):
    publish(server.address)
    folder_with(tmp_path / "cache", payload[:-1] + b"?")
    fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert (tmp_path / NAME).read_bytes() == payload
    assert (tmp_path / "cache" / NAME).read_bytes() == payload


def test_without_hard_links_the_file_is_copied(tmp_path, server, publish, payload, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    publish(server.address)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert (tmp_path / NAME).read_bytes() == payload
    assert not (tmp_path / NAME).samefile(tmp_path / "cache" / NAME)


@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}"])
def test_mirrors_may_be_folders_in_any_writing(tmp_path, publish, payload, form):
    """F36: file:// is a folder too; blanks in it are written %20."""
    publish(closed_port())
    folder = folder_with(tmp_path / "my mirror", payload)
    name = str(folder) if form == "{}" else str(folder).replace(" ", "%20")
    fetch("breastmnist", 28, tmp_path / NAME, settings(form.format(name), retries=0))
    assert (tmp_path / NAME).read_bytes() == payload


def test_a_mirror_that_is_a_file_is_told_so(tmp_path, publish, payload):
    """F36: the mirror is a file."""
    publish(closed_port())
    mirror = folder_with(tmp_path / "mirror", payload) / NAME
    with pytest.raises(MedlabelError, match=r"\(the mirror is a file, a folder or an address exp"):
        fetch("breastmnist", 28, tmp_path / NAME, settings(mirror, retries=0))


def test_a_user_without_a_home_takes_the_mirror(tmp_path, publish, payload, monkeypatch):
    """F53: a container's user whom the system does not know, without HOME."""

    def nobody(self: Path) -> Path:
        if str(self).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return self

    publish(closed_port())
    monkeypatch.setattr(Path, "expanduser", nobody)
    mirror = folder_with(tmp_path / "mirror", payload)
    fetch("breastmnist", 28, tmp_path / NAME, settings("~/mine", mirror, retries=0))
    assert (tmp_path / NAME).read_bytes() == payload


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, server, publish):
    publish(server.address)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(MedlabelError, match=r"cannot be written \(") as error:
        fetch("breastmnist", 28, tmp_path / NAME, settings())
    assert "\n" not in str(error.value)


@pytest.mark.real
def test_official_files_are_taken_from_the_mirror(tmp_path, mirror, monkeypatch):
    monkeypatch.setenv("MEDLABEL_MIRROR", str(mirror))
    target = tmp_path / NAME
    fetch("breastmnist", 28, target, settings(retries=0))
    facts = json.loads(target.with_suffix(".json").read_text())
    assert facts["md5"] == files.digest(target, "md5")
    assert facts["bytes"] == (mirror / NAME).stat().st_size
    assert facts["url"].startswith("https://zenodo.org/")
