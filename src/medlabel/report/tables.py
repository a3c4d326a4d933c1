"""A study's numbers as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from medlabel.evaluate.results import Comparison, Metric, StudyResult
from medlabel.report import beside, protocol
from medlabel.report.curve import tell_crossing
from medlabel.report.sources import Source
from medlabel.report.table import Table
from medlabel.report.text import ARMS, METRICS, MINUS, NONE, change, heading, value, with_interval

if TYPE_CHECKING:
    import pandas as pd

CLASSES_SHOWN = 12  # cells whose classes are told apart


def build(study: StudyResult, sources: Sequence[Source], published: pd.DataFrame) -> list[Table]:
    """Return all tables that a study has rows for.

    Parameters
    ----------
    study
        Its results.
    sources
        Of its cells.
    published
        Table of published values.
    """
    tables = [
        _scores(study),
        _gains(study),
        _comparisons(study),
        beside.alike(study),
        beside.otherwise(study),
        beside.capstone(study, sources[0], published),
        *_classes(study),
        _trainings(study, sources),
    ]
    return [table for table in tables if table.rows]


def _scores(study: StudyResult) -> Table:
    rows = [
        (
            cell.label,
            ARMS[arm],
            cell.repeats.removeprefix("n = "),
            *(with_interval(metric, found[metric]) for metric in METRICS),
            _spread(found["accuracy"].sd),
            value("accuracy", cell.trivial_accuracy),
        )
        for cell in study.cells
        for arm, found in cell.arms.items()
    ]
    return Table(
        title="Scores on held-out images",
        note=f"Mean over the repeats ({study.interval}, {study.resamples:,} resamples). Intervals "
        f"are over seeds, and pretrainings where there are several; over the test images too on "
        f"official files, whose test images all seeds share; a single repeat knows the chance of "
        f"the images alone. {_images(study)} Trivial: always answering the commonest class (its "
        f"AUC is 0.5).",
        header=(
            "Cell",
            "Arm",
            "Repeats",
            *map(heading, METRICS),
            "SD of accuracy",
            "Trivial accuracy (%)",
        ),
        rows=tuple(rows),
    )


def _images(study: StudyResult) -> str:
    sizes = dict.fromkeys((cell.train_images, cell.test_images) for cell in study.cells)
    told = [f"{train:,} images to train on, {test:,} held out" for train, test in sizes]
    return f"Each seed: {'; or '.join(told)}."


def _spread(sd: float | None) -> str:
    return NONE if sd is None else value("accuracy", sd)


def _gains(study: StudyResult) -> Table:
    metrics: Sequence[Metric] = tuple(METRICS) if len(study.cells) == 1 else beside.HEADLINES
    rows = [
        (
            cell.label,
            heading(metric),
            value("accuracy", cell.pseudolabel_accuracy or 0),
            change(metric, gain.mean),
            NONE if gain.sd is None else value(metric, gain.sd),
            f"{change(metric, gain.low)} to {change(metric, gain.high)}",
            f"{change(metric, gain.image_low)} to {change(metric, gain.image_high)}",
            f"{gain.wins} / {gain.ties} / {gain.losses}",
            *(f"{p:.2g}" for p in (gain.wilcoxon_p, gain.permutation_p, gain.holm_p)),
        )
        for cell in study.cells
        for metric, gain in cell.gains.items()
        if metric in metrics
    ]
    crossing = f" {tell_crossing(study)}" if study.kind == "number" else ""
    return Table(
        title="Gain of the student on its teacher",
        note=f"Student {MINUS} teacher, paired by pretraining and seed; accuracies in percentage "
        f"points. Two-sided tests over the pairs, or over the means of the pretrainings where "
        f"there are several; Holm corrects the permutation (sign-flip) test over the metrics of a "
        f"cell.{crossing}",
        header=(
            "Cell",
            "Metric",
            "Labels right (%)",
            "Mean",
            "SD",
            f"{study.interval} over repeats",
            f"{study.interval} over repeats and images",
            "Wins / ties / losses",
            "p (Wilcoxon)",
            "p (permutation)",
            "p (Holm)",
        ),
        rows=tuple(rows),
    )


def _comparisons(study: StudyResult) -> Table:
    level = round(1 - study.confidence, 9)
    reference = study.comparisons[0].reference if study.comparisons else ""
    several = len({one.reference for one in study.comparisons}) > 1
    return Table(
        title="Each cell against the first",
        note=f"What was trained in a cell {MINUS} in the first cell of the same images"
        f"{'' if several else f' ({reference})'}, paired by repeat and test image; accuracy in "
        f"percentage points. Holm's p is corrected over the cells that have the same reference, "
        f"not over all pairs, which were not asked; the verdict asks for Holm's p below {level:g}. "
        f"That two cells are not distinguishable does not say that they are equal.",
        header=(
            "Cell",
            "Reference",
            "Metric",
            "Difference",
            study.interval,
            "p",
            "p (Holm)",
            "Verdict",
        ),
        rows=tuple(
            (
                one.cell,
                one.reference,
                heading(one.metric),
                change(one.metric, one.difference),
                f"{change(one.metric, one.low)} to {change(one.metric, one.high)}",
                f"{one.p:.2g}",
                f"{one.holm_p:.2g}",
                judge(one, level),
            )
            for one in study.comparisons
        ),
    )


def judge(one: Comparison, level: float) -> str:
    """Say in plain words what a comparison shows at a level of significance."""
    if one.holm_p >= level or one.difference == 0:
        return "not distinguishable"
    return "higher" if one.difference > 0 else "lower"


def _classes(study: StudyResult) -> Iterator[Table]:
    if len(study.cells) > CLASSES_SHOWN:
        return
    for cell in study.cells:
        name = cell.images if cell.label == cell.images else f"{cell.images}, {cell.label}"
        counted = any(cell.confusion.values())
        yield Table(
            title=f"Classes: {name}",
            note=f"Recall: mean over {cell.repeats}. "
            + (
                "Counts: test images that were given each class, summed over the repeats."
                if counted
                else "An image may carry several labels, which have no confusion."
            ),
            header=(
                "Arm",
                "True class" if counted else "Label",
                "Recall (%)",
                *(f"as {one}" for one in cell.classes if counted),
            ),
            rows=tuple(
                (
                    ARMS[arm],
                    one,
                    f"{100 * recalls[place]:.1f}",
                    *(f"{count:,}" for count in (cell.confusion[arm][place] if counted else ())),
                )
                for arm, recalls in cell.recall.items()
                for place, one in enumerate(cell.classes)
            ),
        )


def _trainings(study: StudyResult, sources: Sequence[Source]) -> Table:
    rows = dict.fromkeys(
        (
            cell.images,
            cell.network,
            cell.recipe,
            _differences(source),
            cell.start,
            f"{cell.parameters:,}",
            cell.pixels.replace("->", "→"),
            str(cell.epochs),
            str(cell.batch_size),
            cell.precision,
            cell.device,
        )
        for cell, source in zip(study.cells, sources, strict=True)
    )
    return Table(
        title="Training",
        note="For official files, in what a training differs from MedMNIST v2's published protocol "
        "(Yang et al., Scientific Data 10:41, 2023), with the published value in brackets.",
        header=(
            "Images",
            "Network",
            "Recipe",
            "Differs from the published protocol in",
            "First weights",
            "Parameters",
            "Pixels",
            "Epochs",
            "Batch",
            "Precision",
            "Device",
        ),
        rows=tuple(rows),
    )


def _differences(source: Source) -> str:
    if source.mixture is not None:
        return NONE
    return "; ".join(protocol.differences(source.settings)) or "nothing"
