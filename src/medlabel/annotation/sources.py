"""Where images are looked for: folders, archives, lists; nothing is left out without a word."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medlabel.data.reading.images import content_of, suffix_of
from medlabel.data.reading.page import UnreadableError
from medlabel.errors import MedlabelError

LEFT_BY_SYSTEMS = frozenset({".ds_store", "desktop.ini", "thumbs.db", "__macosx"})
ARCHIVES = frozenset({".zip", ".npz"})
LISTS = frozenset({".csv", ".parquet"})
COLUMNS = ("file", "path", "image", "filename")  # of lists
LARGEST_MEMBER = 1 << 32  # bytes of a file within an archive
ENCRYPTED = 0x1


@dataclass(frozen=True)
class Source:
    """One file that may hold images.

    Attributes
    ----------
    name
        Shown in tables: relative to what was asked for, with ``/``; members of an archive follow
        the archive's name.
    place
        Path of the file, or of the archive that it is in; text, since paths of 100,000 files take
        a second to make.
    member
        Its name within the archive.
    reason
        Why it is not even opened.
    """

    name: str
    place: str
    member: str | None = None
    reason: str = ""

    @property
    def path(self) -> Path:
        """`place` as a path."""
        return Path(self.place)

    def content(self) -> bytes:
        """Read its bytes.

        Raises
        ------
        UnreadableError
            When that is not possible.
        """
        if self.reason:
            raise UnreadableError(self.reason, "skipped")
        if self.member is None:
            return content_of(self.path)
        try:
            with zipfile.ZipFile(self.path) as archive:
                entry = archive.getinfo(self.member)
                if entry.flag_bits & ENCRYPTED:
                    raise UnreadableError("in an archive with a password; unpack it", "skipped")
                if entry.file_size > LARGEST_MEMBER:
                    raise UnreadableError("too large within its archive; unpack it", "skipped")
                return archive.read(entry)
        except (OSError, zipfile.BadZipFile, NotImplementedError, KeyError, EOFError) as error:
            raise UnreadableError(f"damaged within its archive ({type(error).__name__})") from error
        except Exception as error:  # zlib and lzma raise errors of their own
            raise UnreadableError(f"damaged within its archive ({type(error).__name__})") from error


def find(images: Path, leave_out: Path | None = None) -> list[Source]:
    """Find all files in a folder, an archive or a list, sorted by name.

    Parameters
    ----------
    images
        A folder (searched with subfolders, linked ones too), an archive (.zip), a list (.csv or
        .parquet with a column file, relative to the list's folder), or one file.
    leave_out
        A folder in it that is not searched: where the labels go.

    Raises
    ------
    MedlabelError
        When there is no such place, or nothing in it.
    """
    try:
        exists, is_folder = images.exists(), images.is_dir()
    except OSError as error:
        raise MedlabelError(f"{images}: may not be read ({error.strerror}).") from error
    if not exists:
        raise MedlabelError(
            f"{images}: expected a folder of images, an archive or a list, found no such folder or "
            f"file."
        )
    if is_folder:
        skipped = leave_out.resolve() if leave_out else None
        found = list(_walk(images, "", (), skipped))
    elif suffix_of(images.name) in LISTS:
        found = list(_listed(images))
    else:
        found = list(_of_file(str(images), images.name))
    if not found:
        raise MedlabelError(f"{images}: expected images in it or its subfolders, found no file.")
    return found


def _walk(
    folder: Path, prefix: str, above: tuple[Path, ...], leave_out: Path | None
) -> Iterator[Source]:
    here = folder.resolve()
    if here == leave_out:
        return
    if here in above:
        yield Source(prefix, str(folder), reason="a link to a folder above")
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = f"a folder that may not be read ({error.strerror})"
        yield Source(prefix, str(folder), reason=reason)
        return
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if reason := _left_out(entry):
            yield Source(name, entry.path, reason=reason)
        elif entry.is_dir():
            yield from _walk(Path(entry.path), f"{name}/", (*above, here), leave_out)
        else:
            yield from _of_file(entry.path, name)


def _left_out(entry: os.DirEntry[str]) -> str:
    """Say why an entry is not even opened."""
    try:
        is_folder, is_file = entry.is_dir(), entry.is_file()
    except OSError as error:
        return f"may not be read ({error.strerror})"
    if not is_folder and not is_file:
        return "a broken link" if entry.is_symlink() else "no regular file"
    return _left_by_system(entry.name, is_folder)


def _left_by_system(name: str, is_folder: bool = False) -> str:
    if name.lower() in LEFT_BY_SYSTEMS:
        return "left by the operating system"
    if name.startswith("._"):  # macOS keeps a file's attributes in them, under its suffix
        return "left by macOS (attributes of another file)"
    return "a hidden folder" if is_folder and name.startswith(".") else ""


def _of_file(place: str, name: str) -> Iterator[Source]:
    if suffix_of(name) not in ARCHIVES:
        yield Source(name, place)
        return
    try:
        with zipfile.ZipFile(place) as archive:
            members = sorted(one.filename for one in archive.infolist() if not one.is_dir())
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        reason = f"a damaged archive ({type(error).__name__}); remove or replace it"
        yield Source(name, place, reason=reason)
        return
    if not members:
        yield Source(name, place, reason="an archive without a file")
    for member in members:
        reason = next(filter(None, map(_left_by_system, member.split("/"))), "")
        if suffix_of(member) in ARCHIVES:
            reason = reason or "an archive within an archive; unpack it"
        yield Source(f"{name}/{member}", place, member, reason)


def _listed(path: Path) -> Iterator[Source]:
    for text in _names(path):
        entry = path.parent / text
        try:
            is_file = entry.is_file()
        except (OSError, ValueError):
            is_file = False
        if not is_file:
            yield Source(text, str(entry), reason="on the list, but there is no such file")
        else:
            yield from _of_file(str(entry), text)


def _names(path: Path) -> list[str]:
    import pandas as pd

    try:
        content = io.BytesIO(path.read_bytes())
        table = (
            pd.read_parquet(content)
            if path.suffix.lower() == ".parquet"
            else pd.read_csv(content, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        )
    except (OSError, ValueError) as error:
        raise MedlabelError(
            f"{path}: expected a table of file names, found something else "
            f"({' '.join(str(error).split())})."
        ) from error
    column = next((name for name in COLUMNS if name in table.columns), None)
    if column is None:
        raise MedlabelError(
            f"{path}: expected a column {' or '.join(COLUMNS)} with file names, found "
            f"{', '.join(map(str, table.columns))}."
        )
    names = [str(one) for one in table[column].tolist() if str(one).strip()]
    return list(dict.fromkeys(names))
