"""Where the report finds what the numbers came from: images, labels, answers, records."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import pandas as pd

from medlabel import files
from medlabel.data import archive
from medlabel.errors import MedlabelError
from medlabel.evaluate import judged, results
from medlabel.evaluate.results import CellResult, StudyResult
from medlabel.layout import Layout
from medlabel.params import Cell, Mixture, Params, TrainingSettings
from medlabel.training.record import RunRecord

CELL = [key.name for key in fields(Cell)]
CURVE = ("seed", "epoch", "train_loss", "train_accuracy", "val_loss", "val_auc", "val_accuracy")
_archive = cache(archive.read)


@dataclass(frozen=True)
class Source:
    """One cell of a study as parameters have it, what was found, and the files behind it."""

    params: Params
    layout: Layout
    cell: Cell
    found: CellResult

    @property
    def mixture(self) -> Mixture | None:
        """The mixture that it runs on; None for an official file."""
        return self.params.every_mixture.get(self.cell.images)

    @property
    def settings(self) -> TrainingSettings:
        """How its network was trained."""
        return self.params.training(self.cell.student())

    @property
    def archive_files(self) -> dict[str, str]:
        """The images' files by dataset."""
        return self.layout.archives(self.params.images(self.cell.images))

    def archives(self) -> dict[str, archive.Archive]:
        """Read the images by dataset."""
        return {name: _archive(Path(path), name) for name, path in self.archive_files.items()}

    def labels(self) -> Path:
        """Return the labels of its first teacher."""
        return Path(self.layout.labels(self.cell.images, self.cell.student().labels))

    def predictions(self) -> pd.DataFrame:
        """Read the answers of what was trained, with the first teacher, to the test images."""
        return judged.read_predictions(self._files("predictions.parquet"))

    def curves(self) -> pd.DataFrame:
        """Read how these trained: one row a seed and epoch."""
        columns = [*CURVE, "kept"]
        return pd.concat(
            [files.read_parquet(path, "train", columns) for path in self._files("curves.parquet")],
            ignore_index=True,
        )

    def record(self) -> RunRecord:
        """Read how these were made."""
        return results.read_as(self._files("run.json")[0], "train", RunRecord)

    def _files(self, file: str) -> list[Path]:
        trained, seeds = self.cell.student(), self.cell.seeds
        return [Path(path) for path in self.layout.blocks(self.params, trained, seeds, file)]


def gather(params: Params, study: str, layout: Layout) -> tuple[StudyResult, list[Source]]:
    """Read a study's results, and find the sources of each cell.

    Raises
    ------
    MedlabelError
        When the results are missing, damaged, or of other cells than parameters have.
    """
    path = Path(layout.study(study, "study.json"))
    found = results.read(path)
    cells = params.grids[study]
    if cells != [Cell(**{key: getattr(one, key) for key in CELL}) for one in found.cells]:
        raise MedlabelError(
            f"{path}: expected the {len(cells)} cells of studies.{study}, found others; run "
            f"`medlabel evaluate {study}` again."
        )
    return found, [
        Source(params, layout, cell, one) for cell, one in zip(cells, found.cells, strict=True)
    ]
