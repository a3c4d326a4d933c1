"""Labels of random folders, right and wrong; numbers of `labels/estimate.py` fitted to them.

A folder is of a random encoder, content, class share and size of an entry of `without_labels`;
draws are numbered from the entry's first. The table has the signs of labels by words and by
clusters, and how many are right. The fit is of least absolute deviations from that share, so that
folders whose words are wrong for a whole class, which no sign shows, do not draw others down.

    snakemake --configfile config/without_labels.yaml -- without_labels_all   # embeddings and words
    python bench/estimates.py --out results/bench/estimates.csv
    python bench/estimates.py --fit results/bench/estimates.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from medlabel import files, layout, params
from medlabel.evaluate import without_labels
from medlabel.labels import estimate, methods, zeroshot
from medlabel.params.without_labels_checks import CLUSTERS
from medlabel.randomness import stream

OVERLAY, ENTRIES = Path("config/without_labels.yaml"), ("real", "phantom_kinds")
USUAL = 3.0  # weight of folders of the default teacher and the phantom CLIP in the captions' words
ENCODERS, WORDS = ("locked", "phantom_clip"), ("capstone", "pneumonia", "malignant")
UNFINISHED = 6  # steps: a CLIP stopped by then is no teacher to fit to
TENTH = 0.1  # of the folders that may lie below the interval
SMOOTH = 1e-5  # of absolute values, squared
STARTS = [0.0, 1.0, 0.1, 0.1], [-1.0, 0.5, 0.5, 0.5]  # of the fit, which has several minima


def main() -> None:
    """Draw and write; or fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", type=int, nargs=2, default=[500, 120], help="folders an entry")
    parser.add_argument("--out", type=Path, help="CSV to write")
    parser.add_argument("--fit", type=Path, help="CSV to fit to; nothing is drawn")
    options = parser.parse_args()
    if options.fit:
        print(fitted(pd.read_csv(options.fit)))
        return
    table = pd.DataFrame(drawn(options.draw))
    if options.out:
        with files.replacing(options.out) as partial:
            table.to_csv(partial, index=False, float_format="%.5g", lineterminator="\n")
    print(fitted(table))


def drawn(counts: list[int]) -> Iterator[dict[str, Any]]:
    """Give rows of random folders."""
    settings = params.read([Path("params.yaml"), OVERLAY])
    where = layout.of(settings)
    for entry, count in zip(ENTRIES, counts, strict=True):
        asked = settings.without_labels[entry]
        used = {str(one): one.name for one in asked.references}

        @cache
        def seen(reference: str, content: str, entry: str = entry) -> without_labels.Seen:
            asked = settings.without_labels[entry].contents[content]
            name = params.EncoderReference.parse(reference).name
            inputs = without_labels.Inputs(
                {asked.images: Path(where.pool(asked.images))},
                {(asked.images, reference): Path(where.embeddings(asked.images, name))},
                {(reference, asked.prompts): Path(where.words(name, asked.prompts))},
            )
            return without_labels.look(inputs, reference, asked.images, asked)

        for number in range(asked.first_draw, asked.first_draw + count):
            random = stream(settings.seed, "estimates", entry, number)
            reference = str(random.choice(list(used)))
            content = str(random.choice(list(asked.contents)))
            size, share = int(random.choice(asked.sizes)), float(random.choice(asked.shares))
            of = {"encoder": reference, "content": content, "size": size, "share": share}
            for row in judged(settings, seen(reference, content), size, share, random):
                yield {**of, "prompts": asked.contents[content].prompts, **row}


def judged(
    settings: params.Params,
    seen: without_labels.Seen,
    size: int,
    share: float,
    random: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    """Give the signs of labels by words and by clusters, and the share of right ones."""
    folder = without_labels.drawn_folder(seen, size, share, 0.5, random)
    known = seen.gather(folder.images)
    by_clusters = methods.learn(settings.labellings[CLUSTERS], known).predict(folder.images)
    by_words = zeroshot.probabilities(folder.images, seen.words, seen.logit_scale)
    stray = estimate.strays(known, folder.images)
    for labelling, chances in (("zeroshot", by_words), (CLUSTERS, by_clusters)):
        found = estimate.of_views(chances, by_words, by_clusters, stray)
        kept = ~stray if not stray.all() else stray
        right = (chances.argmax(axis=1) == folder.truth)[kept].mean()
        yield {"labelling": labelling, "images": len(folder.truth), **found.signs, "right": right}


def fitted(table: pd.DataFrame) -> str:
    """Fit the estimate, and the lower end of its interval to what other encoders' fits leave."""
    steps = table["encoder"].str.extract(r"@(\d+)$")[0].astype(float)
    table = table[~(steps <= UNFINISHED)]
    signs = estimate.log_odds(table[list(estimate.FACTORS)].to_numpy())
    inputs = np.column_stack([np.ones(len(table)), signs])
    right, encoders = table["right"].to_numpy(), table["encoder"].to_numpy()
    usual = table["prompts"].isin(WORDS) & table["encoder"].str.split(r"[.@]").str[0].isin(ENCODERS)
    weights = np.where(usual, USUAL, 1.0)
    middle = np.empty(len(table))
    for one in np.unique(encoders):
        out = encoders == one
        middle[out] = inputs[out] @ _factors(inputs[~out], right[~out], weights[~out])
    low = _line(middle, estimate.log_odds(right), weights)
    off = np.abs(estimate.share_of(middle) - right)
    return (
        f"{len(table)} labellings: intercept and {', '.join(estimate.FACTORS)} "
        f"{_factors(inputs, right, weights).round(2).tolist()}, lower end {low.round(2).tolist()}; "
        f"by encoders left out: off by {100 * np.average(off, weights=weights):.1f} points, within "
        f"5 points {100 * np.average(off <= 0.05, weights=weights):.1f} %"
    )


def _factors(inputs: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit factors of least absolute deviations from shares."""

    def loss(factors: np.ndarray) -> float:
        off = estimate.share_of(inputs @ factors) - right
        return float((weights * np.sqrt(off**2 + SMOOTH)).mean())

    return min((minimize(loss, one, method="BFGS") for one in STARTS), key=lambda one: one.fun).x


def _line(middle: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit the line that a tenth lies below (Koenker & Bassett 1978)."""

    def loss(line: np.ndarray) -> float:
        left = truth - line[0] - line[1] * middle
        return float((weights * np.maximum(TENTH * left, (TENTH - 1) * left)).mean())

    return minimize(loss, np.array(estimate.LOW), method="Nelder-Mead", options={"maxiter": 4000}).x


if __name__ == "__main__":
    main()
