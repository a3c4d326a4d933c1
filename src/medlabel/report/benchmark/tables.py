"""The benchmark's numbers as tables, beside the published ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medlabel.files import replacing
from medlabel.report.benchmark import comparison, protocol
from medlabel.report.benchmark.comparison import (
    METRICS,
    Comparison,
    Difference,
    Metric,
    Published,
    Run,
    Score,
)
from medlabel.report.benchmark.panels import one_image, signed
from medlabel.report.tables import Table
from medlabel.report.text import MINUS, PHANTOM_MARK, percent, points, readable

# Heading and decimals of each metric; those with a factor of 100 are in per cent.
COLUMNS: dict[Metric, tuple[str, int, float]] = {
    "auc": ("AUC", 3, 1.0),
    "accuracy": ("Accuracy (%)", 1, 100.0),
    "balanced_accuracy": ("Balanced accuracy (%)", 1, 100.0),
    "f1": ("F1", 3, 1.0),
    "average_precision": ("AP", 3, 1.0),
    "calibration_error": ("ECE", 3, 1.0),
}
NAMES = {"auc": "AUC", "accuracy": "Accuracy"}
NONE = "–"


@dataclass(frozen=True)
class Part:
    """Tables under one heading.

    Attributes
    ----------
    title, note
        Heading, and what all its tables share.
    tables
        May be empty: the note then says why.
    """

    title: str
    note: str
    tables: tuple[Table, ...]


def write(results: Path, runs: Mapping[str, Sequence[Path]], target: Path) -> None:
    """Write the benchmark's tables as Markdown.

    Parameters
    ----------
    results
        The JSON file that `medlabel compare` wrote.
    runs
        Folders of the runs by the row's name.
    target
        Markdown file to write.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or the runs are not those that were compared.
    """
    found = comparison.read(results)
    read = comparison.read_runs(found, runs)
    parts = (_markdown(part) for part in build(found, read))
    text = "\n\n".join([f"# {heading(found, read)}", summarise(found, read), *parts]) + "\n"
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def heading(found: Comparison, runs: Mapping[str, Sequence[Run]]) -> str:
    """Return the title of tables and page: preset, device, and how far it is the protocol."""
    title = (
        f"Benchmark, {readable(found.preset)} preset on {' and '.join(found.devices)}: "
        f"{protocol.verdict(found, runs)}"
    )
    return f"{PHANTOM_MARK}: {title}" if found.phantom else title


def summarise(found: Comparison, runs: Mapping[str, Sequence[Run]]) -> str:
    """Say in a paragraph what was trained, and how its numbers are to be read."""
    within = [
        one
        for row in found.rows
        for entry in row.published
        for one in (entry.auc_within, entry.accuracy_within)
        if one is not None
    ]
    judged = (
        f"Published AUCs and accuracies of the same dataset and model that lie within this "
        f"benchmark's intervals: {sum(within)} of {len(within)}."
        if within
        else "No value is published for these datasets and models."
    )
    return (
        f"{len(found.rows)} row{'s' if len(found.rows) > 1 else ''} on "
        f"{', '.join(found.datasets)}, trained for {protocol.lengths(found)}: "
        f"{protocol.verdict(found, runs)}. {judged} Overlapping intervals are not progress."
    )


def build(found: Comparison, runs: Mapping[str, Sequence[Run]]) -> tuple[Part, ...]:
    """Return every table, in parts: a part for each dataset, pairs, classes and sources."""
    return (
        *(_dataset(found, rows, runs) for rows in found.datasets.values()),
        _pairs(found),
        _classes(found),
        _sources(found),
    )


def _markdown(part: Part) -> str:
    blocks = [f"## {part.title}", part.note]
    for table in part.tables:
        lines = [
            table.header,
            tuple("---:" if right else "---" for right in table.numeric),
            *table.rows,
        ]
        cells = "\n".join(f"| {' | '.join(map(_escape, line))} |" for line in lines)
        blocks += [f"### {table.title}", *([table.note] if table.note else []), cells]
    return "\n\n".join(blocks)


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def _dataset(found: Comparison, rows: Sequence[Score], runs: Mapping[str, Sequence[Run]]) -> Part:
    first = rows[0]
    mark = f"{PHANTOM_MARK}. " if first.phantom else ""
    tables = [_scores(found, rows), _training(rows, runs)]
    if any(row.published for row in rows):
        tables.insert(1, _published(found, rows))
    return Part(
        title=f"{'PHANTOM: ' if first.phantom else ''}{first.dataset}",
        note=f"{mark}n = {first.images:,} test images; one image = {one_image(first)} points of "
        f"accuracy. Trivial: always answering {_commonest(first)} has the accuracy "
        f"{percent(first.trivial_accuracy)} and the AUC {comparison.CHANCE_AUC}.",
        tables=tuple(tables),
    )


def _commonest(row: Score) -> str:
    return "that an image carries no label" if row.multi_label else "the commonest class"


def _scores(found: Comparison, rows: Sequence[Score]) -> Table:
    return Table(
        title=f"Scores on {rows[0].dataset}",
        note=f"Mean ± standard deviation over the seeds [{found.interval}, {found.resamples:,} "
        f"resamples]; a single seed has no standard deviation, and its interval knows only the "
        f"chance of the images. AP: average precision; ECE: expected calibration error.",
        header=("Model", "Recipe", "Seeds", *(COLUMNS[metric][0] for metric in METRICS)),
        rows=tuple(
            (row.model, row.recipe, str(row.seeds), *(_estimate(row, name) for name in METRICS))
            for row in rows
        ),
    )


def _estimate(row: Score, metric: Metric) -> str:
    estimate = row.metrics[metric]
    _, decimals, unit = COLUMNS[metric]
    mean, low, high = (
        f"{unit * value:.{decimals}f}" for value in (estimate.mean, estimate.low, estimate.high)
    )
    spread = "" if estimate.sd is None else f" ± {unit * estimate.sd:.{decimals}f}"
    return f"{mean}{spread} [{low}–{high}]"


def _published(found: Comparison, rows: Sequence[Score]) -> Table:
    return Table(
        title=f"Beside the published values on {rows[0].dataset}",
        note=f"Difference: this benchmark {MINUS} published; accuracy in percentage points. "
        f"Within: the published value lies in this benchmark's {found.interval}. Values of the "
        f"same model are listed whatever their recipe, image size and length: compare these first.",
        header=(
            "Model",
            "Recipe",
            "Pixels, epochs, batch",
            "Published recipe",
            "Published pixels, epochs, batch",
            "AUC",
            "Published AUC",
            "Difference",
            "Within",
            "Accuracy (%)",
            "Published accuracy (%)",
            "Difference (points)",
            "Within",
            "Source",
        ),
        rows=tuple(_beside(row, entry) for row in rows for entry in row.published),
    )


def _beside(row: Score, entry: Published) -> tuple[str, ...]:
    return (
        row.model,
        row.recipe,
        f"{row.pixels}, {row.epochs}, {row.batch_size}",
        entry.recipe,
        _settings(entry),
        f"{row.metrics['auc'].mean:.3f}",
        *_against(entry.auc, entry.auc_difference, entry.auc_within, "auc"),
        f"{100 * row.metrics['accuracy'].mean:.1f}",
        *_against(entry.accuracy, entry.accuracy_difference, entry.accuracy_within, "accuracy"),
        entry.source,
    )


def _settings(entry: Published) -> str:
    known = (_pixels(entry), entry.epochs, entry.batch_size)
    return ", ".join(NONE if one is None else str(one) for one in known)


def _pixels(entry: Published) -> str | None:
    return None if entry.image_size is None else str(entry.image_size).replace("->", "→")


def _against(
    value: float | None, difference: float | None, within: bool | None, metric: Metric
) -> tuple[str, str, str]:
    if value is None or difference is None:
        return NONE, NONE, NONE
    _, decimals, unit = COLUMNS[metric]
    told = points(difference) if metric == "accuracy" else signed(difference, decimals)
    return f"{unit * value:.{decimals}f}", told, "yes" if within else "no"


def _training(rows: Sequence[Score], runs: Mapping[str, Sequence[Run]]) -> Table:
    return Table(
        title=f"Training on {rows[0].dataset}",
        note="What each row differs in from MedMNIST v2's published protocol (Yang et al., "
        "Scientific Data 10:41, 2023), with the published value in brackets.",
        header=(
            "Model",
            "Recipe",
            "Differs from the published protocol in",
            "First weights",
            "Parameters",
            "Pixels",
            "Epochs",
            "Batch",
            "Precision",
            "Device",
            "Minutes a run",
        ),
        rows=tuple(_trained(row, runs[row.name][0]) for row in rows),
    )


def _trained(row: Score, run: Run) -> tuple[str, ...]:
    differences = protocol.differences(row.dataset, run.record.settings)
    return (
        row.model,
        row.recipe,
        "; ".join(differences) or "nothing",
        _first_weights(row, run),
        f"{row.parameters:,}",
        row.pixels,
        str(row.epochs),
        str(row.batch_size),
        row.precision,
        row.device,
        f"{row.seconds / 60:.1f}",
    )


def _first_weights(row: Score, run: Run) -> str:
    """Name the row that a row starts from, rather than the path of its weights."""
    start, rest = run.record.settings.start, row.start.partition(": ")[2]
    if start.source != "row":
        return row.start
    return f"{start.model or row.model}/{start.recipe} on {start.dataset}: {rest}"


def _pairs(found: Comparison) -> Part:
    level = round(1 - found.confidence, 9)
    if not found.comparisons:
        return Part("Paired comparisons", "No two rows share a dataset.", ())
    return Part(
        title="Paired comparisons",
        note=f"First {MINUS} second on the same test images, with its {found.interval}; accuracy "
        f"in percentage points. Holm's p is corrected over the comparisons; the verdict asks for "
        f"Holm's p below {level:g}. That two rows are not distinguishable does not say that they "
        f"are equal.",
        tables=tuple(
            Table(
                title=f"Pairs on {dataset}",
                note="",
                header=(
                    "First",
                    "Second",
                    "Metric",
                    "Difference",
                    found.interval,
                    "p",
                    "p (Holm)",
                    "Verdict",
                ),
                rows=tuple(
                    _pair(one, level) for one in found.comparisons if one.dataset == dataset
                ),
            )
            for dataset in dict.fromkeys(one.dataset for one in found.comparisons)
        ),
    )


def _pair(one: Difference, level: float) -> tuple[str, ...]:
    tell = points if one.metric == "accuracy" else signed
    return (
        one.first,
        one.second,
        NAMES[one.metric],
        tell(one.difference),
        f"{tell(one.low)} to {tell(one.high)}",
        _p(one.p),
        _p(one.p_holm),
        judge(one, level),
    )


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def judge(one: Difference, level: float) -> str:
    """Say in plain words what a comparison shows at a level of significance."""
    if one.p_holm >= level or one.difference == 0:
        return "not distinguishable"
    return "first higher" if one.difference > 0 else "second higher"


def _classes(found: Comparison) -> Part:
    return Part(
        title="Classes",
        note="Recall: mean over the seeds. Confusion: test images of the true class (line) that "
        "were given each class (column), summed over the seeds.",
        tables=tuple(_confusion(row) for row in found.rows),
    )


def _confusion(row: Score) -> Table:
    seeds = f"n = {row.seeds} seed{'s' if row.seeds > 1 else ''}"
    title = f"{row.dataset}: {row.model}, {row.recipe}"
    recalls = [NONE if value is None else f"{100 * value:.1f}" for value in row.recall]
    if row.confusion is None:
        return Table(
            title=title,
            note=f"{seeds}; an image may carry several labels, which have no confusion matrix.",
            header=("Label", "Recall (%)"),
            rows=tuple(zip(row.classes, recalls, strict=True)),
        )
    return Table(
        title=title,
        note=f"{seeds}.",
        header=("True class", "Recall (%)", *(f"as {name}" for name in row.classes)),
        rows=tuple(
            (name, recall, *(f"{count:,}" for count in counts))
            for name, recall, counts in zip(row.classes, recalls, row.confusion, strict=True)
        ),
    )


def _sources(found: Comparison) -> Part:
    entries = list(_unique(found))
    if not entries:
        return Part("Sources of the published values", "None is published for these rows.", ())
    return Part(
        title="Sources of the published values",
        note="Each value as its source has it; nothing was measured again.",
        tables=(
            Table(
                title="Published values",
                note="",
                header=(
                    "Dataset",
                    "Model",
                    "Recipe",
                    "Pixels, epochs, batch",
                    "AUC",
                    "Accuracy (%)",
                    "Source",
                    "Note",
                ),
                rows=tuple(entries),
            ),
        ),
    )


def _unique(found: Comparison) -> Iterator[tuple[str, ...]]:
    """Give each published value once, though several rows are compared with it."""
    yield from dict.fromkeys(
        (
            row.dataset,
            entry.model,
            entry.recipe,
            _settings(entry),
            NONE if entry.auc is None else f"{entry.auc:.3f}",
            NONE if entry.accuracy is None else f"{100 * entry.accuracy:.1f}",
            entry.source,
            entry.note or "",
        )
        for row in found.rows
        for entry in row.published
    )
