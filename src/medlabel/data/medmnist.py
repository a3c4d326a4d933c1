"""The official MedMNIST files: found on a mirror or downloaded, and checked before use.

Files, MD5 sums and licences are those of `medmnist.INFO` (Yang et al., MedMNIST v2, Scientific Data
10:41, 2023; the larger sizes are MedMNIST+, Zenodo record 10519652).
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from medlabel import files, progress
from medlabel.data import catalogue
from medlabel.errors import MedlabelError

if TYPE_CHECKING:
    import requests

    from medlabel.params import Download

logger = logging.getLogger("medlabel")

MIRROR_VARIABLE = "MEDLABEL_MIRROR"
CHUNK_BYTES = 1 << 20
FIRST_WAIT = 1.0  # seconds before the first retry; each further wait is twice as long
LONGEST_WAIT = 60.0  # seconds

# The only 4xx that a later attempt may cure.
PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class _AttemptError(Exception):
    """Why an attempt to get a file from a place failed; another one may succeed."""


class _PlaceError(Exception):
    """Why a place does not deliver a file."""


class _NotHeldError(_PlaceError):
    """A place works but has no such file."""


def fetch(flag: str, size: int, target: Path, cache: Path, settings: Download) -> None:
    """Bring one official file to `target`, and its facts to the .json beside it.

    Places are tried in this order: `cache`, the folder or address in ``MEDLABEL_MIRROR``,
    `settings.mirrors`, ``~/.medmnist``, Zenodo. A file that is already at `target` with the right
    MD5 is kept. What is found elsewhere goes to the cache first, a download as ``.part``, which a
    later run continues; `target` is a hard link to it, or a copy where the file system has none.

    The cache outlives `target`, which Snakemake deletes before it makes it again.

    Raises
    ------
    MedlabelError
        When MedMNIST does not publish that, when no place delivers a file with the published MD5,
        or when a file cannot be written.
    """
    source = _source(flag, size)
    if source.non_commercial:
        logger.warning("%s: its licence (%s) forbids commercial use", flag, source.licence)
    held = cache / source.file_name
    if _is_published(target, source):
        logger.info("%s: already here, MD5 as published", target)
        if not held.exists():
            _link(target, held)
    else:
        if _is_published(held, source):
            logger.info("%s: taken from %s, MD5 as published", target, held)
        else:
            _obtain(source, held, settings)
        _link(held, target)
    facts = {
        "sha256": files.digest(target),
        "bytes": target.stat().st_size,
        "non_commercial": source.non_commercial,
    }
    files.write_json(target.with_suffix(".json"), asdict(source) | facts)


def parse(images: str) -> tuple[str, int]:
    """As `catalogue.parse`, with a `MedlabelError`."""
    try:
        return catalogue.parse(images)
    except ValueError as error:
        raise MedlabelError(f"fetch: {error}") from error


def _source(flag: str, size: int) -> catalogue.Source:
    if catalogue.is_phantom(flag):
        raise MedlabelError(
            f"fetch: {flag} given, which is drawn and not fetched: run `medlabel phantoms` or "
            f"`medlabel vessels`."
        )
    parse(catalogue.file_stem(flag, size))
    return catalogue.source(flag, size)


def _is_published(path: Path, source: catalogue.Source) -> bool:
    try:
        return path.is_file() and not _md5_difference(path, source)
    except OSError:  # it may not be read, so another one is made
        return False


def _link(original: Path, target: Path) -> None:
    """Give a file a second name, or copy it."""
    with files.replacing(target) as partial:
        partial.unlink()
        try:
            partial.hardlink_to(original)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(original, partial)


def _obtain(source: catalogue.Source, target: Path, settings: Download) -> None:
    failures = []
    for place in _places(source, settings):
        try:
            if _is_address(place):
                _download(place, source, target, settings)
            else:
                _copy(Path(place), source, target)
        except _PlaceError as failure:
            level = logging.INFO if isinstance(failure, _NotHeldError) else logging.WARNING
            logger.log(level, "%s: %s; skipped", place, failure)
            failures.append(f"{place} ({failure})")
        else:
            logger.info("%s: taken from %s, MD5 as published", target, place)
            return
    raise MedlabelError(
        f"{target}: expected {source.file_name} with MD5 {source.md5} from a mirror or Zenodo, "
        f"found none; tried {', '.join(failures)}. Name a folder or an address that has the file "
        f"in {MIRROR_VARIABLE} or data.mirrors, or connect and run again; `make demo` runs without "
        f"any download."
    )


def _places(source: catalogue.Source, settings: Download) -> list[str]:
    mirrors = [os.environ.get(MIRROR_VARIABLE, ""), *settings.mirrors, "~/.medmnist"]
    held = [_within(mirror, source.file_name) for mirror in mirrors if mirror]
    return [*(place for place in held if place), source.url]


def _within(mirror: str, name: str) -> str:
    """Name a file of a mirror; nothing where its ``~`` is nobody's."""
    if _is_address(mirror):
        return f"{mirror.rstrip('/')}/{name}"
    if mirror.startswith("file:"):
        mirror = url2pathname(urlsplit(mirror).path)
    try:
        return str(Path(mirror).expanduser() / name)
    except RuntimeError:  # a container's user whom the system does not know
        logger.info("%s: no home folder is known here; skipped", mirror)
        return ""


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _copy(original: Path, source: catalogue.Source, target: Path) -> None:
    with files.replacing(target) as partial:
        try:
            shutil.copyfile(original, partial)
        except FileNotFoundError as error:
            raise _NotHeldError("no such file") from error
        except NotADirectoryError as error:
            raise _PlaceError("the mirror is a file, a folder or an address expected") from error
        except OSError as error:
            failure = files.write_error(error, target)
            if isinstance(failure, MedlabelError):
                raise failure from error
            raise _PlaceError(error.strerror or str(error)) from error
        if difference := _md5_difference(partial, source):
            raise _PlaceError(difference)


def _md5_difference(path: Path, source: catalogue.Source) -> str:
    found = files.digest(path, "md5")
    return "" if found == source.md5 else f"MD5 expected {source.md5}, found {found}"


def _download(url: str, source: catalogue.Source, target: Path, settings: Download) -> None:
    files.require_writable(target)
    part = target.with_name(f"{target.name}.part")
    waits = [min(FIRST_WAIT * 2**retry, LONGEST_WAIT) for retry in range(settings.retries)]
    for wait in [*waits, None]:
        try:
            _attempt(url, source, part, settings.timeout)
            break
        except _AttemptError as failure:
            if wait is None:
                raise _PlaceError(str(failure)) from failure
            logger.warning("%s: %s; next attempt in %g s", url, failure, wait)
        time.sleep(wait)
    part.replace(target)


def _attempt(url: str, source: catalogue.Source, part: Path, timeout: float) -> None:
    """Complete the partial file from one address and check it."""
    import requests

    held = part.stat().st_size if part.exists() else 0
    if held and not _md5_difference(part, source):
        return
    # Ranges count encoded bytes: the end of a compressed answer could not be asked for.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            _append(response, part, held)
    except requests.Timeout as error:
        raise _AttemptError(f"no answer within {timeout:g} s") from error
    except requests.RequestException as error:
        raise _AttemptError(_root_cause(error)) from error
    if difference := _md5_difference(part, source):
        part.unlink()
        raise _AttemptError(difference)


def _root_cause(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"


def _append(response: requests.Response, part: Path, held: int) -> None:
    """Write the body of an answer behind the `held` bytes, or anew where it has all of the file."""
    status = response.status_code
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and held:
        part.unlink()
        raise _AttemptError(f"the {held} bytes downloaded before are no part of this file")
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise _refusal(status, f"HTTP {status} {response.reason}")
    start = held if status == HTTPStatus.PARTIAL_CONTENT else 0
    try:
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            for chunk in _chunks(response, part.stem):
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise files.write_error(error, part) from error


def _refusal(status: int, reason: str) -> Exception:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return _NotHeldError(reason)
    passing = not 400 <= status < 500 or status in PASSING
    return _AttemptError(reason) if passing else _PlaceError(reason)


def _chunks(response: requests.Response, name: str) -> Iterable[bytes]:
    chunks: Iterable[bytes] = response.iter_content(CHUNK_BYTES)
    length = response.headers.get("Content-Length", "")
    if not length.isdecimal():
        return chunks
    total = -(-int(length) // CHUNK_BYTES)
    return progress.track(chunks, f"download {name} (MiB)", total)
