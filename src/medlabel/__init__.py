"""Label medical images without a human labeller, and measure how well that works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medlabel.annotation.estimator import Labeller

__version__ = "0.2.0"
__all__ = ["Labeller", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what is heavy only when it is asked for."""
    if name == "Labeller":
        from medlabel.annotation.estimator import Labeller

        return Labeller
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
