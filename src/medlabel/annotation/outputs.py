"""The folder of labels: written whole or not at all, and never over what a person changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medlabel import files
from medlabel.errors import MedlabelError

RECORD = "run.json"
STAGING = ".unfinished"


class Outputs:
    """A folder to which one run writes.

    What was written is remembered by its checksums in ``run.json``: a file that differs from them
    was changed by a person.

    Parameters
    ----------
    folder
        Where to write; it is made.
    given
        Files that the user hands in, such as corrections: they may be replaced, with a copy kept.
    force
        Replace changed files, with a copy kept.

    Raises
    ------
    MedlabelError
        When the folder cannot be written to, or a person changed a file in it.
    """

    def __init__(self, folder: Path, given: tuple[Path, ...] = (), force: bool = False) -> None:
        self.folder, self.staging = folder, folder / STAGING
        self._given = {path.resolve() for path in given}
        self._force = force
        if folder.exists() and not folder.is_dir():
            raise MedlabelError(
                f"{folder}: expected a folder to write labels to, found a file; name another one "
                f"by --out."
            )
        files.require_writable(folder / RECORD)
        self._known = self._checksums()

    def require_unchanged(self, names: tuple[str, ...]) -> None:
        """Refuse to go on when one of some files was changed by a person, or is not ours."""
        for name in names:
            path = self.folder / name
            if path.is_dir():
                raise MedlabelError(f"{path}: expected a file to write, found a folder.")
            if self._force or path.resolve() in self._given or not self._changed(path):
                continue
            raise MedlabelError(
                f"{path}: exists already and was not written by medlabel, or was changed since; "
                f"give it as --corrections to take its labels over, name another folder by --out, "
                f"or give --force (a copy is kept)."
            )

    def _changed(self, path: Path) -> bool:
        if not path.exists():
            return False
        return files.digest(path) not in self._known.get(path.name, [])

    def _checksums(self) -> dict[str, list[str]]:
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
            found = record["checksums"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}

    @contextmanager
    def writing(self, record: dict[str, Any]) -> Iterator[Path]:
        """Give a folder to write to; its files then take their places, after the record.

        Parameters
        ----------
        record
            Content of ``run.json``, to which the checksums are added.
        """
        shutil.rmtree(self.staging, ignore_errors=True)
        try:
            self.staging.mkdir(parents=True)
            yield self.staging
            self._publish(record)
        except OSError as error:
            raise files.write_error(error, self.folder / RECORD) from error
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)

    def _publish(self, record: dict[str, Any]) -> None:
        staged = sorted(path for path in self.staging.iterdir() if path.is_file())
        checksums = {}
        for path in staged:
            target = self.folder / path.name
            if self._changed(target):
                self._keep_copy(target)
            # Until all have moved, a file may still be the one of the run before.
            before = [files.digest(target)] if target.exists() else []
            checksums[path.name] = sorted({files.digest(path), *before})
        files.write_json(self.folder / RECORD, {**record, "checksums": checksums})
        for path in staged:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            path.replace(self.folder / path.name)
        final = {name: [files.digest(self.folder / name)] for name in checksums}
        files.write_json(self.folder / RECORD, {**record, "checksums": final})

    def _keep_copy(self, target: Path) -> None:
        number = 1
        while (kept := target.with_name(f"{target.stem}.kept-{number}{target.suffix}")).exists():
            number += 1
        shutil.copyfile(target, kept)
