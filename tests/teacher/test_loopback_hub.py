"""A published encoder fetched by name, over HTTP, from a hub on this machine's loopback."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from typer.testing import CliRunner

from medlabel import files
from medlabel.cli import app
from medlabel.teacher import encoder

ROOT = Path(__file__).parents[2]
COMMIT = "0" * 40
REPOSITORY = "clinic/tiny-clip"
FIXED = {"kind": "open_clip", "batch_size": 2, "threads": 1, "precision": "fp32"}
FIXED |= {"runtime": "torch"}
# What a person writes: the repository's name, or that of a network with a tag that leads there.
NAMED = {
    "repository": {"model": f"hf-hub:{REPOSITORY}", "pretrained": None},
    "tag": {"model": "TinyClip", "pretrained": "clinic"},
}


class Hub(ThreadingHTTPServer):
    """Answers as the hub does for the files of one repository, and notes what was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.folder = folder
        self.sent: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.wfile.write(self._answer())

    def _answer(self) -> bytes:
        name = self.path.removeprefix(f"/{REPOSITORY}/resolve/main/")
        path = self.server.folder / name
        if self.path == "/":  # is there a network?
            self.send_response(200)
            self.end_headers()
            return b""
        if "/" in name or not path.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            return b""
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.server.sent.append(name)
        return content

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one repository, in which medlabel's work has left no trace yet."""
    from huggingface_hub import constants
    from open_clip import factory, pretrained

    config = files.read_json(tiny_encoder / encoder.CONFIG, "")
    monkeypatch.setitem(factory._MODEL_CONFIGS, "TinyClip", config["model_cfg"])
    tag = {"clinic": {"hf_hub": f"{REPOSITORY}/", "mean": [0.5] * 3, "std": [0.5] * 3}}
    monkeypatch.setitem(pretrained._PRETRAINED, "TinyClip", tag)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in (encoder.CONFIG, encoder.WEIGHTS):
        shutil.copy(tiny_encoder / name, theirs)
    with Hub(theirs) as found:
        thread = Thread(target=found.serve_forever, daemon=True)
        thread.start()
        template = found.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(variable, raising=False)
            monkeypatch.delenv(variable.lower(), raising=False)
        yield found
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("named", NAMED)
def test_an_encoder_is_fetched_by_name_once(
    named: str, hub: Hub, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "project"
    place.mkdir()
    shutil.copy(ROOT / "params.yaml", place)
    monkeypatch.chdir(place)
    files.write_json(place / "own.json", {"encoders": {"fetched": {**FIXED, **NAMED[named]}}})
    command = ["--overlay", "own.json", "adopt", "fetched", "--target"]

    first = CliRunner().invoke(app, [*command, "first"])
    assert first.exit_code == 0, (first.output, first.exception)
    assert hub.sent.count(encoder.WEIGHTS) == 1
    ours, original = (
        encoder.load(one, torch.device("cpu")) for one in (place / "first", tiny_encoder)
    )
    assert ours.manifest.weights_sha256 == original.manifest.weights_sha256
    record = files.read_json(place / "first" / encoder.PROVENANCE, "")
    assert (record["model"], record["pretrained"]) == tuple(NAMED[named].values())

    hub.shutdown()
    hub.server_close()  # nobody answers any more: the hub's cache does
    again = CliRunner().invoke(app, [*command, "again"])
    assert again.exit_code == 0, (again.output, again.exception)
    for name in (encoder.CONFIG, encoder.WEIGHTS, encoder.PROVENANCE):
        assert (place / "again" / name).read_bytes() == (place / "first" / name).read_bytes()
    assert hub.sent.count(encoder.WEIGHTS) == 1


def test_a_repository_that_the_hub_has_not_is_told(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    part = {**FIXED, "model": "hf-hub:clinic/none", "pretrained": None}
    files.write_json(tmp_path / "own.json", {"encoders": {"fetched": part}})
    result = CliRunner().invoke(app, ["--overlay", "own.json", "adopt", "fetched"])
    message = str(result.exception)
    assert f"tried {hub.address} for clinic/none" in message
    assert "\n" not in message
    assert not (tmp_path / "data" / "encoders" / "fetched").exists()
