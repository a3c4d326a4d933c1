"""One image of a file, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medlabel.data.pixels import Pixels

SMALLEST_EDGE = 2  # pixels
MOST_ELONGATED = 64  # times as long as wide: strips and rulers

Outcome = Literal["unreadable", "empty", "wrongly shaped", "skipped", "no image"]


class UnreadableError(Exception):
    """Why an image cannot be read, in a few words that tell nothing of a patient.

    Parameters
    ----------
    reason
        In a few words, with the remedy.
    outcome
        What kind of trouble it is.
    """

    def __init__(self, reason: str, outcome: Outcome = "unreadable") -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome


@dataclass(frozen=True)
class Page:
    """One image of a file, with what a reader should know of it.

    Pages are numbered from 1 where a file has several. Pixels are uint8 of shape (H, W) for grey or
    (H, W, 3) for colour.
    """

    number: int | None
    pixels: Pixels
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """How pixels are read where a file leaves a choice.

    Attributes
    ----------
    window
        Intensities that become black and white in images of more than 8 bits; None chooses.
    volumes
        ``"slices"``: each slice of a volume is an image; ``"projection"``: its brightest voxels.
    """

    window: tuple[float, float] | None = None
    volumes: Literal["slices", "projection"] = "slices"


def checked(page: Page) -> Page:
    """Return the page.

    Raises
    ------
    UnreadableError
        When it is a strip or a few pixels, in which nothing can be seen.
    """
    height, width = page.pixels.shape[:2]
    if min(height, width) < SMALLEST_EDGE:
        reason = f"{width} × {height} pixels, at least {SMALLEST_EDGE} × {SMALLEST_EDGE} are read"
        raise UnreadableError(reason, "wrongly shaped")
    if max(height, width) > MOST_ELONGATED * min(height, width):
        reason = f"{width} × {height} pixels: more than {MOST_ELONGATED} times as long as wide"
        raise UnreadableError(reason, "wrongly shaped")
    return page
