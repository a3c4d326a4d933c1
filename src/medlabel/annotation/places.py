"""Where things are kept for a user: below XDG_CACHE_HOME, or the system's place for caches."""

from __future__ import annotations

import os
from pathlib import Path

from medlabel.errors import MedlabelError


def cache() -> Path:
    """Return the folder of teachers and of embeddings; it need not exist yet.

    Raises
    ------
    MedlabelError
        When the user has no home folder, as in some containers.
    """
    import platformdirs

    if given := os.environ.get("XDG_CACHE_HOME"):  # platformdirs heeds it on Linux alone
        return Path(given) / "medlabel"
    try:
        return Path(platformdirs.user_cache_dir("medlabel", appauthor=False))
    except RuntimeError as error:
        raise MedlabelError(
            "XDG_CACHE_HOME: this user has no home folder; set it to a folder for caches."
        ) from error


def parameters() -> Path:
    """Return the parameter file that this package was made with."""
    package = Path(__file__).parent.parent
    for path in (package / "params.yaml", package.parent.parent / "params.yaml"):
        if path.is_file():
            return path
    raise MedlabelError(
        f"{package / 'params.yaml'}: missing from this installation; install medlabel again, or "
        f"give --encoder."
    )
