"""Figures and tables of one model for many sets: scores over all, by set, and between sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from medlabel import files
from medlabel.data.many_sets import Numbering
from medlabel.evaluate import many_sets as evaluation
from medlabel.evaluate.many_sets import ALL, Answers
from medlabel.evaluate.published import SCORES as COLUMNS
from medlabel.evaluate.results import Metric
from medlabel.layout import MANY_SETS_FILES
from medlabel.params import ManySets, Params
from medlabel.params.studies import Statistics
from medlabel.randomness import stream
from medlabel.report import style, table
from medlabel.report.confusion import draw_matrix
from medlabel.report.text import (
    METRICS,
    NONE,
    PHANTOM_MARK,
    continued,
    heading,
    percent,
    readable,
    titled,
    value,
)

SCORES, TABLES, CONFUSION, *FIGURES = MANY_SETS_FILES
SPLITS = {"train": "training", "val": "validation", "test": "test"}
SHOWN: tuple[Metric, ...] = ("accuracy", "auc")
LOOKS = (
    (style.ORANGE, "o"),
    (style.BLUE, "s"),
    (style.GREEN, "D"),
    (style.VERMILLION, "^"),
    (style.PURPLE, "v"),
    (style.SKY, "P"),
)
RESAMPLES = 1000  # at most: the AUC of 78 classes takes seconds for each hundred
APART, AROUND = 2.6, 24.0  # mm: of two models; around all lines


@dataclass(frozen=True)
class Ran:
    """What a model says of all images, and what its training recorded (``run.json``)."""

    answers: Answers
    record: Mapping[str, Any]


def write(
    params: Params, name: str, models: Mapping[str, Ran], published: pd.DataFrame, folder: Path
) -> None:
    """Draw the models of an entry of `many_sets` beside one another, and write their tables.

    Parameters
    ----------
    params
        Of the entry, and of intervals.
    name
        The entry.
    models
        By name.
    published
        Rows of published values that stand beside; none if empty.
    folder
        To write `MANY_SETS_FILES` into.
    """
    many = params.many_sets[name]
    numbering = Numbering(tuple(many.sets))
    scores = _scores(params, name, numbering, models)
    counts = {
        model: evaluation.between_sets(_tested(ran.answers), numbering)
        for model, ran in models.items()
    }
    best = _best(scores)
    with files.replacing(folder / SCORES) as partial:
        scores.to_csv(partial, index=False, float_format="%.6f", lineterminator="\n")
    with files.replacing(folder / CONFUSION) as partial:
        _counted(counts, many.sets).to_csv(partial, index=False, lineterminator="\n")
    told = _explain(params.statistics, numbering)
    marked = f"**{PHANTOM_MARK}.** {told}" if many.drawn else told
    shown = [_overall(many, scores, models), *_published(many, published)]
    shown += [_by_set(many, numbering, scores), _between(many, counts[best], best)]
    table.write(many.title, marked, shown, folder / TABLES)
    sets, between = (
        [folder / one for one in FIGURES if one.startswith(what)] for what in ("sets", "confusion")
    )
    _draw(many, scores, published, told, sets)
    _draw_confusion(many, counts[best], best, between)


def _tested(answers: Answers) -> Answers:
    return answers.of((answers.images["split"] == "test").to_numpy())


def _best(scores: pd.DataFrame) -> str:
    """Return the model with the highest accuracy on validation images of all sets."""
    judged = scores[(scores["split"] == "val") & (scores["set"] == ALL)].set_index("model")
    return str(judged["accuracy"].idxmax())


def _scores(
    params: Params, name: str, numbering: Numbering, models: Mapping[str, Ran]
) -> pd.DataFrame:
    """Return the scores of all models, those on test images with intervals."""
    found = pd.concat(
        [evaluation.score(ran.answers, numbering, model) for model, ran in models.items()],
        ignore_index=True,
    )
    settings, ends = params.statistics, {}
    for place, row in found[found["split"] == "test"].iterrows():
        answers = _tested(models[str(row["model"])].answers)
        own = (answers.images["dataset"] == row["set"]).to_numpy()
        # The same resamplings for all models.
        random = stream(params.seed, "many sets", "intervals", name, str(row["set"]))
        ends[place] = evaluation.intervals(
            evaluation.single(answers, numbering) if row["set"] == ALL else answers.of(own),
            numbering,
            str(row["set"]),
            settings.confidence,
            min(settings.resamples, RESAMPLES),
            random,
        )
    return found.join(pd.DataFrame.from_dict(ends, orient="index"))


def _counted(counts: Mapping[str, npt.NDArray[np.intp]], sets: Sequence[str]) -> pd.DataFrame:
    """List how many test images of one set are given a class of another, by model."""
    return pd.DataFrame(
        {"model": model, "set": true, "answered": said, "images": int(counted[row, column])}
        for model, counted in counts.items()
        for row, true in enumerate(sets)
        for column, said in enumerate(sets)
    )


def _explain(settings: Statistics, numbering: Numbering) -> str:
    """Say what is scored and how; the same words stand above the figure and the tables."""
    told = [f"Each class of each set is one of its own: {_classes(numbering)} in all."]
    if several := [name for name in numbering.sets if numbering.multi_label(name)]:
        told.append(
            f"Images of {', '.join(several)}, with {len(numbering.labels)} labels that have "
            f"outputs of their own, are told from the others by one more output, and are not in "
            f"scores over all."
        )
    told.append(
        f"Right is an image whose likeliest class of all sets is its own. AUC over all: the mean "
        f"of classes, each against all others, high by construction where sets look unlike; of a "
        f"set: among its own classes. {percent(settings.confidence, 0)} CI: bootstrap over test "
        f"images; one training each, so that what another one would give is not in them."
    )
    return " ".join(told)


def _classes(numbering: Numbering) -> str:
    return str(sum(not numbering.multi_label(name) for name, _ in numbering.classes))


def _overall(many: ManySets, scores: pd.DataFrame, models: Mapping[str, Ran]) -> table.Table:
    rows = []
    for row in scores[scores["set"] == ALL].to_dict("records"):
        model, record = many.models[row["model"]], models[row["model"]].record
        rows.append(
            {
                "Model": readable(row["model"]),
                "Learns from": f"embeddings of {model.encoder}" if model.encoder else "pixels",
                "Parameters": f"{record['parameters']:,}",
                "Sets balanced by": NONE if model.balance == "none" else model.balance,
                "Best epoch": str(record["best_epoch"]),
                "Images": f"{SPLITS[row['split']]}, {row['images']:,}",
                "Accuracy (%)": _with_interval("accuracy", row),
                "AUC": _with_interval("auc", row),
                "Accuracy if the set is known (%)": value("accuracy", row["accuracy_set_known"]),
                "Set right (%)": value("accuracy", row["set_right"]),
            }
        )
    trivial = scores.query("set == @ALL and split == 'test'")["trivial_accuracy"].iloc[0]
    note = (
        f"Trivial accuracy on test images: {percent(trivial)}. If the set is known, the likeliest "
        f"class is looked for among its own. The epoch is that of the best AUC on validation "
        f"images over all sets. Learnt by recipe: "
        f"{', '.join(sorted({readable(one.recipe) for one in many.models.values()}))}."
    )
    return table.Table("Over all sets", note, rows)


def _rows(scores: pd.DataFrame) -> dict[tuple[str, str, str], dict[Any, Any]]:
    """Return scores by set, model and split."""
    return {(row["set"], row["model"], row["split"]): row for row in scores.to_dict("records")}


def _with_interval(metric: Metric, row: Mapping[Any, Any]) -> str:
    if np.isnan(row[metric]):
        return NONE
    ends = [row[f"{metric}_low"], row[f"{metric}_high"]]
    if np.isnan(ends).any():
        return value(metric, row[metric])
    low, high = (value(metric, one) for one in ends)
    return f"{value(metric, row[metric])} ({low} to {high})"


def _published(many: ManySets, published: pd.DataFrame) -> list[table.Table]:
    if published.empty:
        return []
    rows = [
        {
            "Images": readable(SPLITS.get(row["split"], row["split"] or "not said")),
            "Model": row["model"],
            "Epochs": NONE if row["epochs"] is None else f"{row['epochs']:.0f}",
            **{
                heading(metric): NONE
                if (score := row[COLUMNS[metric]]) is None
                else f"{METRICS[metric][2] * score:.5g}"
                for metric in SHOWN
            },
            "Source": row["source"],
            "Note": row["note"] or NONE,
        }
        for row in published.to_dict("records")
    ]
    note = "Values of the official images." + (
        " Ours are PHANTOMS, so that neither is better or worse than the other." * many.drawn
    )
    return [table.Table("Published", note, rows)]


def _by_set(many: ManySets, numbering: Numbering, scores: pd.DataFrame) -> table.Table:
    by, rows = _rows(scores), []
    for name in numbering.sets:
        for model in dict.fromkeys(scores["model"]):
            each = {split: by[name, model, split] for split in SPLITS}
            test = each["test"]
            rows.append(
                {
                    "Set": titled(name, many.drawn),
                    "Classes": f"{test['classes']}"
                    + (" labels" if numbering.multi_label(name) else ""),
                    "Test images": f"{test['images']:,}",
                    "Trivial accuracy (%)": value("accuracy", test["trivial_accuracy"]),
                    "Model": readable(model),
                    "Training accuracy (%)": value("accuracy", each["train"]["accuracy"]),
                    "Validation accuracy (%)": value("accuracy", each["val"]["accuracy"]),
                    "Test accuracy (%)": _with_interval("accuracy", test),
                    "Accuracy if the set is known (%)": value(
                        "accuracy", test["accuracy_set_known"]
                    ),
                    "Training AUC": value("auc", each["train"]["auc"]),
                    "Validation AUC": value("auc", each["val"]["auc"]),
                    "Test AUC": _with_interval("auc", test),
                    "Set right (%)": value("accuracy", test["set_right"]),
                }
            )
    note = (
        "Of a multi-label set accuracy and AUC are MedMNIST's: the means over its labels, trivial "
        "is to deny them all, and the set is known."
    )
    return table.Table("By set", note, rows)


def _between(many: ManySets, counts: npt.NDArray[np.intp], best: str) -> table.Table:
    rows = [
        {"Images of": titled(true, many.drawn), **dict(zip(many.sets, map(str, row), strict=True))}
        for true, row in zip(many.sets, counts, strict=True)
    ]
    note = (
        f"Test images by the set that the likeliest class belongs to: of {readable(best)}, the "
        f"best model on validation images. `{CONFUSION}` has the others."
    )
    return table.Table("Sets taken for others", note, rows)


def _draw(
    many: ManySets,
    scores: pd.DataFrame,
    published: pd.DataFrame,
    told: str,
    targets: Sequence[Path],
) -> None:
    test = scores[scores["split"] == "test"]
    names = [ALL, *many.sets]
    body = AROUND + len(names) * (3 + APART * len(many.models))
    with style.sheet(targets, body, many.title, told, phantom=many.drawn) as figure:
        row = figure.subplots(1, len(SHOWN), sharey=True)
        for axes, metric in zip(row, SHOWN, strict=True):
            _draw_scores(axes, scores, names, list(many.models), metric)
            _draw_published(axes, published, metric)
            axes.set_xlabel(f"{heading(metric)}, test images")
        _draw_trivial(row[0], test, names)
        images = test.drop_duplicates("set").set_index("set")["images"]
        row[0].set_yticks(range(len(names)), [f"{one}\n(n = {images[one]:,})" for one in names])
        row[0].set_ylim(len(names) - 0.5, -0.5)
        style.legend(figure, 5)


def _draw_scores(
    axes: Axes, scores: pd.DataFrame, names: Sequence[str], models: Sequence[str], metric: Metric
) -> None:
    unit = METRICS[metric][2]
    by = _rows(scores)
    for place, (model, (colour, marker)) in enumerate(zip(models, cycle(LOOKS), strict=False)):
        for y, name in enumerate(names):
            one, learnt = by[name, model, "test"], by[name, model, "train"]
            at = y + 0.8 * ((place + 0.5) / len(models) - 0.5)
            low, high = (unit * one[f"{metric}_{end}"] for end in ("low", "high"))
            axes.hlines(at, low, high, color=colour, linewidth=1.1)
            axes.plot(
                unit * one[metric], at, marker, color=colour, markersize=3.2, linestyle="none",
                label=readable(model) if y == 0 else None,
            )  # fmt: skip
            axes.plot(
                unit * learnt[metric], at, "|", color=style.GREY, markersize=4, linestyle="none",
                label="on training images" if y == place == 0 else None,
            )  # fmt: skip
    for y in range(len(names) - 1):
        axes.axhline(y + 0.5, color="#E4E4E4", linewidth=0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _draw_trivial(axes: Axes, test: pd.DataFrame, names: Sequence[str]) -> None:
    trivial = test.drop_duplicates("set").set_index("set")["trivial_accuracy"]
    axes.vlines(
        [100 * trivial[name] for name in names],
        [y - 0.45 for y in range(len(names))], [y + 0.45 for y in range(len(names))],
        color=style.BLACK, linestyle=(0, (2, 1.5)), linewidth=0.9,
        label="always the commonest class",
    )  # fmt: skip


def _draw_published(axes: Axes, published: pd.DataFrame, metric: Metric) -> None:
    column = COLUMNS[metric]
    known = published[(published["split"] == "test") & published[column].notna()]
    for one in known[column]:
        axes.plot(
            METRICS[metric][2] * one, -0.45, "*", color=style.BLACK, markersize=5, clip_on=False,
            linestyle="none", label="published, of the official images",
        )  # fmt: skip


def _draw_confusion(
    many: ManySets, counts: npt.NDArray[np.intp], best: str, targets: Sequence[Path]
) -> None:
    told = (
        f"Test images by the set that their likeliest class belongs to, counts and per cent of "
        f"the true set. Of {readable(best)}, the best model on validation images."
    )
    sets = many.sets
    body = 66 if len(sets) <= 3 else 34 + 9 * len(sets)
    title = f"Sets taken for others: {continued(many.title)}"
    with style.sheet(targets, body, title, told, phantom=many.drawn) as figure:
        axes = figure.subplots()
        picture = draw_matrix(axes, counts, sets)
        axes.set(xlabel="Set of the answer", ylabel="True set")
        style.colour_bar(figure, picture, [axes], "Share of the true set (%)", pad=0.02)
