"""The main figure: what the student gains on its teacher, seed by seed."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlabel.errors import MedlabelError
from medlabel.report import style
from medlabel.report.results import (
    ARMS,
    COMPARED,
    METRICS,
    Arm,
    Estimate,
    Metric,
    Study,
    read_scores,
    read_study,
)
from medlabel.report.text import p_value, percent, points, readable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def draw(study: Path, scores: Path, targets: Sequence[Path]) -> None:
    """Draw the differences in accuracy and F1, and beside them every arm's own accuracy.

    Parameters
    ----------
    study
        Means, intervals and tests, as `medlabel study` wrote them.
    scores
        The score of each seed and arm, from the same command.
    targets
        Files to write, .svg or .png.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, or the two do not tell of the same seeds.
    """
    found = read_study(study)
    arms = _by_arm(read_scores(scores), found, scores)
    with style.house():
        figure = style.sheet(
            82,
            f"Student against teacher over {found.seeds} seeds: {readable(found.mixture)}",
            f"{' '.join(_tell(found, metric) for metric in COMPARED)} Both judged on the same "
            f"{found.test_images:,} held-out images a seed; teacher {found.encoder}.",
            phantom=found.phantom,
        )
        gains, absolute = figure.subplots(1, 2, width_ratios=(1, 1.6))
        _draw_gains(gains, arms, found)
        _draw_arms(absolute, arms, found)
        figure.legend(loc="outside lower center", ncols=3)
        style.save(figure, targets)


def _by_arm(scores: pd.DataFrame, study: Study, path: Path) -> dict[Arm, pd.DataFrame]:
    # The student on true labels has no teacher: its encoder may be left empty.
    ours = scores[(scores["encoder"] == study.encoder) | scores["encoder"].isna()]
    arms = {arm: ours[ours["arm"] == arm].set_index("seed").sort_index() for arm in ARMS}
    for arm, table in arms.items():
        if len(table) != study.seeds:
            raise MedlabelError(
                f"{path}: arm {arm!r} of encoder {study.encoder!r}: expected {study.seeds} seeds, "
                f"found {len(table)}; run `medlabel study` again."
            )
    return arms


def _tell(study: Study, metric: Metric) -> str:
    gain = study.gains[metric]
    return (
        f"{METRICS[metric]}: mean difference {points(gain.mean)} percentage points "
        f"({study.interval} {points(gain.low)} to {points(gain.high)}; "
        f"sign-flip test, {p_value(gain.holm_p)} after Holm)."
    )


def _draw_gains(axes: Axes, arms: Mapping[Arm, pd.DataFrame], study: Study) -> None:
    for place, metric in enumerate(COMPARED):
        differences = arms["student"][metric] - arms["teacher"][metric]
        _draw_box(axes, place, 100 * differences.to_numpy(), study.gains[metric], style.BLUE)
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    labels = [_tally(study, metric) for metric in COMPARED]
    axes.set_xticks(range(len(COMPARED)), labels)
    axes.set(
        title=f"Gain (n = {study.seeds} seeds)",
        ylabel="Student \N{MINUS SIGN} teacher (percentage points)",
        xlim=(-0.55, len(COMPARED) - 0.45),
    )
    axes.grid(visible=False, axis="x")


def _tally(study: Study, metric: Metric) -> str:
    gain = study.gains[metric]
    return (
        f"{METRICS[metric]}: {points(gain.mean)}\n"
        f"{gain.wins} wins, {gain.ties} ties,\n{gain.losses} losses"
    )


def _draw_arms(axes: Axes, arms: Mapping[Arm, pd.DataFrame], study: Study) -> None:
    for place, arm in enumerate(ARMS):
        values = 100 * arms[arm]["accuracy"].to_numpy()
        _draw_box(axes, place, values, study.arms[arm]["accuracy"], style.ARM_COLOURS[arm])
    axes.axhline(
        100 * study.trivial_accuracy,
        color=style.BLACK,
        linestyle=(0, (4, 2)),
        linewidth=0.9,
        label=f"always the commonest class: {percent(study.trivial_accuracy)}",
    )
    axes.plot([], [], "o", color=style.GREY, markersize=2.4, label="one seed")
    axes.plot([], [], "D", color=style.BLACK, markersize=3, label=f"mean with {study.interval}")
    labels = [
        "\n".join([*textwrap.wrap(name, 10), percent(study.arms[arm]["accuracy"].mean)])
        for arm, name in ARMS.items()
    ]
    axes.set_xticks(range(len(ARMS)), labels)
    axes.set(
        title=f"Accuracy of each arm (n = {study.seeds} seeds)",
        ylabel="Accuracy on held-out images (%)",
        xlim=(-0.55, len(ARMS) - 0.45),
    )
    axes.grid(visible=False, axis="x")


def _draw_box(
    axes: Axes, place: float, values: np.ndarray, estimate: Estimate, colour: str
) -> None:
    axes.plot(
        place - 0.3 + 0.2 * style.jitter(len(values)),
        values,
        linestyle="",
        marker="o",
        markersize=2.4,
        markeredgewidth=0,
        color=colour,
        alpha=0.6,
    )
    axes.boxplot(
        values,
        positions=[place],
        widths=0.26,
        showfliers=False,
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": colour, "alpha": 0.35, "linewidth": 0.8},
        medianprops={"color": style.BLACK, "linewidth": 1.0},
        whiskerprops={"linewidth": 0.8},
        capprops={"linewidth": 0.8},
    )
    mean, low, high = 100 * estimate.mean, 100 * estimate.low, 100 * estimate.high
    axes.vlines(place + 0.28, low, high, color=style.BLACK, linewidth=1.1)
    axes.plot(place + 0.28, mean, marker="D", markersize=3, color=style.BLACK)
