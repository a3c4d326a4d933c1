"""A study's numbers as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from medlabel.evaluate.results import Comparison, Estimate, Metric, StudyResult
from medlabel.report import beside, protocol, teachers
from medlabel.report.curve import tell_crossing
from medlabel.report.sources import Source
from medlabel.report.table import Table, distinct
from medlabel.report.text import ARMS, METRICS, MINUS, NONE, change, heading, value, with_interval

CLASSES_SHOWN = 12  # cells whose classes are told apart


def build(study: StudyResult, sources: Sequence[Source], published: pd.DataFrame) -> list[Table]:
    """Return all tables that a study has rows for."""
    tables = [
        teachers.taught_by_labels(sources),
        teachers.unknown_words(sources),
        _scores(study),
        _gains(study),
        _comparisons(study),
        beside.alike(study),
        beside.otherwise(study),
        beside.taught(study, sources[0], published),
        *_classes(study),
        _trainings(study, sources),
        teachers.weights(sources),
    ]
    return [table for table in tables if table.rows]


def _scores(study: StudyResult) -> Table:
    sizes = dict.fromkeys((cell.train_images, cell.test_images) for cell in study.cells)
    images = "; or ".join(
        f"{train:,} images to train on, {test:,} held out" for train, test in sizes
    )
    return Table(
        title="Scores on held-out images",
        note=f"Mean over the repeats ({study.interval}, {study.resamples:,} resamples). Intervals "
        f"are over seeds, and pretrainings where there are several; over the test images too on "
        f"official files, whose test images all seeds share; a single repeat knows the chance of "
        f"the images alone. Each seed: {images}. Trivial: always answering the commonest class "
        f"(its AUC is 0.5).",
        rows=[
            {
                "Cell": cell.label,
                "Arm": ARMS[arm],
                "Repeats": cell.repeats.removeprefix("n = "),
                **{heading(metric): with_interval(metric, found[metric]) for metric in METRICS},
                "SD of accuracy": _spread("accuracy", found["accuracy"]),
                "Trivial accuracy (%)": value("accuracy", cell.trivial_accuracy),
            }
            for cell in study.cells
            for arm, found in cell.arms.items()
        ],
    )


def _spread(metric: Metric, estimate: Estimate) -> str:
    return NONE if estimate.sd is None else value(metric, estimate.sd)


def _range(metric: Metric, low: float, high: float) -> str:
    return f"{change(metric, low)} to {change(metric, high)}"


def _gains(study: StudyResult) -> Table:
    metrics: Sequence[Metric] = tuple(METRICS) if len(study.cells) == 1 else beside.HEADLINES
    crossing = f" {tell_crossing(study)}" if study.along_teachers else ""
    return Table(
        title="Gain of the student on its teacher",
        note=f"Student {MINUS} teacher, paired by pretraining and seed; accuracies in percentage "
        f"points. Two-sided tests over the pairs, or over the means of the pretrainings where "
        f"there are several; Holm corrects the permutation (sign-flip) test over the metrics of a "
        f"cell.{crossing}",
        rows=[
            {
                "Cell": cell.label,
                "Metric": heading(metric),
                "Labels right (%)": value("accuracy", cell.pseudolabel_accuracy or 0),
                "Mean": change(metric, gain.mean),
                "SD": _spread(metric, gain),
                f"{study.interval} over repeats": _range(metric, gain.low, gain.high),
                f"{study.interval} over repeats and images": _range(
                    metric, gain.image_low, gain.image_high
                ),
                "Wins / ties / losses": f"{gain.wins} / {gain.ties} / {gain.losses}",
                "p (Wilcoxon)": f"{gain.wilcoxon_p:.2g}",
                "p (permutation)": f"{gain.permutation_p:.2g}",
                "p (Holm)": f"{gain.holm_p:.2g}",
            }
            for cell in study.cells
            for metric, gain in cell.gains.items()
            if metric in metrics
        ],
    )


def _comparisons(study: StudyResult) -> Table:
    level = round(1 - study.confidence, 9)
    references = {one.reference for one in study.comparisons}
    reference = f" ({references.pop()})" if len(references) == 1 else ""
    return Table(
        title="Each cell against the first",
        note=f"What was trained in a cell {MINUS} in the first cell of the same images"
        f"{reference}, paired by repeat and test image; accuracy in "
        f"percentage points. Holm's p is corrected over the cells that have the same reference, "
        f"not over all pairs, which were not asked; the verdict asks for Holm's p below {level:g}. "
        f"That two cells are not distinguishable does not say that they are equal.",
        rows=[
            {
                "Cell": one.cell,
                "Reference": one.reference,
                "Metric": heading(one.metric),
                "Difference": change(one.metric, one.difference),
                study.interval: _range(one.metric, one.low, one.high),
                "p": f"{one.p:.2g}",
                "p (Holm)": f"{one.holm_p:.2g}",
                "Verdict": judge(one, level),
            }
            for one in study.comparisons
        ],
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
        counts = (
            "Counts: test images that were given each class, summed over the repeats."
            if counted
            else "An image may carry several labels, which have no confusion."
        )
        yield Table(
            title=f"Classes: {name}",
            note=f"Recall: mean over {cell.repeats}. {counts}",
            rows=[
                {
                    "Arm": ARMS[arm],
                    "True class" if counted else "Label": one,
                    "Recall (%)": f"{100 * recalls[place]:.1f}",
                    **{
                        f"as {given}": f"{cell.confusion[arm][place][answer]:,}"
                        for answer, given in enumerate(cell.classes)
                        if counted
                    },
                }
                for arm, recalls in cell.recall.items()
                for place, one in enumerate(cell.classes)
            ],
        )


def _trainings(study: StudyResult, sources: Sequence[Source]) -> Table:
    return Table(
        title="Training",
        note="For official files, in what a training differs from MedMNIST v2's published protocol "
        "(Yang et al., Scientific Data 10:41, 2023), with the published value in brackets.",
        rows=distinct(
            {
                "Images": cell.images,
                "Network": cell.network,
                "Recipe": cell.recipe,
                "Differs from the published protocol in": _differences(source),
                "First weights": cell.start,
                "Parameters": f"{cell.parameters:,}",
                "Pixels": cell.pixels.replace("->", "→"),
                "Epochs": str(cell.epochs),
                "Batch": str(cell.batch_size),
                "Precision": cell.precision,
                "Device": cell.device,
            }
            for cell, source in zip(study.cells, sources, strict=True)
        ),
    )


def _differences(source: Source) -> str:
    if source.mixture is not None:
        return NONE
    return "; ".join(protocol.differences(source.settings)) or "nothing"
