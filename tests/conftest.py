"""Fixtures that more than one package of tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from medlabel import params as parameters

# No test depends on how busy the machine is.
settings.register_profile("medlabel", deadline=None)
settings.load_profile("medlabel")

ROOT = Path(__file__).parent.parent
OFFICIAL_FILES = ("breastmnist.npz", "pneumoniamnist.npz", "vesselmnist3d.npz")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder of official MedMNIST files; the test is skipped where there is none."""
    folders = [Path(os.environ.get("MEDLABEL_MIRROR", "")), ROOT.parent / "shared" / "medmnist"]
    for folder in folders:
        if all((folder / name).is_file() for name in OFFICIAL_FILES):
            return folder
    pytest.skip(f"no folder with {', '.join(OFFICIAL_FILES)}: set MEDLABEL_MIRROR")


@pytest.fixture(scope="session")
def default_params() -> parameters.Params:
    """The parameters of the default study, as committed."""
    return parameters.read([ROOT / "params.yaml"])
