"""Phantoms and the masks of their regions, as segmentation learns and judges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medlabel import files
from medlabel.data import archive
from medlabel.data.phantoms import masks
from medlabel.data.pixels import Pixels
from medlabel.errors import MedlabelError
from medlabel.evaluate.overlap import Mask
from medlabel.params import Segmentation

Series = tuple[str, int]  # kind and size


@dataclass(frozen=True)
class DrawnRegions:
    """Phantoms of several kinds and sizes; their masks are found when they are asked for.

    Attributes
    ----------
    archives, captions
        By kind and size.
    settings
        Kinds, sizes and how many images.
    seed
        That the phantoms were drawn with.
    """

    archives: Mapping[Series, archive.Archive]
    captions: Mapping[Series, Path]
    settings: Segmentation
    seed: int
    _kept: dict[tuple[Series, str], dict[str, Mask]] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        images: Mapping[Series, Path],
        captions: Mapping[Series, Path],
        settings: Segmentation,
        seed: int,
    ) -> DrawnRegions:
        """Open the phantoms.

        Raises
        ------
        MedlabelError
            When a file is missing or damaged, or a kind of phantom has no such region.
        """
        for one in settings.regions:
            known = masks.REGIONS.get(one.kind, ())
            if one.region not in known:
                kinds = f"another kind ({', '.join(masks.REGIONS)})"
                raise MedlabelError(
                    f"segmentation: regions: {one.region!r} of {one.kind} given, "
                    f"{', '.join(known) or kinds} allowed."
                )
        opened = {series: archive.read(path, *series) for series, path in images.items()}
        return cls(opened, captions, settings, seed)

    @property
    def series(self) -> list[Series]:
        """Kinds and sizes, one size after the other."""
        return list(self.archives)

    def numbers(self, series: Series) -> list[int]:
        """Return the places in `settings.regions` of the regions of a kind."""
        return [n for n, one in enumerate(self.settings.regions) if one.kind == series[0]]

    def images(self, series: Series, split: str) -> Pixels:
        """Return the first images of a split: uint8 (n, size, size) or (n, size, size, 3)."""
        return self.archives[series].images[split][: getattr(self.settings.images, split)]

    def masks(self, series: Series, split: str) -> dict[str, Mask]:
        """Return where these images show each region of their kind: bool (n, size, size).

        Raises
        ------
        MedlabelError
            When the images were drawn with another seed.
        """
        if (series, split) not in self._kept:
            kind, size = series
            count = getattr(self.settings.images, split)
            found = masks.locate(kind, count, size, self.seed, split)
            self._check(series, split, found.findings)
            for region, mask in found.masks.items():
                if not mask.any():
                    raise MedlabelError(
                        f"segmentation: images.{split}: {count} given, of which none shows "
                        f"{region} of {kind}; give a larger number."
                    )
            self._kept[series, split] = found.masks
        return self._kept[series, split]

    def _check(self, series: Series, split: str, findings: list[str]) -> None:
        path = self.captions[series]
        table = files.read_parquet(path, "phantoms", ["split", "row", "finding"])
        own = table[table["split"] == split].sort_values("row")["finding"]
        if own[: len(findings)].tolist() != findings:
            raise MedlabelError(
                f"{path}: expected the findings that seed {self.seed} draws, found others; run "
                f"`medlabel phantoms --size {series[1]}` again."
            )
