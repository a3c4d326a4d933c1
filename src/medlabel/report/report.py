"""All that a reader sees, drawn in one process: figures, tables and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medlabel.data.catalogue import is_phantom
from medlabel.params import Params
from medlabel.progress import track
from medlabel.report import (
    boxplots,
    confusion,
    contact_sheet,
    corrections,
    curves,
    page,
    quality,
    samples,
    tables,
)

SUFFIXES = (".svg", ".png")


@dataclass(frozen=True)
class Inputs:
    """Where the earlier steps wrote.

    Attributes
    ----------
    archives
        Image file of each dataset of the mixture; an official one has its facts in a .json beside.
    phantoms
        File of each kind of phantom.
    pool
        Table of the images that may be drawn.
    pseudolabels
        Labels of the study's encoder.
    curves, predictions
        Tables of the students of that encoder, one a block of seeds.
    provenance
        Of that encoder.
    study, scores
        Results of `medlabel study`.
    published
        Reference values with their sources.
    """

    archives: Mapping[str, Path]
    phantoms: Mapping[str, Path]
    pool: Path
    pseudolabels: Path
    curves: Sequence[Path]
    predictions: Sequence[Path]
    provenance: Path
    study: Path
    scores: Path
    published: Path


def write(inputs: Inputs, params: Params, figures: Path, markdown: Path, html: Path) -> None:
    """Draw every figure as ``<figures>/<mixture>_<name>`` in SVG and PNG, then tables and page.

    Raises
    ------
    MedlabelError
        When an input is missing or damaged.
    """
    mixture, encoder = params.mixture, params.study_encoder

    def targets(name: str) -> list[Path]:
        return [figures / f"{mixture.name}_{name}{suffix}" for suffix in SUFFIXES]

    official = {name: path for name, path in inputs.archives.items() if not is_phantom(name)}
    drawings: dict[str, Callable[[Sequence[Path]], None]] = {
        "samples": lambda at: samples.draw(inputs.pool, inputs.archives, mixture, at),
        "curves": lambda at: curves.draw(
            inputs.curves, mixture, encoder, params.student.epochs, params.study.confidence, at
        ),
        "corrections": lambda at: corrections.draw(
            inputs.pseudolabels, inputs.predictions, inputs.archives, mixture, at
        ),
        "boxplots": lambda at: boxplots.draw(inputs.study, inputs.scores, at),
        "quality": lambda at: quality.draw(inputs.study, at),
        "confusion": lambda at: confusion.draw(inputs.pseudolabels, mixture, encoder, at),
        "phantoms": lambda at: contact_sheet.draw(inputs.phantoms, official, at),
    }
    for name, draw in track(drawings.items(), "draw figures", len(drawings)):
        draw(targets(name))
    tables.write(inputs.study, inputs.published, mixture, params.teacher, markdown)
    page.write(
        study=inputs.study,
        published=inputs.published,
        figures={name: targets(name)[0] for name in page.CAPTIONS},
        sidecars=[path.with_suffix(".json") for path in official.values()],
        provenance=inputs.provenance,
        params=params,
        target=html,
    )
