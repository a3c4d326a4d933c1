"""What is told of a run: for machines in run.json, for people in a card."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medlabel import __version__
from medlabel.annotation import tables
from medlabel.annotation.corrections import Judged

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("torch", "openvino", "open_clip_torch", "numpy", "pillow", "pydicom", "nibabel")


def versions() -> dict[str, str]:
    """Return the versions of what labels depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"medlabel": __version__, "python": platform.python_version(), **found}


def card(
    table: pd.DataFrame,
    sentences: Mapping[str, Sequence[str]],
    facts: Mapping[str, Any],
    judged: Judged,
) -> str:
    """Write what was done, how right it is thought to be, and the limits, in Markdown.

    It holds nothing of the time of day, so that the same run gives the same bytes.
    """
    counts = Counter(table["label"].tolist())
    lines = ["# Labels of a folder of images", "", tables.told(table, list(sentences)) + ".", ""]
    if sentences:
        lines += ["| class | images | mean probability | said of it |", "|---|---:|---:|---|"]
    for name, said in sentences.items():
        own = table.loc[table["teacher"] == name, f"p_{name}"]
        mean = f"{own.mean():.3f}" if len(own) else "–"
        lines.append(f"| {_cell(name)} | {counts[name]} | {mean} | {_cell('; '.join(said))} |")
    lines += ["", "## How right it is thought to be", "", _cell(str(facts["verdict"])) + "."]
    lines += ["", *_right(judged), ""] if sentences else [""]
    lines += ["## How it was made", ""]
    made = {name: value for name, value in facts.items() if name != "verdict"}
    lines += [f"- {_cell(name)}: {_cell(str(value))}" for name, value in made.items()]
    lines += ["", "## Limits", "", *LIMITS, ""]
    return "\n".join(lines)


LIMITS = (
    "Labels come from words and pixels alone; nobody looked at the images. Kinds of image are told "
    "well, findings much less so. Estimates rest on how sure words are and how far clusters of "
    "images agree with them; they cannot see words that mean another class, and see two scanners "
    "only where border, size, sharpness or noise tell them apart. Single images of no class may "
    "go unseen among others. "
    "**Not for clinical use.**",
)


def _right(judged: Judged) -> list[str]:
    if not judged.checked.checked:
        return [
            "No image was checked by a person. `--audit 50` or `--audit-clusters 3` chooses images "
            "to check; give the filled table back as `--corrections`."
        ]
    found = [f"Of the images that a person checked, the teacher had {judged.checked.told()}."]
    if told := judged.for_all():
        found.append(f"Of those, chance chose some; for all images they say: {'; '.join(told)}.")
    else:
        found.append("They were not chosen by chance, so that this does not hold for the others.")
    return found


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
