"""Figure: how the heads of locked teachers learnt from captioned phantoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from medlabel.evaluate.results import StudyResult
from medlabel.report import style
from medlabel.report.sources import Source
from medlabel.report.teachers import provenance
from medlabel.report.text import continued

HEIGHT = 62.0  # mm
COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY, style.VERMILLION)
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))  # for more encoders than colours

Curve = Sequence[Mapping[str, float]]  # epoch, loss, validation_accuracy


def curves(sources: Sequence[Source]) -> dict[str, list[Curve]]:
    """Return the recorded curves of every pretraining of a study's teachers, by encoder."""
    teachers = {str(one): (source, one) for source in sources for one in source.cell.teachers}
    found: dict[str, list[Curve]] = {}
    for source, teacher in teachers.values():
        record: Any = provenance(source, teacher)
        if curve := record.get("curve"):
            found.setdefault(teacher.name, []).append(curve)
    return found


def draw(
    study: StudyResult, by_encoder: Mapping[str, Sequence[Curve]], targets: Sequence[Path]
) -> None:
    """Draw loss and validation accuracy by epoch, a line a pretraining, a colour an encoder."""
    with style.sheet(
        targets,
        HEIGHT,
        f"Heads of the teachers: {continued(study.title)}",
        "One line a pretraining (n beside the name), on captioned phantoms alone: no real image is "
        "seen. The last epoch is kept.",
        phantom=study.phantom,
    ) as figure:
        left, right = figure.subplots(1, 2)
        for number, (name, of_encoder) in enumerate(by_encoder.items()):
            for curve in of_encoder:
                epochs = [point["epoch"] for point in curve]
                look = {
                    "color": COLOURS[number % len(COLOURS)],
                    "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
                    "linewidth": 0.9,
                    "label": f"{name} (n = {len(of_encoder)})",
                }
                left.plot(epochs, [point["loss"] for point in curve], **look)
                right.plot(epochs, [100 * point["validation_accuracy"] for point in curve], **look)
        left.set_ylabel("Training loss (nats)")
        right.set_ylabel("Kinds of validation phantoms right (%)")
        for axes in (left, right):
            axes.set_xlabel("Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        style.legend(figure, 3)
