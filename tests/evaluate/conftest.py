"""Parameters of small studies on made-up files."""

from __future__ import annotations

import pytest

from medlabel.params import Params

from .world import small


@pytest.fixture(scope="session")
def small_params(default_params: Params) -> Params:
    """The committed parameters with fewer images, seeds and resamples, and more studies."""
    return small(default_params)
