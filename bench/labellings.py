"""Labellings side by side, without a label: methods x mixtures x class shares x sizes.

Every folder is drawn from images that studies may train on; a labelling sees their embeddings and
the classes' words, no label. It is judged on these images and, as it was learnt, on held-out ones
in the same shares. `--words-off` moves words of all classes at random by so many times their
length, so that estimates of accuracy meet labels that are wrong; `--calibrate` fits the numbers of
`labels/estimate.py` to a table made so from other seeds.

    snakemake data/embeddings/chest_breast_vessel/locked.parquet   # and so on
    python bench/labellings.py --out results/bench/labellings.csv
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medlabel import files, params
from medlabel.data import mixtures, vectors
from medlabel.labels import estimate, evidence, methods
from medlabel.randomness import stream
from medlabel.report import style

# Pool, prompts, classes that are named, and classes that no name stands for.
MIXTURES: dict[str, tuple[str, str, list[str], list[str]]] = {
    "chest, breast, vessel": (
        "chest_breast_vessel", "capstone", ["chest", "breast", "vessel"], []
    ),
    "chest, breast": ("chest_breast_vessel", "capstone", ["chest", "breast"], []),
    "chest, vessel": ("chest_breast_vessel", "capstone", ["chest", "vessel"], []),
    "breast, vessel": ("chest_breast_vessel", "capstone", ["breast", "vessel"], []),
    "normal, pneumonia": ("normal_pneumonia", "pneumonia", ["normal", "pneumonia"], []),
    "chest, breast + unnamed vessel": (
        "chest_breast_vessel", "capstone", ["chest", "breast"], ["vessel"]
    ),
}  # fmt: skip
SHARES = [
    0.0,
    0.01,
    0.05,
    0.2,
    0.5,
    0.8,
    0.95,
    1.0,
]  # of the first class; the others share the rest
SIZES = [50, 500]
UNNAMED = 0.3  # of a folder
COMPARED = ["zeroshot", "clusters"]  # where words are off
POINT = 0.01
LINES = [style.BLUE, style.ORANGE, style.GREEN, style.VERMILLION, style.PURPLE, style.SKY]


def main() -> None:
    """Compare, print and write; or calibrate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoders", nargs="+", default=["locked"], help="`locked+locked.1` joins two"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--words-off", type=float, nargs="*", default=[0.6, 1.0, 1.5])
    parser.add_argument("--out", type=Path, help="CSV; a figure of the same name comes beside it")
    parser.add_argument("--calibrate", type=Path, help="CSV to fit estimates to; nothing is run")
    options = parser.parse_args()
    if options.calibrate:
        print(calibrated(pd.read_csv(options.calibrate)))
        return
    table = pd.DataFrame(compared(options.encoders, options.seeds, options.words_off))
    if options.out:
        with files.replacing(options.out) as partial:
            table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
        draw(table, options.out)
    print(ranks(table).to_string(float_format="%.2f"))
    print(verdicts(table).to_string(header=False, float_format="%.2f"))


def compared(encoders: list[str], seeds: list[int], off: list[float]) -> Iterator[dict[str, Any]]:
    """Give a row a folder and method."""
    settings = params.read([Path("params.yaml")])
    parts = {one.method: one for one in reversed(settings.labellings.values())}
    cells = itertools.product(encoders, MIXTURES, SIZES, SHARES, seeds, [0.0, *off])
    for reference, mixture, size, share, seed, error in cells:
        if error and "unnamed" in mixture:
            continue
        folder = Folder(reference, mixture, size, share, seed, error)
        cell = {
            "encoder": reference, "mixture": mixture, "size": size, "share": share, "seed": seed,
            "words_off": error, "images": len(folder.images),
        }  # fmt: skip
        by_clusters = folder.learn(parts["clusters"]).predict(folder.images)
        for method, part in parts.items():
            if (error or folder.unnamed.any()) and method not in COMPARED:
                continue
            started = time.perf_counter()
            labeller = folder.learn(part)
            chances = labeller.predict(folder.images)
            seconds = time.perf_counter() - started
            row = {**cell, "method": method, "fitted": folder.right(chances), "seconds": seconds}
            row["held_out"] = folder.right_of_held_out(labeller)
            if method in COMPARED:
                row |= folder.estimated(chances, by_clusters)
            yield row


class Folder:
    """Images drawn in given shares, and words."""

    def __init__(
        self, reference: str, mixture: str, size: int, share: float, seed: int, error: float
    ) -> None:
        """Draw; where a class has too few images, all are taken."""
        pool, prompts, self.classes, unnamed = MIXTURES[mixture]
        table = mixtures.read_pool(Path(f"data/pools/{pool}.parquet"))
        self.table, random = table, stream(seed, "bench", mixture, size, str(share), str(error))
        names = [*self.classes, *unnamed]
        rest = (1 - share) / (len(self.classes) - 1)
        self.shares = np.array([share, *[rest] * (len(self.classes) - 1)])
        counts = np.round(size * self.shares * (1 - UNNAMED * bool(unnamed))).astype(int)
        counts = [*counts, *[round(size * UNNAMED)] * len(unnamed)]
        rows, truth = [], []
        for label, (name, count) in enumerate(zip(names, counts, strict=True)):
            of_class = np.flatnonzero((table["class"] == name) & (table["role"] == "train"))
            rows.append(random.permutation(of_class)[:count])
            truth.append(np.full(len(rows[-1]), label))
        self.truth = np.concatenate(truth)
        self.unnamed = self.truth >= len(self.classes)
        parts = [encoded(one, pool, prompts, self.classes) for one in reference.split("+")]
        self.all, words, logit_scale = evidence.joined(parts)
        self.images = self.all[np.concatenate(rows)]
        noise = random.standard_normal(words.shape)
        moved = words + error * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        described = np.float32(moved / np.linalg.norm(moved, axis=1, keepdims=True))
        self.known = evidence.gather(self.images, described, logit_scale, self.classes)

    def right(self, chances: np.ndarray) -> float:
        """Return the share of right labels among images of named classes."""
        return float((chances.argmax(axis=1) == self.truth)[~self.unnamed].mean())

    def right_of_held_out(self, labeller: methods.Labeller) -> float:
        """Return the recall of each class on held-out images, in the folder's shares."""
        recalls = []
        for label, name in enumerate(self.classes):
            held_out = (self.table["class"] == name) & (self.table["role"] == "test")
            chances = labeller.predict(self.all[held_out.to_numpy()])
            recalls.append((chances.argmax(axis=1) == label).mean())
        return float(np.array(recalls) @ self.shares)

    def learn(self, part: params.AnyLabelling) -> methods.Labeller:
        """Learn a labelling from the folder."""
        return methods.learn(part, self.known)

    def estimated(self, chances: np.ndarray, by_clusters: np.ndarray) -> dict[str, Any]:
        """Return what is known of labels without a label."""
        found = estimate.estimate(self.known, self.images, chances, by_clusters)
        kept = ["accuracy", "low", "high", "confidence", "agreement", "verdict"]
        return {
            **{name: getattr(found, name) for name in kept},
            "aside": float(found.stray[self.unnamed].mean()) if self.unnamed.any() else np.nan,
            "wrongly_aside": float(found.stray[~self.unnamed].mean()),
        }


@cache
def embedded(reference: str, pool: str) -> np.ndarray:
    """Return the embeddings of a pool, in its order."""
    encoder = params.EncoderReference.parse(reference).name
    table = mixtures.read_pool(Path(f"data/pools/{pool}.parquet"))
    return vectors.read_embeddings(
        Path(f"data/embeddings/{pool}/{encoder}.parquet"), reference, table
    )


def encoded(
    reference: str, pool: str, prompts: str, classes: list[str]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return a pool's embeddings, the classes' words and the logit scale of an encoder."""
    encoder = params.EncoderReference.parse(reference).name
    path = Path(f"data/words/{encoder}/{prompts}.parquet")
    return embedded(reference, pool), *vectors.read_words(path, reference, classes)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Leave the folders in which all methods were compared, with the gain over zero-shot."""
    plain = table[(table["words_off"] == 0) & ~table["mixture"].str.contains("unnamed")].copy()
    cell = ["encoder", "mixture", "size", "share", "seed"]
    zero = plain[plain["method"] == "zeroshot"].set_index(cell)["fitted"]
    plain["zeroshot"] = zero.loc[pd.MultiIndex.from_frame(plain[cell])].to_numpy()
    plain["gain"] = plain["fitted"] - plain["zeroshot"]
    plain["rank"] = plain.groupby(cell)["fitted"].rank(ascending=False)
    return plain


def ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Return how methods compare, over all folders."""
    plain = _plain(table)
    kinds = plain["mixture"] != "normal, pneumonia"
    groups = plain.groupby("method")
    found = pd.DataFrame(
        {
            "mean rank": groups["rank"].mean(),
            "kinds, %": 100 * plain[kinds].groupby("method")["fitted"].mean(),
            "held out, %": 100 * plain[kinds].groupby("method")["held_out"].mean(),
            "worst, %": 100 * plain[kinds].groupby("method")["fitted"].min(),
            "diagnosis, %": 100 * plain[~kinds].groupby("method")["fitted"].mean(),
            "gain, points": 100 * groups["gain"].mean(),
            "worst gain": 100 * groups["gain"].min(),
            "over a point below, %": 100 * groups["gain"].agg(lambda x: (x < -POINT).mean()),
            "seconds": groups["seconds"].mean(),
        }
    )
    return found.sort_values("mean rank")


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Return how well accuracy was foretold, and what verdicts were given."""
    judged = table[(table["method"] == "clusters")]
    named = judged[~judged["mixture"].str.contains("unnamed")]
    off = (named["accuracy"] - named["fitted"]).abs()
    mean = (named["confidence"] - named["fitted"]).abs()
    inside = (named["low"] <= named["fitted"]) & (named["fitted"] <= named["high"])
    bad, good = named["fitted"] < 0.8, named["fitted"] > 0.95
    doubted = named["verdict"] != "trusted"
    unnamed = judged[judged["mixture"].str.contains("unnamed") & (judged["words_off"] == 0)]
    found = {
        "folders": len(named),
        "estimate off by, points": 100 * off.mean(),
        "within 5 points, %": 100 * (off <= 0.05).mean(),
        "mean confidence off by, points": 100 * mean.mean(),
        "mean confidence within 5 points, %": 100 * (mean <= 0.05).mean(),
        "in the 90 % interval, %": 100 * inside.mean(),
        "folders below 80 %": int(bad.sum()),
        "of them doubted, %": 100 * doubted[bad].mean(),
        "folders above 95 %": int(good.sum()),
        "of them doubted (false alarms), %": 100 * doubted[good].mean(),
        "images of an unnamed kind set aside, %": 100 * unnamed["aside"].mean(),
        "others set aside, %": 100 * unnamed["wrongly_aside"].mean(),
    }
    return pd.DataFrame({"": found})


def calibrated(table: pd.DataFrame) -> str:
    """Fit the log-odds of accuracy by least squares on shares (Papke & Wooldridge 1996)."""
    from scipy.optimize import minimize

    named = table[(table["method"].isin(COMPARED)) & ~table["mixture"].str.contains("unnamed")]
    truth = estimate.drawn_in(named["fitted"].to_numpy())
    inputs = np.column_stack(
        [np.ones(len(named)), *(estimate.log_odds(named[n]) for n in ("confidence", "agreement"))]
    )

    def loss(factors: np.ndarray) -> float:
        odds = inputs @ factors
        return float((np.logaddexp(0, odds) - truth * odds).mean())

    factors = minimize(loss, np.zeros(3)).x
    left = estimate.log_odds(named["fitted"].to_numpy()) - inputs @ factors
    spread = np.quantile(np.abs(left), 0.9) / estimate.NORMAL
    return f"{len(named)} folders: {factors.round(2).tolist()}, spread {spread:.2f}"


def draw(table: pd.DataFrame, target: Path) -> None:
    """Draw gain against zero-shot, accuracy against class share, and estimates against truth."""
    plain = _plain(table)
    order = ranks(table).index
    best = ["zeroshot", *[name for name in order if name != "zeroshot"][:5]]
    with style.sheet(
        [target.with_suffix(".svg"), target.with_suffix(".png")],
        75,
        "Labellings without a label",
        f"Folders of real images, by encoder {', '.join(plain['encoder'].unique())}; the five best "
        "methods by mean rank, and words alone. Right: also with words moved at random",
        phantom=False,
    ) as figure:
        gains, shares, truth = figure.subplots(1, 3)
        for name, colour in zip(best, LINES, strict=True):
            own = plain[plain["method"] == name]
            if name != "zeroshot":
                gains.plot(100 * own["zeroshot"], 100 * own["gain"], ".", ms=3, color=colour)
            means = 100 * own.groupby("share")["fitted"].mean()
            shares.plot(range(len(means)), means, "o-", ms=3, color=colour, label=name)
        gains.set(title="Gain", xlabel="zero-shot, % right", ylabel="gain, points")
        gains.axhline(0, color=style.BLACK, linewidth=0.6)
        shares.set(title="Class share", xlabel="share of the first class, %", ylabel="% right")
        shares.set_xticks(range(len(SHARES)), [f"{100 * share:g}" for share in SHARES])
        shares.legend()
        judged = table[(table["method"] == "clusters") & ~table["mixture"].str.contains("unnamed")]
        for verdict, colour in zip(("trusted", "check", "refused"), LINES, strict=False):
            own = judged[judged["verdict"] == verdict]
            truth.plot(
                100 * own["accuracy"], 100 * own["fitted"], ".", ms=4, color=colour, label=verdict
            )
        truth.plot([0, 100], [0, 100], color=style.BLACK, linewidth=0.6)
        low = 100 * min(judged["accuracy"].min(), judged["fitted"].min()) - 3
        truth.set(title="clusters: estimate", xlabel="estimated, % right", ylabel="true, % right")
        truth.set(xlim=(low, 102), ylim=(low, 102))
        truth.legend()


if __name__ == "__main__":
    main()
