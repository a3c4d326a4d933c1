"""Segmentation: how well regions of phantoms are found by words, beside controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from medlabel import compute
from medlabel.data import archive, catalogue
from medlabel.data.pixels import Pixels
from medlabel.evaluate.drawn_regions import DrawnRegions, Series
from medlabel.evaluate.overlap import Map, Mask, area_under_curve, best_threshold, dice, jaccard
from medlabel.params import Runtime, Segmentation
from medlabel.params.segmentation import Region
from medlabel.progress import track
from medlabel.randomness import stream, torch_seed
from medlabel.teacher import encoder, locked, runtime, segmenter, tower, trunks
from medlabel.teacher.patches import Patches

# Who says where a region is: the method, what it is for, and controls.
LEARNT = "words that were learnt"
UNSEEN = "words that no training saw"
RANDOM = "learnt words, random tower"
MEAN = "mean mask of training images"
SWAPPED = "words of another region"
ANSWERS = (LEARNT, UNSEEN, RANDOM, MEAN, SWAPPED)
BATCH = 32  # images whose maps lie in memory
EXAMPLES = 2  # images of a region, or of a label, that are shown

See = Callable[[Pixels], torch.Tensor]
Rows = list[dict[str, object]]


@dataclass(frozen=True)
class Inputs:
    """Files that are looked at.

    Attributes
    ----------
    encoder
        Folder of a locked tower.
    images, captions
        By kind and size: of phantoms.
    shown
        Archives of the entries of `shown`, in their order.
    """

    encoder: Path
    images: Mapping[Series, Path]
    captions: Mapping[Series, Path]
    shown: Sequence[Path]


@dataclass(frozen=True)
class Example:
    """An image and what was found in it.

    Attributes
    ----------
    title
        What it shows.
    image
        uint8 (size, size) or (size, size, 3).
    mask
        Where the region is; None where nobody knows.
    maps
        By words: float32 (size, size), 0 to 1.
    """

    title: str
    image: Pixels
    mask: Mask | None
    maps: dict[str, Map]


@dataclass(frozen=True)
class Found:
    """What was right, and what was seen.

    Attributes
    ----------
    scores
        A row for each test image, size, region and answer: kind, region, answers (one of
        `ANSWERS`), size, row, present (whether the image shows the region), dice, iou and auc
        (missing where it does not; means over phrases where there are several), and marked, the
        part of the pixels that is taken for the region.
    regions
        Test phantoms: the first that show each region, at the largest size.
    shown
        Other images: the first of the first two labels.
    """

    scores: pd.DataFrame
    regions: list[Example]
    shown: list[Example]


def judge(inputs: Inputs, settings: Segmentation, seed: int, device: str, engine: Runtime) -> Found:
    """Learn regions of phantoms by words, and look for them in phantoms held out.

    The tower runs on `engine`, in float32. A region's threshold is that of the highest mean Dice
    on validation phantoms that show it, found with learnt words; words that no training saw, and
    swapped ones, have the same.

    Raises
    ------
    MedlabelError
        When a file is missing or damaged, captions and masks do not agree, or the tower has no
        such part or a phantom no such region.
    """
    loaded = encoder.load(inputs.encoder, compute.prepare(device, 1))
    drawn = DrawnRegions.read(inputs.images, inputs.captions, settings, seed)
    trained = _Segmenter(loaded, loaded.model.visual.trunk, drawn, seed, engine)
    rows, regions = trained.judge(
        {LEARNT: trained.phrases, SWAPPED: trained.swapped, UNSEEN: trained.unseen}
    )
    control = _Segmenter(loaded, _random(loaded, seed), drawn, seed, engine)
    rows += control.judge({RANDOM: control.phrases})[0]
    rows += _of_mean_masks(drawn)
    return Found(pd.DataFrame(rows), regions, list(trained.look(inputs.shown)))


def _random(loaded: encoder.Encoder, seed: int) -> torch.nn.Module:
    """Return a network of the tower's shape that learnt nothing."""
    torch.manual_seed(torch_seed(seed, "segmentation", "random tower"))
    architecture = loaded.manifest.config[locked.CONFIG_KEY]["tower"]
    return trunks.build(architecture).to(loaded.device).eval().requires_grad_(False)


class _Segmenter:
    """A tower and the head that learnt on it."""

    def __init__(
        self,
        loaded: encoder.Encoder,
        trunk: torch.nn.Module,
        drawn: DrawnRegions,
        seed: int,
        engine: Runtime,
    ) -> None:
        self.loaded, self.drawn, self.settings = loaded, drawn, drawn.settings
        self.see = _seeing(trunk, loaded, drawn.settings, engine)
        said = [segmenter.say(loaded, one.words) for one in self.settings.regions]
        self.phrases = [segmenter.together(one) for one in said]
        self.swapped = [*self.phrases[1:], self.phrases[0]]
        self.unseen = [segmenter.say(loaded, one.unseen) for one in self.settings.regions]
        self.head = segmenter.learn(*_places(drawn, self.see, seed), said, self.settings, seed)

    def judge(self, answers: Mapping[str, Sequence[torch.Tensor]]) -> tuple[Rows, list[Example]]:
        """Score answers, each of which has vectors (phrases, length) for every region."""
        thresholds, rows, examples = self._thresholds(), Rows(), []
        first = next(iter(answers))
        for series in track(self.drawn.series, f"find: {first}", len(self.drawn.series)):
            images, truth = self.drawn.images(series, "test"), self.drawn.masks(series, "test")
            numbers = self.drawn.numbers(series)
            maps = self._maps(
                images, [own[number] for number in numbers for own in answers.values()], series[1]
            )
            for number in numbers:
                region = self.settings.regions[number]
                found = {name: next(maps) for name in answers}
                mask = truth[region.region]
                for name, one in found.items():
                    rows += _rows(region, name, series[1], one, mask, thresholds[number])
                if series[1] == max(self.settings.sizes):
                    spoken = self._spoken(number)
                    examples += list(_examples(region, images, mask, found, spoken))
        return rows, examples

    def _spoken(self, number: int) -> dict[str, str]:
        """Return a phrase of each answer: the first of those whose mean is asked, or the asked."""
        regions = self.settings.regions
        region, other = regions[number], regions[(number + 1) % len(regions)]
        return {LEARNT: region.words[0], SWAPPED: other.words[0], UNSEEN: region.unseen[0]}

    def _maps(self, images: Pixels, said: Sequence[torch.Tensor], size: int) -> Iterator[Map]:
        """Yield maps (phrases, n, size, size) for each group of phrases that is said."""
        words = torch.cat(list(said))
        parts = [
            segmenter.heat(self.head, self.see(images[part]), words, size)
            for part in _batches(len(images))
        ]
        every = np.concatenate(parts).swapaxes(0, 1)
        yield from np.split(every, np.cumsum([len(one) for one in said])[:-1])

    def _thresholds(self) -> dict[int, float]:
        found: dict[int, list[tuple[Map, Mask]]] = {}
        for series in self.drawn.series:
            images, truth = self.drawn.images(series, "val"), self.drawn.masks(series, "val")
            numbers = self.drawn.numbers(series)
            maps = self._maps(images, [self.phrases[number] for number in numbers], series[1])
            for number, one in zip(numbers, maps, strict=True):
                mask = truth[self.settings.regions[number].region]
                shows = mask.any((1, 2))
                found.setdefault(number, []).append((one[0, shows], mask[shows]))
        return {number: best_threshold(one) for number, one in found.items()}

    def look(self, paths: Sequence[Path]) -> Iterator[Example]:
        """Look at images whose regions nobody drew."""
        for asked, path in zip(self.settings.shown, paths, strict=True):
            dataset, _ = catalogue.parse(asked.images)
            source = archive.read(path, dataset)
            said = [segmenter.say(self.loaded, asked.words)]
            labels, names = source.labels["test"][:, 0], catalogue.class_names(dataset)
            for label in np.unique(labels)[:2]:
                images = source.images["test"][np.flatnonzero(labels == label)[:EXAMPLES]]
                (maps,) = self._maps(images, said, source.size)
                for image, own in zip(images, maps.swapaxes(0, 1), strict=True):
                    by_words = dict(zip(asked.words, own, strict=True))
                    yield Example(f"{asked.images}: {names[int(label)]}", image, None, by_words)


def _seeing(
    trunk: torch.nn.Module, loaded: encoder.Encoder, settings: Segmentation, engine: Runtime
) -> See:
    """Return what turns a few images into maps (n, channels, grid, grid)."""
    expected = loaded.manifest.preprocessing
    compiled = runtime.compiled(
        Patches(trunk, settings.parts, settings.grid, expected.size[0]).eval(),
        torch.zeros(2, 3, *expected.size),
        runtime.choose(engine, loaded.device),
        "fp32",
        1,
    )
    return lambda images: torch.from_numpy(compiled.compute(tower.preprocess(images, expected)))


def _batches(count: int) -> Iterator[slice]:
    for first in range(0, count, BATCH):
        yield slice(first, first + BATCH)


def _places(drawn: DrawnRegions, see: See, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw places of training images: features (n, channels), and what regions cover of them."""
    settings, random = drawn.settings, stream(seed, "segmentation", "places")
    features, covered = [], []
    for series in track(drawn.series, "see training images", len(drawn.series)):
        images = drawn.images(series, "train")
        shares = np.zeros((len(images), settings.grid**2, len(settings.regions)), np.float32)
        for number in drawn.numbers(series):
            mask = drawn.masks(series, "train")[settings.regions[number].region]
            shares[:, :, number] = _share(mask, settings.grid)
        for part in _batches(len(images)):
            maps = see(images[part]).flatten(2).transpose(1, 2).numpy()
            row = np.arange(len(maps))[:, None]
            chosen = random.integers(settings.grid**2, size=(len(maps), settings.pixels))
            features.append(maps[row, chosen].reshape(-1, maps.shape[2]))
            covered.append(shares[part][row, chosen].reshape(-1, shares.shape[2]))
    return torch.from_numpy(np.concatenate(features)), torch.from_numpy(np.concatenate(covered))


def _share(mask: Mask, grid: int) -> Map:
    """Return the part of each place that a mask covers: float32 (n, grid * grid)."""
    pixels = torch.from_numpy(mask.astype(np.float32))[:, None]
    found: Map = functional.interpolate(pixels, size=(grid, grid), mode="area").flatten(1).numpy()
    return found


def _rows(
    region: Region, answers: str, size: int, maps: Map, mask: Mask, threshold: float
) -> Iterator[dict[str, object]]:
    """Yield the scores of each image, from maps (phrases, n, size, size)."""
    marked = [(one > threshold).mean((1, 2)) for one in maps]
    scores = {
        "dice": [dice(one > threshold, mask) for one in maps],
        "iou": [jaccard(one > threshold, mask) for one in maps],
        "auc": [area_under_curve(one, mask) for one in maps],
    }
    means = {name: np.mean(each, axis=0) for name, each in scores.items()}
    for row, present in enumerate(np.any(mask, axis=(1, 2)).tolist()):
        yield {
            "kind": region.kind,
            "region": region.region,
            "answers": answers,
            "size": size,
            "row": row,
            "present": present,
            **{name: one[row] if present else np.nan for name, one in means.items()},
            "marked": np.mean(marked, axis=0)[row],
        }


def _of_mean_masks(drawn: DrawnRegions) -> Rows:
    """Score what takes no look at an image: the mean mask of training images that show a region."""
    rows = Rows()
    for number, region in enumerate(drawn.settings.regions):
        own = [series for series in drawn.series if number in drawn.numbers(series)]
        val: list[tuple[Map, Mask]] = []
        test: list[tuple[Map, Mask]] = []
        for series in own:
            train = drawn.masks(series, "train")[region.region]
            mean = train[train.any((1, 2))].mean(0, dtype=np.float32)
            for split, pairs in (("val", val), ("test", test)):
                mask = drawn.masks(series, split)[region.region]
                pairs.append((np.broadcast_to(mean, mask.shape), mask))
        shown = [(one[mask.any((1, 2))], mask[mask.any((1, 2))]) for one, mask in val]
        threshold = best_threshold(shown)
        for series, (maps, mask) in zip(own, test, strict=True):
            rows += _rows(region, MEAN, series[1], maps[None], mask, threshold)
    return rows


def _examples(
    region: Region,
    images: Pixels,
    mask: Mask,
    found: Mapping[str, Map],
    spoken: Mapping[str, str],
) -> Iterator[Example]:
    for row in np.flatnonzero(mask.any((1, 2)))[:EXAMPLES]:
        maps = {spoken[name]: own[0, row] for name, own in found.items() if name in spoken}
        title = f"{region.kind.removeprefix('phantom_')}: {region.region}"
        yield Example(title, images[row], mask[row], maps)
