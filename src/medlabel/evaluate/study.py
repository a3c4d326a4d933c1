"""A study's result: teachers, students and networks of every cell on the same test images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medlabel import files
from medlabel.evaluate import judged, published, results, scores, statistics
from medlabel.evaluate.judged import Bench, Judged
from medlabel.evaluate.scores import Floats
from medlabel.layout import Layout
from medlabel.params import Cell, EncoderReference, Params, Trained, varying
from medlabel.params.studies import KEYS
from medlabel.randomness import stream
from medlabel.training.record import RunRecord

IMAGE_RESAMPLES = 2000  # at most: each one scores everything again
COMPARED = ("accuracy", "auc")
TEACHER = "teacher"
MADE = {"classes", "phantom", "parameters", "precision", "device", "start"}  # as the record says


def write(params: Params, study: str, layout: Layout, published_table: Path) -> None:
    """Score every cell of a study, and write the scores and what they show.

    Writes ``study.json`` (`results.StudyResult`) and ``scores.csv`` (a row a cell, arm, pretraining
    and seed).

    Raises
    ------
    MedlabelError
        When a file is missing, damaged, or does not fit the images.
    """
    evaluation = Evaluation(params, study, layout)
    table = published.read(published_table)
    cells = params.grids[study]
    keys = varying(cells)
    for images, group in results.grouped(cells, lambda cell: cell.images).items():
        evaluation.judge(images, group)
    found = [evaluation.cell(cell, cell.label(keys) or cell.images, table) for cell in cells]
    content = results.StudyResult(
        study=study,
        title=params.studies[study].title,
        phantom=all(cell.phantom for cell in found),
        confidence=params.statistics.confidence,
        resamples=params.statistics.resamples,
        image_resamples=evaluation.image_resamples,
        kind=kind(cells),
        axes=[
            results.Axis(
                key=key, values=list(dict.fromkeys(str(getattr(cell, key)) for cell in cells))
            )
            for key in keys
        ],
        cells=found,
        comparisons=list(evaluation.comparisons(cells, [cell.label for cell in found])),
        crossing=evaluation.crossing(cells) if keys == ("encoder",) else None,
    )
    with files.replacing(Path(layout.study(study, "scores.csv"))) as partial:
        lines = pd.DataFrame(evaluation.lines(cells))
        lines.to_csv(partial, index=False, lineterminator="\n")
    files.write_json(Path(layout.study(study, "study.json")), content.model_dump(mode="json"))


def kind(cells: Sequence[Cell]) -> results.Kind:
    """Tell which kind of axis cells make, which decides on the figure.

    ``none``: one cell. ``number``: checkpoints of one encoder. ``matrix``: pairs of classes, or all
    combinations of two keys. ``names``: all else.
    """
    keys = varying(list(cells))
    if len(cells) == 1:
        return "none"
    if keys == ("encoder",):
        references = [EncoderReference.parse(str(cell.encoder)) for cell in cells]
        if len({one.name for one in references}) == 1 and all(one.step for one in references):
            return "number"
    if keys == ("images",) and all(cell.images.count(".") == 2 for cell in cells):
        return "matrix"
    if len(keys) == 2:
        points = {tuple(getattr(cell, key) for key in keys) for cell in cells}
        if len(points) == math.prod(len(set(values)) for values in zip(*points, strict=True)):
            return "matrix"
    return "names"


@dataclass(frozen=True)
class Repeats:
    """An arm of a cell over its pretrainings, one part each, and so many of their seeds."""

    parts: list[Judged]
    seeds: int

    @property
    def names(self) -> list[str]:
        """What was judged; draws are named by it, so that cells that share an arm agree on it."""
        return [one.name for one in self.parts]

    def values(self, metric: str) -> Floats:
        """Scores, shape (pretrainings, seeds)."""
        return np.stack([one.values[metric][: self.seeds] for one in self.parts])

    def replicates(self, metric: str) -> Floats:
        """Scores under resampled images, shape (resamples, pretrainings, seeds)."""
        return np.stack([one.replicates[metric][:, : self.seeds] for one in self.parts], axis=1)


class Evaluation:
    """All that a study's cells are made of, each judged once however many cells share it."""

    def __init__(self, params: Params, study: str, layout: Layout) -> None:
        self.params, self.study, self.layout = params, study, layout
        self.benches: dict[str, Bench] = {}
        self.judged: dict[str, Judged] = {}
        self.image_resamples = min(params.statistics.resamples, IMAGE_RESAMPLES)

    def judge(self, images: str, cells: Sequence[Cell]) -> None:
        """Judge all teachers and trainings of the cells of the same images."""
        seeds: dict[Trained, int] = {}
        for cell in cells:
            for one in itertools.chain(*self.params.students(cell, self.study).values()):
                seeds[one] = max(seeds.get(one, 0), cell.seeds)
        paths = {
            one: self._paths(one, count, "predictions.parquet") for one, count in seeds.items()
        }
        answers = {one: judged.read_predictions(blocks) for one, blocks in paths.items()}
        mixture, most = self.params.every_mixture.get(images), max(seeds.values())
        if mixture is None:
            first = next(iter(seeds))
            task = self._record(first, seeds[first]).task
            bench = judged.of_file(images, task, answers[first], most)
        else:
            pool = Path(self.layout.pool_of(images))
            bench = judged.of_mixture(images, mixture, pool, most, self.params.seed)
        here = [
            judged.trained(one.name, bench, count, answers[one], paths[one][0])
            for one, count in seeds.items()
        ]
        for name, one in {_teacher(one): one for one in seeds if one.pseudolabels}.items():
            assert mixture is not None, "parameters give teachers mixtures alone"
            assert one.taught is not None
            path = Path(self.layout.labels(images, str(one.pseudolabels)))
            top_k = self.params.labellings[one.taught[2]].top_k
            here.append(judged.teacher(name, bench, path, mixture.class_names, top_k))
        judged.score(bench, here, self.image_resamples, self._random("images", images))
        self.benches[images] = bench
        self.judged |= {one.name: one for one in here}

    def _paths(self, one: Trained, seeds: int, file: str) -> list[Path]:
        return [Path(path) for path in self.layout.blocks(self.params, one, seeds, file)]

    def _record(self, one: Trained, seeds: int) -> RunRecord:
        return results.read_as(self._paths(one, seeds, "run.json")[0], "train", RunRecord)

    def arms(self, cell: Cell) -> dict[Any, Repeats]:
        """Return what a cell compares."""
        groups = self.params.students(cell, self.study)
        names = {arm: [one.name for one in group] for arm, group in groups.items()}
        if cell.encoder is not None:
            names = {TEACHER: [_teacher(one) for one in groups["student"]], **names}
        return {
            arm: Repeats([self.judged[name] for name in group], cell.seeds)
            for arm, group in names.items()
        }

    def cell(self, cell: Cell, label: str, table: pd.DataFrame) -> results.CellResult:
        """Put together what was found in a cell."""
        arms = self.arms(cell)
        bench = self.benches[cell.images]
        one = cell.student()
        record, settings = self._record(one, cell.seeds), self.params.training(one)
        estimates: dict[Any, dict[Any, results.Estimate]] = {
            name: {
                metric: self._estimate(
                    arm.values(metric), arm.replicates(metric), not bench.trains, *arm.names, metric
                )
                for metric in scores.METRICS
            }
            for name, arm in arms.items()
        }
        shown = [TEACHER, "student"] if TEACHER in arms else ["true"]
        counts = {name: judged.confusion(bench, arms[name].parts) for name in shown}
        right = [one.right[: cell.seeds] for one in arms[shown[0]].parts if one.right is not None]
        return results.CellResult(
            label=label,
            **vars(cell),
            **record.model_dump(include=MADE),
            task=bench.task,
            test_images=len(bench.tests[0].images),
            train_images=len(bench.trains[0]) if bench.trains else record.train_images,
            pixels=published.pixels(settings),
            trivial_accuracy=scores.trivial_accuracy(bench.task, bench.truth),
            pseudolabel_accuracy=float(np.mean(right)) if right else None,
            arms=estimates,
            gains=self._gains(arms) if TEACHER in arms else {},
            published=published.beside(cell.network, settings, estimates[shown[-1]], table),
            recall={name: judged.recall(bench, arms[name].parts) for name in shown},
            confusion={name: found for name, found in counts.items() if found is not None},
            epochs=settings.recipe.epochs,
            batch_size=settings.recipe.batch_size,
        )

    def _estimate(
        self, values: Floats, replicates: Floats, official: bool, *purpose: str
    ) -> results.Estimate:
        how, random = self.params.statistics, self._random("interval", *purpose)
        image = statistics.crossed_interval(replicates, how.confidence, random)
        if official or values.size == 1:
            low, high = image
        elif len(values) == 1:
            low, high = statistics.interval(values[0], how.confidence, how.resamples, random)
        else:
            repeated = np.broadcast_to(values, (how.resamples, *values.shape))
            low, high = statistics.crossed_interval(repeated, how.confidence, random)
        return results.Estimate(
            mean=float(values.mean()),
            sd=float(values.std(ddof=1)) if values.size > 1 else None,
            low=low,
            high=high,
            image_low=image[0],
            image_high=image[1],
            values=values.tolist(),
        )

    def _gains(self, arms: Mapping[Any, Repeats]) -> dict[Any, results.Gain]:
        student, teacher = arms["student"], arms[TEACHER]
        resamples = self.params.statistics.resamples
        found = {}
        for metric in scores.METRICS:
            gain = student.values(metric) - teacher.values(metric)
            replicates = student.replicates(metric) - teacher.replicates(metric)
            # Seeds of one pretraining share its teacher: then pretrainings are the pairs.
            pairs = gain[0] if len(gain) == 1 else gain.mean(axis=1)
            random = self._random("sign flip", *student.names, metric)
            wins, ties, losses = statistics.wins_ties_losses(gain)
            found[metric] = {
                **vars(self._estimate(gain, replicates, False, "gain", *student.names, metric)),
                "wins": wins,
                "ties": ties,
                "losses": losses,
                "wilcoxon_p": statistics.wilcoxon(pairs),
                "permutation_p": statistics.sign_flip(pairs, resamples, random),
            }
        corrected = statistics.holm([one["permutation_p"] for one in found.values()])
        return {
            metric: results.Gain(**one, holm_p=p)
            for (metric, one), p in zip(found.items(), corrected, strict=True)
        }

    def comparisons(
        self, cells: Sequence[Cell], labels: Sequence[str]
    ) -> Iterator[results.Comparison]:
        """Compare every cell with the first one of its images; Holm's family is these cells.

        All pairs would need more resamples than there are: with 23 cells, 253 pairs, the least p of
        10,000 resamples would be 0.05 after Holm.
        """
        labelled = zip(cells, labels, strict=True)
        for images, ours in results.grouped(labelled, lambda one: one[0].images).items():
            (reference, first), *others = ours
            for metric in COMPARED:
                family = [self._compare(cell, reference, metric) for cell, _ in others]
                adjusted = statistics.holm([one["p"] for one in family])
                for (_, label), one, p in zip(others, family, adjusted, strict=True):
                    yield results.Comparison(
                        images=images, cell=label, reference=first, metric=metric, holm_p=p, **one
                    )

    def _compare(self, cell: Cell, reference: Cell, metric: str) -> dict[str, Any]:
        arms = [self.arms(one)["student" if one.encoder else "true"] for one in (cell, reference)]
        values = _paired(*(arm.values(metric)[None] for arm in arms))
        replicates = _paired(*(arm.replicates(metric) for arm in arms))
        purpose = ("compare", *(name for arm in arms for name in arm.names), metric)
        means = statistics.crossed_means(replicates, self._random(*purpose))
        low, high = statistics.percentiles(means, self.params.statistics.confidence)
        p = statistics.beyond_zero(means)
        return {"difference": float(values.mean()), "low": low, "high": high, "p": p}

    def crossing(self, cells: Sequence[Cell]) -> results.Crossing | None:
        """Find where the student stops helping, along teachers from bad to good."""
        arms = [self.arms(cell) for cell in cells]
        teachers = np.stack([one[TEACHER].values("accuracy") for one in arms])
        gains = np.stack([one["student"].values("accuracy") for one in arms]) - teachers
        found = statistics.crossing(teachers.mean(axis=(1, 2)), gains.mean(axis=(1, 2)))
        if found is None:
            return None
        how = self.params.statistics
        replicates = statistics.crossing_replicates(
            teachers, gains, how.resamples, self._random("crossing", self.study)
        )
        crossed = [value for value in replicates if value is not None]
        low, high = statistics.percentiles(np.array([found, *crossed]), how.confidence)
        part = len(crossed) / len(replicates)
        return results.Crossing(teacher_accuracy=found, low=low, high=high, crossing_resamples=part)

    def lines(self, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Give the scores of each cell, arm, pretraining and seed."""
        for cell in cells:
            named = {key: getattr(cell, key) for key in KEYS}
            arms = self.arms(cell)
            for name, arm in arms.items():
                for run, part in enumerate(arm.parts):
                    taught = name in (TEACHER, "student")
                    right = arms[TEACHER].parts[run].right if taught else None
                    for seed in range(cell.seeds):
                        yield {
                            "seed": seed,
                            "pretraining": run,
                            **named,
                            "arm": name,
                            **{metric: part.values[metric][seed] for metric in scores.METRICS},
                            "pseudolabel_accuracy": None if right is None else right[seed],
                        }

    def _random(self, *purpose: str) -> np.random.Generator:
        return stream(self.params.seed, "evaluate", *purpose)


def _teacher(student: Trained) -> str:
    """Name the teacher of a student's labels apart from all trainings."""
    return f"{TEACHER} {student.images}/{student.pseudolabels}"


def _paired(first: Floats, second: Floats) -> Floats:
    """Subtract what both cells have: the same seeds, and pretrainings or their mean."""
    if first.shape[1] != second.shape[1]:
        first, second = (one.mean(axis=1, keepdims=True) for one in (first, second))
    seeds = min(first.shape[2], second.shape[2])
    return first[..., :seeds] - second[..., :seeds]
