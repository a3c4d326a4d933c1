"""A study in one title and one paragraph."""

from __future__ import annotations

from medlabel.evaluate.results import StudyResult
from medlabel.report.curve import tell_crossing
from medlabel.report.text import PHANTOM_MARK, p_value, percent, points, readable, with_interval


def title(study: StudyResult) -> str:
    """Return the title of tables and page, marked where all images are phantoms."""
    return f"{PHANTOM_MARK}: {study.title}" if study.phantom else study.title


def summarise(study: StudyResult) -> str:
    """Say in a paragraph what was found."""
    if not study.taught:
        return _summarise_published(study)
    if len(study.cells) > 1:
        return _summarise_grid(study)
    cell = study.cells[0]
    gain = cell.gains["accuracy"]
    teacher, student = (cell.arms[arm]["accuracy"].mean for arm in ("teacher", "student"))
    return (
        f"Over {cell.repeats.removeprefix('n = ')} on {readable(cell.images)}, the teacher "
        f"{cell.encoder} labels {percent(teacher)} of {cell.test_images:,} held-out images rightly "
        f"and its student {percent(student)}: a mean difference of {points(gain.mean)} percentage "
        f"points ({study.interval} {points(gain.low)} to {points(gain.high)}; "
        f"{p_value(gain.holm_p)} after Holm; {gain.wins} wins, {gain.ties} ties, {gain.losses} "
        f"losses). Always answering the commonest class gives {percent(cell.trivial_accuracy)}."
    )


def _summarise_grid(study: StudyResult) -> str:
    gains = [cell.gains["accuracy"] for cell in study.cells]
    best = max(study.cells, key=lambda cell: cell.arms["student"]["accuracy"].mean)
    crossing = f" {tell_crossing(study)}" if study.along_teachers else ""
    drawn = sum(cell.phantom for cell in study.cells)
    phantoms = f" {drawn} of the cells hold PHANTOM images." if drawn and not study.phantom else ""
    return (
        f"{len(gains)} cells. The student's accuracy lies above its teacher's, with the "
        f"{study.interval} above zero, in {sum(one.low > 0 for one in gains)}, and below it in "
        f"{sum(one.high < 0 for one in gains)}; mean gain over the cells "
        f"{points(sum(one.mean for one in gains) / len(gains))} points. The best student: "
        f"{best.label}, {percent(best.arms['student']['accuracy'].mean)} "
        f"({points(best.gains['accuracy'].mean)} points).{crossing}{phantoms}"
    )


def _summarise_published(study: StudyResult) -> str:
    alike = [
        one.within
        for cell in study.cells
        for entry in cell.published
        for one in entry.scores.values()
        if one.within is not None
    ]
    told = (
        f"Published values made alike that lie within this study's intervals: {sum(alike)} of "
        f"{len(alike)}."
        if alike
        else "Of published values made alike, none is recorded here."
    )
    best = max(study.cells, key=lambda cell: cell.arms[cell.trained]["auc"].mean)
    return (
        f"{len(study.cells)} cell{'s' if len(study.cells) > 1 else ''} on "
        f"{', '.join(study.by_images)}. The highest AUC: {best.label}, "
        f"{with_interval('auc', best.arms[best.trained]['auc'])}. {told} Overlapping intervals are "
        f"not progress."
    )
