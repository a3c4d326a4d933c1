"""Figures and tables of retrieval: recall, the similarity matrix, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medlabel import files
from medlabel.data import archive, catalogue
from medlabel.evaluate import statistics
from medlabel.evaluate.retrieval import DIRECTIONS, LEVELS, Searched, all_ranks
from medlabel.layout import RETRIEVAL_FILES
from medlabel.params import Params, Retrieval
from medlabel.randomness import stream
from medlabel.report import captions_found, style, table
from medlabel.report.text import percent, readable, shorten

SCORES, TABLES, *FIGURES = RETRIEVAL_FILES
PANELS = 3  # similarity matrices side by side
PANEL = 62.0  # mm
QUESTIONS = 8  # captions whose answers are shown
THUMBNAIL = 13.0  # mm
LINE = 17.0  # mm, of a question and its answers
CUT = 110  # letters of a caption in a figure
# By how many of finding and kind an image shares with a caption.
FRAMES = ((style.BLACK, ":"), (style.ORANGE, "--"), (style.BLUE, "-"))


def write(
    params: Params, name: str, searched: Searched, archives: Mapping[str, Path], folder: Path
) -> None:
    """Draw what was found and write how well.

    Parameters
    ----------
    params
        Of `name` in `retrieval`, and of intervals.
    searched
        As `medlabel.evaluate.retrieval.search` returns it.
    archives
        By dataset: its images.
    folder
        To write `RETRIEVAL_FILES` into.
    """
    settings = params.retrieval[name]
    found = all_ranks(searched)
    with files.replacing(folder / SCORES) as partial:
        found.to_csv(partial, index=False, lineterminator="\n")
    shown = [_table(found, direction, params, name) for direction in DIRECTIONS]
    told = (
        f"{len(searched.images):,} images and the {len(searched.captions):,} captions that were "
        f"written for them. A right answer has the same caption, shows the same finding of the "
        f"same kind, or is of the same kind of image. A caption that names no finding is right "
        f"for all findings of its kind."
    )
    table.write(settings.title, told, shown, folder / TABLES)
    targets = [folder / one for one in FIGURES]
    phantom = all(map(catalogue.is_phantom, searched.images["dataset"].unique()))
    _draw_similarity(settings, searched, phantom, targets[:2])
    _draw_answers(settings, searched, archives, params, phantom, targets[2:4])
    asking = captions_found.spread(searched)
    pictures = _pictures(searched.images.iloc[asking], archives, params, settings)
    captions_found.draw(settings.title, searched, asking, pictures, phantom, targets[4:])


def _table(found: pd.DataFrame, direction: str, params: Params, name: str) -> table.Table:
    depths, asked = params.retrieval[name].depths, params.statistics
    rows = []
    for (reference, level), own in found[found["direction"] == direction].groupby(
        ["encoder", "level"], sort=False
    ):
        places = own["rank"].to_numpy()
        cells = {"Encoder": readable(str(reference)), "Right answer": f"same {level}"}
        for depth in depths:
            hits = (places <= depth).astype(np.float64)
            random = stream(params.seed, "retrieval", name, str(reference), str(level), depth)
            low, high = statistics.interval(hits, asked.confidence, asked.resamples, random)
            cells[f"Recall@{depth} (%)"] = (
                f"{100 * hits.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"
            )
        cells["Median rank"] = f"{np.median(places):g}"
        rows.append(cells)
    asks, answers = direction.split(" to ")
    size = found.loc[found["direction"] == direction, "answers"].iloc[0]
    return table.Table(
        f"From {direction}",
        f"Part of the {asks}s with a right {answers} among the K likest of {size:,}, with its "
        f"{percent(asked.confidence, 0)} interval over questions (BCa bootstrap), and the median "
        f"place of the first right one. Equally alike wrong answers come first.",
        rows,
    )


def _draw_similarity(
    settings: Retrieval, searched: Searched, phantom: bool, targets: Sequence[Path]
) -> None:
    many = len(searched.similarity)
    lines = -(-many // PANELS)
    told = (
        "Rows: images; columns: captions; both sorted by kind and finding. Lines part the kinds. "
        "Cosine, from the smallest to the largest of each encoder: an encoder that knows the kinds "
        "has bright blocks on the diagonal."
    )
    title = f"How alike images and captions are: {settings.title}"
    with style.sheet(targets, lines * PANEL, title, told, phantom=phantom) as figure:
        panels = figure.subplots(lines, min(many, PANELS), squeeze=False)
        for axes, (reference, similarity) in zip(
            panels.ravel(), searched.similarity.items(), strict=False
        ):
            axes.imshow(similarity, aspect="auto", cmap="cividis", interpolation="nearest")
            axes.set_title(readable(reference))
            axes.grid(False)
            _name_kinds(axes, searched)
        for axes in panels.ravel()[many:]:
            axes.set_visible(False)


def _name_kinds(axes: Axes, searched: Searched) -> None:
    kinds = searched.images["kind"].to_numpy()
    first = searched.images.drop_duplicates("caption")["kind"].to_numpy()
    for values, line, ticks in (
        (kinds, axes.axhline, axes.set_yticks),
        (first, axes.axvline, axes.set_xticks),
    ):
        names, starts = np.unique(values, return_index=True)
        ends = np.append(starts[1:], len(values))
        for start in starts[1:]:
            line(start - 0.5, color="white", lw=0.6)
        labels = [readable(one.removeprefix("phantom_")) for one in names]
        ticks((starts + ends - 1) / 2, labels)
    axes.tick_params("x", rotation=90)


def _draw_answers(
    settings: Retrieval,
    searched: Searched,
    archives: Mapping[str, Path],
    params: Params,
    phantom: bool,
    targets: Sequence[Path],
) -> None:
    """Show the images that a few captions find, with the first encoder."""
    reference, similarity = next(iter(searched.similarity.items()))
    questions = _spread(searched)
    told = (
        f"Encoder {readable(reference)}. Left to right: the {settings.shown} images that each "
        f"caption finds first. Blue frame: the finding that the caption names, or the same kind "
        f"if it names none; orange, dashed: another finding of the kind; black, dotted: another "
        f"kind."
    )
    title = f"Images found by captions: {settings.title}"
    body = LINE * len(questions) + 2
    with style.sheet(targets, body, title, told, phantom=phantom, by_hand=True) as figure:
        for line, question in enumerate(questions):
            order = np.argsort(-similarity[:, question], kind="stable")[: settings.shown]
            pictures = _pictures(searched.images.iloc[order], archives, params, settings)
            top = body - LINE * line
            said = shorten(searched.captions[question], CUT)
            style.write(figure, 3, top - 3, said, fontsize=6.5)
            for place, (row, picture) in enumerate(zip(order, pictures, strict=True)):
                _frame(
                    figure,
                    3 + place * (THUMBNAIL + 3),
                    top - LINE + 0.5,
                    picture,
                    [bool(searched.relevant[level][row, question]) for level in LEVELS[1:]],
                )


def _spread(searched: Searched) -> list[int]:
    """Choose captions evenly over kinds and findings."""
    places = np.linspace(0, len(searched.captions) - 1, min(QUESTIONS, len(searched.captions)))
    return [int(one) for one in np.unique(places.round())]


def _pictures(
    images: pd.DataFrame, archives: Mapping[str, Path], params: Params, settings: Retrieval
) -> list[np.ndarray]:
    mixture = params.every_mixture[settings.images]
    opened = {
        name: archive.read(archives[name], name, mixture.size) for name in set(images["dataset"])
    }
    return list(archive.pixels(opened, images, 3, projection=mixture.projection))


def _frame(figure: Figure, x: float, y: float, picture: np.ndarray, shares: Sequence[bool]) -> None:
    colour, dashes = FRAMES[sum(shares)]
    axes = style.place(figure, x, y, THUMBNAIL, THUMBNAIL)
    axes.imshow(picture, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linestyle=dashes, linewidth=1.4)
