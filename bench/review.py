"""The order of review beside other orders: how many errors stand in its first tenth.

Cases are folders of real images, labelled and ordered as `medlabel label` does, by teachers from
bad to good. Orders of the same labels: *ours*; *margin*, by the labels' own probabilities; *words*,
what words alone give the label; *cleanlab*, what a head gives it that did not see the image
(self-confidence: Northcutt, Jiang & Chuang 2021). A lift of 3 means that the first tenth holds
three times as many errors as a tenth in a random order would.

    python bench/review.py --out results/bench/review.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from medlabel import files, params
from medlabel.annotation import labelling
from medlabel.data import mixtures, vectors
from medlabel.labels import heads, zeroshot

FIRST = 0.1  # of the order
FOLDS = 5
FEWEST = 10  # errors of a case that tells anything
STUDIES = [("quality", "breast_pneumonia"), ("pneumonia", "normal_pneumonia")]
ORDERS = ["ours", "margin", "words", "cleanlab"]


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, help="CSV to write")
    options = parser.parse_args()
    table = pd.DataFrame(cases(params.read([Path("params.yaml")]), options.data))
    if options.out:
        with files.replacing(options.out) as partial:
            table.to_csv(partial, index=False, float_format="%.4f", lineterminator="\n")
    print(table.to_string(float_format="%.3f"))
    print(f"{len(table)} cases; mean lift:")
    print(table[ORDERS].mean().to_string(float_format="%.2f"))
    for other in ORDERS[1:]:
        gain = table["ours"] - table[other]
        p = wilcoxon(gain).pvalue if gain.any() else 1.0
        print(f"ours above {other} in {(gain > 0).sum()}, below in {(gain < 0).sum()}; p = {p:.2g}")


def cases(settings: params.Params, data: Path) -> Iterator[dict[str, Any]]:
    """Give a row a folder: a draw of a mixture, by each weights of a study's teachers."""
    for study, images in STUDIES:
        for cell in settings.grids[study]:
            if cell.labelling != "zeroshot":
                continue
            for teacher in cell.teachers:
                row = lifts(settings, data, images, str(teacher), teacher.name, str(cell.prompts))
                if row["errors"] >= FEWEST:
                    yield {"teacher": str(teacher), "images": images, **row}


def lifts(
    settings: params.Params, data: Path, images: str, reference: str, encoder: str, prompts: str
) -> dict[str, float]:
    """Label a folder and return the lift of each order."""
    mixture = settings.every_mixture[images]
    pool = mixtures.read_pool(data / "pools" / f"{images}.parquet")
    drawn = mixtures.draw(mixture, pool, 0, settings.seed)
    drawn = drawn[drawn["role"] == "train"]
    seen = vectors.read_embeddings(
        data / "embeddings" / images / f"{encoder}.parquet", reference, drawn
    )
    words, scale = vectors.read_words(
        data / "words" / encoder / f"{prompts}.parquet", reference, mixture.class_names
    )
    opinion = labelling.judge(seen, words, scale, mixture.class_names)
    labels = opinion.probabilities.argmax(axis=1)
    wrong = labels != drawn["label"].to_numpy()
    held_out = heads.out_of_fold(seen, labels, len(words), FOLDS)
    scores = {
        "ours": ranks(opinion),
        "margin": opinion.margins,
        "words": zeroshot.probabilities(seen, words, scale),
        "cleanlab": held_out,
    }
    found: dict[str, float] = {"errors": int(wrong.sum()), "right": float(1 - wrong.mean())}
    for name, score in scores.items():
        own = score if score.ndim == 1 else score[np.arange(len(labels)), labels]
        first = np.argsort(own, kind="stable")[: round(FIRST * len(own))]
        found[name] = wrong[first].mean() / wrong.mean() if wrong.any() else np.nan
    return found


def ranks(opinion: labelling.Opinion) -> np.ndarray:
    """Return where each image stands in the order of review."""
    found = np.empty(len(opinion.margins))
    found[labelling.order_of_review(opinion.support, opinion.margins)] = np.arange(len(found))
    return found


if __name__ == "__main__":
    main()
