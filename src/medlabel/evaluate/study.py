"""The study's result: students against their teachers on the same held-out images."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medlabel import files, params
from medlabel.errors import MedlabelError
from medlabel.evaluate import metrics, statistics
from medlabel.randomness import stream
from medlabel.teacher import selection

IMAGE = ["dataset", "split", "row"]
ARMS = {"teacher": "student", "permuted": "permuted", "true": "true"}  # by labels learnt from
IMAGE_RESAMPLES = 2000  # at most: each one scores every seed of both arms again

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Draws:
    """The images of some seeds.

    Attributes
    ----------
    train, test
        Tables with seed, dataset, split, row and label; `test` is ordered by seed.
    seeds
        Rising.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    seeds: npt.NDArray[np.int32]

    def parts(self) -> Iterator[slice]:
        """Give each seed's rows of `test`."""
        edges = np.searchsorted(self.test["seed"], [*self.seeds, self.seeds[-1] + 1])
        for start, stop in itertools.pairwise(edges):
            yield slice(start, stop)

    def of(self, seeds: npt.NDArray[np.int32]) -> _Draws:
        """Keep the images of some of the seeds, given rising."""
        train, test = (
            table[table["seed"].isin(seeds)].reset_index(drop=True)
            for table in (self.train, self.test)
        )
        return _Draws(train, test, seeds)


@dataclass(frozen=True)
class _Judged:
    """Probabilities of an arm, in the order of `drawn.test`."""

    drawn: _Draws
    probabilities: metrics.Probabilities


@dataclass(frozen=True)
class _Statistics:
    """How intervals and tests are made: each number from a random stream of its own."""

    settings: params.Study
    seed: int

    def random(self, *purpose: str) -> np.random.Generator:
        return stream(self.seed, "study", *purpose)

    def estimate(self, values: Floats, *purpose: str) -> dict[str, float]:
        low, high = statistics.interval(
            values, self.settings.confidence, self.settings.resamples, self.random(*purpose)
        )
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        return {"mean": float(values.mean()), "sd": spread, "low": low, "high": high}


def write(
    *,
    mixture: str,
    phantom: bool,
    classes: Sequence[str],
    draws: Sequence[Path],
    pseudolabels: Mapping[str, Path],
    students: Mapping[str, Sequence[Path]],
    study_encoder: str,
    settings: params.Study,
    pseudolabel: params.Pseudolabel,
    seed: int,
    study: Path,
    scores: Path,
    curve: Path,
) -> None:
    """Score every arm on every seed, and write the scores, the curve and the study.

    Parameters
    ----------
    mixture, phantom
        Name of the mixture, and whether any of its images are phantoms.
    classes
        Names, in label order.
    draws
        Tables of the images of each seed, one a block of seeds, no seed in two of them.
    pseudolabels
        The teachers' tables by encoder, weakest teacher first.
    students
        Prediction tables, one a block of seeds, by what the students learnt from. Every seed of
        the draws is expected of ``teacher_<study_encoder>``, ``permuted_<study_encoder>`` and
        ``true``; ``teacher_<encoder>`` of others may have the first seeds only.
    study_encoder
        The encoder whose teacher and student the study compares.
    settings
        Confidence and resamples.
    pseudolabel
        Which pseudo-labels the students learnt from, to tell how many of these were right.
    seed
        Root of the random streams.
    study
        JSON to write: means, standard deviations and intervals of each arm; the gains (student
        minus teacher, paired by seed) with a second interval that resamples the test images too,
        wins, two paired tests, and the permutation test's p corrected by Holm over the metrics;
        the curve; and where the student stops helping (see `crossing`), with the percentile
        interval of a bootstrap. Estimate and interval of this crossing are of the seeds that all
        points of the curve share, which are resampled alike in all of them.
    scores
        CSV to write: one row a seed, arm (teacher, student, permuted or true) and encoder, with
        accuracy, f1, auc, and the part of the seed's pseudo-labels for training that is right. A
        teacher has rows for the seeds of its students alone.
    curve
        CSV to write: one row an encoder whose students were trained, teacher and student compared
        on the seeds of these students, `seeds` in number.

    Raises
    ------
    MedlabelError
        When a table is missing or does not fit the draws, when seeds of an arm are missing, or
        when a seed's images lack a class.
    """
    drawn = _read_draws(draws, len(classes))
    judged = _judged_students(drawn, students, study_encoder, classes)
    taught = {name: path for name, path in pseudolabels.items() if ("student", name) in judged}
    judged = _judged_teachers(judged, taught, classes) | judged
    right = {
        encoder: _pseudolabel_accuracy(judged["student", encoder].drawn, path, classes, pseudolabel)
        for encoder, path in taught.items()
    }
    table = _scores(judged, right)
    how = _Statistics(settings, seed)
    points = _curve(table, list(taught), how)
    compared = judged["teacher", study_encoder], judged["student", study_encoder]
    content = {
        "mixture": mixture,
        "phantom": phantom,
        "classes": list(classes),
        "seeds": len(drawn.seeds),
        "test_images": len(drawn.test) // len(drawn.seeds),
        "train_images": len(drawn.train) // len(drawn.seeds),
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "encoder": study_encoder,
        "trivial_accuracy": float(drawn.test["label"].value_counts(normalize=True).max()),
        "arms": _arms(table, study_encoder, how),
        "gains": _gains(table, study_encoder, _image_replicates(*compared, how), how),
        "curve": points,
        "crossing": _crossing(table, list(taught), how),
    }
    _write_csv(scores, table)
    _write_csv(curve, pd.DataFrame(points).astype({"step": "Int64"}))
    files.write_json(study, content)


def crossing(teacher: Floats, gain: Floats) -> float | None:
    """Find the teacher's accuracy at which its student stops helping.

    Parameters
    ----------
    teacher, gain
        Mean accuracy and mean gain of each teacher's student, shape (n,), in any order.

    Returns
    -------
    float or None
        Going from the teacher whose student gains most to better teachers, where the gain first
        falls to zero, linearly between neighbours. None when it never does, or when no student
        gains anything.
    """
    order = np.argsort(teacher, kind="stable")
    teacher, gain = teacher[order], gain[order]
    top = int(np.argmax(gain))
    fallen = np.flatnonzero(gain[top:] <= 0)
    if not len(fallen) or fallen[0] == 0:
        return None
    after = top + int(fallen[0])
    part = gain[after - 1] / (gain[after - 1] - gain[after])
    return float(teacher[after - 1] + part * (teacher[after] - teacher[after - 1]))


def _read_draws(paths: Sequence[Path], classes: int) -> _Draws:
    columns = ["seed", "role", *IMAGE, "label"]
    table = pd.concat([files.read_parquet(path, "mix", columns) for path in paths])
    table = table[columns].sort_values("seed", kind="stable", ignore_index=True)
    if twice := table.loc[table.duplicated(["seed", *IMAGE]), "seed"].tolist():
        raise MedlabelError(
            f"{paths[0]}: expected each image of a seed once in all draws, found some of seed "
            f"{twice[0]} twice; give blocks that do not overlap, or run `medlabel mix` again."
        )
    drawn = {
        role: rows.drop(columns="role").reset_index(drop=True)
        for role, rows in table.groupby("role", observed=True)
    }
    seeds = np.unique(table["seed"]).astype(np.int32)
    for role in ("train", "test"):
        counts = drawn.get(role, table.iloc[:0]).groupby("seed")["label"].nunique()
        if (counts.reindex(seeds, fill_value=0) < classes).any():
            raise MedlabelError(
                f"{paths[0]}: role {role}: images of all {classes} classes in every seed expected; "
                f"delete the file and run `medlabel mix` again."
            )
    return _Draws(drawn["train"], drawn["test"], seeds)


def _judged_students(
    drawn: _Draws,
    students: Mapping[str, Sequence[Path]],
    study_encoder: str,
    classes: Sequence[str],
) -> dict[tuple[str, str], _Judged]:
    """Align the students' probabilities with the draws of their seeds, by arm and encoder."""
    main = (f"teacher_{study_encoder}", f"permuted_{study_encoder}", "true")
    keys, columns = ["seed", *IMAGE], [f"p_{name}" for name in classes]
    judged = {}
    for labels in dict.fromkeys((*students, *main)):
        paths = students.get(labels)
        if not paths:
            raise MedlabelError(
                f"students: expected predictions of students of {labels} labels, found none; run "
                f"`snakemake` to train them."
            )
        table = pd.concat(
            [files.read_parquet(path, "students", [*keys, *columns]) for path in paths]
        )
        seeds = np.unique(table["seed"]).astype(np.int32)
        _require_seeds(seeds, drawn.seeds, labels, paths[0], whole=labels in main)
        kind, _, encoder = labels.partition("_")
        own = drawn.of(seeds)
        aligned = _aligned(own.test, table, keys, columns, paths[0])
        judged[ARMS[kind], encoder] = _Judged(own, aligned)
    return judged


def _require_seeds(
    found: npt.NDArray[np.int32],
    drawn: npt.NDArray[np.int32],
    labels: str,
    source: Path,
    *,
    whole: bool,
) -> None:
    expected = drawn if whole else drawn[: max(len(found), 1)]
    if differing := set(found.tolist()) ^ set(expected.tolist()):
        raise MedlabelError(
            f"{source}: {labels}: expected students of the {'' if whole else 'first '}"
            f"{len(expected)} seeds of the draws, {expected[0]} to {expected[-1]}, found "
            f"{len(found)} seeds, which differ at seed {min(differing)}; run `snakemake` again."
        )


def _judged_teachers(
    students: Mapping[tuple[str, str], _Judged],
    pseudolabels: Mapping[str, Path],
    classes: Sequence[str],
) -> dict[tuple[str, str], _Judged]:
    """Align the teachers' probabilities with the draws of their students' seeds."""
    taught = {encoder for arm, encoder in students if arm == "student"}
    if unknown := sorted(taught - pseudolabels.keys()):
        raise MedlabelError(
            f"pseudolabels: expected a table of each teacher with students, found none of "
            f"{', '.join(unknown)}; run `medlabel pseudolabel`."
        )
    columns = [f"p_{name}" for name in classes]
    judged = {}
    for encoder, path in pseudolabels.items():
        table = files.read_parquet(path, "pseudolabel", ["role", *IMAGE, *columns])
        held_out = table[table["role"] == "test"]
        own = students["student", encoder].drawn
        aligned = _aligned(own.test, held_out, IMAGE, columns, path)
        judged["teacher", encoder] = _Judged(own, aligned)
    return judged


def _aligned(
    test: pd.DataFrame, table: pd.DataFrame, keys: list[str], columns: list[str], source: Path
) -> metrics.Probabilities:
    joined = test[keys].merge(table[[*keys, *columns]], on=keys, how="left")
    probabilities = joined[columns].to_numpy(np.float64)
    if len(joined) != len(test) or not np.isfinite(probabilities).all():
        raise MedlabelError(
            f"{source}: expected one row of probabilities for each held-out image of the draws, "
            f"found others; delete the file and run `snakemake` again."
        )
    return probabilities


def _pseudolabel_accuracy(
    drawn: _Draws, path: Path, classes: Sequence[str], settings: params.Pseudolabel
) -> Floats:
    """Part of the selected training labels that is right, of each seed."""
    columns = [*IMAGE, "pseudolabel", *(f"p_{name}" for name in classes)]
    table = files.read_parquet(path, "pseudolabel", ["role", *columns])
    joined = drawn.train.merge(table.loc[table["role"] == "train", columns], on=IMAGE)
    if len(joined) != len(drawn.train):
        raise MedlabelError(
            f"{path}: expected one pseudo-label for each training image of the draws, found "
            f"others; delete the file and run `snakemake` again."
        )
    shares = []
    for one in drawn.seeds:
        selected = selection.select(joined[joined["seed"] == one], settings)
        shares.append((selected["pseudolabel"] == selected["label"]).mean())
    return np.array(shares)


def _scores(judged: Mapping[tuple[str, str], _Judged], right: Mapping[str, Floats]) -> pd.DataFrame:
    rows = []
    for (arm, encoder), found in judged.items():
        truth = found.drawn.test["label"].to_numpy()
        learnt = arm in ("teacher", "student")
        for place, (one, part) in enumerate(
            zip(found.drawn.seeds, found.drawn.parts(), strict=True)
        ):
            rows.append(
                {
                    "seed": int(one),
                    "arm": arm,
                    "encoder": encoder,
                    **metrics.score(truth[part], found.probabilities[part]),
                    "pseudolabel_accuracy": right[encoder][place] if learnt else np.nan,
                }
            )
    return pd.DataFrame(rows)


def _values(scores: pd.DataFrame, arm: str, encoder: str, metric: str) -> Floats:
    chosen = (scores["arm"] == arm) & (scores["encoder"] == encoder)
    return scores.loc[chosen, metric].to_numpy(np.float64)


def _arms(
    scores: pd.DataFrame, encoder: str, how: _Statistics
) -> dict[str, dict[str, dict[str, float]]]:
    encoders = {"teacher": encoder, "student": encoder, "permuted": encoder, "true": ""}
    return {
        arm: {
            metric: how.estimate(_values(scores, arm, of, metric), "arm", arm, of, metric)
            for metric in metrics.METRICS
        }
        for arm, of in encoders.items()
    }


def _gain(scores: pd.DataFrame, encoder: str, metric: str) -> Floats:
    student = _values(scores, "student", encoder, metric)
    return student - _values(scores, "teacher", encoder, metric)


def _gains(
    scores: pd.DataFrame, encoder: str, replicates: Mapping[str, Floats], how: _Statistics
) -> dict[str, dict[str, float]]:
    gains = {}
    for metric in metrics.METRICS:
        gain = _gain(scores, encoder, metric)
        wins, ties, losses = statistics.wins_ties_losses(gain)
        image_low, image_high = statistics.crossed_interval(
            replicates[metric], how.settings.confidence, how.random("crossed", metric)
        )
        gains[metric] = {
            **how.estimate(gain, "gain", encoder, metric),
            "image_low": image_low,
            "image_high": image_high,
            "wins": wins,
            "ties": ties,
            "losses": losses,
            "wilcoxon_p": statistics.wilcoxon(gain),
            "permutation_p": statistics.sign_flip(
                gain, how.settings.resamples, how.random("sign flip", metric)
            ),
        }
    corrected = statistics.holm([gains[metric]["permutation_p"] for metric in metrics.METRICS])
    for metric, value in zip(metrics.METRICS, corrected, strict=True):
        gains[metric]["holm_p"] = value
    return gains


def _image_replicates(teacher: _Judged, student: _Judged, how: _Statistics) -> dict[str, Floats]:
    """Gain of each seed under resampled test images: by metric, shape (resamples, seeds)."""
    drawn = student.drawn
    images = drawn.test.groupby(IMAGE, observed=True).ngroup().to_numpy()
    count = images.max() + 1
    resamples = min(how.settings.resamples, IMAGE_RESAMPLES)
    weights = how.random("images").multinomial(count, np.full(count, 1 / count), size=resamples)
    truth = drawn.test["label"].to_numpy()
    replicates: dict[str, list[Floats]] = {metric: [] for metric in metrics.METRICS}
    for part in drawn.parts():
        of_seed = weights[:, images[part]].astype(np.float64)
        before = metrics.weighted(truth[part], teacher.probabilities[part], of_seed)
        after = metrics.weighted(truth[part], student.probabilities[part], of_seed)
        for metric, values in replicates.items():
            values.append(after[metric] - before[metric])
    return {metric: np.stack(values, axis=1) for metric, values in replicates.items()}


def _curve(scores: pd.DataFrame, encoders: Sequence[str], how: _Statistics) -> list[dict[str, Any]]:
    points = []
    for encoder in encoders:
        series = {
            "teacher_accuracy": _values(scores, "teacher", encoder, "accuracy"),
            "student_accuracy": _values(scores, "student", encoder, "accuracy"),
            "gain": _gain(scores, encoder, "accuracy"),
        }
        step = re.search(r"_step(\d+)$", encoder)
        point: dict[str, Any] = {
            "encoder": encoder,
            "step": int(step[1]) if step else None,
            "seeds": len(series["gain"]),
        }
        for name, values in series.items():
            found = how.estimate(values, "curve", encoder, name)
            point |= {
                name: found["mean"],
                f"{name}_low": found["low"],
                f"{name}_high": found["high"],
            }
        right = _values(scores, "teacher", encoder, "pseudolabel_accuracy")
        points.append(point | {"pseudolabel_accuracy": float(right.mean())})
    return points


def _crossing(
    scores: pd.DataFrame, encoders: Sequence[str], how: _Statistics
) -> dict[str, float] | None:
    """Find the crossing with a percentile interval, over the seeds that all encoders share.

    These are resampled alike in all encoders, because a seed's images are the same in all.
    """
    gains_of = [_gain(scores, name, "accuracy") for name in encoders]
    # Students have the first seeds of the draws, so that the fewest are those shared.
    seeds = min(map(len, gains_of))
    gains = np.stack([gain[:seeds] for gain in gains_of])
    teachers = np.stack([_values(scores, "teacher", name, "accuracy")[:seeds] for name in encoders])
    found = crossing(teachers.mean(axis=1), gains.mean(axis=1))
    if found is None:
        return None
    drawn = how.random("crossing").integers(seeds, size=(how.settings.resamples, seeds))
    replicates = [
        crossing(teacher, gain)
        for teacher, gain in zip(
            teachers[:, drawn].mean(axis=2).T, gains[:, drawn].mean(axis=2).T, strict=True
        )
    ]
    crossed = np.array([found, *(value for value in replicates if value is not None)])
    low, high = statistics.percentiles(crossed, how.settings.confidence)
    return {
        "teacher_accuracy": found,
        "low": low,
        "high": high,
        # The interval is of those resamples that cross at all.
        "seeds": seeds,
        "crossing_resamples": (len(crossed) - 1) / len(replicates),
    }


def _write_csv(target: Path, table: pd.DataFrame) -> None:
    with files.replacing(target) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
